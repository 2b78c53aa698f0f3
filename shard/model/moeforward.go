package model

import (
	"github.com/shardnode/shardnode/tensorio/par"
	"github.com/shardnode/shardnode/tensorio/quant"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// expertsOp runs rows through their experts. The rows of an expert lie together,
// so that its matrices are read once for all of them, and those of experts that
// no row wants are not read at all.
//
// What a row gets is the sum over its experts in ascending order, each times
// its weight. So it depends on the row alone.
type expertsOp struct {
	m *Model
	x *experts // of the layer

	used   int       // experts of a row, the shared one included
	logits []float32 // [rows, experts]
	by     []float32 // [rows, experts], by which experts are chosen, where logits are not it
	chosen []choice  // [rows, used], ascending in each row

	// first has the place of the first row of each expert, and behind them the
	// number of places: [len(x.all)+1].
	first []int
	// hidden has where an expert's rows begin in gate and up, in the same way.
	hidden []int
	places []place // of rows with an expert each, grouped by expert

	in       []float32    // [places, dim]
	gate, up []float32    // an expert's rows: [its places, its n]
	out      []float32    // [places, dim]
	acts     []quant.Acts // of in, for each expert
	mids     []quant.Acts // of gate
	jobs     []expertJob
}

// A choice is an expert of a row.
type choice struct {
	expert int
	place  int
	weight float32
}

// A place is a row in the group of an expert.
type place struct{ row, expert int }

// expertJob is a tile: some panels of a matrix for the rows of its expert.
type expertJob struct {
	w      *quant.Matrix
	acts   *quant.Acts
	y      []float32
	lo, hi int
}

// run writes what the experts x make of s.h, [rows, dim], to s.out.
func (o *expertsOp) run(x *experts) {
	s := &o.m.s
	o.fit(x)
	s.mul.run(s.h, product{x.router, o.logits})
	o.m.eachRow((*chooseOp)(o))
	o.group()
	o.eachPlace((*gatherOp)(o))
	o.multiply(false)
	o.eachPlace((*middleOp)(o))
	o.multiply(true)
	o.m.eachRow((*combineOp)(o))
}

// fit makes room for the rows of the batch and the experts x.
func (o *expertsOp) fit(x *experts) {
	c, n, rows := &o.m.cfg, len(x.all), o.m.s.rows
	o.x, o.used = x, c.ExpertsUsed+n-c.Experts
	o.logits = grow(o.logits, rows*c.Experts)
	o.by = grow(o.by, rows*c.Experts)
	o.chosen = grow(o.chosen, rows*o.used)
	o.places = grow(o.places, rows*o.used)
	o.first, o.hidden = grow(o.first, n+1), grow(o.hidden, n+1)
	o.in = grow(o.in, rows*o.used*c.Dim)
	o.out = grow(o.out, rows*o.used*c.Dim)
	mid := rows * (c.ExpertsUsed*c.ExpertFFNDim + c.SharedFFNDim)
	o.gate, o.up = grow(o.gate, mid), grow(o.up, mid)
	if len(o.acts) < n {
		o.acts, o.mids = make([]quant.Acts, n), make([]quant.Acts, n)
	}
}

// chooseOp chooses the experts of rows.
type chooseOp expertsOp

// Tile chooses those of row r: the highest logits, the lower index on a tie.
func (o *chooseOp) Tile(_, r int) {
	c := &o.m.cfg
	logits := o.logits[r*c.Experts:][:c.Experts]
	addBias(logits, o.x.bRouter)
	mine := o.chosen[r*o.used:][:o.used]
	top := mine[:0]
	by := o.route(r, logits)
	for range c.ExpertsUsed {
		best := -1
		for e, x := range by {
			if !has(top, e) && (best < 0 || x > by[best]) {
				best = e
			}
		}
		// Into its place by index: the order of the sum.
		at := len(top)
		top = append(top, choice{})
		for ; at > 0 && top[at-1].expert > best; at-- {
			top[at] = top[at-1]
		}
		top[at] = choice{expert: best}
	}
	o.weigh(logits, top)
	if o.used > c.ExpertsUsed {
		mine[o.used-1] = choice{expert: c.Experts, weight: 1}
	}
	if o.x.sharedGate != nil {
		h := o.m.s.h[r*c.Dim:][:c.Dim]
		mine[o.used-1].weight = 1 / (1 + vec.Exp(-vec.Dot(h, o.x.sharedGate)))
	}
}

// has reports whether expert e is among those chosen.
func has(chosen []choice, e int) bool {
	for i := range chosen {
		if chosen[i].expert == e {
			return true
		}
	}
	return false
}

// weigh sets the weights of the chosen experts; logits is lost.
func (o *chooseOp) weigh(logits []float32, chosen []choice) {
	route := &o.m.cfg.route
	if route.mixture == weighChosen && !o.sigmoid() {
		for i := range chosen {
			logits[i] = logits[chosen[i].expert] // i <= expert, and experts ascend
		}
		logits = logits[:len(chosen)]
		vec.Softmax(logits)
		for i := range chosen {
			chosen[i].weight = logits[i] * route.scale
		}
		return
	}
	if o.sigmoid() {
		sigmoids(logits)
	} else {
		vec.Softmax(logits)
	}
	route.weigh(logits, chosen)
}

// group gives each choice its place: experts ascending, then rows ascending.
func (o *expertsOp) group() {
	clear(o.first)
	for i := range o.chosen {
		o.first[o.chosen[i].expert+1]++
	}
	o.hidden[0] = 0
	for e := range o.x.all {
		o.hidden[e+1] = o.hidden[e] + o.first[e+1]*o.x.all[e].gate.Rows()
		o.first[e+1] += o.first[e]
	}
	for i := range o.chosen { // first[e] counts up to first[e+1]
		c := &o.chosen[i]
		c.place = o.first[c.expert]
		o.first[c.expert]++
		o.places[c.place] = place{row: i / o.used, expert: c.expert}
	}
	copy(o.first[1:], o.first)
	o.first[0] = 0
	c := &o.m.cfg
	for e := range o.x.all {
		lo, hi := o.first[e], o.first[e+1]
		if lo == hi {
			continue
		}
		x := &o.x.all[e]
		o.acts[e].Begin(o.in[lo*c.Dim:hi*c.Dim], hi-lo, c.Dim, x.gate, x.up)
		o.mids[e].Begin(o.gate[o.hidden[e]:o.hidden[e+1]], hi-lo, x.gate.Rows(), x.down)
	}
}

// eachPlace runs op, whose tiles are the places.
func (o *expertsOp) eachPlace(op par.Task) {
	if o.m.s.rows <= fewRows {
		for i := range o.places {
			op.Tile(0, i)
		}
		return
	}
	o.m.pool.Run(len(o.places), op)
}

// gatherOp brings rows to their places.
type gatherOp expertsOp

// Tile brings the row of place i.
func (o *gatherOp) Tile(_, i int) {
	p, dim := o.places[i], o.m.cfg.Dim
	copy(o.in[i*dim:][:dim], o.m.s.h[p.row*dim:])
	at := i - o.first[p.expert]
	o.acts[p.expert].Quantize(at, at+1)
}

// middleOp does what is between the first matrices of an expert and its last.
type middleOp expertsOp

// Tile does place i.
func (o *middleOp) Tile(_, i int) {
	e := o.places[i].expert
	n, at := o.x.all[e].gate.Rows(), i-o.first[e]
	lo := o.hidden[e] + at*n
	gate, up := o.gate[lo:][:n], o.up[lo:][:n]
	if o.m.cfg.arch.oaiGate {
		addBias(gate, part(o.x.bGate, e, n))
		addBias(up, part(o.x.bUp, e, n))
		gateOAI(gate, up)
	} else {
		o.m.gate(gate, up, part(o.x.bGate, e, n), part(o.x.bUp, e, n))
	}
	o.mids[e].Quantize(at, at+1)
}

// part returns the bias of expert e, of n elements; nil if there is none.
func part(bias []float32, e, n int) []float32 {
	if (e+1)*n > len(bias) {
		return nil
	}
	return bias[e*n:][:n]
}

// The gate of GPT-OSS (transformers, GptOssExperts): both inputs are clamped, the
// gate is x * sigmoid(1.702 x), and up counts one more.
const (
	oaiLimit = 7
	oaiAlpha = 1.702
)

// gateOAI writes what the gate of GPT-OSS gives to gate.
func gateOAI(gate, up []float32) {
	for i, x := range gate {
		x = min(x, oaiLimit)
		y := min(max(up[i], -oaiLimit), oaiLimit) + 1
		sigmoid := 1 / (1 + vec.Exp(float32(-oaiAlpha*x)))
		gate[i] = float32(float32(x*sigmoid) * y)
	}
}

// multiply multiplies the rows of each expert with its matrices: gate and up, or
// down.
func (o *expertsOp) multiply(down bool) {
	o.jobs = o.jobs[:0]
	for e := range o.x.all {
		x, lo, hi := &o.x.all[e], o.first[e], o.first[e+1]
		switch {
		case lo == hi:
		case down:
			o.add(x.down, &o.mids[e], o.out[lo*o.m.cfg.Dim:hi*o.m.cfg.Dim])
		default:
			o.add(x.gate, &o.acts[e], o.gate[o.hidden[e]:o.hidden[e+1]])
			o.add(x.up, &o.acts[e], o.up[o.hidden[e]:o.hidden[e+1]])
		}
	}
	o.m.pool.Run(len(o.jobs), o)
}

// add adds the tiles of one product.
func (o *expertsOp) add(w *quant.Matrix, acts *quant.Acts, y []float32) {
	panels := tilePanels(w, acts.Tokens())
	for lo := 0; lo < w.Panels(); lo += panels {
		o.jobs = append(o.jobs, expertJob{w: w, acts: acts, y: y, lo: lo, hi: min(lo+panels, w.Panels())})
	}
}

// Tile does one job.
func (o *expertsOp) Tile(_, tile int) {
	j := &o.jobs[tile]
	j.w.Mul(j.y, j.w.Rows(), j.acts, j.lo, j.hi)
}

// combineOp adds what the experts of a row give.
type combineOp expertsOp

// Tile adds for row r.
func (o *combineOp) Tile(_, r int) {
	dim := o.m.cfg.Dim
	out := o.m.s.out[r*dim:][:dim]
	clear(out)
	for i := range o.used {
		c := &o.chosen[r*o.used+i]
		y := o.out[c.place*dim:][:dim]
		addBias(y, part(o.x.bDown, c.expert, dim))
		vec.Axpy(c.weight, y, out)
	}
}
