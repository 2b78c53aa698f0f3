// Package member puts a member of a swarm together: weights into memory, a
// node that serves them, gossip that tells what is served, the plan that says
// what should be.
//
// Start with [Load] for a span in this process. A [Member] is one that lives
// in a swarm.
package member
