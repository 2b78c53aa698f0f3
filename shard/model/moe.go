package model

import (
	"fmt"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/quant"
)

// A mixture says how the experts that are chosen for a row are weighed.
type mixture uint8

const (
	// noMixture is of architectures without experts.
	noMixture mixture = iota
	// weighChosen takes the softmax over the chosen ones' logits. That is also
	// softmax over all, divided by the sum of the chosen (norm_topk_prob).
	weighChosen
	// weighAll takes the softmax over all experts' logits.
	weighAll
	// weighSigmoid takes the sigmoid of each expert's logit.
	weighSigmoid
)

// maxExperts bounds the experts of a layer. The largest known model has 512.
const maxExperts = 1 << 12

// experts is a mixture of experts in place of a layer's MLP: a router chooses
// some of them for each row.
type experts struct {
	router *quant.Matrix // [experts, dim]
	// all has the experts that the router knows and, at the end, the one that
	// sees every row, if there is one.
	all        []expert
	sharedGate []float32 // [dim], how much the last one counts; nil: it counts whole

	bRouter           []float32 // [experts]; nil without bias
	favour            []float32 // [experts], which only choosing heeds; nil without
	bGate, bUp, bDown []float32 // [experts, n], [experts, n], [experts, dim]; nil without
}

// An expert is an MLP.
type expert struct {
	gate, up *quant.Matrix // [n, dim]
	down     *quant.Matrix // [dim, n]
}

// hasExperts reports whether layer i has experts: a model may begin with layers
// without.
func (l *loader) hasExperts(i shard.Layer) bool {
	return l.cfg.Experts > 0 && (l.src.Has(name(i, "ffn_gate_exps.weight")) || l.src.Has(name(i, "ffn_gate.0.weight")))
}

// addExperts plans the matrices of the experts of layer i, in the order in which
// experts takes them.
func (l *loader) addExperts(p *plan, i shard.Layer) {
	c := &l.cfg
	l.add(p, name(i, "ffn_gate_inp.weight"), c.Experts, c.Dim, 0, c.Experts)
	for e := range c.Experts {
		l.addExpert(p, i, "ffn_gate", e, c.ExpertFFNDim, c.Dim)
		l.addExpert(p, i, "ffn_up", e, c.ExpertFFNDim, c.Dim)
		l.addExpert(p, i, "ffn_down", e, c.Dim, c.ExpertFFNDim)
	}
	if n := c.SharedFFNDim; n > 0 {
		l.add(p, name(i, "ffn_gate_shexp.weight"), n, c.Dim, 0, n)
		l.add(p, name(i, "ffn_up_shexp.weight"), n, c.Dim, 0, n)
		l.add(p, name(i, "ffn_down_shexp.weight"), c.Dim, n, 0, c.Dim)
	}
}

// addExpert plans the matrix [rows, cols] of expert e: a part of the tensor of
// all experts or, in files of before April 2024, a tensor of its own.
func (l *loader) addExpert(p *plan, i shard.Layer, what string, e, rows, cols int) {
	if all := name(i, what+"_exps.weight"); l.src.Has(all) {
		l.addPart(p, l.tensor(all, l.cfg.Experts, rows, cols), e*rows, rows, cols)
		return
	}
	l.add(p, name(i, fmt.Sprintf("%s.%d.weight", what, e)), rows, cols, 0, rows)
}

// experts returns the experts of layer i with their packed matrices.
func (l *loader) experts(i shard.Layer, mats []matrixPlan) *experts {
	x := &experts{router: mats[0].packed}
	for mats = mats[1:]; len(mats) >= 3; mats = mats[3:] {
		x.all = append(x.all, expert{gate: mats[0].packed, up: mats[1].packed, down: mats[2].packed})
	}
	c := &l.cfg
	x.bRouter = l.optional(name(i, "ffn_gate_inp.bias"), c.Experts)
	x.favour = l.optional(name(i, "exp_probs_b.bias"), c.Experts)
	x.bGate = l.optional(name(i, "ffn_gate_exps.bias"), c.Experts, c.ExpertFFNDim)
	x.bUp = l.optional(name(i, "ffn_up_exps.bias"), c.Experts, c.ExpertFFNDim)
	x.bDown = l.optional(name(i, "ffn_down_exps.bias"), c.Experts, c.Dim)
	if gate := name(i, "ffn_gate_inp_shexp.weight"); l.cfg.SharedFFNDim > 0 && l.src.Has(gate) {
		shape := []int{l.cfg.Dim}
		if t, err := l.src.Tensor(gate); err == nil && len(t.Shape) == 2 { // newer converters
			shape = []int{1, l.cfg.Dim}
		}
		x.sharedGate = l.vector(gate, shape...)
	}
	return x
}

// readExperts reads what the metadata say about experts.
func (r *keys) readExperts(c *Config) {
	key := r.arch + ".expert_count"
	n, _ := r.meta.Uint(key)
	if n == 0 || r.err != nil {
		return
	}
	if c.arch.mixture == noMixture {
		r.err = fmt.Errorf("model metadata: %q is %d: a mixture of experts of this architecture is not supported yet: use a model without experts", key, n)
		return
	}
	c.Experts = r.count("expert_count", 0, maxExperts)
	c.ExpertsUsed = r.count("expert_used_count", 0, c.Experts)
	c.ExpertFFNDim = r.count("expert_feed_forward_length", c.FFNDim, maxDim)
	r.readRouting(c)
}
