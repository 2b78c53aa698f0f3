package scheduler

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// near is the relative difference below which two rates count as equal.
const near = 1e-9

// A planner is a problem and what follows from its pins.
type planner struct {
	*problem
	free []int // peers without a pin, ascending
	pins []pin // ascending, apart
	also []int // pinned peers whose layers others are pinned to already
}

func plan(v View, p Params) (Result, error) {
	q, err := newProblem(v, p)
	if err != nil {
		return Result{}, fmt.Errorf("plan: %w", err)
	}
	pl := &planner{problem: q}
	if len(p.Split) > 0 {
		return pl.splitPlan(p.Split)
	}
	if err := pl.sortPins(); err != nil {
		return Result{}, fmt.Errorf("plan: %w", err)
	}
	many, theta := pl.waterline(Many)
	if many == nil {
		return Result{}, pl.tooSmall()
	}
	found := []candidate{{name: "waterline sizes", layout: many}}
	if one := pl.fastest(); one != nil {
		found = append(found, candidate{name: "fewest milliseconds a token", layout: one})
	}
	if even, _ := pl.waterline(Spread); even != nil {
		found = append(found, candidate{name: "every peer used", layout: even})
	}
	found = append(found, pl.singles()...)
	for i := range found {
		found[i].got = q.predict(found[i].layout)
	}
	return pl.result(found, theta), nil
}

// A candidate is a layout in question.
type candidate struct {
	name   string
	layout Layout
	got    Predicted
}

// sortPins separates pinned peers from free ones.
func (pl *planner) sortPins() error {
	var pins []pin
	for i, p := range pl.peers {
		if p.Pinned.Len() == 0 {
			pl.free = append(pl.free, i)
			continue
		}
		lo, hi := int(p.Pinned.Start), int(p.Pinned.End)
		if short := pl.needBytes(lo, hi) - p.MemoryBytes; short > 0 {
			return fmt.Errorf("peer %s is pinned to layers %v, which take %d bytes more than its memory of %d: pin fewer or give it more",
				p.called(), p.Pinned, short, p.MemoryBytes)
		}
		pins = append(pins, pin{i, lo, hi})
	}
	slices.SortFunc(pins, func(a, b pin) int {
		return cmp.Or(cmp.Compare(a.lo, b.lo), cmp.Compare(b.hi, a.hi), cmp.Compare(a.peer, b.peer))
	})
	for _, p := range pins {
		if n := len(pl.pins); n > 0 && p.lo < pl.pins[n-1].hi {
			pl.also = append(pl.also, p.peer)
			continue
		}
		pl.pins = append(pl.pins, p)
	}
	return nil
}

// waterline returns the layout whose weakest peer or hop lets the most tokens
// through, and that rate: the largest theta such that peers sized
// max{k: T_i(k) >= theta} tile the model (research/scheduler.md §2.2). Of the
// layouts with that theta it returns the one with the least time a token. With
// Spread every free peer gets a layer, and times are evened out.
func (pl *planner) waterline(goal Goal) (Layout, float64) {
	ids := pl.free
	if goal == Spread {
		ids = pl.spreadable(ids)
	}
	thetas := pl.thetas(ids)
	t := tiling{q: pl.problem, pins: pl.pins, all: goal == Spread}
	orders := pl.orders(ids)
	best := -1 // index of the best theta that some order allows
	for _, t.order = range orders {
		// Most orders allow nothing better than what is found: ask that first.
		if best+1 == len(thetas) {
			break
		}
		t.theta = thetas[best+1]
		if t.solve() == nil {
			continue
		}
		lo, hi := best+2, len(thetas) // all below lo are allowed, none from hi
		for lo < hi {
			mid := (lo + hi) / 2
			t.theta = thetas[mid]
			if t.solve() == nil {
				hi = mid
			} else {
				lo = mid + 1
			}
		}
		best = lo - 1
	}
	if best < 0 {
		return nil, 0
	}
	t.theta, t.smooth = thetas[best], goal == Spread
	return pl.cheapest(t, orders), t.theta
}

// thetas returns the rates that can be a bottleneck of ids, ascending.
func (pl *planner) thetas(ids []int) []float64 {
	var out []float64
	seen := map[float64]bool{}
	add := func(r float64) {
		if r > 0 && !math.IsInf(r, 1) && !seen[r] {
			seen[r] = true
			out = append(out, r)
		}
	}
	add(math.SmallestNonzeroFloat64) // pinned peers alone set no bound
	for _, i := range ids {
		for _, row := range pl.rate[i] {
			for _, r := range row {
				add(r)
			}
		}
	}
	for i := range pl.hop {
		for j := range pl.hop[i] {
			add(pl.hop[i][j].cap)
		}
	}
	slices.Sort(out)
	return out
}

// cheapest returns the tiling with the least time a token over all orders.
func (pl *planner) cheapest(t tiling, orders [][]int) Layout {
	var best Layout
	least := math.Inf(1)
	for _, t.order = range orders {
		l := t.solve()
		if l == nil {
			continue
		}
		ms := 1000 / pl.predict(l).TokSOne
		if t.smooth {
			ms = pl.slowestMS(l) + float64(1e-3*ms)
		}
		if ms < least*(1-near) || ms <= least*(1+near) && compareLayouts(l, best) < 0 {
			least, best = ms, l
		}
	}
	return best
}

// slowestMS returns the time of the slowest stage of l.
func (pl *planner) slowestMS(l Layout) float64 {
	worst := 0.0
	for _, a := range l {
		ms := pl.units(int(a.Span.Start), int(a.Span.End)) * pl.peers[pl.indexOf(a.Peer)].decodeMS(1)
		worst = max(worst, ms)
	}
	return worst
}

// spreadable returns as many of ids as there are free layers, the fastest
// first if that is not all; peers that cannot hold a single layer are left out.
func (pl *planner) spreadable(ids []int) []int {
	left := pl.layers
	for _, p := range pl.pins {
		left -= p.hi - p.lo
	}
	ids = slices.DeleteFunc(slices.Clone(ids), func(i int) bool {
		return pl.most[i] == 0
	})
	if len(ids) > left {
		slices.SortStableFunc(ids, func(a, b int) int {
			return cmp.Compare(pl.peers[a].decodeMS(1), pl.peers[b].decodeMS(1))
		})
		ids = ids[:left]
		slices.Sort(ids)
	}
	return ids
}

// fastest returns the layout with the least time a token for one session.
func (pl *planner) fastest() Layout {
	t := tiling{q: pl.problem, pins: pl.pins}
	return pl.cheapest(t, pl.orders(pl.free))
}

// singles returns the layouts of one peer alone, the best for many and the
// best for one session. None if pins say otherwise.
func (pl *planner) singles() []candidate {
	var many, one candidate
	for i, p := range pl.peers {
		if len(pl.pins) > 0 && (p.Pinned.Len() != pl.layers || len(pl.pins) > 1) {
			continue
		}
		if pl.throughput(p, 0, pl.layers) == 0 {
			continue
		}
		c := candidate{name: "one peer alone", layout: Layout{pl.assign(i, 0, pl.layers)}}
		c.got = pl.predict(c.layout)
		if many.layout == nil || c.got.TokSMany > many.got.TokSMany {
			many = c
		}
		if one.layout == nil || c.got.TokSOne > one.got.TokSOne {
			one = c
		}
	}
	if many.layout == nil {
		return nil
	}
	return []candidate{many, one}
}
