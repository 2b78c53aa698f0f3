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

	attnNorm     []float32     // [dim]; nil without
	attnNormBias []float32     // [dim]; nil without
	latent       *latent       // in place of wq, wk and wv; nil without
	wq, wk, wv   *quant.Matrix // [heads*headDim, dim], [kvHeads*headDim, dim], [kvHeads*valDim, dim]
	bq, bk, bv   []float32     // one a row of wq, wk, wv; nil without bias
	qNorm, kNorm headNorm
	rotates      bool
	local        bool          // sees a window of positions
	sinks        []float32     // [heads], logits of no position, which only take weight; nil without
	wo           *quant.Matrix // [dim, heads*valDim]
	bo           []float32     // [dim]; nil without bias
	postAttn     []float32     // [dim]; nil without norm after attention
	ffnNorm      []float32     // [dim]; nil without
	ffnNormBias  []float32     // [dim]; nil without
	wGate, wUp   *quant.Matrix // [ffnDim, dim]; wGate is nil without gate
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
	qkv := name(i, "attn_qkv.weight")
	switch {
	case c.arch.latent:
		l.addLatent(p, i)
	case l.src.Has(qkv): // three in one
		all := nq + nk + nv
		l.add(p, qkv, all, c.Dim, 0, nq)
		l.add(p, qkv, all, c.Dim, nq, nk)
		l.add(p, qkv, all, c.Dim, nq+nk, nv)
	default:
		l.add(p, name(i, "attn_q.weight"), nq, c.Dim, 0, nq)
		l.add(p, name(i, "attn_k.weight"), nk, c.Dim, 0, nk)
		l.add(p, name(i, "attn_v.weight"), nv, c.Dim, 0, nv)
	}
	n := c.Heads * c.ValDim
	if c.arch.latent {
		n = c.Heads * c.latent.valDim
	}
	l.add(p, name(i, "attn_output.weight"), c.Dim, n, 0, c.Dim)
	gate, up := name(i, "ffn_gate.weight"), name(i, "ffn_up.weight")
	switch {
	case l.hasExperts(i):
		l.addExperts(p, i)
		return p
	case c.arch.plainMLP:
		l.add(p, up, c.FFNDim, c.Dim, 0, c.FFNDim)
	case !l.src.Has(gate): // two in one
		l.add(p, up, 2*c.FFNDim, c.Dim, 0, c.FFNDim)
		l.add(p, up, 2*c.FFNDim, c.Dim, c.FFNDim, c.FFNDim)
	default:
		l.add(p, gate, c.FFNDim, c.Dim, 0, c.FFNDim)
		l.add(p, up, c.FFNDim, c.Dim, 0, c.FFNDim)
	}
	l.add(p, name(i, "ffn_down.weight"), c.Dim, c.FFNDim, 0, c.Dim)
	return p
}

// layer returns layer i with the packed matrices of its plan.
func (l *loader) layer(i shard.Layer, p *plan) *layer {
	c := &l.cfg
	w := &layer{mem: p.mem, rotates: c.rotates(int(i)), local: c.isLocal(int(i))}
	mats := p.mats
	if c.arch.latent {
		w.latent, mats = l.latent(i, mats)
	} else {
		w.wq, w.wk, w.wv, mats = mats[0].packed, mats[1].packed, mats[2].packed, mats[3:]
	}
	w.wo, mats = mats[0].packed, mats[1:]
	switch {
	case l.hasExperts(i):
		w.experts = l.experts(i, mats)
	case c.arch.plainMLP:
		w.wUp, w.wDown = mats[0].packed, mats[1].packed
	default:
		w.wGate, w.wUp, w.wDown = mats[0].packed, mats[1].packed, mats[2].packed
	}
	w.sinks = l.optional(name(i, "attn_sinks.weight"), c.Heads)
	l.norms(i, w)
	l.biases(i, w)
	return w
}

// norms reads the norms of layer i.
func (l *loader) norms(i shard.Layer, w *layer) {
	c := &l.cfg
	if !c.arch.noPreNorms {
		w.attnNorm = l.vector(name(i, "attn_norm.weight"), c.Dim)
		w.attnNormBias = l.optional(name(i, "attn_norm.bias"), c.Dim)
		ffnNorm := name(i, "ffn_norm.weight")
		switch {
		case l.src.Has(ffnNorm):
		case c.arch.parallel: // one norm for both
			ffnNorm = ""
		case !c.arch.postNorms:
			ffnNorm = name(i, "post_attention_norm.weight") // GPT-OSS calls it so
		}
		if ffnNorm != "" {
			w.ffnNorm = l.vector(ffnNorm, c.Dim)
			w.ffnNormBias = l.optional(name(i, "ffn_norm.bias"), c.Dim)
		}
	}
	if c.arch.qkNorm || c.arch.qkNormIfAny && l.src.Has(name(i, "attn_q_norm.weight")) {
		w.qNorm = l.headNorm(name(i, "attn_q_norm.weight"), c.Heads)
		w.kNorm = l.headNorm(name(i, "attn_k_norm.weight"), c.KVHeads)
	}
	if c.arch.postNorms {
		w.postAttn = l.vector(name(i, "post_attention_norm.weight"), c.Dim)
		w.postFFN = l.vector(name(i, "post_ffw_norm.weight"), c.Dim)
	}
}

// biases reads the biases of layer i, where it has any.
func (l *loader) biases(i shard.Layer, w *layer) {
	c := &l.cfg
	nq, nk, nv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim, c.KVHeads*c.ValDim
	if all := l.optional(name(i, "attn_qkv.bias"), nq+nk+nv); all != nil {
		w.bq, w.bk, w.bv = all[:nq], all[nq:][:nk], all[nq+nk:]
	} else {
		w.bq = l.optional(name(i, "attn_q.bias"), nq)
		w.bk = l.optional(name(i, "attn_k.bias"), nk)
		w.bv = l.optional(name(i, "attn_v.bias"), nv)
	}
	w.bo = l.optional(name(i, "attn_output.bias"), c.Dim)
	w.bGate = l.optional(name(i, "ffn_gate.bias"), c.FFNDim)
	w.bUp = l.optional(name(i, "ffn_up.bias"), c.FFNDim)
	w.bDown = l.optional(name(i, "ffn_down.bias"), c.Dim)
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
	s.norm.run(s.h, s.x, l.attnNorm, l.attnNormBias)
	if l.latent != nil {
		s.latent.queries(l.latent)
	} else {
		s.mul.run(s.h, product{l.wq, s.q}, product{l.wk, s.k}, product{l.wv, s.v})
	}
	s.store.run(l, i) // biases, norms, rotation; k and v to the cache
	s.attend.run(l, i)
	if l.latent != nil {
		s.latent.values(l.latent)
		s.mul.run(s.latent.att, product{l.wo, s.out})
	} else {
		s.mul.run(s.att, product{l.wo, s.out})
	}
	if m.cfg.arch.parallel {
		if l.ffnNorm != nil { // else that of attention, which s.h still has
			s.norm.run(s.h, s.x, l.ffnNorm, l.ffnNormBias)
		}
		s.residual.run(s.x, s.out, l.bo, l.postAttn, RoundNone)
	} else {
		s.residual.run(s.x, s.out, l.bo, l.postAttn, RoundNone)
		s.norm.run(s.h, s.x, l.ffnNorm, l.ffnNormBias)
	}
	l.mlp(s)
	s.residual.run(s.x, s.out, l.bDown, l.postFFN, m.rounding)
}

// mlp writes what the layer's MLP or its experts make of s.h to s.out.
func (l *layer) mlp(s *scratch) {
	switch {
	case l.experts != nil:
		s.experts.run(l.experts)
		return
	case l.wGate == nil:
		s.mul.run(s.h, product{l.wUp, s.gate})
		s.gated.run(s.gate, nil, l.bUp, nil)
	default:
		s.mul.run(s.h, product{l.wGate, s.gate}, product{l.wUp, s.up})
		s.gated.run(s.gate, s.up, l.bGate, l.bUp)
	}
	s.mul.run(s.gate, product{l.wDown, s.out})
}
