package scheduler

import (
	"cmp"
	"fmt"
	"slices"
)

// wantedHolders is how many should hold each layer, memory allowing: with two,
// sessions go on from a death at once, with somebody who has the layers.
const wantedHolders = 2

// spareKV is what a peer keeps free for KV cache beside layers that it holds a
// second time, in contexts.
const spareKV = 2

// standBy returns what peers should hold when they take layers with too few
// holders into spare memory. A peer that has none takes a stage of the others.
// The rest grow, each in turn to where the fewest layers are left with too few
// holders, and of such ways the one with the fewest bytes, until nobody can
// better it: what they find again when they have grown so.
func (s *settler) standBy() []part {
	base := slices.Clone(s.has)
	counts := s.counts(base)
	for i := range base {
		if base[i].size() > 0 || s.fixed[i] {
			continue
		}
		if p := s.replica(i, counts); p.size() > 0 {
			base[i] = p
			for l := p.lo; l < p.hi; l++ {
				counts[l]++
			}
			s.cause[i], s.why[i] = Standby, fmt.Sprintf("a second holder of layers %v, should the first one go", p.span())
		}
	}
	var row []int
	for i := range base {
		if base[i].size() > 0 && !s.fixed[i] {
			row = append(row, i)
		}
	}
	slices.SortFunc(row, func(a, b int) int { return cmp.Or(cmp.Compare(base[a].middle(), base[b].middle()), cmp.Compare(a, b)) })
	best, few := s.grown(base, row)
	slices.Reverse(row)
	if other, n := s.grown(base, row); n < few {
		best = other
	}
	return best
}

// grownRounds bounds how often each peer's growth is looked at again.
const grownRounds = 4

// grown returns what peers hold when they grow in the order of row, and how
// many layers have too few holders then.
func (s *settler) grown(base []part, row []int) ([]part, int) {
	out := slices.Clone(base)
	for range grownRounds {
		changed := false
		for _, i := range row {
			if p := s.growth(i, base[i], out); p != out[i] {
				out[i], changed = p, true
			}
		}
		if !changed {
			break
		}
	}
	few := 0
	for _, n := range s.counts(out) {
		if n < wantedHolders {
			few++
		}
	}
	return out, few
}

// growth returns what peer i, which has p, should hold when the others hold
// what they do in parts: its share, what nobody else has, and beside that where
// it helps most. It lets go of what others have as well only if it helps with
// more elsewhere.
func (s *settler) growth(i int, p part, parts []part) part {
	needs := make([]int, s.layers+1) // [l]: layers before l that peer i would help
	must := s.share[i]
	for l, n := range s.counts(parts) {
		needs[l+1] = needs[l]
		if parts[i].has(l) {
			n--
		}
		if n < wantedHolders {
			needs[l+1]++
		}
		if n == 0 && p.has(l) {
			must = must.hull(part{l, l + 1})
		}
	}
	best := parts[i]
	helps, bytes := needs[best.hi]-needs[best.lo], s.newBytes(best, p)
	last := must.lo
	if must.size() == 0 {
		last = s.layers - 1
	}
	for lo := 0; lo <= last; lo++ {
		for hi := max(must.hi, lo+1); hi <= s.layers; hi++ {
			q := part{lo, hi}
			n := needs[hi] - needs[lo]
			if n < helps || !s.spares(i, q) {
				continue
			}
			if b := s.newBytes(q, p); n > helps || b < bytes || b == bytes && p == q {
				best, helps, bytes = q, n, b
			}
		}
	}
	return best
}

// hull returns the layers of p and o and those between.
func (p part) hull(o part) part {
	switch {
	case p.size() == 0:
		return o
	case o.size() == 0:
		return p
	}
	return part{min(p.lo, o.lo), max(p.hi, o.hi)}
}

// spares reports whether peer i can hold p and still has memory to spare.
func (s *settler) spares(i int, p part) bool {
	return s.fits(i, p) && s.needBytes(p.lo, p.hi)+int64(p.size())*s.kvTok*(spareKV-1) <= s.peers[i].MemoryBytes
}

// replica returns the share of another peer that peer i, which has nothing,
// holds a second time: of those that fit the one with the fewest holders, and
// of these the slowest.
func (s *settler) replica(i int, counts []int) part {
	best, least, slowest := part{}, 0, 0.0
	for j, p := range s.share {
		if p.size() == 0 || !s.spares(i, p) {
			continue
		}
		n := slices.Min(counts[p.lo:p.hi])
		ms := s.units(p.lo, p.hi) * s.peers[j].decodeMS(1)
		if best.size() == 0 || n < least || n == least && ms > slowest {
			best, least, slowest = p, n, ms
		}
	}
	return best
}
