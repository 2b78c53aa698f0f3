package model

import (
	"github.com/shardnode/shardnode/tensorio/par"
	"github.com/shardnode/shardnode/tensorio/quant"
)

// fewRows is the most rows that one thread does by itself, in less time than
// it takes to call the others.
const fewRows = 2

// eachRow runs op, whose tiles are the rows of the batch.
func (m *Model) eachRow(op par.Task) {
	if m.s.rows <= fewRows {
		for r := range m.s.rows {
			op.Tile(0, r)
		}
		return
	}
	m.pool.Run(m.s.rows, op)
}

// normOp normalises each row: dst = norm(x) * w + b. Without w it copies.
type normOp struct {
	m            *Model
	dst, x, w, b []float32
}

func (o *normOp) run(dst, x, w, b []float32) {
	o.dst, o.x, o.w, o.b = dst, x, w, b
	o.m.eachRow(o)
}

// Tile normalises row r.
func (o *normOp) Tile(_, r int) {
	n := o.m.cfg.Dim
	o.m.cfg.normalize(o.dst[r*n:][:n], o.x[r*n:][:n], o.w, o.b)
}

// A product is one matrix, [out, in], and where its product with the rows
// goes, [rows, out].
type product struct {
	w *quant.Matrix
	y []float32
}

// tileBytes is about how much of a matrix one tile reads: some microseconds of
// work for one row, so that a thread that loses its core holds up little, and
// taking a tile costs little.
const tileBytes = 16 << 10

// mulOp multiplies the rows with one to three matrices at once.
type mulOp struct {
	m    *Model
	acts quant.Acts
	jobs [3]mulJob
}

// mulJob is one product and its tiles [first, last), of panels panels each.
type mulJob struct {
	product
	first, last, panels int
}

// run writes x, [rows, in], times each matrix to its y.
func (o *mulOp) run(x []float32, products ...product) {
	rows, end := o.m.s.rows, 0
	var w [3]*quant.Matrix
	for i, p := range products {
		w[i] = p.w
		panels := tilePanels(p.w, rows)
		first := end
		end += tiles(p.w.Panels(), panels)
		o.jobs[i] = mulJob{product: p, first: first, last: end, panels: panels}
	}
	for i := len(products); i < len(o.jobs); i++ {
		o.jobs[i] = mulJob{first: end, last: end}
	}
	o.acts.Begin(x, rows, w[0].Cols(), w[:len(products)]...)
	o.m.eachRow((*quantizeOp)(o))
	o.m.pool.Run(end, o)
}

// tilePanels returns how many panels of w make a tile for so many rows.
func tilePanels(w *quant.Matrix, rows int) int {
	return max(1, tileBytes/(w.PanelBytes()*min(rows, 16)))
}

// Tile computes some panels of one of the products.
func (o *mulOp) Tile(_, tile int) {
	for i := range o.jobs {
		j := &o.jobs[i]
		if tile >= j.last {
			continue
		}
		lo, hi := bounds(tile-j.first, j.panels, j.w.Panels())
		j.w.Mul(j.y, j.w.Rows(), &o.acts, lo, hi)
		return
	}
}

// quantizeOp prepares the rows for the matrices of a mulOp.
type quantizeOp mulOp

// Tile quantises row r.
func (o *quantizeOp) Tile(_, r int) { o.acts.Quantize(r, r+1) }

// residualOp adds a branch to the residual stream: x += norm(y + bias),
// rounded. Bias and norm may be nil for none.
type residualOp struct {
	m *Model
	branch
	x, y []float32
}

func (o *residualOp) run(x, y, bias, norm []float32, rounding Rounding) {
	o.x, o.y, o.branch = x, y, branch{bias: bias, norm: norm, scale: o.m.cfg.ResidualScale, rounding: rounding}
	o.m.eachRow(o)
}

// Tile adds row r.
func (o *residualOp) Tile(_, r int) {
	n := o.m.cfg.Dim
	o.add(o.x[r*n:][:n], o.y[r*n:][:n], o.m.cfg.Eps)
}

// gatedOp is gate = act(gate + bGate) * (up + bUp), or gate = act(gate + bGate)
// if up is nil.
type gatedOp struct {
	m                    *Model
	gate, up, bGate, bUp []float32
}

func (o *gatedOp) run(gate, up, bGate, bUp []float32) {
	o.gate, o.up, o.bGate, o.bUp = gate, up, bGate, bUp
	o.m.eachRow(o)
}

// Tile computes row r.
func (o *gatedOp) Tile(_, r int) {
	n := o.m.cfg.FFNDim
	if o.up == nil {
		o.m.bend(o.gate[r*n:][:n], o.bGate)
		return
	}
	o.m.gate(o.gate[r*n:][:n], o.up[r*n:][:n], o.bGate, o.bUp)
}

// gate is gate = act(gate + bGate) * (up + bUp) for some elements of a row.
func (m *Model) gate(gate, up, bGate, bUp []float32) {
	addBias(gate, bGate)
	addBias(up, bUp)
	m.cfg.arch.act.mul(gate, up)
}
