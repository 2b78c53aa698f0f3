package model

import (
	"github.com/shardnode/shardnode/tensorio/par"
	"github.com/shardnode/shardnode/tensorio/quant"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// fewWorker is the memory of one worker of a few.
type fewWorker struct {
	x, out []float32 // [rows, dim]
	h      []float32 // [rows, cols], what is multiplied
	acts   quant.Acts
	part   quant.Matrix // that multiplies it
	y, up  []float32    // [rows, rows of part]
	_      [64]byte     // the next one's are written by another thread
}

// A branch is what is added to the residual stream: norm(out + bias), rounded.
type branch struct {
	from       *[]float32 // out, [rows, dim], in a few
	bias, norm []float32  // nil for none
	scale      float32    // 1 for none
	rounding   Rounding
}

// add adds the branch y, which it changes, to x. Both are one row.
func (b *branch) add(x, y []float32, eps float32) {
	addBias(y, b.bias)
	if b.norm != nil {
		vec.RMSNorm(y, y, b.norm, eps)
	}
	if b.scale != 1 {
		vec.Scale(y, b.scale)
	}
	vec.Add(x, y)
	if b.rounding == RoundBF16 {
		vec.RoundBF16(x)
	}
}

// A stream is how an operation takes the residual stream.
type stream struct {
	x    []float32  // [rows, dim], as it was before
	add  []branch   // in order
	norm []float32  // [dim]; nil without
	bias []float32  // [dim], of the norm; nil without
	sum  *[]float32 // where the stream goes, with the branches; nil for nowhere
}

// fetch leaves the stream in w.x.
func (s *stream) fetch(f *few, w *fewWorker) {
	fetch(w.x, s.x)
	dim := f.m.cfg.Dim
	for i := range s.add {
		b := &s.add[i]
		fetch(w.out, *b.from)
		for r := range f.rows {
			b.add(w.x[r*dim:][:dim], w.out[r*dim:][:dim], f.m.cfg.Eps)
		}
	}
}

// commit hands the stream out.
func (s *stream) commit(w *fewWorker) {
	if s.sum != nil {
		copy(*s.sum, w.x)
	}
}

// fewFinal hands the residual stream out at the end of a span.
type fewFinal struct {
	f  *few
	in stream
}

// Tiles returns 1.
func (o *fewFinal) Tiles() int { return 1 }

// Begin does nothing.
func (o *fewFinal) Begin(int) {}

// Tile adds the last branch.
func (o *fewFinal) Tile(worker, _ int) { o.in.fetch(o.f, &o.f.workers[worker]) }

// Commit hands the stream out.
func (o *fewFinal) Commit(worker, _ int) { o.in.commit(&o.f.workers[worker]) }

// fewMul multiplies the rows with some matrices.
type fewMul struct {
	f      *few
	src    []float32 // what is multiplied, [rows, cols]; nil for the stream
	in     stream
	jobs   []fewJob
	cols   int
	forms  []*quant.Matrix // all that multiply
	rests  bool            // also what quantising leaves of the rows (see project)
	tiles  int
	panels int // of a tile
}

// fewJob is one matrix and its tiles, up to last. With up it is the gate of an
// MLP: act(gate + bias) * (up + upBias).
type fewJob struct {
	w, up        *quant.Matrix
	bias, upBias []float32
	bend         bool       // there is no up: act(product + bias)
	to           *[]float32 // [rows, out]
	last         int
}

const (
	// fewTiles is how many tiles of an operation there should be for each
	// worker: with fewer some wait for the others' last ones.
	fewTiles = 8
	// Bounds of the bytes of a tile: below, taking tiles costs more than
	// waiting; above, it takes longer than 10 us (at 15 GB/s), which others wait
	// for.
	leastTileBytes = 16 << 10
	mostTileBytes  = 128 << 10
)

// mul makes an operation of o.
func (f *few) mul(o *fewMul) *par.Op {
	o.f, o.cols = f, o.jobs[0].w.Cols()
	o.jobs = append([]fewJob(nil), o.jobs...) // they share a slice
	total, panel := 0, 0
	for i := range o.jobs {
		j := &o.jobs[i]
		bytes := j.w.PanelBytes()
		o.forms = append(o.forms, j.w)
		if j.up != nil {
			bytes += j.up.PanelBytes()
			o.forms = append(o.forms, j.up)
		}
		total += bytes * j.w.Panels()
		panel = max(panel, bytes)
	}
	tile := min(max(total/(fewTiles*len(f.workers)), leastTileBytes), mostTileBytes)
	o.panels = max(1, tile/panel)
	for o.cut(); o.tiles > par.MaxTiles; o.cut() {
		o.panels *= 2
	}
	for i := range f.workers { // so that no step has to take memory
		w, n := &f.workers[i], o.rows()*o.panels*quant.PanelRows
		w.acts.Begin(w.h, o.rows(), o.cols, o.forms...)
		w.y, w.up = grow(w.y, max(n, len(w.y))), grow(w.up, max(n, len(w.up)))
	}
	return par.Repeatable(o)
}

// rows returns how many rows are multiplied.
func (o *fewMul) rows() int {
	if o.rests {
		return 2 * o.f.rows
	}
	return o.f.rows
}

// cut divides the jobs into tiles.
func (o *fewMul) cut() {
	o.tiles = 0
	for i := range o.jobs {
		j := &o.jobs[i]
		o.tiles += tiles(j.w.Panels(), o.panels)
		j.last = o.tiles
	}
}

// Tiles returns the number of tiles.
func (o *fewMul) Tiles() int { return o.tiles }

// Begin makes what is multiplied.
func (o *fewMul) Begin(worker int) {
	w, n := &o.f.workers[worker], o.f.rows*o.cols
	if o.src != nil {
		fetch(w.h[:n], o.src)
	} else {
		o.in.fetch(o.f, w)
		for r := range o.f.rows {
			at := r * o.cols
			o.f.m.cfg.normalize(w.h[at:][:o.cols], w.x[at:][:o.cols], o.in.norm, o.in.bias)
		}
	}
	w.acts.Begin(w.h, o.rows(), o.cols, o.forms...)
	w.acts.Quantize(0, o.f.rows)
	if !o.rests {
		return
	}
	for r := range o.f.rows {
		w.acts.Rest(w.h[(o.f.rows+r)*o.cols:], r)
	}
	w.acts.Quantize(o.f.rows, o.rows())
}

// job returns the matrix of a tile and its panels there.
func (o *fewMul) job(tile int) (j *fewJob, lo, hi int) {
	first := 0
	for i := range o.jobs {
		if j = &o.jobs[i]; tile < j.last {
			break
		}
		first = j.last
	}
	lo, hi = bounds(tile-first, o.panels, j.w.Panels())
	return j, lo, hi
}

// Tile multiplies some panels.
func (o *fewMul) Tile(worker, tile int) {
	w := &o.f.workers[worker]
	j, lo, hi := o.job(tile)
	n := w.mul(j.w, w.y, lo, hi)
	if o.rests {
		vec.Add(w.y[:o.f.rows*n], w.y[o.f.rows*n:][:o.f.rows*n])
	}
	at := lo * quant.PanelRows
	if j.bend {
		for r := range o.f.rows {
			o.f.m.bend(w.y[r*n:][:n], some(j.bias, at, n))
		}
	}
	if j.up == nil {
		return
	}
	w.mul(j.up, w.up, lo, hi)
	for r := range o.f.rows {
		o.f.m.gate(w.y[r*n:][:n], w.up[r*n:][:n], some(j.bias, at, n), some(j.upBias, at, n))
	}
}

// mul writes the product with panels [lo, hi) of m to y and returns the number
// of its rows.
func (w *fewWorker) mul(m *quant.Matrix, y []float32, lo, hi int) int {
	w.part = m.Part(lo, hi)
	n := w.part.Rows()
	w.part.Mul(y, n, &w.acts, 0, hi-lo)
	return n
}

// some returns n elements of a bias, which may be nil.
func some(bias []float32, at, n int) []float32 {
	if bias == nil {
		return nil
	}
	return bias[at:][:n]
}

// Commit hands out what Tile computed, and with the first tile the stream.
func (o *fewMul) Commit(worker, tile int) {
	w := &o.f.workers[worker]
	j, lo, _ := o.job(tile)
	n, all := w.part.Rows(), j.w.Rows()
	for r := range o.f.rows {
		copy((*j.to)[r*all+lo*quant.PanelRows:][:n], w.y[r*n:][:n])
	}
	if tile == 0 && o.src == nil {
		o.in.commit(w)
	}
}
