package model

import (
	"fmt"
	"math"

	"github.com/shardnode/shardnode/tensorio/vec"
)

// routing is how a router's logits choose experts and weigh them.
type routing struct {
	mixture mixture
	unsaid  bool    // the file does not say so: experts that are favoured are weighed by sigmoids
	normed  bool    // weights are divided by their sum
	scale   float32 // of weights; 1 for none

	// Experts are in so many groups, and only those of the best groups are chosen
	// (arXiv 2405.04434, section 2.2.2); 1 or less for none.
	groups, groupsUsed int
}

// The numbers of <arch>.expert_gating_func (gguf-py, ExpertGatingFuncType).
const (
	gatingSoftmax = 1
	gatingSigmoid = 2
	gatingChosen  = 3
)

// readRouting reads how experts are chosen and weighed.
func (r *keys) readRouting(c *Config) {
	c.route = routing{mixture: c.arch.mixture, scale: float32(r.real("expert_weights_scale", 1))}
	c.route.normed = r.bool("expert_weights_norm", false)
	key := r.arch + ".expert_gating_func"
	switch gating, _ := r.meta.Uint(key); gating {
	case 0:
		c.route.unsaid = true
	case gatingSoftmax:
		c.route.mixture = weighAll
	case gatingSigmoid:
		c.route.mixture = weighSigmoid
	case gatingChosen:
		c.route.mixture = weighChosen
	default:
		r.fail(fmt.Errorf("model metadata: %q is %d, want 1 (softmax), 2 (sigmoid) or 3 (softmax of the chosen)", key, gating))
	}
	c.route.groups = r.count("expert_group_count", 1, c.Experts)
	c.route.groupsUsed = r.count("expert_group_used_count", c.route.groups, c.route.groups)
	if n := c.route.groups; r.err == nil && (c.Experts%n != 0 || c.route.groupsUsed*(c.Experts/n) < c.ExpertsUsed) {
		r.fail(fmt.Errorf("model metadata: %d experts of %d in %d groups, of which %d are used: they do not fit", c.ExpertsUsed, c.Experts, n, c.route.groupsUsed))
	}
	if !c.arch.sharedExpert {
		return
	}
	shared, _ := r.meta.Uint(r.arch + ".expert_shared_count")
	length, known := r.meta.Uint(r.arch + ".expert_shared_feed_forward_length")
	switch {
	case known:
		c.SharedFFNDim = int(min(length, maxDim))
	case shared > 0 && shared <= maxExperts:
		c.SharedFFNDim = int(shared) * c.ExpertFFNDim
	case c.arch.sharedAlways:
		c.SharedFFNDim = c.FFNDim
	}
}

// fail keeps the first error.
func (r *keys) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// sigmoids replaces each of x by its sigmoid.
func sigmoids(x []float32) {
	for i, v := range x {
		x[i] = 1 / (1 + vec.Exp(-v))
	}
}

// sigmoid reports whether logits count by their sigmoids.
func (o *chooseOp) sigmoid() bool {
	route := &o.m.cfg.route
	return route.mixture == weighSigmoid || route.unsaid && o.x.favour != nil
}

// route returns by what experts are chosen for row r.
func (o *chooseOp) route(r int, logits []float32) []float32 {
	x, route := o.x, &o.m.cfg.route
	if !o.sigmoid() && x.favour == nil && route.groups <= 1 {
		return logits
	}
	by := o.by[r*len(logits):][:len(logits)]
	copy(by, logits)
	best := 1 // a group counts as much as its best expert (DeepSeek V2)
	if o.sigmoid() {
		best = 2 // or as its two best (V3; arXiv 2412.19437, section 2.1.2)
		sigmoids(by)
	}
	addBias(by, x.favour)
	route.mask(by, best)
	return by
}

// mask makes the experts of all but the best groups the last choice. A group
// counts as the sum of its so many best experts.
func (n *routing) mask(by []float32, best int) {
	if n.groups <= 1 {
		return
	}
	size := len(by) / n.groups
	left := n.groups - n.groupsUsed
	for range left {
		worst, least := -1, float32(math.Inf(1))
		for g := range n.groups {
			group := by[g*size:][:size]
			if sum := topSum(group, best); !math.IsInf(float64(group[0]), -1) && sum <= least {
				worst, least = g, sum
			}
		}
		if worst < 0 {
			return
		}
		for i := range size {
			by[worst*size+i] = float32(math.Inf(-1))
		}
	}
}

// topSum returns the largest of x, or with n = 2 the sum of the two largest.
func topSum(x []float32, n int) float32 {
	first, second := float32(math.Inf(-1)), float32(math.Inf(-1))
	for _, v := range x {
		switch {
		case v > first:
			first, second = v, first
		case v > second:
			second = v
		}
	}
	if n == 1 || len(x) < 2 {
		return first
	}
	return first + second
}

// weigh gives the chosen experts their weights of all experts' ones.
func (n *routing) weigh(weights []float32, chosen []choice) {
	sum := float32(0)
	for i := range chosen {
		sum += weights[chosen[i].expert]
	}
	scale := n.scale
	if n.normed {
		scale = scale / max(sum, 1e-20)
	}
	for i := range chosen {
		chosen[i].weight = weights[chosen[i].expert] * scale
	}
}
