// Package member puts a member of a swarm together: weights into memory, a
// node that serves them, gossip that tells what is served, the plan that says
// what should be, and sessions over what the swarm serves.
//
// Start with [Load] for a span in this process alone, with [Start] for a
// member that lives in a swarm. Decisions are pure functions of the gossiped
// view (decide.go); everything else carries them out. A [Member] is safe for
// concurrent use.
//
// Goroutines of a Member: one follows the view, loads spans and tells the
// swarm; it ends with Close. Streams of others run in the transport's handlers.
package member
