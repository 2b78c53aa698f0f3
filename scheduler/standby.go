package scheduler

import (
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
// holders into spare memory. A peer that has none takes a stage of the others;
// the rest grow by whole layers, each step the shortest way to a layer in
// need, and of equally short ones that which leaves most memory free.
func (s *settler) standBy() []part {
	out := slices.Clone(s.has)
	counts := s.counts(out)
	for i := range out {
		if out[i].size() == 0 && !s.fixed[i] {
			if p := s.replica(i, counts); p.size() > 0 {
				s.grow(out, counts, i, p)
				s.cause[i], s.why[i] = Standby, fmt.Sprintf("a second holder of layers %v, should the first one go", p.span())
			}
		}
	}
	for {
		best, at, near, left := part{}, -1, 0, 0.0
		for i, p := range out {
			if p.size() == 0 || s.fixed[i] {
				continue
			}
			for _, q := range [2]part{{below(counts, p.lo), p.hi}, {p.lo, above(counts, p.hi)}} {
				if q.lo < 0 || q.hi > s.layers || !s.spares(i, q) {
					continue
				}
				far := q.size() - p.size()
				room := 1 - float64(s.needBytes(q.lo, q.hi))/float64(s.peers[i].MemoryBytes)
				if at < 0 || far < near || far == near && room > left {
					best, at, near, left = q, i, far, room
				}
			}
		}
		if at < 0 {
			return out
		}
		s.grow(out, counts, at, best)
	}
}

// grow gives peer i the layers of p.
func (s *settler) grow(parts []part, counts []int, i int, p part) {
	for l := p.lo; l < p.hi; l++ {
		if !parts[i].has(l) {
			counts[l]++
		}
	}
	parts[i] = p
}

// below returns the highest layer before lo that has too few holders, -1 if
// there is none; above the end of the lowest one from hi on.
func below(counts []int, lo int) int {
	for l := lo - 1; l >= 0; l-- {
		if counts[l] < wantedHolders {
			return l
		}
	}
	return -1
}

func above(counts []int, hi int) int {
	for l := hi; l < len(counts); l++ {
		if counts[l] < wantedHolders {
			return l + 1
		}
	}
	return len(counts) + 1
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
