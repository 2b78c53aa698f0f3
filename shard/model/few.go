package model

import (
	"github.com/shardnode/shardnode/tensorio/par"
)

// A few is a step of few rows as a program, whose operations any worker carries
// on when another one has lost its core. Each worker does what lies between two
// matrices for itself (adding to the residual stream, normalising,
// quantising), so that nobody waits for it. A late worker may read at any time
// what is shared here; so a few belongs to one number of rows, and its buffers
// never move. The bits are those of layer.forward.
type few struct {
	m       *Model
	rows    int
	workers []fewWorker

	// x is the residual stream, [rows, dim]: an operation that reads one of the
	// two writes the other.
	x    [2][]float32
	out  []float32 // [rows, dim], the branch that is yet to be added to x
	mlp  []float32 // [rows, dim], that of the MLP beside attention's, where both see one x
	att  []float32 // [rows, heads, valDim]
	gate []float32 // [rows, ffnDim]

	layers []fewLayer // of the model's span
	head   *par.Op    // nil on spans without the last layer
	store  *par.Op
	attend *par.Op
	sink   *par.Op

	// What the next run is to do.
	lo, hi int  // layers of the model's span
	heads  bool // and the logits of all rows
}

// fewLayer is the operations of a layer that belong to it alone.
type fewLayer struct {
	first *par.Op // qkv, where a span begins
	qkv   *par.Op
	wo    *par.Op
	ffn   *par.Op // gate and up
	down  *par.Op
	final *par.Op // the residual stream, where a span ends
}

// layerOps is how many operations of a layer run: first or qkv, store, attend,
// wo, ffn, down.
const layerOps = 6

// newFew returns the program of steps of so many rows.
func newFew(m *Model, rows int) *few {
	c, s := &m.cfg, &m.s
	f := &few{m: m, rows: rows, workers: make([]fewWorker, m.pool.Threads())}
	f.x[0], f.x[1] = make([]float32, rows*c.Dim), make([]float32, rows*c.Dim)
	f.out = make([]float32, rows*c.Dim)
	if c.arch.parallel {
		f.mlp = make([]float32, rows*c.Dim)
	}
	f.att = make([]float32, rows*c.Heads*c.ValDim)
	f.gate = make([]float32, rows*c.FFNDim)
	for i := range f.workers {
		w := &f.workers[i]
		w.x, w.out = make([]float32, rows*c.Dim), make([]float32, rows*c.Dim)
		w.h = make([]float32, rows*max(2*c.Dim, c.FFNDim, c.Heads*c.ValDim))
	}
	f.store, f.attend, f.sink = par.Once((*fewStore)(f)), par.Once((*fewAttend)(f)), par.Once((*fewSink)(f))
	var last []branch // what the layer before has not added yet
	for _, l := range m.layers {
		attn := stream{x: f.x[0], add: last, norm: l.attnNorm, bias: l.attnNormBias, sum: &f.x[1]}
		first := attn
		first.add = nil
		middle := branch{from: &f.out, bias: l.bo, norm: l.postAttn, scale: c.ResidualScale, rounding: RoundNone}
		end := branch{from: &f.out, bias: l.bDown, norm: l.postFFN, scale: c.ResidualScale, rounding: m.rounding}
		ffn := stream{x: f.x[1], add: []branch{middle}, norm: l.ffnNorm, bias: l.ffnNormBias, sum: &f.x[0]}
		last = []branch{end}
		if c.arch.parallel {
			end.from, ffn.add = &f.mlp, nil
			last = []branch{middle, end}
			if l.ffnNorm == nil {
				ffn.norm, ffn.bias = l.attnNorm, l.attnNormBias
			}
		}
		mlp := fewJob{w: l.wGate, to: &f.gate, up: l.wUp, bias: l.bGate, upBias: l.bUp}
		if l.wGate == nil {
			mlp = fewJob{w: l.wUp, to: &f.gate, bias: l.bUp, bend: true}
		}
		qkv := []fewJob{{w: l.wq, to: &s.q}, {w: l.wk, to: &s.k}, {w: l.wv, to: &s.v}}
		f.layers = append(f.layers, fewLayer{
			first: f.mul(&fewMul{in: first, jobs: qkv}),
			qkv:   f.mul(&fewMul{in: attn, jobs: qkv}),
			wo:    f.mul(&fewMul{src: f.att, jobs: []fewJob{{w: l.wo, to: &f.out}}}),
			ffn:   f.mul(&fewMul{in: ffn, jobs: []fewJob{mlp}}),
			down:  f.mul(&fewMul{src: f.gate, jobs: []fewJob{{w: l.wDown, to: end.from}}}),
			final: par.Repeatable(&fewFinal{f: f, in: stream{x: f.x[0], add: last, sum: &s.x}}),
		})
	}
	if m.HasHead() {
		in := stream{x: f.x[0], add: last, norm: m.head.norm, bias: m.head.bias}
		f.head = f.mul(&fewMul{in: in, jobs: []fewJob{{w: m.head.out, to: &s.logits}}, rests: m.head.out.Quantizes()})
	}
	return f
}

// run does the layers [lo, hi) of the model's span on the rows of s.x, and
// gives their logits to sink, unless it is nil.
func (f *few) run(lo, hi int, sink Sink) {
	s := &f.m.s
	f.lo, f.hi, f.heads = lo, hi, sink != nil
	if f.heads {
		s.logits = grow(s.logits, f.rows*f.m.cfg.Vocab)
		s.sink.sink, s.sink.some = sink, s.wanted
	}
	copy(f.x[0], s.x)
	att := s.att
	s.att = f.att
	f.m.pool.Steps(f)
	s.att = att
	s.sink.sink = nil
}

// Op returns operation i of the next run.
func (f *few) Op(i int) *par.Op {
	layers := f.hi - f.lo
	if i < layerOps*layers {
		at := f.lo + i/layerOps
		o, s, l := &f.layers[at], &f.m.s, f.m.layers[at]
		switch i % layerOps {
		case 0:
			if i == 0 {
				return o.first
			}
			return o.qkv
		case 1:
			s.store.enter(l, at)
			return f.store
		case 2:
			s.attend.enter(l, at)
			return f.attend
		case 3:
			return o.wo
		case 4:
			return o.ffn
		}
		return o.down
	}
	switch i -= layerOps * layers; {
	case i == 0:
		return f.layers[f.hi-1].final
	case i == 1 && f.heads:
		return f.head
	case i == 2 && f.heads:
		return f.sink
	}
	return nil
}

// fewStore finishes and stores the rows.
type fewStore few

// Tiles returns the number of rows.
func (f *fewStore) Tiles() int { return f.rows }

// Tile does a row.
func (f *fewStore) Tile(worker, tile int) { f.m.s.store.Tile(worker, tile) }

// fewAttend is the attention of the rows.
type fewAttend few

// Tiles returns its number of tiles.
func (f *fewAttend) Tiles() int { return f.m.s.attend.tiles() }

// Tile does one of them.
func (f *fewAttend) Tile(worker, tile int) { f.m.s.attend.Tile(worker, tile) }

// fewSink hands the logits out.
type fewSink few

// Tiles returns the number of rows.
func (f *fewSink) Tiles() int { return f.rows }

// Tile hands out those of a row, unless its part has failed.
func (f *fewSink) Tile(worker, tile int) {
	s := &f.m.s
	for i := range s.of {
		if r := &s.of[i]; r.kv == s.of[tile].kv && r.bad {
			return
		}
	}
	s.sink.Tile(worker, tile)
}

const (
	// fewBatch is the most rows of a few.
	fewBatch = 8
	// fewWork bounds rows times threads of a few of more than fewRows rows: each
	// thread normalises and quantises all rows, which is to be little beside its
	// part of the matrices.
	fewWork = 16
)

// runsAsProgram reports whether a step of so many rows runs as a few. One
// thread has nobody who could help it.
func (m *Model) runsAsProgram(rows int) bool {
	threads := m.pool.Threads()
	few := rows <= fewRows || rows <= fewBatch && rows*threads <= fewWork
	return few && threads > 1 && m.cfg.Experts == 0 && m.cfg.arch.few()
}

// forwardFew does a batch of few rows: the rest of ForwardSpan.
func (m *Model) forwardFew(lo, hi int, parts []Part, sink Sink) {
	s := &m.s
	f := m.few[s.rows]
	if f == nil {
		f = newFew(m, s.rows)
		m.few[s.rows] = f
	}
	if !s.wantAll(m, parts) {
		s.wanted = s.wanted[:0]
		f.run(lo, hi, nil)
		s.end(m, parts)
		m.heads(sink)
		return
	}
	f.run(lo, hi, sink)
	s.wanted = s.wanted[:0]
	s.end(m, parts)
}
