// Package pipeline is the driver of a session: it opens a stage on every peer
// of a route, pushes tokens into the first and takes logits from the last, and
// finds another route when stages are lost or leave, to the same logits
// (DESIGN.md).
//
// Start with [Open]; [Session.Step] pushes tokens; [Session.Close] ends the
// session and says what its hops measured. The package does not choose routes
// (package scheduler) or tokens (package sample), and knows no text. A
// [Session] is driven by one goroutine at a time.
//
// Goroutines: one per stage reads what that peer says, and ends with the
// session's stream to it; from the first word of a peer that leaves until the
// session ends, one moves it (mover); opening and rerouting takes one per stage
// for as long as it lasts.
package pipeline
