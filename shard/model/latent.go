package model

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/quant"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// latentShape says how an architecture with latent attention (arXiv 2405.04434,
// section 2.1) computes it. The zero latentShape is of those without.
//
// The cache holds one key of [ropeDim + rank] values for all heads, of which the
// last are the latent, and the latent once more as the value: so attention is
// that of one key head, [Config.KVHeads] is 1, and [Config.HeadDim] and
// [Config.ValDim] are those of the cache. A head's own keys and values are
// linear in the latent. They are never made: the matrix of the keys is applied
// to the query, that of the values to the sum.
type latentShape struct {
	queryRank int // of the queries' own latent; 0 without
	rank      int // of the latent of keys and values
	keyDim    int // of a head's own query, of which the last RopeDim are rotated
	valDim    int // of a head's own value
	yarnLog   float64
}

// yarnLogKey is how much the logarithm of YaRN's factor adds to scores.
const yarnLogKey = ".rope.scaling.yarn_log_multiplier"

// readLatent reads the shape of latent attention, and makes HeadDim, ValDim and
// KVHeads those of the cache.
func (r *keys) readLatent(c *Config) {
	if !c.arch.latent {
		return
	}
	s := &c.latent
	s.rank = r.count("attention.kv_lora_rank", 0, maxDim)
	// Files of before April 2025 have the heads' own sizes under these names.
	s.keyDim = r.count("attention.key_length_mla", c.HeadDim, maxDim)
	s.valDim = r.count("attention.value_length_mla", c.ValDim, maxDim)
	if n, _ := r.meta.Uint(r.arch + ".attention.q_lora_rank"); n > 0 {
		s.queryRank = r.count("attention.q_lora_rank", 0, maxDim)
	}
	c.RopeDim = r.count("rope.dimension_count", 0, maxDim)
	// Converters write a tenth of it (conversion/deepseek.py, YARN_LOG_MUL_FIX).
	if x, ok := r.meta.Float(r.arch + yarnLogKey); ok {
		s.yarnLog = x
	}
	if r.err == nil && c.RopeDim >= s.keyDim {
		r.fail(fmt.Errorf("model metadata: %s rotates %d values of queries of %d: want less", r.arch, c.RopeDim, s.keyDim))
	}
	c.KVHeads, c.HeadDim, c.ValDim = 1, c.RopeDim+s.rank, s.rank
	if r.err == nil && c.Heads*s.keyDim > maxDim {
		r.fail(fmt.Errorf("model metadata: %d heads of %d values: want %d values at most", c.Heads, s.keyDim, maxDim))
	}
}

// latentScale returns what the scores of latent attention are multiplied with.
// YaRN's share of it is applied to scores, not to the rotation.
func (c *Config) latentScale() float32 {
	grown := 1.0
	if c.YarnFactor > 0 {
		grown += float64(c.latent.yarnLog * vec.LogF64(c.YarnFactor))
	}
	return float32(float64(grown*grown) / math.Sqrt(float64(c.latent.keyDim)))
}

// latent is the weights of latent attention.
type latent struct {
	wqA       *quant.Matrix // [queryRank, dim]; nil without
	wqB       *quant.Matrix // [heads*keyDim, queryRank], or [.., dim] without wqA
	wkv       *quant.Matrix // [rank+ropeDim, dim]
	qNorm, kv []float32     // [queryRank], nil without; [rank]
	bqA, bkv  []float32     // [queryRank] and [rank+ropeDim]; nil without bias
	keys      []*quant.Matrix
	vals      []*quant.Matrix // of each head: [rank, keyDim-ropeDim] and [valDim, rank]
}

// addLatent plans the matrices of layer i, in the order in which latent takes them.
func (l *loader) addLatent(p *plan, i shard.Layer) {
	c, s := &l.cfg, &l.cfg.latent
	if s.queryRank > 0 {
		l.add(p, name(i, "attn_q_a.weight"), s.queryRank, c.Dim, 0, s.queryRank)
		l.add(p, name(i, "attn_q_b.weight"), c.Heads*s.keyDim, s.queryRank, 0, c.Heads*s.keyDim)
	} else {
		l.add(p, name(i, "attn_q.weight"), c.Heads*s.keyDim, c.Dim, 0, c.Heads*s.keyDim)
	}
	l.add(p, name(i, "attn_kv_a_mqa.weight"), s.rank+c.RopeDim, c.Dim, 0, s.rank+c.RopeDim)
	own := s.keyDim - c.RopeDim
	if l.src.Has(name(i, "attn_kv_b.weight")) && !l.src.Has(name(i, "attn_k_b.weight")) {
		l.addJoined(p, name(i, "attn_kv_b.weight"), own)
		return
	}
	keys := l.tensor(name(i, "attn_k_b.weight"), c.Heads, s.rank, own)
	vals := l.tensor(name(i, "attn_v_b.weight"), c.Heads, s.valDim, s.rank)
	for h := range c.Heads {
		l.addPart(p, keys, h*s.rank, s.rank, own)
		l.addPart(p, vals, h*s.valDim, s.valDim, s.rank)
	}
}

// addJoined plans the matrices of the heads from one tensor, as files of before
// April 2025 have them. Those of the keys are the wrong way round there.
func (l *loader) addJoined(p *plan, name string, own int) {
	c, s := &l.cfg, &l.cfg.latent
	both := own + s.valDim
	t := l.tensor(name, c.Heads*both, s.rank)
	for h := range c.Heads {
		if l.err != nil {
			return
		}
		turned := tensorio.Tensor{Name: name, Type: tensorio.F32, Shape: []int{s.rank, own}}
		if rowBytes, err := t.Type.RowBytes(s.rank); err == nil && t.Data != nil {
			values := make([]float32, own*s.rank)
			if err := quant.Dequantize(values, t.Type, t.Data[h*both*rowBytes:][:own*rowBytes]); err != nil {
				l.fail(fmt.Errorf("tensor %q: %w", name, err))
			}
			turned.Data = make([]byte, 0, 4*len(values))
			for r := range s.rank {
				for k := range own {
					turned.Data = binary.LittleEndian.AppendUint32(turned.Data, math.Float32bits(values[k*s.rank+r]))
				}
			}
		}
		l.addPart(p, turned, 0, s.rank, own)
		l.addPart(p, t, h*both+own, s.valDim, s.rank)
	}
}

// latent returns the weights of layer i, and the matrices behind its own.
func (l *loader) latent(i shard.Layer, mats []matrixPlan) (*latent, []matrixPlan) {
	c, s, w := &l.cfg, &l.cfg.latent, &latent{}
	if s.queryRank > 0 {
		w.wqA, mats = mats[0].packed, mats[1:]
		w.qNorm = l.vector(name(i, "attn_q_a_norm.weight"), s.queryRank)
		w.bqA = l.optional(name(i, "attn_q_a.bias"), s.queryRank)
	}
	w.wqB, w.wkv, mats = mats[0].packed, mats[1].packed, mats[2:]
	w.kv = l.vector(name(i, "attn_kv_a_norm.weight"), s.rank)
	w.bkv = l.optional(name(i, "attn_kv_a_mqa.bias"), s.rank+c.RopeDim)
	for range c.Heads {
		w.keys, w.vals, mats = append(w.keys, mats[0].packed), append(w.vals, mats[1].packed), mats[2:]
	}
	return w, mats
}

// latentOp makes the queries, keys and values of latent attention of the rows,
// and the heads' own values of what attention gives.
type latentOp struct {
	m *Model
	w *latent // of the layer

	qa      []float32 // [rows, queryRank]
	q       []float32 // [rows, heads, keyDim]
	kv      []float32 // [rows, rank+ropeDim]
	att     []float32 // [rows, heads, valDim]
	workers []latentWorker
}

// A latentWorker is the memory of one thread.
type latentWorker struct {
	in, out []float32 // [rows, ..] of one head
	acts    quant.Acts
}

func (o *latentOp) init(m *Model) {
	o.m = m
	if m.cfg.arch.latent {
		o.workers = make([]latentWorker, m.pool.Threads())
	}
}

// queries fills q, k and v of the scratch from h. What is rotated comes first in
// queries and keys there, and last in the file.
func (o *latentOp) queries(w *latent) {
	s, c := &o.m.s, &o.m.cfg
	o.w = w
	o.q = grow(o.q, s.rows*c.Heads*c.latent.keyDim)
	o.kv = grow(o.kv, s.rows*(c.latent.rank+c.RopeDim))
	if w.wqA == nil {
		s.mul.run(s.h, product{w.wqB, o.q}, product{w.wkv, o.kv})
	} else {
		o.qa = grow(o.qa, s.rows*c.latent.queryRank)
		s.mul.run(s.h, product{w.wqA, o.qa}, product{w.wkv, o.kv})
		o.m.eachRow((*latentNorm)(o))
		s.mul.run(o.qa, product{w.wqB, o.q})
	}
	o.m.eachRow((*latentKeys)(o))
	o.m.pool.Run(c.Heads, (*latentQueries)(o))
}

// values fills att from what attention gives.
func (o *latentOp) values(w *latent) {
	o.w = w
	o.att = grow(o.att, o.m.s.rows*o.m.cfg.Heads*o.m.cfg.latent.valDim)
	o.m.pool.Run(o.m.cfg.Heads, (*latentValues)(o))
}

// latentNorm normalises the latent of the queries.
type latentNorm latentOp

// Tile does row r.
func (o *latentNorm) Tile(_, r int) {
	n := o.m.cfg.latent.queryRank
	x := o.qa[r*n:][:n]
	addBias(x, o.w.bqA)
	o.m.cfg.normalize(x, x, o.w.qNorm, nil)
}

// latentKeys makes keys and values.
type latentKeys latentOp

// Tile does row r.
func (o *latentKeys) Tile(_, r int) {
	s, c := &o.m.s, &o.m.cfg
	rank, n := c.latent.rank, c.latent.rank+c.RopeDim
	kv, k, v := o.kv[r*n:][:n], s.k[r*n:][:n], s.v[r*rank:][:rank]
	addBias(kv, o.w.bkv)
	c.normalize(v, kv[:rank], o.w.kv, nil)
	copy(k, kv[rank:])
	copy(k[c.RopeDim:], v)
}

// latentQueries makes the queries.
type latentQueries latentOp

// Tile does head h of all rows.
func (o *latentQueries) Tile(worker, h int) {
	s, c, w := &o.m.s, &o.m.cfg, &o.workers[worker]
	own := c.latent.keyDim - c.RopeDim
	w.in, w.out = grow(w.in, s.rows*own), grow(w.out, s.rows*c.latent.rank)
	for r := range s.rows {
		copy(w.in[r*own:][:own], o.q[(r*c.Heads+h)*c.latent.keyDim:])
	}
	w.mul(o.w.keys[h], s.rows)
	for r := range s.rows {
		q := s.q[(r*c.Heads+h)*c.HeadDim:][:c.HeadDim]
		copy(q[:c.RopeDim], o.q[(r*c.Heads+h)*c.latent.keyDim+own:])
		copy(q[c.RopeDim:], w.out[r*c.latent.rank:])
	}
}

// mul multiplies rows of in with a matrix.
func (w *latentWorker) mul(m *quant.Matrix, rows int) {
	w.acts.Begin(w.in, rows, m.Cols(), m)
	w.acts.Quantize(0, rows)
	m.Mul(w.out, m.Rows(), &w.acts, 0, m.Panels())
}

// latentValues makes the heads' own values.
type latentValues latentOp

// Tile does head h of all rows.
func (o *latentValues) Tile(worker, h int) {
	s, c, w := &o.m.s, &o.m.cfg, &o.workers[worker]
	rank, n := c.latent.rank, c.latent.valDim
	w.in, w.out = grow(w.in, s.rows*rank), grow(w.out, s.rows*n)
	for r := range s.rows {
		copy(w.in[r*rank:][:rank], s.att[(r*c.Heads+h)*rank:])
	}
	w.mul(o.w.vals[h], s.rows)
	for r := range s.rows {
		copy(o.att[(r*c.Heads+h)*n:][:n], w.out[r*n:])
	}
}
