package model

import (
	"fmt"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/quant"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// headRows is how many rows go through the head at once: their logits are the
// largest buffer there is.
const headRows = 8

// A head makes logits of hidden states. It is empty on spans without the last
// layer.
type head struct {
	mem  memory
	norm []float32     // [dim]
	bias []float32     // [dim], of the norm; nil without
	out  *quant.Matrix // [vocab, dim]
}

// headPlan plans the head's matrix: its own, or the embedding where these are
// tied.
func (l *loader) headPlan() *plan {
	p := &plan{}
	name := embedName
	if l.src.Has(headName) {
		name = headName
	}
	l.add(p, name, l.cfg.Vocab, l.cfg.Dim, 0, l.cfg.Vocab)
	return p
}

// free gives the matrix back.
func (h *head) free() {
	h.mem.free()
	*h = head{}
}

// An embedding is the file's own tensor, [vocab, dim], which is not packed.
type embedding struct {
	tensorio.Tensor
	src  releaser // nil if it takes no memory
	read int      // rows since the last release

	made maker          // of the rows, if the tensor has no data
	rows map[int][]byte // made before
}

// keptRows is how many rows that were made are kept: texts have the same tokens
// over and over.
const keptRows = 4 << 10

// row returns the row of a token as the file has it.
func (e *embedding) row(token, vocab int) ([]byte, error) {
	if e.made == nil {
		n := len(e.Data) / vocab
		return e.Data[token*n:][:n], nil
	}
	if row, ok := e.rows[token]; ok {
		return row, nil
	}
	row, err := e.made.Rows(e.Name, token, 1)
	if err != nil {
		return nil, err
	}
	if e.rows == nil || len(e.rows) >= keptRows {
		e.rows = make(map[int][]byte)
	}
	e.rows[token] = row
	return row, nil
}

// embedRows is how many rows are read before their memory is released. Systems
// map some 16 pages around one that is touched, so that is 16 MiB at most.
const embedRows = 256

// embedRow writes the embedding of a token to dst, [dim].
func (m *Model) embedRow(dst []float32, token int) error {
	if e := &m.embed; e.src != nil && e.made == nil {
		if e.read++; e.read >= embedRows {
			e.read = 0
			e.src.Release(e.Data)
		}
	}
	row, err := m.embed.row(token, m.cfg.Vocab)
	if err == nil {
		err = quant.Dequantize(dst, m.embed.Type, row)
	}
	if err != nil {
		return fmt.Errorf("embedding of token %d: %w", token, err)
	}
	if x := m.cfg.EmbedScale; x != 1 {
		vec.Scale(dst, x)
	}
	return nil
}

// sinkOp hands logits of some wanted rows to a sink.
type sinkOp struct {
	m    *Model
	some []wanted
	sink Sink
}

// Tile hands out the logits of row i of those that were projected.
func (o *sinkOp) Tile(_, i int) {
	w := o.some[i]
	o.sink.Logits(w.part, w.index, o.m.capped(i))
}

// heads gives the logits of the rows in s.wanted to the sink, some at a time.
func (m *Model) heads(sink Sink) {
	s := &m.s
	s.sink.sink = sink
	for lo := 0; lo < len(s.wanted); lo += headRows {
		s.sink.some = s.wanted[lo:min(len(s.wanted), lo+headRows)]
		for i, w := range s.sink.some {
			copy(s.top[i*m.cfg.Dim:][:m.cfg.Dim], s.x[w.row*m.cfg.Dim:])
		}
		m.project(len(s.sink.some))
		m.pool.Run(len(s.sink.some), &s.sink)
	}
	s.sink.sink = nil
}

// project writes the logits of the first n rows of s.top to s.logits.
//
// What quantising leaves of a hidden state is multiplied as well, as another
// row: nothing after the head evens its errors out, and it is one matrix of
// many (DESIGN.md, "The head").
func (m *Model) project(n int) {
	s, w := &m.s, m.head.out
	rows := headRowsOf(w, n)
	s.logits = grow(s.logits, rows*m.cfg.Vocab)
	s.rows = n
	s.norm.run(s.h, s.top, m.head.norm, m.head.bias)
	if rows > n {
		acts := &s.mul.acts
		acts.Prepare(s.h, n, m.cfg.Dim, w)
		for r := range n {
			acts.Rest(s.h[(n+r)*m.cfg.Dim:], r)
		}
	}
	s.rows = rows
	s.mul.run(s.h, product{w, s.logits})
	if rows > n {
		vec.Add(s.logits[:n*m.cfg.Vocab], s.logits[n*m.cfg.Vocab:][:n*m.cfg.Vocab])
	}
	s.rows = n
}

// headRowsOf returns how many rows are multiplied with the head w for n.
func headRowsOf(w *quant.Matrix, n int) int {
	if w.Quantizes() {
		return 2 * n
	}
	return n
}

// Head returns the logits, [vocab], of one hidden state, [dim] in bfloat16
// bits, that the last layer gave. They are valid until the next call of a
// method of m. The span must end with the last layer.
func (m *Model) Head(hidden []uint16) []float32 {
	m.s.fit(m, 1)
	vec.FromBF16(m.s.top[:m.cfg.Dim], hidden)
	m.project(1)
	return m.capped(0)
}

// capped returns the logits of row i of s.logits, [vocab], bounded where the
// model bounds them. It is called once a row.
func (m *Model) capped(i int) []float32 {
	logits := m.s.logits[i*m.cfg.Vocab:][:m.cfg.Vocab]
	if x := m.cfg.LogitScale; x != 1 {
		vec.Scale(logits, x)
	}
	if m.cfg.LogitCap > 0 {
		vec.SoftCap(logits, m.cfg.LogitCap)
	}
	return logits
}
