package scheduler

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseSplit reads "10,10,10", the number of layers of each stage in order,
// for a model of the given number of layers.
func ParseSplit(text string, layers int) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("split %q: %q is no number of layers, want for example 10,10,10", text, part)
		}
		out = append(out, n)
		if len(out) > maxLayers {
			return nil, fmt.Errorf("split: more than %d stages", maxLayers)
		}
	}
	if err := checkSplit(out, layers); err != nil {
		return nil, err
	}
	return out, nil
}

func checkSplit(sizes []int, layers int) error {
	sum := 0
	for _, n := range sizes {
		if n < 1 || n > layers {
			return fmt.Errorf("split %v: %d layers in a stage of a model of %d", sizes, n, layers)
		}
		sum += n
	}
	if sum != layers {
		return fmt.Errorf("split %v is %d layers, the model has %d", sizes, sum, layers)
	}
	return nil
}

// splitPlan gives the stages of an explicit split to the serving peers in the
// order of the view.
func (pl *planner) splitPlan(sizes []int) (Result, error) {
	if err := checkSplit(sizes, pl.layers); err != nil {
		return Result{}, err
	}
	var order []Peer
	for _, p := range pl.v.Peers {
		if p.Role == Serve {
			order = append(order, p)
		}
	}
	if len(sizes) > len(order) {
		return Result{}, fmt.Errorf("split %v has %d stages for %d peers: give fewer stages or more peers", sizes, len(sizes), len(order))
	}
	c := candidate{name: "as asked for"}
	lo := 0
	for x, n := range sizes {
		p := order[x]
		if short := pl.needBytes(lo, lo+n) - p.MemoryBytes; short > 0 {
			text := fmt.Sprintf("split %v: layers [%d,%d) take %s more than the %s of peer %s: give it fewer layers",
				sizes, lo, lo+n, bytesText(short), bytesText(p.MemoryBytes), p.called())
			return Result{}, &MemoryError{MissingBytes: short, Biggest: p.ID, Text: text}
		}
		if pl.throughput(p, lo, lo+n) == 0 {
			return Result{}, fmt.Errorf("split %v: peer %s has a throughput for %d layers, not for %d", sizes, p.called(), len(p.Throughput), n)
		}
		c.layout = append(c.layout, pl.assign(pl.indexOf(p.ID), lo, lo+n))
		lo += n
	}
	c.got = pl.predict(c.layout)
	r := Result{Layout: c.layout, Predicted: c.got}
	for _, s := range pl.singles() {
		if r.Single == nil || s.got.TokSOne > r.Single.Predicted.TokSOne {
			r.Single = &Rejected{Layout: s.layout, Predicted: s.got, Why: pl.why(c, s)}
		}
	}
	pl.explain(&r, 0)
	return r, nil
}
