package model

import (
	"math"

	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// storeOp finishes the queries and keys of a layer (biases, norms, rotation),
// and stores keys and values in the cache.
type storeOp struct {
	m     *Model
	layer *layer
	index int // of the layer in the span
}

func (o *storeOp) run(l *layer, index int) {
	o.layer, o.index = l, index
	o.m.eachRow(o)
}

// Tile finishes and stores row r.
func (o *storeOp) Tile(_, r int) {
	c, s, l := &o.m.cfg, &o.m.s, o.layer
	nq, nk, nv := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim, c.KVHeads*c.ValDim
	q, k, v := s.q[r*nq:][:nq], s.k[r*nk:][:nk], s.v[r*nv:][:nv]
	addBias(q, l.bq)
	addBias(k, l.bk)
	addBias(v, l.bv)
	o.normHeads(q, l.qNorm)
	o.normHeads(k, l.kNorm)
	o.rotate(q, r)
	o.rotate(k, r)
	if row := &s.of[r]; row.kv != nil && row.kv.Put(o.index, row.pos, k, v) != nil {
		row.bad = true
	}
}

// normHeads normalises each head of x, if the architecture does.
func (o *storeOp) normHeads(x, w []float32) {
	if w == nil {
		return
	}
	for n := len(w); len(x) > 0; x = x[n:] {
		vec.RMSNorm(x[:n], x[:n], w, o.m.cfg.Eps)
	}
}

// rotate turns each head of x by the position of row r.
func (o *storeOp) rotate(x []float32, r int) {
	if !o.layer.rotates {
		return
	}
	c := &o.m.cfg
	cos, sin := o.m.s.global.row(o.m.rope, r)
	if o.layer.local {
		cos, sin = o.m.s.local.row(o.m.ropeLocal, r)
	}
	if c.arch.halves {
		vec.RopeHalf(x, c.HeadDim, cos, sin)
	} else {
		vec.RopePairs(x, c.HeadDim, cos, sin)
	}
}

// addBias adds a bias, which may be nil for none.
func addBias(x, bias []float32) {
	if bias != nil {
		vec.Add(x, bias)
	}
}

// attendOp is causal attention over the cached positions of each row's session:
// for each head, att = softmax(q k / sqrt(headDim)) v.
//
// It makes two passes over the positions that a row sees, from the first (0, or
// the start of its window) to its own, in order: all scores, then the weighted
// sum of values. So a row's result depends on its session's history alone.
type attendOp struct {
	m      *Model
	layer  int // in the span
	local  bool
	group  int         // heads of a tile; they share a key/value head
	scale  float32     // 1 / sqrt(headDim)
	scores [][]float32 // a worker's, [group, positions]
}

// begin chooses the tiles and makes room for the scores of the longest session
// among rows.
func (o *attendOp) begin(m *Model, rows []row) {
	c := &m.cfg
	o.scale = 1 / float32(math.Sqrt(float64(c.HeadDim)))
	o.group = c.Heads / c.KVHeads
	if len(rows)*c.KVHeads < 4*m.pool.Threads() {
		o.group = 1 // else some threads would wait for others
	}
	n := 0
	for i := range rows {
		n = max(n, int(rows[i].pos)+1)
	}
	for w := range o.scores {
		if cap(o.scores[w]) < n*o.group {
			o.scores[w] = make([]float32, 0, min(c.Context, 2*n+64)*c.Heads/c.KVHeads)
		}
	}
}

func (o *attendOp) run(l *layer, layer int) {
	o.layer, o.local = layer, l.local
	o.m.pool.Run(o.m.s.rows*o.m.cfg.Heads/o.group, o)
}

// Tile computes some heads of one row.
func (o *attendOp) Tile(worker, tile int) {
	c, s := &o.m.cfg, &o.m.s
	head := tile * o.group // of all rows' heads
	q := s.q[head*c.HeadDim:][:o.group*c.HeadDim]
	att := s.att[head*c.ValDim:][:o.group*c.ValDim]
	clear(att)
	row := &s.of[head/c.Heads]
	if row.kv == nil {
		return
	}
	end, first := int(row.pos)+1, 0
	if o.local {
		first = max(0, end-c.Window)
	}
	p := o.scores[worker][:o.group*(end-first)]
	o.heads(att, q, p, row.kv, head%c.Heads*c.KVHeads/c.Heads, first)
}

// heads adds to att, [group, valDim], the attention of q, [group, headDim],
// over the positions from first on that p, [group, positions], has room for
// the scores of.
func (o *attendOp) heads(att, q, p []float32, kv *kvcache.Session, kvHead, first int) {
	if kv.Precision() == kvcache.Float32 {
		o.headsFloat32(att, q, p, kv, kvHead, first)
		return
	}
	c, n, step := &o.m.cfg, len(p)/o.group, kv.PageTokens()
	for at := 0; at < n; {
		page, row := (first+at)/step, (first+at)%step
		some := min(step-row, n-at)
		keys, _ := kv.Page(o.layer, kvHead, page)
		vec.DotsF16Group(p[at:], n, q, o.group, keys[row*c.HeadDim:], c.HeadDim, some, o.scale)
		at += some
	}
	for h := range o.group {
		vec.Softmax(p[h*n:][:n])
	}
	for at := 0; at < n; {
		page, row := (first+at)/step, (first+at)%step
		some := min(step-row, n-at)
		_, vals := kv.Page(o.layer, kvHead, page)
		vec.AccumF16Group(att, o.group, p[at:], n, vals[row*c.ValDim:], c.ValDim, some)
		at += some
	}
}

// headsFloat32 is heads over a cache of float32.
func (o *attendOp) headsFloat32(att, q, p []float32, kv *kvcache.Session, kvHead, first int) {
	c, n, step := &o.m.cfg, len(p)/o.group, kv.PageTokens()
	for h := range o.group {
		q, att, p := q[h*c.HeadDim:][:c.HeadDim], att[h*c.ValDim:][:c.ValDim], p[h*n:][:n]
		for i := range p {
			keys, _ := kv.PageFloat32(o.layer, kvHead, (first+i)/step)
			p[i] = o.scale * vec.Dot(q, keys[(first+i)%step*c.HeadDim:][:c.HeadDim])
		}
		vec.Softmax(p)
		for i, weight := range p {
			_, vals := kv.PageFloat32(o.layer, kvHead, (first+i)/step)
			vec.Axpy(weight, vals[(first+i)%step*c.ValDim:][:c.ValDim], att)
		}
	}
}
