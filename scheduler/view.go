package scheduler

import (
	"github.com/shardnode/shardnode/shard"
)

// An ID names a peer of a [View]: the text of its [shard.PeerID] in a running
// swarm, any short name in a cluster file.
type ID string

// A Role says what a peer does in the swarm.
type Role int

// The roles of a [Peer].
const (
	Serve    Role = iota // holds layers
	Client               // only uses the swarm: is given no layers
	Draining             // leaves: is given no layers and no new sessions
)

// A View is what is known of a swarm and its model.
type View struct {
	Peers []Peer
	Model Model
	Links Links
}

// A Model is what placement needs to know of a model. All sizes are those in
// a peer's memory.
type Model struct {
	Name   string
	Layers int
	// LayerBytes are the weights of each layer. One entry: all layers alike.
	LayerBytes []int64
	// EmbedBytes are held by the peer of the first layer, HeadBytes by that of
	// the last (final norm and head; with tied embeddings the peer of the last
	// layer holds its own copy, except when it holds the first layer too: then
	// TiedBytes are counted once).
	EmbedBytes, HeadBytes int64
	TiedBytes             int64
	// EmbedLayers and HeadLayers are what the embedding and the head cost in
	// time, in layers. 0 with bytes given: derived from the bytes for the
	// head, nothing for the embedding (one row is looked up).
	EmbedLayers, HeadLayers float64
	// KVBytesPerTokenLayer is the KV cache of one token in one layer.
	KVBytesPerTokenLayer int64
	// HiddenBytes is the size of one token's hidden state on a hop.
	HiddenBytes int64
}

// A Timing is the time of one layer for one step of Batch sessions.
type Timing struct {
	Batch float64
	MS    float64
}

// A Peer is what is known of one peer.
type Peer struct {
	ID   ID
	Name string // what people call it, may be empty
	Role Role
	// MemoryBytes is the memory for weights and KV cache together.
	MemoryBytes int64
	// DecodeMS is the time per layer by batch, batches ascending.
	DecodeMS []Timing
	// PrefillMSPerToken is the time of one layer for one prompt token, in
	// large chunks. 0: derived from the largest batch of DecodeMS.
	PrefillMSPerToken float64
	// UpMbit and DownMbit cap every link of the peer. 0: no cap.
	UpMbit, DownMbit float64
	Region           string
	// Throughput[k-1] is tokens a second over many sessions when the peer
	// holds k layers. Empty: derived from DecodeMS and memory. Otherwise its
	// length also bounds the number of layers.
	Throughput []float64
	// Pinned is the span that the peer's owner insists on; empty: none.
	Pinned shard.Span
	// Held is the span the peer serves now; empty: none.
	Held shard.Span
	// Planned is the span that the peer has said it will hold next, for
	// [Settle]; empty: it stays with Held.
	Planned shard.Span
	// KVFreeBytes is the memory free for new sessions, for [Route]. 0: what
	// MemoryBytes leaves beside the weights of Held.
	KVFreeBytes int64
	// Sessions is the number of sessions on the peer now, for [Route].
	Sessions int
}

// A Link is the one-way latency and the rate of a hop between two peers.
type Link struct {
	LatencyMS float64
	Mbit      float64 // 0: no limit
}

// Links says what lies between peers. Keys are two peers or two regions with a
// colon, "a:b"; the two peers come before the regions, and these before
// Default. A link holds for both directions unless "b:a" is given as well.
type Links struct {
	Default Link
	Pairs   map[string]Link
}
