// Package node is the serving side of a member: it answers drivers that ask it
// to be a stage of their sessions, runs the steps on the engine of the span it
// holds, and sends what comes out to the next stage or back to the driver.
//
// Start with [New], then [Node.Hold] a span. The transport hands streams to
// [Node.Serve]; a driver in the same process uses [Node.Local]. The package does
// no client work and knows no text. A [Node] is safe for concurrent use.
//
// Goroutines, per stage of a session: the call of Serve with the driver's
// stream, which is the worker too; one that reads that stream; the call of Serve
// with the upstream neighbour's stream; one that listens to each next stage; and
// while the route is about to change, one that fills a stage to come. All end
// with the session: when its driver says so or is gone, when the stage itself
// fails, or when the node closes. What could block is closed then, so nothing
// waits on. A neighbour that is lost does not end a stage: it tells the driver,
// keeps what it has, and waits for another route (DESIGN.md).
//
// Locks, in this order: Node.mu, stage.mu. A log has its own, taken alone.
package node
