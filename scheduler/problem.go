package scheduler

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard"
)

const (
	maxLayers = 512     // of a model; the deepest known has 126
	maxPeers  = 10_000  // of a view
	maxBytes  = 1 << 60 // of anything counted in bytes
)

// consideredPeers is the number of peers that one plan looks at, unless more
// are needed to hold the model twice.
const consideredPeers = 96

// hopOverheadMS is what a hop costs beside its link: waking up, framing,
// copying (research/scheduler.md §4, measured with QUIC on loopback).
const hopOverheadMS = 0.1

// A problem is a View and Params, checked, with what planning looks up often.
type problem struct {
	v      View
	p      Params
	layers int
	kvTok  int64   // bytes of KV cache per layer for a context
	head   float64 // time of the head in layers
	prefix []int64 // [layers+1], bytes of the layers before
	peers  []Peer  // those considered, ascending by id
	most   []int   // the most layers that each can hold anywhere
	others []Peer  // those that serve and are not considered

	// rate[i][lo][k-1] is T_i(k) for the span [lo, lo+k); as long as memory
	// allows. 0: not allowed.
	rate [][][]float64
	hop  [][]hopCost // [peers, peers]
	home []hopCost   // from the driver; the way back costs the same
}

// A hopCost is what a hop costs a token, and how many tokens it lets through.
type hopCost struct {
	ms   float64 // of one token
	cap  float64 // tokens per second
	late float64 // ms of latency alone
}

func newProblem(v View, p Params) (*problem, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	p.ContextTokens = cmp.Or(p.ContextTokens, 2048)
	p.PromptTokens = cmp.Or(p.PromptTokens, 512)
	if p.ContextTokens < 0 || p.PromptTokens < 0 || p.ContextTokens > 1<<24 || p.PromptTokens > 1<<24 {
		return nil, fmt.Errorf("context of %d and prompt of %d tokens, want 1 to %d", p.ContextTokens, p.PromptTokens, 1<<24)
	}
	if p.Goal < Many || p.Goal > Spread {
		return nil, fmt.Errorf("goal %d, want many, one or spread", p.Goal)
	}
	q := &problem{v: v, p: p, layers: v.Model.Layers}
	q.kvTok = v.Model.KVBytesPerTokenLayer * int64(p.ContextTokens)
	q.prefix = v.Model.prefix()
	q.head = v.Model.headLayers()
	for _, peer := range v.Peers {
		if peer.Role == Serve {
			q.peers = append(q.peers, peer)
		}
	}
	if len(q.peers) == 0 {
		return nil, fmt.Errorf("no peer serves layers: want at least one")
	}
	q.consider()
	q.fillRates()
	q.fillHops()
	return q, nil
}

// consider sorts the peers, and of very many leaves those that carry most:
// the cost of planning grows with their square.
func (q *problem) consider() {
	if n := len(q.p.Split); n > 0 && n < len(q.peers) {
		q.peers, q.others = q.peers[:n:n], q.peers[n:]
	}
	most := make(map[ID]int, len(q.peers))
	for _, p := range q.peers {
		most[p.ID] = q.mostOf(p)
	}
	if len(q.p.Split) == 0 && len(q.peers) > consideredPeers {
		worth := func(p Peer) float64 { // pinned first, then layers a millisecond
			if p.Pinned.Len() > 0 {
				return math.Inf(1)
			}
			return float64(most[p.ID]) / p.decodeMS(1)
		}
		slices.SortFunc(q.peers, func(a, b Peer) int {
			return cmp.Or(cmp.Compare(worth(b), worth(a)), cmp.Compare(a.ID, b.ID))
		})
		n, held := 0, 0
		for n < len(q.peers) && (n < consideredPeers || held < 2*q.layers) {
			held += most[q.peers[n].ID]
			n++
		}
		q.peers, q.others = q.peers[:n:n], slices.Clone(q.peers[n:])
	}
	slices.SortFunc(q.peers, func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(q.others, func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) })
	for _, p := range q.peers {
		q.most = append(q.most, most[p.ID])
	}
}

// mostOf returns the most layers that p can hold anywhere.
func (q *problem) mostOf(p Peer) int {
	k := 0
	for lo := 0; lo+k < q.layers; lo++ {
		for lo+k < q.layers && q.throughput(p, lo, lo+k+1) > 0 {
			k++
		}
	}
	if q.throughput(p, 0, q.layers) > 0 { // tied ends are held once
		return q.layers
	}
	return k
}

// prefix returns the bytes of the layers before each, [Layers+1].
func (m Model) prefix() []int64 {
	out := make([]int64, m.Layers+1)
	for l := range m.Layers {
		out[l+1] = out[l] + m.LayerBytes[min(l, len(m.LayerBytes)-1)]
	}
	return out
}

// headLayers returns the time of the head, in layers: by its bytes if not
// given, for a decode step reads every weight once.
func (m Model) headLayers() float64 {
	if m.HeadLayers > 0 || m.HeadBytes == 0 {
		return m.HeadLayers
	}
	mean := float64(m.prefix()[m.Layers]) / float64(m.Layers)
	if mean < 1 {
		return 0
	}
	return float64(m.HeadBytes) / mean
}

// weightBytes returns the weights of the layers [lo, hi) with what comes with
// the first and the last layer.
func (m Model) weightBytes(prefix []int64, lo, hi int) int64 {
	n := prefix[hi] - prefix[lo]
	if lo == 0 {
		n += m.EmbedBytes
	}
	if hi == m.Layers {
		n += m.HeadBytes
	}
	if lo == 0 && hi == m.Layers {
		n -= m.TiedBytes
	}
	return n
}

// WeightBytes returns the weights of s, with what comes with the first and the
// last layer; 0 if s is empty.
func (m Model) WeightBytes(s shard.Span) int64 {
	if s.Len() == 0 {
		return 0
	}
	return m.weightBytes(m.prefix(), int(s.Start), int(s.End))
}

// needBytes returns what the layers [lo, hi) take of a peer's memory, with the
// KV cache of one context.
func (q *problem) needBytes(lo, hi int) int64 {
	return q.v.Model.weightBytes(q.prefix, lo, hi) + int64(hi-lo)*q.kvTok
}

// units returns the time of the layers [lo, hi) in layers.
func (q *problem) units(lo, hi int) float64 {
	u := float64(hi - lo)
	if lo == 0 {
		u += q.v.Model.EmbedLayers
	}
	if hi == q.layers {
		u += q.head
	}
	return u
}

// decodeMS returns the time of one layer at a batch, by straight lines between
// the measured points, and in proportion to the batch beyond the last.
func (p Peer) decodeMS(batch float64) float64 {
	t := p.DecodeMS
	if batch <= t[0].Batch {
		return t[0].MS
	}
	for i := 1; i < len(t); i++ {
		if batch <= t[i].Batch {
			f := (batch - t[i-1].Batch) / (t[i].Batch - t[i-1].Batch)
			return t[i-1].MS + float64(f*(t[i].MS-t[i-1].MS))
		}
	}
	last := t[len(t)-1]
	return last.MS / last.Batch * batch
}

// prefillMS returns the time of one layer for one prompt token.
func (p Peer) prefillMS() float64 {
	if p.PrefillMSPerToken > 0 {
		return p.PrefillMSPerToken
	}
	last := p.DecodeMS[len(p.DecodeMS)-1]
	return last.MS / max(last.Batch, 1)
}

// throughput returns T_i(k): the tokens a second of peer i over many sessions
// when it holds [lo, hi); 0 if it cannot hold that.
func (q *problem) throughput(p Peer, lo, hi int) float64 {
	k := hi - lo
	room := p.MemoryBytes - q.needBytes(lo, hi)
	if room < 0 || len(p.Throughput) > 0 && k > len(p.Throughput) {
		return 0
	}
	u := q.units(lo, hi)
	if len(p.Throughput) > 0 {
		return p.Throughput[k-1] * float64(k) / u
	}
	batch := math.Inf(1)
	if per := int64(k) * q.kvTok; per > 0 {
		batch = float64(1 + room/per)
	}
	// Between two points batch/time rises or falls all the way, so the best is
	// at a point or at the end.
	end := math.Min(batch, math.Max(1, p.DecodeMS[len(p.DecodeMS)-1].Batch))
	best := end / p.decodeMS(end)
	for _, t := range p.DecodeMS {
		if t.Batch >= 1 && t.Batch <= end {
			best = math.Max(best, t.Batch/t.MS)
		}
	}
	return best * 1000 / u
}

func (q *problem) fillRates() {
	q.rate = make([][][]float64, len(q.peers))
	for i, p := range q.peers {
		q.rate[i] = make([][]float64, q.layers)
		for lo := range q.layers {
			var r []float64
			for k := 1; lo+k <= q.layers; k++ {
				t := q.throughput(p, lo, lo+k)
				if t == 0 && !(lo == 0 && q.v.Model.TiedBytes > 0) {
					break // more layers need more memory
				}
				r = append(r, t)
			}
			q.rate[i][lo] = r
		}
	}
}

func (q *problem) fillHops() {
	n := len(q.peers)
	q.hop = make([][]hopCost, n)
	for i := range q.hop {
		q.hop[i] = make([]hopCost, n)
		for j := range n {
			if i != j {
				q.hop[i][j] = hopBetween(q.v, &q.peers[i], &q.peers[j])
			}
		}
	}
	q.home = make([]hopCost, n)
	for i := range q.home {
		q.home[i].cap = math.Inf(1)
	}
	if d := q.v.find(q.p.Driver); d != nil {
		for i := range q.peers {
			if q.peers[i].ID != d.ID {
				// Token ids and the best logits are small: latency alone counts.
				h := hopBetween(q.v, d, &q.peers[i])
				q.home[i] = hopCost{ms: h.late, late: h.late, cap: math.Inf(1)}
			}
		}
	}
}

// find returns the peer named id, nil if there is none.
func (v View) find(id ID) *Peer {
	for i := range v.Peers {
		if v.Peers[i].ID == id {
			return &v.Peers[i]
		}
	}
	return nil
}

// hopBetween returns what a hop of one hidden state from a to b costs.
func hopBetween(v View, a, b *Peer) hopCost {
	l := v.Links.between(a, b)
	mbit := math.Inf(1)
	for _, m := range []float64{l.Mbit, a.UpMbit, b.DownMbit} {
		if m > 0 {
			mbit = math.Min(mbit, m)
		}
	}
	h := hopCost{late: l.LatencyMS + hopOverheadMS, cap: math.Inf(1)}
	h.ms = h.late
	if bits := float64(v.Model.HiddenBytes) * 8; bits > 0 && !math.IsInf(mbit, 1) {
		h.ms += bits / (mbit * 1e3)
		h.cap = mbit * 1e6 / bits
	}
	return h
}

// between returns the link from a to b: the peers' own, else the regions',
// else the default.
func (l Links) between(a, b *Peer) Link {
	for _, k := range [][2]string{{string(a.ID), string(b.ID)}, {a.Region, b.Region}} {
		if k[0] == "" || k[1] == "" {
			continue
		}
		if link, ok := l.Pairs[k[0]+":"+k[1]]; ok {
			return link
		}
		if link, ok := l.Pairs[k[1]+":"+k[0]]; ok {
			return link
		}
	}
	return l.Default
}

// check returns an error that names the first thing in v that cannot be.
func (v View) check() error {
	if err := v.Model.check(); err != nil {
		return err
	}
	if len(v.Peers) == 0 || len(v.Peers) > maxPeers {
		return fmt.Errorf("%d peers, want 1 to %d", len(v.Peers), maxPeers)
	}
	seen := map[ID]bool{}
	for i := range v.Peers {
		p := &v.Peers[i]
		if p.ID == "" || seen[p.ID] || strings.Contains(string(p.ID), ":") {
			return fmt.Errorf("peer %d has id %q: want one of its own, without a colon", i, p.ID)
		}
		seen[p.ID] = true
		if err := p.check(v.Model.Layers); err != nil {
			return fmt.Errorf("peer %s: %w", p.ID, err)
		}
	}
	for name, l := range v.Links.Pairs {
		if err := l.check(); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	if err := v.Links.Default.check(); err != nil {
		return fmt.Errorf("link default: %w", err)
	}
	return nil
}

func (m Model) check() error {
	if m.Layers < 1 || m.Layers > maxLayers {
		return fmt.Errorf("model: %d layers, want 1 to %d", m.Layers, maxLayers)
	}
	if n := len(m.LayerBytes); n != 1 && n != m.Layers {
		return fmt.Errorf("model: %d layer_bytes, want 1 (all alike) or %d", n, m.Layers)
	}
	for _, f := range []struct {
		name string
		n    int64
	}{
		{"embed_bytes", m.EmbedBytes},
		{"head_bytes", m.HeadBytes},
		{"tied_bytes", m.TiedBytes},
		{"kv_bytes_per_token_layer", m.KVBytesPerTokenLayer},
		{"hidden_bytes", m.HiddenBytes},
		{"layer_bytes", slices.Min(m.LayerBytes)},
		{"layer_bytes", slices.Max(m.LayerBytes)},
	} {
		if f.n < 0 || f.n > 1<<40 {
			return fmt.Errorf("model: %s is %d, want 0 to %d", f.name, f.n, int64(1)<<40)
		}
	}
	if m.TiedBytes > min(m.EmbedBytes, m.HeadBytes) {
		return fmt.Errorf("model: tied_bytes is %d, want at most embed_bytes and head_bytes", m.TiedBytes)
	}
	if m.KVBytesPerTokenLayer > 1<<26 {
		return fmt.Errorf("model: kv_bytes_per_token_layer is %d, want at most %d", m.KVBytesPerTokenLayer, 1<<26)
	}
	if !in(m.EmbedLayers, 0, 1e6) || !in(m.HeadLayers, 0, 1e6) {
		return fmt.Errorf("model: embed_layers %v and head_layers %v, want 0 to 1e6", m.EmbedLayers, m.HeadLayers)
	}
	return nil
}

func (p *Peer) check(layers int) error {
	if p.MemoryBytes < 0 || p.MemoryBytes > maxBytes {
		return fmt.Errorf("memory_bytes is %d, want 0 to %d", p.MemoryBytes, int64(maxBytes))
	}
	if err := p.checkSpeed(); err != nil {
		return err
	}
	if !in(p.PrefillMSPerToken, 0, 1e9) || !in(p.UpMbit, 0, 1e9) || !in(p.DownMbit, 0, 1e9) {
		return fmt.Errorf("prefill_ms_per_token %v, up_mbit %v, down_mbit %v: want 0 to 1e9", p.PrefillMSPerToken, p.UpMbit, p.DownMbit)
	}
	if p.Sessions < 0 || p.KVFreeBytes < 0 || p.KVFreeBytes > maxBytes || p.Role < Serve || p.Role > Draining {
		return fmt.Errorf("role %d, sessions %d, free KV bytes %d: out of range", p.Role, p.Sessions, p.KVFreeBytes)
	}
	return p.checkSpans(layers)
}

func (p *Peer) checkSpans(layers int) error {
	for _, s := range []shard.Span{p.Pinned, p.Held, p.Planned} {
		if s != (shard.Span{}) && (s.Start < 0 || s.Len() == 0 || int(s.End) > layers) {
			return fmt.Errorf("layers %v, want some of [0,%d)", s, layers)
		}
	}
	return nil
}

func (p *Peer) checkSpeed() error {
	if len(p.DecodeMS) == 0 || len(p.DecodeMS) > 1000 {
		return fmt.Errorf("%d points of decode_ms, want 1 to 1000", len(p.DecodeMS))
	}
	for i, t := range p.DecodeMS {
		if !in(t.Batch, 1e-3, 1e9) || !in(t.MS, 1e-9, 1e9) || i > 0 && t.Batch <= p.DecodeMS[i-1].Batch {
			return fmt.Errorf("decode_ms point %d is [%v, %v], want a batch above the last and a time above 0", i, t.Batch, t.MS)
		}
	}
	for i, t := range p.Throughput {
		if !in(t, 1e-9, 1e12) {
			return fmt.Errorf("throughput with %d layers is %v, want above 0", i+1, t)
		}
	}
	return nil
}

func (l Link) check() error {
	if !in(l.LatencyMS, 0, 1e7) || !in(l.Mbit, 0, 1e9) {
		return fmt.Errorf("latency_ms %v and mbit %v, want 0 to 1e7 and 0 to 1e9", l.LatencyMS, l.Mbit)
	}
	return nil
}

// in reports whether low <= x <= high; false if x is not a number.
func in(x, low, high float64) bool { return x >= low && x <= high }
