// Package node is the serving side of a member: it answers drivers that ask it
// to be a stage of their sessions, runs the steps on the engine of the span it
// holds, and sends what comes out to the next stage or back to the driver.
//
// Start with [New], then [Node.Hold] a span. The transport hands streams to
// [Node.Serve]; a driver in the same process uses [Node.Local]. The package does no client work and knows no text. A [Node] is
// safe for concurrent use.
//
// Goroutines, per session: the handler of the driver's stream (ends with the
// stream or the session), the handler of the upstream neighbour's stream (the
// same), and a worker (ends with the session). A session ends when its driver
// says so or is gone, when a stage fails, or when the node closes.
package node
