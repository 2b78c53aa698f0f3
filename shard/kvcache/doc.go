// Package kvcache keeps the keys and values of sessions, as float16 or as
// [Precision] says, in pages off the Go heap, within a budget.
//
// Start with [New] for a [Store] of one span, and [Store.Reserve] for a
// [Session] on it. A session's pages are counted against the budget when it is
// reserved, so a session that was admitted never runs out of memory; the pages
// themselves are taken as it grows.
//
// A page holds [Config.PageTokens] positions of every layer of the span. Within
// a page each key/value head of each layer is contiguous, in the panels that
// attention multiplies with (layout.go). Page boundaries lie at absolute positions.
//
// Whole pages can be shared (prefix.go): [Session.Publish] names what a session
// holds, and [Store.ReserveShared] begins a session with what has the names
// that it asks for. A shared page is written by nobody; who wants to gets a copy.
// When the last session that holds it is closed it stays, idle, until its memory
// is wanted: the one that was held least recently goes first.
//
// The package leaves to others which sessions to close and when. A Store is
// safe for concurrent use; a Session is used by one goroutine at a time,
// except that [Session.Put] may run concurrently for different positions.
package kvcache
