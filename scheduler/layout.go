package scheduler

import (
	"github.com/shardnode/shardnode/shard"
)

// An Assignment is a span given to a peer.
type Assignment struct {
	Peer ID
	Span shard.Span
}

// A Layout is a model's spans in order: contiguous, from layer 0 to the last,
// no peer twice.
type Layout []Assignment

// Predicted is what a layout is expected to give.
type Predicted struct {
	// TokSMany is the tokens a second of many sessions together.
	TokSMany float64
	// TokSOne is the tokens a second of one session alone.
	TokSOne float64
	// TTFTms is the time to the first token of one session alone after a
	// prompt of Params.PromptTokens.
	TTFTms float64
	// Bottleneck says in words what limits TokSMany.
	Bottleneck string
}

// A Rejected is a layout that was considered and not chosen.
type Rejected struct {
	Layout    Layout
	Predicted Predicted
	Why       string
}

// A Result is a plan and its reasons.
type Result struct {
	Layout    Layout
	Predicted Predicted
	// Single is the best layout of one peer alone, if the model fits on one.
	Single *Rejected
	// Rejected are other layouts, best first.
	Rejected []Rejected
	// Reasons say in words why: a line per peer on what bounds its size, then
	// what there is to know of the whole.
	Reasons []string
	// Idle are serving peers without layers, ascending.
	Idle []ID
}

// A Goal is what a plan is good at.
type Goal int

// The goals of [Params].
const (
	// Many is the most tokens a second over many sessions.
	Many Goal = iota
	// One is the fewest milliseconds a token for one session.
	One
	// Spread uses every serving peer, as evenly in time as memory allows.
	Spread
)

// Params are the wishes of a plan. The zero Params are usable.
type Params struct {
	Goal Goal
	// ContextTokens is the KV cache each peer must have room for beside its
	// weights, and the length of a session when throughput is derived.
	// Default: 2048.
	ContextTokens int
	// PromptTokens is the prompt that TTFTms is predicted for. Default: 512.
	PromptTokens int
	// Driver is the peer whose user waits for the tokens; empty: the one that
	// holds the first layer. The links of a driver that is not in the view
	// cost nothing.
	Driver ID
	// Split is the number of layers of each stage, in the order of
	// View.Peers; empty: the planner decides. See [ParseSplit].
	Split []int
}

// Plan returns who should hold which layers of v's model. It does not look at
// what peers hold now. An error is a [*MemoryError] when the peers are too
// small together, and otherwise says what is wrong with v or p.
func Plan(v View, p Params) (Result, error) {
	return plan(v, p)
}
