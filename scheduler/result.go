package scheduler

import (
	"cmp"
	"fmt"
	"slices"
)

// result chooses among the candidates, of which the first reaches the
// waterline theta, and says why.
func (pl *planner) result(found []candidate, theta float64) Result {
	value := func(c candidate) float64 {
		switch {
		case pl.p.Goal == One:
			return c.got.TokSOne
		case pl.p.Goal == Spread && c.name == "every peer used":
			return 1e300
		}
		return c.got.TokSMany
	}
	slices.SortStableFunc(found, func(a, b candidate) int {
		x, y := value(a), value(b)
		if x > y*(1+near) || y > x*(1+near) {
			return cmp.Compare(y, x)
		}
		return cmp.Or(cmp.Compare(b.got.TokSOne, a.got.TokSOne), cmp.Compare(len(a.layout), len(b.layout)),
			compareLayouts(a.layout, b.layout))
	})
	best := found[0]
	r := Result{Layout: best.layout, Predicted: best.got}
	seen := []Layout{best.layout}
	for _, c := range found[1:] {
		if slices.ContainsFunc(seen, func(l Layout) bool { return compareLayouts(l, c.layout) == 0 }) {
			continue
		}
		seen = append(seen, c.layout)
		r.Rejected = append(r.Rejected, Rejected{Layout: c.layout, Predicted: c.got, Why: pl.why(best, c)})
	}
	for _, c := range found {
		if len(c.layout) != 1 {
			continue
		}
		if r.Single == nil || pl.p.Goal == Many && c.got.TokSMany > r.Single.Predicted.TokSMany ||
			pl.p.Goal != Many && c.got.TokSOne > r.Single.Predicted.TokSOne {
			r.Single = &Rejected{Layout: c.layout, Predicted: c.got, Why: pl.why(best, c)}
		}
	}
	pl.explain(&r, theta)
	return r
}

// why says what c gives beside the chosen best.
func (pl *planner) why(best, c candidate) string {
	if compareLayouts(best.layout, c.layout) == 0 {
		return "chosen"
	}
	text := fmt.Sprintf("%s: %s for many sessions, %s for one", c.name,
		percent(c.got.TokSMany, best.got.TokSMany), percent(c.got.TokSOne, best.got.TokSOne))
	if pl.p.Goal == Spread {
		text += "; every peer was to be used"
	}
	return text
}

// percent says how much x is above or below y.
func percent(x, y float64) string {
	d := (x/y - 1) * 100
	switch {
	case d > 0.05:
		return fmt.Sprintf("%.4g tok/s (%.1f %% more)", x, d)
	case d < -0.05:
		return fmt.Sprintf("%.4g tok/s (%.1f %% less)", x, -d)
	}
	return fmt.Sprintf("%.4g tok/s (the same)", x)
}

// explain fills in the reasons and the idle peers of r.
func (pl *planner) explain(r *Result, theta float64) {
	for _, a := range r.Layout {
		r.Reasons = append(r.Reasons, pl.bound(a, r.Predicted))
	}
	pl.explainIdle(r)
	if theta > 1e-300 && pl.p.Goal != One && len(r.Layout) > 1 {
		r.Reasons = append(r.Reasons, fmt.Sprintf("waterline: %.4g tok/s is the most that every stage of a split can give", theta))
	}
	if s := r.Single; s != nil && len(r.Layout) > 1 {
		verdict := "the split wins"
		switch {
		case s.Predicted.TokSOne > r.Predicted.TokSOne && s.Predicted.TokSMany > r.Predicted.TokSMany:
			verdict = "the split loses both ways"
		case s.Predicted.TokSOne > r.Predicted.TokSOne:
			verdict = "the split loses for one session"
		case s.Predicted.TokSMany > r.Predicted.TokSMany:
			verdict = "the split loses for many sessions"
		}
		r.Reasons = append(r.Reasons, fmt.Sprintf("%s alone would give %.4g tok/s for one session and %.4g for many; this split %.4g and %.4g: %s",
			s.Layout[0].Peer, s.Predicted.TokSOne, s.Predicted.TokSMany, r.Predicted.TokSOne, r.Predicted.TokSMany, verdict))
	}
}

// explainIdle fills in the peers that r gives no layers, and why.
func (pl *planner) explainIdle(r *Result) {
	for i, p := range pl.peers {
		if slices.ContainsFunc(r.Layout, func(a Assignment) bool { return a.Peer == p.ID }) {
			continue
		}
		r.Idle = append(r.Idle, p.ID)
		why := "its layers would slow the others down more than they help"
		switch {
		case slices.Contains(pl.also, i):
			why = fmt.Sprintf("pinned to layers %v, of which others hold some already: a replica", p.Pinned)
		case pl.most[i] == 0:
			why = fmt.Sprintf("its memory of %s does not hold one layer and its KV cache", bytesText(p.MemoryBytes))
		case len(r.Layout) == 1:
			why = "one peer alone is faster"
		}
		r.Reasons = append(r.Reasons, fmt.Sprintf("%s gets no layers: %s", p.ID, why))
	}
	for _, p := range pl.others {
		r.Idle = append(r.Idle, p.ID)
	}
	if n := len(pl.others); n > 0 {
		r.Reasons = append(r.Reasons, fmt.Sprintf("%d more peers were not considered: the plan takes those that carry most", n))
	}
	slices.Sort(r.Idle)
}

// bound says which limit decided the size of a.
func (pl *planner) bound(a Assignment, got Predicted) string {
	p := pl.peers[pl.indexOf(a.Peer)]
	lo, hi := int(a.Span.Start), int(a.Span.End)
	text := fmt.Sprintf("%s gets layers %v (%d, with KV cache %s of its %s): ", p.ID, a.Span, hi-lo,
		bytesText(pl.needBytes(lo, hi)), bytesText(p.MemoryBytes))
	switch {
	case p.Pinned == a.Span:
		return text + "pinned by its owner"
	case len(pl.p.Split) > 0:
		return text + "as asked for"
	case hi-lo == pl.layers:
		return text + fmt.Sprintf("the whole model, %.4g tok/s", pl.throughput(p, lo, hi))
	}
	rate := pl.throughput(p, lo, hi)
	more := 0.0
	memory := lo > 0 || hi < pl.layers
	if hi < pl.layers {
		more = pl.throughput(p, lo, hi+1)
	} else {
		more = pl.throughput(p, lo-1, hi)
	}
	switch {
	case memory && more == 0:
		return text + fmt.Sprintf("bound by memory, %.4g tok/s", rate)
	case pl.p.Goal == Many && more < got.TokSMany:
		return text + fmt.Sprintf("bound by throughput, %.4g tok/s, one more layer would give %.4g", rate, more)
	case pl.p.Goal == Spread:
		return text + fmt.Sprintf("its even part of the time, %.4g tok/s", rate)
	}
	return text + fmt.Sprintf("what the faster peers left over, %.4g tok/s", rate)
}

// bytesText writes n for people.
func bytesText(n int64) string {
	switch x := float64(n); {
	case x >= 1<<30:
		return fmt.Sprintf("%.1f GiB", x/(1<<30))
	case x >= 1<<20:
		return fmt.Sprintf("%.1f MiB", x/(1<<20))
	case x >= 1<<10:
		return fmt.Sprintf("%.1f KiB", x/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
