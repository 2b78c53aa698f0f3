package scheduler

import "github.com/shardnode/shardnode/shard"

// A Request is what a session asks of a route.
type Request struct {
	// Tokens is the length of KV cache to be reserved on every stage, prompt
	// and answer. 0: capacity does not matter.
	Tokens int
	// PromptTokens is the part of Tokens computed at once. It weighs prefill
	// against decode. Default: none, decode only.
	PromptTokens int
	// Avoid are peers that must not be on the route.
	Avoid []ID
	// Planned is preferred where it costs little more.
	Planned Layout
	// Driver is the peer that sends tokens and gets logits; empty: the one
	// that holds the first layer.
	Driver ID
}

// A Path is a route: its stages, and what one token costs on it.
type Path struct {
	Stages  Layout
	TokenMS float64 // of decode, one token once around
}

// An UncoveredError says which layers no route can reach.
type UncoveredError struct {
	// Spans are the layers without a holder, ascending.
	Spans []shard.Span
	// Text says why, for people.
	Text string
}

// Error names the layers.
func (e *UncoveredError) Error() string { return e.Text }

// Route returns the cheapest stages over the spans that the peers of v hold
// now. A stage may enter and leave a held span anywhere. No peer comes twice.
// It returns an [*UncoveredError] when some layer has no usable holder.
func Route(v View, r Request) (Path, error) {
	return route(v, r)
}
