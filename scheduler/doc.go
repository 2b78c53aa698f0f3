// Package scheduler decides which peer serves which layers of a model, and
// over which of them a session runs. It is pure: values in, values out. No
// clock, socket, goroutine or random source; equal inputs give equal outputs,
// in any order of the peers, so that every member of a swarm computes the same
// plan from its own view.
//
// Start with [View], which says what is known of the peers, the model and the
// links. [Plan] chooses spans for all peers as if nobody held any, and says why.
// In a swarm that lives [Settle] says what each peer should hold next, moving as
// little as it can, and [MayDrop] what it may let go of. [Served] is the layout
// that sessions take over what is held; [Route] chooses the stages of one session
// when that will not do. [ParseCluster] reads a View from a file. Carrying out a plan, measuring speeds and keeping
// the view are left to package gossip and shard/node.
//
// Products that are added to something are converted, float64(a*b), so that no
// compiler fuses the two and peers with other processors plan the same.
//
// Everything is safe for concurrent use: nothing is kept between calls, and
// arguments are not changed.
package scheduler
