// Package pipeline is the driver of a session: it opens a stage on every peer
// of a route, pushes tokens into the first and takes logits from the last.
//
// Start with [Open]; [Session.Step] pushes tokens; [Session.Close] ends the
// session and says what its hops measured. The package does not choose routes
// (package scheduler) or tokens (package sample), and knows no text. A
// [Session] is driven by one goroutine at a time.
//
// Goroutines: one per stage reads what that peer says, and ends with the
// session's stream to it.
package pipeline
