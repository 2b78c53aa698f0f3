package scheduler

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// exactOrder is the number of peers up to which the cheapest order between
// each two ends is found by trying all subsets (Held and Karp 1962).
const exactOrder = 8

// orders returns the orders of the given peers that are worth tiling: short
// walks over the links, with different peers at the two ends, for the ends
// carry the embedding and the head. ids index q.peers, ascending.
func (q *problem) orders(ids []int) [][]int {
	var out [][]int
	switch {
	case len(ids) <= 1:
		return [][]int{slices.Clone(ids)}
	case len(ids) <= exactOrder:
		out = q.exactOrders(ids)
	default:
		out = q.walks(ids)
	}
	// Links may matter less than speed: the fastest first, and last.
	fast := slices.Clone(ids)
	slices.SortStableFunc(fast, func(a, b int) int {
		return cmp.Compare(q.peers[a].decodeMS(1), q.peers[b].decodeMS(1))
	})
	slow := slices.Clone(fast)
	slices.Reverse(slow)
	return append(out, fast, slow)
}

// walkMS returns the cost of the hops of an order, from the driver and back.
func (q *problem) walkMS(order []int) float64 {
	sum := q.home[order[0]].ms + q.home[order[len(order)-1]].ms
	for x := 1; x < len(order); x++ {
		sum += q.hop[order[x-1]][order[x]].ms
	}
	return sum
}

// exactOrders returns, for every two ends, the order with the cheapest hops.
func (q *problem) exactOrders(ids []int) [][]int {
	n := len(ids)
	var out [][]int
	cost := make([][]float64, 1<<n)
	from := make([][]int, 1<<n)
	for s := range cost {
		cost[s], from[s] = make([]float64, n), make([]int, n)
	}
	for first := range n {
		for s := range cost {
			for j := range n {
				cost[s][j] = math.Inf(1)
			}
		}
		cost[1<<first][first] = 0
		for s := 1; s < 1<<n; s++ {
			for j := range n {
				c := cost[s][j]
				if s&(1<<j) == 0 || math.IsInf(c, 1) {
					continue
				}
				for x := range n {
					if s&(1<<x) != 0 {
						continue
					}
					if d := c + q.hop[ids[j]][ids[x]].ms; d < cost[s|1<<x][x] {
						cost[s|1<<x][x], from[s|1<<x][x] = d, j
					}
				}
			}
		}
		for last := range n {
			if last == first {
				continue
			}
			out = append(out, orderTo(last, from, ids))
		}
	}
	return out
}

// orderTo reads the cheapest order of all ids that ends with the one at last
// out of from, which says for each set and end of it what came before the end.
func orderTo(last int, from [][]int, ids []int) []int {
	order := make([]int, 0, len(ids))
	for s, j := 1<<len(ids)-1, last; ; {
		order = append(order, ids[j])
		if bits.OnesCount(uint(s)) == 1 {
			break
		}
		s, j = s&^(1<<j), from[s][j]
	}
	slices.Reverse(order)
	return order
}

// walks returns nearest-neighbour walks from several starts, improved by
// turning parts around (2-opt), and the same walks backwards.
func (q *problem) walks(ids []int) [][]int {
	starts := slices.Clone(ids)
	slices.SortStableFunc(starts, func(a, b int) int {
		if c := cmp.Compare(q.home[a].ms, q.home[b].ms); c != 0 {
			return c
		}
		return cmp.Compare(q.peers[a].decodeMS(1), q.peers[b].decodeMS(1))
	})
	regions := map[string]bool{}
	var out [][]int
	for _, s := range starts {
		if r := q.peers[s].Region; regions[r] || len(out) >= 8 {
			continue
		}
		regions[q.peers[s].Region] = true
		w := q.walkFrom(s, ids)
		q.shorten(w)
		back := slices.Clone(w)
		slices.Reverse(back)
		out = append(out, w, back)
	}
	return out
}

// walkFrom returns the nearest-neighbour walk over ids from start; of equally
// near peers the faster comes first.
func (q *problem) walkFrom(start int, ids []int) []int {
	out := []int{start}
	left := slices.DeleteFunc(slices.Clone(ids), func(i int) bool { return i == start })
	for at := start; len(left) > 0; {
		best := 0
		for x := range left {
			dx, db := q.hop[at][left[x]].ms, q.hop[at][left[best]].ms
			if dx < db || dx == db && q.peers[left[x]].decodeMS(1) < q.peers[left[best]].decodeMS(1) {
				best = x
			}
		}
		at = left[best]
		out = append(out, at)
		left = slices.Delete(left, best, best+1)
	}
	return out
}

// shorten turns parts of w around as long as that makes it cheaper, at most a
// few passes. It assumes links that cost the same both ways, and checks.
func (q *problem) shorten(w []int) {
	for range 4 {
		better := false
		for a := 1; a < len(w)-1; a++ {
			for b := a + 1; b < len(w); b++ {
				was, now := q.hop[w[a-1]][w[a]].ms, q.hop[w[a-1]][w[b]].ms
				if b+1 < len(w) {
					was += q.hop[w[b]][w[b+1]].ms
					now += q.hop[w[a]][w[b+1]].ms
				}
				if now >= was-1e-9 {
					continue
				}
				before := q.walkMS(w)
				slices.Reverse(w[a : b+1])
				if q.walkMS(w) >= before-1e-9 {
					slices.Reverse(w[a : b+1])
					continue
				}
				better = true
			}
		}
		if !better {
			return
		}
	}
}
