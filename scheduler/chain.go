package scheduler

import (
	"cmp"
	"math"
	"slices"
)

// A chain asks for a tiling of the model by peers in a given order, each with
// a part of what it may hold, or none: the one with the least cost of those
// whose every stage gives floor or more. It is exact for the order.
type chain struct {
	q      *problem
	order  []int
	within []part  // by peer: the stage must lie in it
	floor  float64 // tokens a second
	least  int     // layers of a stage, where the peer can hold so many
	cost   func(i, lo, hi int) float64
}

// solve returns the stages by peer, and their cost; ok is false if there is no
// such tiling.
//
// f[j][b] is the least cost of the layers before b on the first j peers. That
// takes O(n L K) steps for n peers, L layers and K layers a peer.
func (c chain) solve() (tiles []part, cost float64, ok bool) {
	n, layers := len(c.order), c.q.layers
	width := layers + 1
	f := make([]float64, (n+1)*width)
	size := make([]int16, (n+1)*width) // of the last of the j peers' stage
	for x := range f {
		f[x] = math.Inf(1)
	}
	f[0] = 0
	for j, i := range c.order {
		was, now, took := f[j*width:][:width], f[(j+1)*width:][:width], size[(j+1)*width:][:width]
		copy(now, was) // a peer may be left out
		may := c.within[i]
		least := max(1, min(c.least, may.size(), c.q.longest(i)))
		for b := may.lo; b < may.hi; b++ {
			if math.IsInf(was[b], 1) {
				continue
			}
			for k, rate := range c.q.rate[i][b] {
				hi := b + k + 1
				if hi > may.hi {
					break
				}
				if rate < c.floor || rate == 0 || k+1 < least {
					continue
				}
				if x := was[b] + c.cost(i, b, hi); x < now[hi] {
					now[hi], took[hi] = x, int16(k+1) //nolint:gosec // at most maxLayers
				}
			}
		}
	}
	cost = f[n*width+layers]
	if math.IsInf(cost, 1) {
		return nil, cost, false
	}
	tiles = make([]part, len(c.q.peers))
	b := layers
	for j := n; j > 0 && b > 0; j-- {
		if k := int(size[j*width+b]); k > 0 {
			tiles[c.order[j-1]] = part{b - k, b}
			b -= k
		}
	}
	return tiles, cost, true
}

// longest returns the most layers that peer i can hold in one place.
func (q *problem) longest(i int) int {
	k := 0
	for _, r := range q.rate[i] {
		k = max(k, len(r))
	}
	return k
}

// free is a cost that asks for any tiling.
func free(int, int, int) float64 { return 0 }

// best returns the largest floor, of the given ones in ascending order, that
// some of the orders allow; 0 if none does.
func (c chain) best(orders [][]int, floors []float64) float64 {
	c.cost = free
	at := -1
	for _, c.order = range orders {
		lo, hi := at+1, len(floors) // all below lo are allowed by some order
		for first := true; lo < hi; first = false {
			mid := (lo + hi) / 2
			if first {
				mid = lo // most orders allow nothing better than what is found
			}
			c.floor = floors[mid]
			if _, _, ok := c.solve(); ok {
				lo = mid + 1
				continue
			}
			hi = mid
		}
		at = max(at, lo-1)
	}
	if at < 0 {
		return 0
	}
	return floors[at]
}

// cheapest returns the tiling with the least cost over all orders; nil if
// there is none.
func (c chain) cheapest(orders [][]int) (tiles []part, cost float64) {
	cost = math.Inf(1)
	for _, c.order = range orders {
		if t, x, ok := c.solve(); ok && x < cost {
			tiles, cost = t, x
		}
	}
	return tiles, cost
}

// floors returns the rates that stages can have, ascending.
func (q *problem) floors() []float64 {
	var out []float64
	for i := range q.rate {
		for _, row := range q.rate[i] {
			for _, r := range row {
				if r > 0 {
					out = append(out, r)
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// manyOrders is how many orders of peers are tried at most.
const manyOrders = 24

// exactSettle is the number of peers up to which all orders are tried.
const exactSettle = 5

// orders returns orders of the peers that are worth tiling: those with layers
// by where they are, and the loose ones, who have none or only what others
// have too, in different places between them.
func (s *settler) orders() [][]int {
	var placed, loose []int
	is := s.loose()
	for i := range s.peers {
		switch {
		case s.fixed[i] || s.has[i].size() > 0 && !is[i]:
			placed = append(placed, i)
		case s.longest(i) > 0:
			loose = append(loose, i)
		}
	}
	by := func(a, b int) int {
		return cmp.Or(cmp.Compare(s.has[a].middle(), s.has[b].middle()), cmp.Compare(a, b))
	}
	slices.SortFunc(placed, by)
	var there, empty []int // loose ones that have layers, and that have none
	for _, i := range loose {
		if s.has[i].size() > 0 {
			there = append(there, i)
		} else {
			empty = append(empty, i)
		}
	}
	slices.SortFunc(there, by)
	if n := len(placed) + len(loose); n <= exactSettle {
		return permutations(append(placed, loose...))
	}
	out := [][]int{}
	add := func(o []int) {
		if !slices.ContainsFunc(out, func(x []int) bool { return slices.Equal(x, o) }) {
			out = append(out, o)
		}
	}
	all := slices.Clone(placed)
	all = append(all, there...)
	slices.SortStableFunc(all, by)
	for _, spot := range spots(len(all)) {
		add(insert(all, empty, spot)) // the newcomers together, in some place
	}
	add(spread(all, empty))
	add(s.bigEnds(append(slices.Clone(all), empty...)))
	add(append(s.firstToEnd(all), empty...))
	if len(there) > 0 {
		for _, spot := range spots(len(placed)) {
			add(insert(placed, loose, spot))
		}
		add(spread(placed, loose))
	}
	// Whoever holds what: what is possible should depend on that as little as
	// can be.
	canon := append(slices.Clone(placed), loose...)
	slices.Sort(canon)
	slices.SortStableFunc(canon, func(a, b int) int { return cmp.Compare(s.peers[a].decodeMS(1), s.peers[b].decodeMS(1)) })
	add(s.bigEnds(slices.Clone(canon)))
	slices.Reverse(canon)
	add(canon)
	return out
}

// spots returns places between n in a row, at most manyOrders/2, evenly.
func spots(n int) []int {
	step := n/(manyOrders/2) + 1
	var out []int
	for at := 0; at <= n; at += step {
		out = append(out, at)
	}
	return out
}

// insert returns row with more at a place.
func insert(row, more []int, at int) []int { return slices.Insert(slices.Clone(row), at, more...) }

// spread returns row with more evenly between.
func spread(row, more []int) []int {
	out := make([]int, 0, len(row)+len(more))
	put := 0
	for x := 0; x <= len(row); x++ {
		for put < len(more) && (2*put+1)*(len(row)+1) <= (2*x+1)*len(more)+len(row) {
			out = append(out, more[put])
			put++
		}
		if x < len(row) {
			out = append(out, row[x])
		}
	}
	return append(out, more[put:]...)
}

// loose returns the peers that are needed where they are by nobody: who have
// nothing, or only what others have that are not loose. Of several alike the
// lowest id is none.
func (s *settler) loose() []bool {
	counts := s.counts(s.has)
	out := make([]bool, len(s.peers))
	for i := len(s.peers) - 1; i >= 0; i-- {
		if s.fixed[i] {
			continue
		}
		out[i] = true
		for l := s.has[i].lo; l < s.has[i].hi; l++ {
			out[i] = out[i] && counts[l] > 1
		}
		if out[i] {
			for l := s.has[i].lo; l < s.has[i].hi; l++ {
				counts[l]--
			}
		}
	}
	return out
}

// permutations returns all orders of row, row itself first.
func permutations(row []int) [][]int {
	if len(row) <= 1 {
		return [][]int{row}
	}
	var out [][]int
	for x := range row {
		rest := slices.Delete(slices.Clone(row), x, x+1)
		for _, more := range permutations(rest) {
			out = append(out, append([]int{row[x]}, more...))
		}
	}
	return out
}

// bigEnds returns row with the two peers that have the most memory at its
// ends, which carry the embedding and the head.
func (s *settler) bigEnds(row []int) []int {
	big := slices.Clone(row)
	slices.SortStableFunc(big, func(a, b int) int { return cmp.Compare(s.peers[b].MemoryBytes, s.peers[a].MemoryBytes) })
	big = big[:min(2, len(big))]
	out := slices.DeleteFunc(row, func(i int) bool { return slices.Contains(big, i) })
	if len(big) == 2 {
		out = append(out, big[1])
	}
	return slices.Insert(out, 0, big[:1]...)
}

// firstToEnd returns the order in which peers take the layers of what they
// have from the first on, when of those that have the next layer always the
// one whose layers end first goes on, for its even part of the whole.
func (s *settler) firstToEnd(row []int) []int {
	left := slices.Clone(row)
	out := make([]int, 0, len(row))
	for b := 0; b < s.layers; {
		at := -1
		for x, i := range left {
			if s.has[i].has(b) && (at < 0 || s.has[i].hi < s.has[left[at]].hi) {
				at = x
			}
		}
		if at < 0 {
			b++
			continue
		}
		i := left[at]
		left = slices.Delete(left, at, at+1)
		out = append(out, i)
		share := max(1, int(s.scale()/float64(len(row))/s.peers[i].decodeMS(1)))
		b = min(b+share, s.has[i].hi)
	}
	return append(out, left...)
}
