package scheduler

import (
	"fmt"
	"math"
	"slices"
)

// Layers move for the sake of speed only when the slowest stage of what is
// held gives less than 1-tolerance of the best that is possible, and the move
// gives at least minGain more; then they move to where the slowest gives
// 1-landing of that. The distance between the two is the hysteresis: after a
// move, much has to change before the next one (research/scheduler.md §4.2
// found 0.15 best for lifetimes of hours).
const (
	tolerance = 0.15
	landing   = 0.03
	minGain   = 1.08
)

// maxStages is the most stages that a layout is planned with, memory allowing:
// each costs every token a hop. More peers stand by.
const maxStages = 16

// leastLayers is what a stage has at least.
func (q *problem) leastLayers() int { return (q.layers + maxStages - 1) / maxStages }

// balance moves boundaries until the slowest stage is fast enough. Layers that
// are held cost nothing, so of all tilings that are even enough it takes the
// one that moves the fewest bytes.
func (s *settler) balance() {
	floors := s.floors()
	want := s.waterline(floors)
	for range 4 { // more than one only where orders are better after a move
		rate, best := s.gives(floors, want)
		now := chain{q: s.problem, within: s.has, least: 1, floor: rate, cost: s.even}
		orders := s.orders()
		if tiles, _ := now.cheapest(orders); tiles != nil {
			copy(s.share, tiles)
		}
		if best == 0 {
			s.calm = true
			return
		}
		next := chain{q: s.problem, within: s.reach(), least: s.leastLayers(), floor: (1 - landing) * best}
		next.cost = func(i, lo, hi int) float64 {
			return float64(s.newBytes(part{lo, hi}, s.has[i])) + float64(s.meanBytes()*s.even(i, lo, hi))
		}
		tiles, _ := next.cheapest(orders)
		if tiles == nil {
			return
		}
		was := slices.Clone(s.has)
		why := fmt.Sprintf("a share of the work: the slowest stage gives %.4g tok/s instead of %.4g", best, rate)
		if rate == 0 {
			why = "what is held does not fit together"
		}
		s.take(tiles, Balance, func(int) string { return why })
		if slices.Equal(was, s.has) {
			return
		}
		if seen, _ := s.gives(floors, 0); seen < next.floor {
			// What peers keep beside their tiles hides the tiling from whoever
			// looks for it in what is held: they would move again.
			for i, t := range tiles {
				if t.size() > 0 && !s.fixed[i] && s.has[i] != t {
					s.has[i], s.cause[i], s.why[i] = t, Balance, why
				}
			}
		}
	}
}

// gives returns the rate of the slowest stage in what is held, as well as it
// can be cut, and the one that it is worth moving layers for; 0 if that is
// none. want is the waterline.
func (s *settler) gives(floors []float64, want float64) (rate, better float64) {
	orders := s.orders()
	rate = chain{q: s.problem, within: s.has, least: 1}.best(orders, floors)
	if rate >= (1-tolerance)*want && rate > 0 {
		return rate, 0
	}
	better = chain{q: s.problem, within: s.reach(), least: s.leastLayers()}.best(orders, floors)
	if better = min(better, want); better < minGain*rate {
		return rate, 0
	}
	return rate, better
}

// quiet reports whether nothing would move for the sake of speed if peers held
// these parts.
func (s *settler) quiet(has []part) bool {
	was := s.has
	s.has = has
	defer func() { s.has = was }()
	floors := s.floors()
	_, better := s.gives(floors, s.waterline(floors))
	return better == 0
}

// meanBytes returns the bytes of a mean layer, at least 1.
func (s *settler) meanBytes() float64 {
	return math.Max(1, float64(s.prefix[s.layers])/float64(s.layers))
}

// waterline returns the rate that every stage could have if layers could be
// handed out in any number anywhere: the largest theta with
// sum max{k: T_i(k) >= theta} >= L (research/scheduler.md §2.2), the last
// layers counted on the peer that carries the head best. It does not depend on
// who holds what, so it does not move when layers do.
func (s *settler) waterline(floors []float64) float64 {
	n := len(s.peers)
	mid, last := make([][]float64, n), make([][]float64, n)
	for i := range n {
		mid[i], last[i] = s.bestRates(i)
	}
	most := func(rates []float64, theta float64) int {
		for k := len(rates); k > 0; k-- {
			if rates[k-1] >= theta {
				return k
			}
		}
		return 0
	}
	found, _ := slices.BinarySearchFunc(floors, true, func(theta float64, _ bool) int {
		sum, gain := 0, math.MinInt
		for i := range n {
			k := most(mid[i], theta)
			sum += k
			if e := most(last[i], theta); e > 0 {
				gain = max(gain, e-k)
			}
		}
		if gain != math.MinInt && sum+gain >= s.layers {
			return -1 // possible: look higher
		}
		return 1
	})
	if found == 0 {
		return 0
	}
	return floors[found-1]
}

// bestRates returns the best rate of peer i with k layers, in [k-1]: anywhere
// before the last layer, and with it.
func (s *settler) bestRates(i int) (mid, last []float64) {
	mid, last = make([]float64, s.layers), make([]float64, s.layers)
	for lo, row := range s.rate[i] {
		for k, r := range row {
			p, to := part{lo, lo + k + 1}, mid
			if p.hi == s.layers {
				to = last
			}
			if !s.fixed[i] || s.has[i].covers(p) {
				to[k] = max(to[k], r)
			}
		}
	}
	return mid, last
}
