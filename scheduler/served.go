package scheduler

import (
	"errors"
	"fmt"
	"slices"

	"github.com/shardnode/shardnode/shard"
)

// Served returns the layout that sessions should take over what peers hold
// now: of the tilings whose slowest stage is about as fast as can be, the one
// in which a single session waits least. It follows changed speeds at once
// wherever spans overlap, without a layer being moved. It returns an
// [*UncoveredError] when nobody holds some layer.
func Served(v View, p Params) (Result, error) {
	held := v
	held.Peers = nil
	for _, peer := range v.Peers {
		if peer.Role == Serve && peer.Held.Len() > 0 {
			peer.Planned, peer.Pinned = shard.Span{}, shard.Span{}
			held.Peers = append(held.Peers, peer)
		}
	}
	if len(held.Peers) == 0 {
		all := shard.Span{End: shard.Layer(v.Model.Layers)}
		return Result{}, &UncoveredError{Spans: []shard.Span{all}, Text: fmt.Sprintf("no member holds any of layers %v", all)}
	}
	q, err := newSettling(held, p)
	if err != nil {
		return Result{}, err
	}
	s := newSettler(q)
	if gaps := s.gaps(s.has); len(gaps) > 0 {
		return Result{}, &UncoveredError{Spans: spansOf(gaps), Text: fmt.Sprintf("no member holds layers %s", spansText(spansOf(gaps)))}
	}
	orders := s.orders()
	c := chain{q: q, within: s.has, least: 1}
	rate := c.best(orders, s.floors())
	if rate == 0 {
		return Result{}, errors.New("what members hold leaves them no room for KV cache")
	}
	c.floor = (1 - landing) * rate
	hop := v.Links.Default.LatencyMS + hopOverheadMS
	c.cost = func(i, lo, hi int) float64 {
		return float64(s.units(lo, hi)*s.peers[i].decodeMS(1)) + hop + s.even(i, lo, hi)
	}
	tiles, _ := c.cheapest(orders)
	return s.result(tiles, rate), nil
}

// result returns a tiling as a plan.
func (s *settler) result(tiles []part, rate float64) Result {
	var r Result
	pl := &planner{problem: s.problem}
	for i, t := range tiles {
		if t.size() > 0 {
			r.Layout = append(r.Layout, s.assign(i, t.lo, t.hi))
		} else {
			r.Idle = append(r.Idle, s.peers[i].ID)
		}
	}
	slices.SortFunc(r.Layout, func(a, b Assignment) int { return int(a.Span.Start - b.Span.Start) })
	s.fillHops()
	r.Predicted = s.predict(r.Layout)
	for _, a := range r.Layout {
		i := s.indexOf(a.Peer)
		p := s.peers[i]
		r.Reasons = append(r.Reasons, fmt.Sprintf("%s runs layers %v of the %v that it holds: %.3g ms a token, %.4g tok/s",
			p.ID, a.Span, p.Held, s.units(tiles[i].lo, tiles[i].hi)*p.decodeMS(1), s.throughput(p, tiles[i].lo, tiles[i].hi)))
	}
	for _, id := range r.Idle {
		p := s.peers[s.indexOf(id)]
		r.Reasons = append(r.Reasons, fmt.Sprintf("%s stands by with layers %v: a stage of its own would make no stage faster", id, p.Held))
	}
	r.Reasons = append(r.Reasons, fmt.Sprintf("the slowest stage gives %.4g tok/s: no other cut of what is held gives more", rate))
	for _, one := range pl.alone() {
		if r.Single == nil || one.got.TokSOne > r.Single.Predicted.TokSOne {
			r.Single = &Rejected{Layout: one.layout, Predicted: one.got, Why: pl.why(candidate{layout: r.Layout, got: r.Predicted}, one)}
		}
	}
	return r
}

// alone returns the layouts of peers that hold the whole model.
func (pl *planner) alone() []candidate {
	var out []candidate
	for i, p := range pl.peers {
		if p.Held.Len() == pl.layers && pl.throughput(p, 0, pl.layers) > 0 {
			c := candidate{name: "one peer alone", layout: Layout{pl.assign(i, 0, pl.layers)}}
			c.got = pl.predict(c.layout)
			out = append(out, c)
		}
	}
	return out
}
