package scheduler

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/shardnode/shardnode/shard"
)

// A Cause says why a peer should hold other layers than it does, the most
// urgent first.
type Cause int

// The causes of a [Target].
const (
	// Gap: nobody holds some layers, and this peer takes a part of them.
	Gap Cause = iota
	// Joins: the peer holds nothing yet.
	Joins
	// Balance: some stage is much slower than it need be.
	Balance
	// Standby: layers that too few hold, taken into spare memory.
	Standby
	// Keep: there is nothing to change.
	Keep
)

// A Target is what a peer should hold, and why.
type Target struct {
	Peer ID
	// Share is the part that the peer answers for: the shares of all peers tile
	// the model, as far as it can be held. Empty: others answer for everything.
	Share shard.Span
	// Span is what it should hold: its share, and beside it whatever it has
	// and may keep.
	Span shard.Span
	// Spare is what it should hold in the end: its share, and what too few
	// others hold, once every layer has a holder and nothing else is to be done.
	Spare shard.Span
	Cause Cause
	Why   string // for people
}

// Next returns what the peer should hold next, seen from what it holds now,
// and why.
func (t Target) Next(held shard.Span) (shard.Span, Cause) {
	if t.Span != held || t.Spare == held {
		return t.Span, t.Cause
	}
	return t.Spare, Standby
}

// Targets are what all peers should hold. They are a pure function of the
// view, so that all members of a swarm with the same view agree on them.
type Targets struct {
	// Peers has an entry for every serving peer, ascending.
	Peers []Target
	// Gaps are layers that nobody holds, has promised, or can hold.
	Gaps []shard.Span
	// NewBytes are what peers must get that they do not have, for their spans,
	// and SpareBytes for what they should hold a second time.
	NewBytes, SpareBytes int64
}

// Of returns the target of a peer; ok is false if the view lacks it.
func (t Targets) Of(id ID) (Target, bool) {
	i, ok := slices.BinarySearchFunc(t.Peers, id, func(a Target, id ID) int { return cmp.Compare(a.Peer, id) })
	if !ok {
		return Target{}, false
	}
	return t.Peers[i], true
}

// A part is layers [lo, hi), empty if lo == hi.
type part struct{ lo, hi int }

func partOf(s shard.Span) part { return part{int(s.Start), int(s.End)} }

func (p part) span() shard.Span {
	if p.lo == p.hi {
		return shard.Span{}
	}
	return shard.Span{Start: shard.Layer(p.lo), End: shard.Layer(p.hi)}
}

func (p part) size() int          { return p.hi - p.lo }
func (p part) covers(o part) bool { return o.size() == 0 || p.lo <= o.lo && o.hi <= p.hi }
func (p part) has(l int) bool     { return p.lo <= l && l < p.hi }
func (p part) middle() int        { return p.lo + p.hi } // doubled

func (p part) touches(o part) bool {
	return p.size() > 0 && o.size() > 0 && p.lo <= o.hi && o.lo <= p.hi
}

func (p part) within(o part) (q part) {
	q = part{max(p.lo, o.lo), min(p.hi, o.hi)}
	if q.lo >= q.hi {
		return part{}
	}
	return q
}

// A settler works out who should hold what. Slices are by the index of a peer
// in q.peers.
type settler struct {
	*problem
	has   []part // held or promised
	fixed []bool // pinned: stays whatever happens
	cause []Cause
	why   []string
	share []part
	mean  float64 // see scale
	calm  bool    // balance has found nothing left to do
}

// Settle returns what every peer should hold, from what peers hold and have
// promised (DESIGN.md). A view that is at rest stays as it is: applied to the
// view in which its targets are held, Settle changes nothing.
func Settle(v View, p Params) (Targets, error) {
	q, err := newSettling(v, p)
	if err != nil {
		return Targets{}, err
	}
	s := newSettler(q)
	before := slices.Clone(s.has)
	var out Targets
	gaps := s.gaps(s.has)
	if len(gaps) > 0 {
		if !s.closeGaps(gaps) {
			out.Gaps = s.fill(gaps)
		}
	} else {
		s.balance()
	}
	spare := slices.Clone(s.has)
	if len(s.gaps(s.served())) == 0 { // not before everything is there
		if spare = s.standBy(); s.calm && !slices.Equal(spare, s.has) && !s.quiet(spare) {
			spare = slices.Clone(s.has)
		}
	}
	for i, p := range q.peers {
		t := Target{Peer: p.ID, Share: s.share[i].span(), Span: s.has[i].span(), Spare: spare[i].span(), Cause: s.cause[i], Why: s.why[i]}
		if t.Span == before[i].span() && t.Span.Len() > 0 {
			t.Cause, t.Why = Keep, "every layer has a holder"
			if len(out.Gaps) > 0 {
				t.Why = "the members are too small for the model together"
			}
		}
		out.Peers = append(out.Peers, t)
		out.NewBytes += s.newBytes(s.has[i], before[i])
		out.SpareBytes += s.newBytes(spare[i], s.has[i])
	}
	return out, nil
}

// settledPeers is the number of peers above which those that hold nothing are
// left alone.
const settledPeers = 512

// newSettling is newProblem without what settling does not look up.
func newSettling(v View, p Params) (*problem, error) {
	if err := v.check(); err != nil {
		return nil, fmt.Errorf("settle: %w", err)
	}
	q := &problem{v: v, p: p, layers: v.Model.Layers}
	q.p.ContextTokens = cmp.Or(p.ContextTokens, 2048)
	q.kvTok = v.Model.KVBytesPerTokenLayer * int64(q.p.ContextTokens)
	q.prefix, q.head = v.Model.prefix(), v.Model.headLayers()
	for _, peer := range v.Peers {
		if peer.Role == Serve {
			q.peers = append(q.peers, peer)
		}
	}
	slices.SortFunc(q.peers, func(a, b Peer) int {
		idle := func(p Peer) int { return min(1, p.Held.Len()+p.Planned.Len()+p.Pinned.Len()) }
		return cmp.Or(cmp.Compare(idle(b), idle(a)), cmp.Compare(a.ID, b.ID))
	})
	q.peers = q.peers[:min(len(q.peers), settledPeers)]
	slices.SortFunc(q.peers, func(a, b Peer) int { return cmp.Compare(a.ID, b.ID) })
	q.fillRates()
	return q, nil
}

func newSettler(q *problem) *settler {
	n := len(q.peers)
	s := &settler{
		problem: q, has: make([]part, n), fixed: make([]bool, n), cause: make([]Cause, n), why: make([]string, n), share: make([]part, n),
	}
	for i, p := range q.peers {
		s.cause[i] = Keep
		switch {
		case p.Pinned.Len() > 0:
			s.has[i], s.fixed[i] = partOf(p.Pinned), true
		case p.Planned.Len() > 0:
			s.has[i] = partOf(p.Planned)
		case p.Held.Len() > 0:
			s.has[i] = partOf(p.Held)
		}
	}
	return s
}

// gaps returns the layers that are in none of the parts.
func (s *settler) gaps(parts []part) []part {
	return gapsIn(s.counts(parts), 1)
}

// served returns what peers hold now.
func (s *settler) served() []part {
	out := make([]part, len(s.peers))
	for i, p := range s.peers {
		out[i] = partOf(p.Held)
	}
	return out
}

// counts returns how many of the parts have each layer.
func (s *settler) counts(parts []part) []int {
	n := make([]int, s.layers)
	for _, p := range parts {
		for l := p.lo; l < p.hi; l++ {
			n[l]++
		}
	}
	return n
}

// gapsIn returns the runs of layers that fewer than least have.
func gapsIn(counts []int, least int) []part {
	var out []part
	for l, n := range counts {
		switch k := len(out); {
		case n >= least:
		case k > 0 && out[k-1].hi == l:
			out[k-1].hi++
		default:
			out = append(out, part{l, l + 1})
		}
	}
	return out
}

// newBytes returns what a peer must get for want that it does not have.
func (s *settler) newBytes(want, has part) int64 {
	if want.size() == 0 {
		return 0
	}
	n := s.v.Model.weightBytes(s.prefix, want.lo, want.hi)
	if both := want.within(has); both.size() > 0 {
		n -= s.prefix[both.hi] - s.prefix[both.lo]
		if both.lo == 0 {
			n -= s.v.Model.EmbedBytes
		}
		if both.hi == s.layers {
			n -= s.v.Model.HeadBytes
		}
	}
	return max(0, n)
}

// fits reports whether peer i can hold p with KV cache for a context.
func (s *settler) fits(i int, p part) bool {
	return s.needBytes(p.lo, p.hi) <= s.peers[i].MemoryBytes && (len(s.peers[i].Throughput) == 0 || p.size() <= len(s.peers[i].Throughput))
}

// take gives every peer its part of a tiling, and lets it keep what it has
// beside that.
func (s *settler) take(tiles []part, cause Cause, why func(i int) string) {
	for i, t := range tiles {
		s.share[i] = t
		if s.fixed[i] || s.has[i].covers(t) {
			continue
		}
		if s.has[i].size() == 0 && cause != Gap {
			s.cause[i] = Joins
		} else {
			s.cause[i] = cause
		}
		s.why[i] = why(i)
		s.has[i] = s.keep(i, t)
	}
}

// keep returns t with as much of what peer i has beside it as fits, the side
// that fewer others have first.
func (s *settler) keep(i int, t part) part {
	has := s.has[i]
	if !t.touches(has) {
		return t
	}
	counts := s.counts(s.has)
	for t.lo > has.lo || t.hi < has.hi {
		down, up := part{t.lo - 1, t.hi}, part{t.lo, t.hi + 1}
		canDown := t.lo > has.lo && s.fits(i, down)
		canUp := t.hi < has.hi && s.fits(i, up)
		switch {
		case canDown && (!canUp || counts[t.lo-1] <= counts[t.hi]):
			t = down
		case canUp:
			t = up
		default:
			return t
		}
	}
	return t
}

// Room returns the KV cache, in tokens, that peers can be planned with: the
// context of p, or as much below that, by halves and at least least, as it
// takes for the peers to hold the model; the context of p if nothing helps.
func Room(v View, p Params, least int) int {
	wanted := cmp.Or(p.ContextTokens, 2048)
	for p.ContextTokens = wanted; p.ContextTokens >= least; p.ContextTokens /= 2 {
		q, err := newSettling(v, p)
		if err != nil {
			return wanted
		}
		s := newSettler(q)
		c := chain{q: q, within: s.reach(), floor: math.SmallestNonzeroFloat64, cost: free}
		for _, c.order = range s.orders() {
			if _, _, ok := c.solve(); ok {
				return p.ContextTokens
			}
		}
	}
	return wanted
}
