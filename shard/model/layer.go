package model

import (
	"fmt"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/quant"
)

// A layer is the weights of one transformer layer. Layers do not know of each
// other: a span can grow or shrink by whole layers.
type layer struct {
	mem memory // of the matrices

	attnNorm     []float32     // [dim]
	wq, wk, wv   *quant.Matrix // [heads*headDim, dim], [kvHeads*headDim, dim], [kvHeads*valDim, dim]
	bq, bk, bv   []float32     // one a row of wq, wk, wv; nil without bias
	qNorm, kNorm []float32     // [headDim]; nil without
	rotates      bool
	local        bool          // sees a window of positions
	sinks        []float32     // [heads], logits of no position, which only take weight; nil without
	wo           *quant.Matrix // [dim, heads*valDim]
	bo           []float32     // [dim]; nil without bias
	postAttn     []float32     // [dim]; nil without norm after attention
	ffnNorm      []float32     // [dim]
	wGate, wUp   *quant.Matrix // [ffnDim, dim]
	bGate, bUp   []float32     // [ffnDim]; nil without bias
	wDown        *quant.Matrix // [dim, ffnDim]
	bDown        []float32     // [dim]; nil without bias
	postFFN      []float32     // [dim]; nil without norm after the MLP
	experts      *experts      // in place of wGate, wUp and wDown; nil without
}

// name returns the name of a tensor of a layer.
func name(i shard.Layer, what string) string { return fmt.Sprintf("blk.%d.%s", i, what) }

// layerPlan plans the matrices of layer i, in the order in which layer takes
// them.
func (l *loader) layerPlan(i shard.Layer) *plan {
	c, p := &l.cfg, &plan{}
	nq, nk, nv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim, c.KVHeads*c.ValDim
	if c.arch.fused {
		all, qkv := nq+nk+nv, name(i, "attn_qkv.weight")
		l.add(p, qkv, all, c.Dim, 0, nq)
		l.add(p, qkv, all, c.Dim, nq, nk)
		l.add(p, qkv, all, c.Dim, nq+nk, nv)
	} else {
		l.add(p, name(i, "attn_q.weight"), nq, c.Dim, 0, nq)
		l.add(p, name(i, "attn_k.weight"), nk, c.Dim, 0, nk)
		l.add(p, name(i, "attn_v.weight"), nv, c.Dim, 0, nv)
	}
	l.add(p, name(i, "attn_output.weight"), c.Dim, c.Heads*c.ValDim, 0, c.Dim)
	switch {
	case l.hasExperts(i):
		l.addExperts(p, i)
		return p
	case c.arch.fused:
		l.add(p, name(i, "ffn_up.weight"), 2*c.FFNDim, c.Dim, 0, c.FFNDim)
		l.add(p, name(i, "ffn_up.weight"), 2*c.FFNDim, c.Dim, c.FFNDim, c.FFNDim)
	default:
		l.add(p, name(i, "ffn_gate.weight"), c.FFNDim, c.Dim, 0, c.FFNDim)
		l.add(p, name(i, "ffn_up.weight"), c.FFNDim, c.Dim, 0, c.FFNDim)
	}
	l.add(p, name(i, "ffn_down.weight"), c.Dim, c.FFNDim, 0, c.Dim)
	return p
}

// layer returns layer i with the packed matrices of its plan.
func (l *loader) layer(i shard.Layer, p *plan) *layer {
	c := &l.cfg
	w := &layer{
		mem: p.mem,
		wq:  p.mats[0].packed, wk: p.mats[1].packed, wv: p.mats[2].packed, wo: p.mats[3].packed,
		rotates: c.arch.noRopeEvery == 0 || (int(i)+1)%c.arch.noRopeEvery != 0,
	}
	if mlp := p.mats[4:]; l.hasExperts(i) {
		w.experts = l.experts(i, mlp)
	} else {
		w.wGate, w.wUp, w.wDown = mlp[0].packed, mlp[1].packed, mlp[2].packed
	}
	w.local = c.Window > 0 && (c.arch.globalEvery == 0 || (int(i)+1)%c.arch.globalEvery != 0)
	w.attnNorm = l.vector(name(i, "attn_norm.weight"), c.Dim)
	ffnNorm := name(i, "ffn_norm.weight")
	if !l.src.Has(ffnNorm) && !c.arch.postNorms {
		ffnNorm = name(i, "post_attention_norm.weight") // GPT-OSS calls it so
	}
	w.ffnNorm = l.vector(ffnNorm, c.Dim)
	w.sinks = l.optional(name(i, "attn_sinks.weight"), c.Heads)
	w.bq = l.optional(name(i, "attn_q.bias"), c.Heads*c.HeadDim)
	w.bk = l.optional(name(i, "attn_k.bias"), c.KVHeads*c.HeadDim)
	w.bv = l.optional(name(i, "attn_v.bias"), c.KVHeads*c.ValDim)
	w.bo = l.optional(name(i, "attn_output.bias"), c.Dim)
	w.bGate = l.optional(name(i, "ffn_gate.bias"), c.FFNDim)
	w.bUp = l.optional(name(i, "ffn_up.bias"), c.FFNDim)
	w.bDown = l.optional(name(i, "ffn_down.bias"), c.Dim)
	if c.arch.qkNorm {
		w.qNorm = l.vector(name(i, "attn_q_norm.weight"), c.HeadDim)
		w.kNorm = l.vector(name(i, "attn_k_norm.weight"), c.HeadDim)
	}
	if c.arch.postNorms {
		w.postAttn = l.vector(name(i, "post_attention_norm.weight"), c.Dim)
		w.postFFN = l.vector(name(i, "post_ffw_norm.weight"), c.Dim)
	}
	return w
}

// free gives the matrices back.
func (l *layer) free() {
	l.mem.free()
	*l = layer{}
}

// forward runs the layer with index i of the span on all rows of the batch: it
// changes s.x, [rows, dim], from the hidden states before the layer to those
// after it. What it does few.go does for few rows, in the same order: they change
// together.
func (l *layer) forward(m *Model, i int) {
	s := &m.s
	s.norm.run(s.h, s.x, l.attnNorm)
	s.mul.run(s.h, product{l.wq, s.q}, product{l.wk, s.k}, product{l.wv, s.v})
	s.store.run(l, i) // biases, norms, rotation; k and v to the cache
	s.attend.run(l, i)
	s.mul.run(s.att, product{l.wo, s.out})
	s.residual.run(s.x, s.out, l.bo, l.postAttn, RoundNone)

	s.norm.run(s.h, s.x, l.ffnNorm)
	if l.experts != nil {
		s.experts.run(l.experts)
	} else {
		s.mul.run(s.h, product{l.wGate, s.gate}, product{l.wUp, s.up})
		s.gated.run(s.gate, s.up, l.bGate, l.bUp)
		s.mul.run(s.gate, product{l.wDown, s.out})
	}
	s.residual.run(s.x, s.out, l.bDown, l.postFFN, m.rounding)
}
