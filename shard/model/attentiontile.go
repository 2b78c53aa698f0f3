package model

import (
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// run is how many positions are multiplied at a time: their keys or values, as
// float32, stay in the first cache while all rows of a tile use them.
const run = 32

// scoreStride is the room for the scores of a head: a segment, and what the
// last panel of a short page holds beyond it.
const scoreStride = segment + vec.PanelWidth

// An attendWorker is the scratch of one thread. A tile has n heads of rows, one
// row's after the other's.
type attendWorker struct {
	q       []float32    // [n, headDim], scaled
	p       []float32    // [n, scoreStride], scores, then weights, of a segment
	panel   [1][]float32 // keys or values of a run
	factors []float32    // [2, n], of a merge
	scales  []float32    // [segment], of keys or values that are whole numbers
	product vec.Product
	half    slate[uint16] // of the current segment, as its precision is
	float   slate[float32]
	whole   slate[int8]
	seg     softmaxes // of the current segment
	sum     softmaxes // merged
}

// softmaxes are n softmaxes over some positions, times the values there, not
// yet divided: e^max times acc / sum.
type softmaxes struct {
	max, sum []float32 // [n]
	acc      []float32 // [n, valDim up to 16]
}

// panels returns n up to a multiple of the width of a panel.
func panels(n int) int { return (n + vec.PanelWidth - 1) / vec.PanelWidth * vec.PanelWidth }

// init makes the scratch of the workers.
func (o *attendOp) init(m *Model) {
	o.m = m
	c := &m.cfg
	n := max(tileHeads, c.Heads/c.KVHeads)
	cols := panels(c.ValDim)
	o.slot = maxSplitRows * c.Heads / c.KVHeads * (cols + 2)
	o.workers = make([]attendWorker, m.pool.Threads())
	for i := range o.workers {
		w := &o.workers[i]
		w.q = make([]float32, n*c.HeadDim)
		w.p = make([]float32, n*scoreStride)
		w.panel[0] = make([]float32, run*max(c.HeadDim, cols))
		w.factors = make([]float32, 2*n)
		w.scales = make([]float32, segment)
		w.seg = newSoftmaxes(make([]float32, n*(cols+2)), n)
		w.sum = newSoftmaxes(make([]float32, n*(cols+2)), n)
	}
}

// newSoftmaxes lays n softmaxes out in mem.
func newSoftmaxes(mem []float32, n int) softmaxes {
	return softmaxes{max: mem[:n], sum: mem[n:][:n], acc: mem[2*n:]}
}

// Tile computes some heads of the rows of a block.
func (o *attendOp) Tile(worker, tile int) {
	p := o.plan()
	t := &p.tiles[tile]
	b, w := &o.blocks[t.block], &o.workers[worker]
	o.loadQueries(w, p, t)
	n := b.rows * p.heads
	if t.slot < 0 {
		o.segmentOf(w, &w.sum, p, t, t.lo)
		for s := t.lo + 1; s < t.hi; s++ {
			o.segmentOf(w, &w.seg, p, t, s)
			o.merge(w, &w.sum, &w.seg, p, t, s)
		}
		o.finish(&w.sum, p, t)
		return
	}
	first, last := b.segments(p.window)
	part := newSoftmaxes(o.partial[(t.slot+t.lo-first)*o.slot:][:o.slot], n)
	o.segmentOf(w, &part, p, t, t.lo)
	if p.left[t.group].Add(-1) > 0 {
		return
	}
	// Whoever is last merges all of them, and is ready for the next layer.
	p.left[t.group].Store(int32(last - first))
	for s := first; s < last; s++ {
		part = newSoftmaxes(o.partial[(t.slot+s-first)*o.slot:][:o.slot], n)
		o.merge(w, &w.sum, &part, p, t, s)
	}
	o.finish(&w.sum, p, t)
}

// loadQueries fills w.q.
func (o *attendOp) loadQueries(w *attendWorker, p *attendPlan, t *attendTile) {
	c, b := &o.m.cfg, &o.blocks[t.block]
	n := p.heads * c.HeadDim
	for r := range b.rows {
		q := w.q[r*n:][:n]
		copy(q, o.m.s.q[((b.first+r)*c.Heads+t.head)*c.HeadDim:])
		vec.Scale(q, o.scale)
	}
}

// A stretch is the positions [lo, hi) of a segment that a tile reads.
type stretch struct {
	kv     *kvcache.Session
	layer  int // in the span
	kvHead int
	base   int // first position of the segment
	lo, hi int
	dim    int // of the keys
	cols   int // of the values, up to 16
}

// unit returns how many positions lie together at most.
func (x *stretch) unit() int { return min(x.kv.PageTokens(), run) }

// A reader returns the keys and values of a page, as [kvcache.Session.Page].
type reader[T any] func(kv *kvcache.Session, layer, head, page int) (keys, vals []T)

// A slate is where the keys and values of a stretch lie, in pieces that end
// where units of positions do: keys from the panel on that holds the first
// position of the piece, values from that position on.
type slate[T any] struct{ keys, vals [][]T }

// list fills l.
func (l *slate[T]) list(x *stretch, read reader[T]) {
	l.keys, l.vals = l.keys[:0], l.vals[:0]
	step, unit := x.kv.PageTokens(), x.unit()
	for at := x.lo; at < x.hi; {
		first := at - at%step
		keys, vals := read(x.kv, x.layer, x.kvHead, at/step)
		for end := min(first+step, x.hi); at < end; at += unit - at%unit {
			i := at - first
			l.keys = append(l.keys, keys[i/vec.PanelWidth*vec.PanelWidth*x.dim:])
			l.vals = append(l.vals, vals[i*vec.PanelWidth:])
		}
	}
}

// same returns how many pieces from the one at position at on are multiplied
// at once, and the positions of each.
func (x *stretch) same(at int) (pieces, n int) {
	unit := x.unit()
	n = min(unit-at%unit, x.hi-at)
	if n < unit || unit%vec.PanelWidth != 0 {
		return 1, n
	}
	return (x.hi - at) / unit, n
}

// segmentOf computes the softmax over segment s for each head of each row of
// the tile, into dst:
//
//	score  = q k, one chain over the head's dimensions; softly capped if the model says so
//	max    = the largest score of the positions that the row sees
//	weight = e^(score - max), sum their sum in 16 lanes from the first that it sees
//	acc    = sum of weight v, one chain over the positions
//
// Positions that other rows of the tile see and this one does not have weight 0
// there, which changes nothing but the sign of a zero; finish makes that +0.
func (o *attendOp) segmentOf(w *attendWorker, dst *softmaxes, p *attendPlan, t *attendTile, s int) {
	c, b := &o.m.cfg, &o.blocks[t.block]
	lo, _ := b.seen(0, p.window)
	_, hi := b.seen(b.rows-1, p.window)
	x := stretch{
		kv: b.kv, layer: o.layer, kvHead: t.head * c.KVHeads / c.Heads, base: s * segment,
		lo: max(lo, s*segment), hi: min(hi, (s+1)*segment), dim: c.HeadDim, cols: panels(c.ValDim),
	}
	w.product = vec.Product{
		Rows: b.rows * p.heads, A: w.q, AStride: c.HeadDim, CStride: scoreStride, Depth: c.HeadDim,
	}
	w.scores(&x)
	for i := range b.rows * p.heads {
		lo, hi := b.seen(i/p.heads, p.window)
		lo, hi = max(lo, x.lo)-x.base, min(hi, x.hi)-x.base
		row := w.p[i*scoreStride:][:x.hi-x.base]
		if lo >= hi {
			clear(row) // it sees nothing here: merge passes over it
			continue
		}
		if c.ScoreCap > 0 {
			vec.SoftCap(row[lo:hi], c.ScoreCap)
		}
		dst.max[i] = vec.Max(row[lo:hi])
		dst.sum[i] = vec.ExpSum(row[lo:hi], dst.max[i])
		clear(row[:lo])
		clear(row[hi:])
	}
	w.product.C, w.product.CStride = dst.acc, x.cols
	w.product.AStride = scoreStride
	w.values(&x)
}

// scores fills w.p with the products of the queries and the keys.
func (w *attendWorker) scores(x *stretch) {
	switch x.kv.Precision() {
	case kvcache.Float32:
		w.float.list(x, (*kvcache.Session).PageFloat32)
		scoresOf(w, x, &w.float, (*attendWorker).mulFloat32)
	case kvcache.Int8:
		w.whole.list(x, (*kvcache.Session).PageInt8)
		scoresOf(w, x, &w.whole, (*attendWorker).mulInt8)
		for at, n := x.lo, x.kv.PageTokens(); at < x.hi; at += n - at%n {
			keys, _ := x.kv.Scales(x.layer, x.kvHead, at/n)
			copy(w.scales[at-x.base:], keys[at%n:])
		}
		w.scale(x)
	default:
		w.half.list(x, (*kvcache.Session).Page)
		scoresOf(w, x, &w.half, (*attendWorker).mulHalf)
	}
}

func scoresOf[T any](w *attendWorker, x *stretch, l *slate[T], mul func(w *attendWorker, b [][]T, next []T)) {
	p, at := &w.product, x.lo
	for keys := l.keys; len(keys) > 0; {
		pieces, n := x.same(at)
		next := l.vals[0]
		if pieces < len(keys) {
			next = keys[pieces]
		}
		from := at - at%min(x.unit(), vec.PanelWidth) // keys are read in whole panels
		p.C, p.Panels, p.BStride = w.p[from-x.base:], panels(at+n-from)/vec.PanelWidth, x.dim*vec.PanelWidth
		mul(w, keys[:pieces], next)
		at, keys = at+pieces*n, keys[pieces:]
	}
}

// values computes the sums of the values weighted by w.p.
func (w *attendWorker) values(x *stretch) {
	switch x.kv.Precision() {
	case kvcache.Float32:
		valuesOf(w, x, &w.float, (*attendWorker).mulFloat32)
	case kvcache.Int8:
		for at, n := x.lo, x.kv.PageTokens(); at < x.hi; at += n - at%n {
			_, vals := x.kv.Scales(x.layer, x.kvHead, at/n)
			copy(w.scales[at-x.base:], vals[at%n:])
		}
		w.scale(x)
		valuesOf(w, x, &w.whole, (*attendWorker).mulInt8)
	default:
		valuesOf(w, x, &w.half, (*attendWorker).mulHalf)
	}
}

func valuesOf[T any](w *attendWorker, x *stretch, l *slate[T], mul func(w *attendWorker, b [][]T, next []T)) {
	p, at := &w.product, x.lo
	p.Add, p.Deep = false, true
	for vals := l.vals; len(vals) > 0; {
		pieces, n := x.same(at)
		var next []T
		if pieces < len(vals) {
			next = vals[pieces]
		}
		p.A, p.Depth, p.Panels, p.BStride = w.p[at-x.base:], n, x.cols/vec.PanelWidth, x.kv.PageTokens()*vec.PanelWidth
		mul(w, vals[:pieces], next)
		p.Add = true
		at, vals = at+pieces*n, vals[pieces:]
	}
}

// scale multiplies w.p with w.scales, the scales of the positions.
func (w *attendWorker) scale(x *stretch) {
	lo, hi := x.lo-x.base, x.hi-x.base
	for i := range w.product.Rows {
		vec.Mul(w.p[i*scoreStride+lo:], w.scales[lo:hi])
	}
}

func (w *attendWorker) mulFloat32(b [][]float32, next []float32) { w.product.F32(b, next) }

func (w *attendWorker) mulHalf(b [][]uint16, next []uint16) { w.product.F16(b, next) }

// widenRows is how many rows make it worth to widen whole numbers once for all
// of them, rather than in each product. Half precision widens on the way, for
// nothing.
const widenRows = 12

func (w *attendWorker) mulInt8(b [][]int8, next []int8) {
	if w.product.Rows < widenRows {
		w.product.I8(b, next)
		return
	}
	for i := range b {
		p := w.product.Part(i)
		n := p.Depth * vec.PanelWidth
		for j := range p.Panels {
			vec.FromI8(w.panel[0][j*n:], b[i][j*p.BStride:][:n])
		}
		p.BStride = n
		p.F32(w.panel[:], nil)
	}
}

// merge adds segment s of the tile to sum, for the rows that see it:
//
//	max' = max(max, that of the segment)
//	sum' = sum e^(max - max') + that of the segment e^(its max - max')
//
// and acc' likewise. The first segment that a row sees is taken as it is.
func (o *attendOp) merge(w *attendWorker, sum, seg *softmaxes, p *attendPlan, t *attendTile, s int) {
	b, cols := &o.blocks[t.block], panels(o.m.cfg.ValDim)
	n := b.rows * p.heads
	old, add := w.factors[:n], w.factors[n:][:n]
	for i := range n {
		top := max(sum.max[i], seg.max[i])
		old[i], add[i] = sum.max[i]-top, seg.max[i]-top
	}
	vec.ExpTo(w.factors[:2*n], w.factors[:2*n])
	for i := range n {
		lo, hi := b.seen(i/p.heads, p.window)
		if hi <= s*segment || lo >= (s+1)*segment {
			continue
		}
		acc, more := sum.acc[i*cols:][:cols], seg.acc[i*cols:][:cols]
		if lo >= s*segment {
			sum.max[i], sum.sum[i] = seg.max[i], seg.sum[i]
			copy(acc, more)
			continue
		}
		sum.max[i] = max(sum.max[i], seg.max[i])
		sum.sum[i] = float32(sum.sum[i]*old[i]) + float32(seg.sum[i]*add[i])
		vec.Scale(acc, old[i])
		vec.Axpy(add[i], more, acc)
	}
}

// finish divides the sums, and writes the result of the tile. A head's sink, if
// it has one, joins the softmax last: a score without a value (gpt-oss).
func (o *attendOp) finish(sum *softmaxes, p *attendPlan, t *attendTile) {
	c, b := &o.m.cfg, &o.blocks[t.block]
	cols := panels(c.ValDim)
	for i := range b.rows * p.heads {
		row, head := b.first+i/p.heads, t.head+i%p.heads
		att := o.m.s.att[(row*c.Heads+head)*c.ValDim:][:c.ValDim]
		clear(att)
		x, total := float32(1), sum.sum[i]
		if o.sinks != nil {
			top := max(sum.max[i], o.sinks[head])
			x = vec.Exp(sum.max[i] - top)
			total = float32(total*x) + vec.Exp(o.sinks[head]-top)
		}
		vec.Axpy(x/total, sum.acc[i*cols:][:c.ValDim], att) // FMA(x, -0, 0) is +0
	}
}
