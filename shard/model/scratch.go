package model

import (
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// A row is one position of one session in the batch.
type row struct {
	kv  *kvcache.Session // nil for a row of a part that cannot be computed
	pos shard.Pos
	bad bool // a key or value did not fit float16
}

// A wanted row is one whose logits go to the sink.
type wanted struct {
	part  int
	index int // among the wanted rows of the part
	row   int // of the batch
}

// scratch holds the buffers and operations of a batch, so that a step does not
// allocate. Buffers grow to the largest batch seen.
type scratch struct {
	span   shard.Span // that the batch runs through
	rows   int        // of the batch
	of     []row
	wanted []wanted

	x    []float32 // [rows, dim], the residual stream
	h    []float32 // [rows, dim], normalised
	q    []float32 // [rows, heads, headDim]
	k    []float32 // [rows, kvHeads, headDim]
	v    []float32 // [rows, kvHeads, valDim]
	att  []float32 // [rows, heads, valDim]
	out  []float32 // [rows, dim], what is added to x
	gate []float32 // [rows, ffnDim]
	up   []float32 // [rows, ffnDim]

	global angles // of the rows, for layers that see all positions
	local  angles // for local layers

	top    []float32 // [headRows, dim], hidden states on their way to the head
	logits []float32 // [<= 2*headRows, vocab]; those of rests behind those of rows

	norm     normOp
	mul      mulOp
	store    storeOp
	attend   attendOp
	residual residualOp
	gated    gatedOp
	experts  expertsOp
	latent   latentOp
	sink     sinkOp
}

// init ties the operations to their model.
func (s *scratch) init(m *Model) {
	s.norm.m, s.mul.m, s.store.m = m, m, m
	s.residual.m, s.gated.m, s.sink.m, s.experts.m = m, m, m, m
	s.latent.init(m)
	s.attend.init(m)
}

// grow returns a slice of length n, buf itself if it is long enough. What was
// in buf is lost otherwise.
func grow[T any](buf []T, n int) []T {
	if cap(buf) >= n {
		return buf[:n]
	}
	return make([]T, n)
}

// fit makes room for n rows.
func (s *scratch) fit(m *Model, n int) {
	c := &m.cfg
	s.rows = n
	s.of = grow(s.of, n)
	s.x = grow(s.x, n*c.Dim)
	s.h = grow(s.h, max(n, 2*headRows)*c.Dim)
	s.q = grow(s.q, n*c.Heads*c.HeadDim)
	s.k = grow(s.k, n*c.KVHeads*c.HeadDim)
	s.v = grow(s.v, n*c.KVHeads*c.ValDim)
	s.att = grow(s.att, n*c.Heads*c.ValDim)
	s.out = grow(s.out, n*c.Dim)
	s.gate = grow(s.gate, n*c.FFNDim)
	s.up = grow(s.up, n*c.FFNDim)
	s.global.fit(n, c.RopeDim)
	s.local.fit(n, c.RopeDim)
	s.top = grow(s.top, headRows*c.Dim)
}

// begin lays the rows of parts out, makes room in their sessions, and fills x
// with embeddings or hidden states.
func (s *scratch) begin(m *Model, parts []Part) {
	n := 0
	for i := range parts {
		n += parts[i].rows(m.cfg.Dim)
	}
	s.fit(m, n)
	s.wanted = s.wanted[:0]
	at := 0
	for i := range parts {
		p := &parts[i]
		rows := p.rows(m.cfg.Dim)
		if p.Err = m.check(p); p.Err == nil {
			p.Err = p.KV.Extend(p.Pos, rows)
		}
		for r := range rows {
			s.of[at+r] = row{pos: p.Pos + shard.Pos(r)}
			if p.Err == nil {
				s.of[at+r].kv = p.KV
				p.Err = s.fill(m, p, r, at+r)
			}
			s.global.set(m.rope, at+r, p.Pos+shard.Pos(r))
			s.local.set(m.ropeLocal, at+r, p.Pos+shard.Pos(r))
		}
		at += rows
	}
	s.attend.begin(m, s.of)
}

// fill writes the input of row r of p to row at of x.
func (s *scratch) fill(m *Model, p *Part, r, at int) error {
	dim := m.cfg.Dim
	x := s.x[at*dim:][:dim]
	if p.Tokens != nil {
		return m.embedRow(x, int(p.Tokens[r]))
	}
	vec.FromBF16(x, p.Hidden[r*dim:][:dim])
	return nil
}

// end commits the parts that went well, hands out their hidden states, and
// collects the rows that want logits.
func (s *scratch) end(m *Model, parts []Part) {
	dim, at := m.cfg.Dim, 0
	for i := range parts {
		p := &parts[i]
		rows := p.rows(dim)
		for _, r := range s.of[at : at+rows] {
			if r.bad && p.Err == nil {
				p.Err = kvcache.ErrOverflow
			}
		}
		at += rows
		if p.Err != nil {
			continue
		}
		p.KV.Commit()
		vec.ToBF16(p.Out, s.x[at*dim-len(p.Out):at*dim])
		s.want(i, p, at)
	}
}

// want collects the rows of part i, which end before row end, that want logits.
func (s *scratch) want(i int, p *Part, end int) {
	for r := range p.Logits {
		s.wanted = append(s.wanted, wanted{part: i, index: r, row: end - p.Logits + r})
	}
}

// wantAll collects the rows that want logits and reports whether all rows do.
func (s *scratch) wantAll(m *Model, parts []Part) bool {
	at := 0
	for i := range parts {
		p := &parts[i]
		at += p.rows(m.cfg.Dim)
		if p.Err == nil {
			s.want(i, p, at)
		}
	}
	return len(s.wanted) == at
}
