package scheduler

import (
	"fmt"
	"math"
	"slices"

	"github.com/shardnode/shardnode/shard"
)

// patienceMS is how long a gap may take to be closed if that makes the layout
// better: it is short beside the time in which gossip finds out about a death.
const patienceMS = 1000

// closeGaps gives layers that nobody has to peers that can hold them, so that
// the last of them is there as soon as possible, and of the ways to do that
// the one with the fewest bytes. It reports false if the peers are too small.
//
// All members compute the same split, so nobody bids. Everybody who can take a
// part does: neighbours grow, peers whose layers others have too come from
// anywhere, and if memory is short the borders in between move along. Who must
// keep what is counted by the same tiling that hands the gap out: a layer
// stays with the peer whose share it is.
func (s *settler) closeGaps(gaps []part) bool {
	orders := s.orders()
	c := chain{q: s.problem, within: s.reach(), floor: math.SmallestNonzeroFloat64}
	slowest := s.soonest(c, orders)
	if math.IsInf(slowest, 1) {
		return false
	}
	slowest = max(slowest, patienceMS)
	c.cost = func(i, lo, hi int) float64 {
		ms := s.getMS(i, lo, hi)
		if ms > slowest {
			return math.Inf(1)
		}
		return ms + s.even(i, lo, hi)
	}
	tiles, _ := c.cheapest(orders)
	if tiles == nil {
		return false
	}
	s.take(tiles, Gap, func(i int) string {
		return fmt.Sprintf("nobody holds layers %s: it takes its part of them", spansText(spansOf(gaps)))
	})
	return true
}

// reach returns where peers may have their stages: anywhere, but for pinned
// ones.
func (s *settler) reach() []part {
	out := make([]part, len(s.peers))
	for i := range out {
		out[i] = part{0, s.layers}
		if s.fixed[i] {
			out[i] = s.has[i]
		}
	}
	return out
}

// getMS returns how long peer i takes to get what it lacks of [lo, hi).
func (s *settler) getMS(i, lo, hi int) float64 {
	n := s.newBytes(part{lo, hi}, s.has[i])
	if n == 0 {
		return 0
	}
	mbit := s.peers[i].DownMbit
	if mbit <= 0 {
		mbit = 1000
	}
	return float64(n) * 8 / (mbit * 1e3)
}

// soonest returns the least time after which every peer can have what it lacks
// of some tiling; infinite if there is no tiling at all.
func (s *settler) soonest(c chain, orders [][]int) float64 {
	var times []float64
	for i := range s.peers {
		for lo, row := range s.rate[i] {
			for k := range row {
				times = append(times, s.getMS(i, lo, lo+k+1))
			}
		}
	}
	slices.Sort(times)
	times = slices.Compact(times)
	at := len(times)
	for _, c.order = range orders {
		lo, hi := 0, at // hi is allowed by some order, or the end
		for first := true; lo < hi; first = false {
			mid := (lo + hi) / 2
			if first {
				mid = hi - 1 // most orders allow nothing better than what is found
			}
			c.cost = func(i, lo, hi int) float64 {
				if s.getMS(i, lo, hi) > times[mid] {
					return math.Inf(1)
				}
				return 0
			}
			if _, _, ok := c.solve(); ok {
				hi = mid
			} else {
				lo = mid + 1
			}
		}
		at = min(at, hi)
	}
	if at == len(times) {
		return math.Inf(1)
	}
	return times[at]
}

// even is a small cost that decides between tilings that are alike otherwise:
// less where times are even, and where there are fewer stages.
func (s *settler) even(i, lo, hi int) float64 {
	ms := float64(s.units(lo, hi) * s.peers[i].decodeMS(1))
	scale := s.scale()
	return float64(1e-3*ms*ms/(scale*scale)) + 1e-6
}

// scale is the time of the whole model on the mean peer.
func (s *settler) scale() float64 {
	if s.mean == 0 {
		for i := range s.peers {
			s.mean += s.peers[i].decodeMS(1) * s.units(0, s.layers)
		}
		s.mean /= float64(len(s.peers))
	}
	return s.mean
}

// fill gives as many of the missing layers as fit to peers that are free to
// take them, when all are too small together for the whole model, and returns
// the layers that are left over. Nobody lets go of anything others lack.
func (s *settler) fill(gaps []part) []shard.Span {
	loose := s.loose()
	for i := range s.peers {
		if !loose[i] {
			continue
		}
		best := part{}
		for _, gap := range s.gaps(s.has) {
			p := part{gap.lo, gap.lo}
			for p.hi < gap.hi && s.fits(i, part{p.lo, p.hi + 1}) {
				p.hi++
			}
			if p.size() > best.size() {
				best = p
			}
		}
		if best.size() > 0 {
			if s.cause[i] = Gap; s.has[i].size() == 0 {
				s.cause[i] = Joins
			}
			s.why[i] = "as many of the missing layers as fit; the members are too small for the model together"
			s.has[i] = best
		}
	}
	copy(s.share, s.has)
	return spansOf(s.gaps(s.has))
}

func spansOf(parts []part) []shard.Span {
	out := make([]shard.Span, len(parts))
	for i, p := range parts {
		out[i] = p.span()
	}
	return out
}
