// Package hop is the protocol of a session: what a driver and the stages of a
// route say to each other over their streams, as typed values.
//
// A driver opens one stream to every stage: it asks the peer to be a stage
// ([Open], the first frame), hears of errors there, and closes the session.
// Each stage opens one stream to the next, whose first frame is a Link; hidden
// states flow down it. The last stage answers the driver on the driver's stream. So the
// hops form a ring, S+1 for S stages, and nothing passes through the driver but
// tokens and logits.
//
// Start with [Conn]. The package starts no goroutines. A Conn may be sent on by
// several goroutines and received on by one.
package hop
