package scheduler

import (
	"fmt"
	"math"
	"slices"
)

// indexOf returns the index of the serving peer named id, -1 if there is none.
func (q *problem) indexOf(id ID) int {
	for i := range q.peers {
		if q.peers[i].ID == id {
			return i
		}
	}
	return -1
}

// predict returns what l is expected to give.
func (q *problem) predict(l Layout) Predicted {
	many, what := math.Inf(1), ""
	token, prefill := 0.0, 0.0
	n := float64(q.p.PromptTokens)
	at := -1
	for _, a := range l {
		i := q.indexOf(a.Peer)
		p, lo, hi := q.peers[i], int(a.Span.Start), int(a.Span.End)
		if r := q.throughput(p, lo, hi); r < many {
			many, what = r, fmt.Sprintf("peer %s: %d layers at %.4g tok/s", p.ID, hi-lo, r)
		}
		u := q.units(lo, hi)
		token += float64(u * p.decodeMS(1))
		// The head is computed for the last position alone.
		rows := float64(hi - lo)
		prefill += float64(rows*n*p.prefillMS()) + float64((u-rows)*p.decodeMS(1))
		if at < 0 {
			token += q.home[i].ms
			prefill += q.home[i].ms
		} else {
			h := q.hop[at][i]
			token += h.ms
			prefill += h.late + float64(n*(h.ms-h.late))
			if h.cap < many {
				many, what = h.cap, fmt.Sprintf("link %s to %s: %.4g tok/s", q.peers[at].ID, p.ID, h.cap)
			}
		}
		at = i
	}
	back := q.wayBack(l)
	return Predicted{
		TokSMany:   many,
		TokSOne:    1000 / (token + back),
		TTFTms:     prefill + back,
		Bottleneck: what,
	}
}

// wayBack returns the time of the logits from the last stage to the driver.
func (q *problem) wayBack(l Layout) float64 {
	first, last := q.indexOf(l[0].Peer), q.indexOf(l[len(l)-1].Peer)
	if q.p.Driver != "" {
		return q.home[last].ms
	}
	return q.hop[last][first].late // 0 if they are the same
}

// compareLayouts orders layouts by their peers and spans, for a choice between
// equals that does not depend on how they were found.
func compareLayouts(a, b Layout) int {
	return slices.CompareFunc(a, b, func(x, y Assignment) int {
		if x.Peer != y.Peer {
			if x.Peer < y.Peer {
				return -1
			}
			return 1
		}
		return int(x.Span.End - y.Span.End)
	})
}
