package scheduler

import (
	"math"
	"slices"

	"github.com/shardnode/shardnode/shard"
)

// A tiling asks for spans of the unpinned peers of a problem, in a given order.
type tiling struct {
	q      *problem
	order  []int // peers, by index in q.peers, without pinned ones
	pins   []pin // ascending, apart from each other
	theta  float64
	all    bool // every peer of order gets a layer
	smooth bool // besides, spread the time evenly
}

// A pin is a peer with a fixed span.
type pin struct{ peer, lo, hi int }

// A cell is the best way to have tiled the layers before some layer.
type cell struct {
	cost float64
	from int32 // index in the order of the peer before, -1: the driver
	k    int32 // layers of this peer, before any pinned spans
}

// solve returns the spans with the least cost such that every unpinned peer
// gives theta or more, and every hop too; nil if there are none.
//
// g[j][b] is the least cost with order[j] the last unpinned peer, and the
// layers before b tiled; h is the same with the hop to the next peer added.
// When b is the end of a pinned span, its peer is the last. That takes
// O(n^2 L + n L K) steps for n peers, L layers and K layers a peer.
func (t tiling) solve() Layout {
	n, layers := len(t.order), t.q.layers
	inf := math.Inf(1)
	g := make([][]cell, n+1) // g[0]: no peer of the order used
	for j := range g {
		g[j] = make([]cell, layers+1)
		for b := range g[j] {
			g[j][b] = cell{cost: inf}
		}
	}
	g[0][0] = cell{from: -1}
	t.applyPins(g[0], 0)
	room := t.room()
	for j := 1; j <= n; j++ {
		i := t.order[j-1]
		first := 0
		if t.all {
			first = j - 1
		}
		for b := range layers {
			if room[b] == 0 {
				continue
			}
			best, from := t.enter(g[first:j], first, b, i)
			if from < 0 {
				continue
			}
			for k, rate := range t.q.rate[i][b] {
				if k >= room[b] {
					break
				}
				if rate < t.theta || rate == 0 {
					continue
				}
				c := best + t.stageCost(i, b, b+k+1)
				if at := &g[j][b+k+1]; c < at.cost {
					*at = cell{c, int32(from), int32(k + 1)}
				}
			}
		}
		t.applyPins(g[j], j)
	}
	return t.trace(g)
}

// enter returns the least cost of coming to peer i with the layers before b
// tiled, over rows whose first is that of index first, and the row it comes
// from, -1 if none.
func (t tiling) enter(rows [][]cell, first, b, i int) (float64, int) {
	best, from := math.Inf(1), -1
	for x := range rows {
		c := rows[x][b].cost
		if math.IsInf(c, 1) {
			continue
		}
		if c += t.hopMS(t.last(first+x, b), i); c < best {
			best, from = c, first+x
		}
	}
	return best, from
}

// room returns for each layer how many layers an unpinned span there may have.
func (t tiling) room() []int {
	out := make([]int, t.q.layers)
	next := len(t.pins) - 1
	end := t.q.layers
	for b := t.q.layers - 1; b >= 0; b-- {
		for next >= 0 && t.pins[next].lo > b {
			next--
		}
		if next >= 0 && b < t.pins[next].hi {
			end = t.pins[next].lo
			continue
		}
		out[b] = end - b
	}
	return out
}

// applyPins extends the states of row, whose last unpinned peer is order[j-1],
// over pinned spans.
func (t tiling) applyPins(row []cell, j int) {
	for _, p := range t.pins {
		if c := row[p.lo].cost; !math.IsInf(c, 1) {
			c += t.hopMS(t.last(j, p.lo), p.peer) + t.stageCost(p.peer, p.lo, p.hi)
			if c < row[p.hi].cost {
				row[p.hi] = cell{cost: c, k: 0, from: int32(p.lo)}
			}
		}
	}
}

// pinAt returns the pin that ends at layer b, nil if none.
func (t tiling) pinAt(b int) *pin {
	for i := range t.pins {
		if t.pins[i].hi == b {
			return &t.pins[i]
		}
	}
	return nil
}

// last returns the peer that holds the layer before b, in a state of row j;
// -1 is the driver.
func (t tiling) last(j, b int) int {
	if p := t.pinAt(b); p != nil {
		return p.peer
	}
	if j == 0 {
		return -1
	}
	return t.order[j-1]
}

// hopMS returns the cost of the hop from peer i, or the driver if -1, to j.
func (t tiling) hopMS(i, j int) float64 {
	if i < 0 {
		return t.q.home[j].ms
	}
	h := t.q.hop[i][j]
	if h.cap < t.theta {
		return math.Inf(1)
	}
	return h.ms
}

// stageCost returns the time of peer i for [lo, hi), as one session waits for
// it. With smooth, its square: the sum is least when the times are even.
func (t tiling) stageCost(i, lo, hi int) float64 {
	ms := float64(t.q.units(lo, hi) * t.q.peers[i].decodeMS(1))
	if t.smooth {
		return float64(ms * ms)
	}
	return ms
}

// trace returns the layout that g's best end state stands for.
func (t tiling) trace(g [][]cell) Layout {
	layers := t.q.layers
	best, at := math.Inf(1), -1
	for j := range g {
		if t.all && j < len(g)-1 {
			continue
		}
		c := g[j][layers].cost
		if math.IsInf(c, 1) {
			continue
		}
		if c += t.q.home[t.last(j, layers)].ms; c < best {
			best, at = c, j
		}
	}
	if at < 0 {
		return nil
	}
	var out Layout
	for b := layers; b > 0; {
		if p := t.pinAt(b); p != nil {
			out = append(out, t.q.assign(p.peer, p.lo, p.hi))
			b = p.lo
			continue
		}
		c := g[at][b]
		out = append(out, t.q.assign(t.order[at-1], b-int(c.k), b))
		b -= int(c.k)
		at = int(c.from)
	}
	slices.Reverse(out)
	return out
}

func (q *problem) assign(i, lo, hi int) Assignment {
	return Assignment{q.peers[i].ID, shard.Span{Start: shard.Layer(lo), End: shard.Layer(hi)}}
}
