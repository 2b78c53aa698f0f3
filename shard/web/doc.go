// Package web is what people look at in a browser: the chat page at /, the
// swarm page at /swarm, and the feed that keeps the second one live.
//
// Start with [New], which makes the http.Handler over a [Source], and run
// [Handler.Watch] beside it: it looks at the swarm whenever it changes and
// writes down what happened. Requests for anything that is not a page go to
// [Config.API]. The pages are embedded, need no other host and hold no secret:
// who opens one gives the API key once, and the browser keeps it for this
// address alone. DESIGN.md says why.
//
// Everything is safe for concurrent use.
//
// Goroutines: the one that calls Watch, and one for each reader of the feed,
// which ends with its request.
package web
