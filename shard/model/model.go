package model

import (
	"errors"
	"fmt"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/tensorio/par"
)

// ErrInput says that what a part of a batch holds cannot be computed.
var ErrInput = errors.New("input does not fit the model")

// A Model is the loaded layers of one span. Make it with [Load].
type Model struct {
	cfg      Config
	span     shard.Span
	pool     *par.Pool
	rounding Rounding
	kv       kvcache.Precision
	bytes    int64

	embed     embedding // empty unless the span begins with layer 0
	layers    []*layer  // of the span, in order
	head      head      // empty unless the span ends with the last layer
	settling  *settling // nil unless weights were packed
	rope      *rotary
	ropeLocal *rotary // of local layers; nil if there are none
	s         scratch
	few       [fewBatch + 1]*few // programs by number of rows; nil until one is needed
}

// Config returns what the model is.
func (m *Model) Config() Config { return m.cfg }

// Span returns the layers that are loaded.
func (m *Model) Span() shard.Span { return m.span }

// HasHead reports whether the span ends with the last layer, so that Forward
// gives logits.
func (m *Model) HasHead() bool { return int(m.span.End) == m.cfg.Layers }

// PackedBytes returns the memory of the packed weights.
func (m *Model) PackedBytes() int64 { return m.bytes }

// KVConfig returns the shape of the span's KV cache, without a budget.
func (m *Model) KVConfig() kvcache.Config {
	c := kvcache.Config{Layers: m.span.Len(), KVHeads: m.cfg.KVHeads, KeyDim: m.cfg.HeadDim, ValDim: m.cfg.ValDim}
	c.Precision = m.kv
	if m.rounding == RoundNone && m.kv == kvcache.Float16 {
		c.Precision = kvcache.Float32
	}
	return c
}

// Rest lets the threads of the pool sleep. Call it when no batch follows.
func (m *Model) Rest() { m.pool.Rest() }

// Close frees the weights. It may be called twice. The pool stays.
func (m *Model) Close() {
	m.settling.end()
	m.pool.Settle() // a late worker may still read weights
	for _, l := range m.layers {
		l.free()
	}
	m.layers = nil
	m.head.free()
}

// A Part is new rows of one session in a batch.
type Part struct {
	KV  *kvcache.Session
	Pos shard.Pos // of the first row; what the session holds from there on is replaced

	// One of these is set: Tokens on a span that begins with layer 0.
	Tokens []shard.Token
	Hidden []uint16 // [rows, dim], bfloat16 bits

	// Logits is of how many rows, from the last back, the sink gets logits.
	Logits int
	// Out, if not nil, receives the hidden states after the span of the last
	// len(Out)/dim rows, [.., dim], bfloat16 bits.
	Out []uint16

	// Err is set by Forward if this part failed; the others did not.
	Err error
}

// rows returns the number of rows of p.
func (p *Part) rows(dim int) int {
	if p.Tokens != nil {
		return len(p.Tokens)
	}
	return len(p.Hidden) / dim
}

// A Sink receives logits during Forward.
type Sink interface {
	// Logits receives the logits, [vocab], of one row: that with the given
	// index among the rows whose logits a part wants. It is called by several
	// goroutines at once, for different rows in any order. The slice is the
	// model's: the sink must not keep it.
	Logits(part, index int, logits []float32)
}

// Forward runs the layers on all rows of all parts and appends to the parts'
// sessions. Parts must have different sessions. What cannot be computed is
// told in Part.Err, and leaves the session as it was before Part.Pos.
//
// Forward keeps nothing of parts. sink may be nil if no part wants logits.
func (m *Model) Forward(parts []Part, sink Sink) { m.ForwardSpan(m.span, parts, sink) }

// ForwardSpan is Forward through some of the loaded layers: those of span, which
// must not be empty. A session must always run through the same ones.
func (m *Model) ForwardSpan(span shard.Span, parts []Part, sink Sink) {
	if span.Len() == 0 || !m.span.Covers(span) {
		panic(fmt.Sprintf("model: forward through layers %v of %v", span, m.span)) // a bug of the caller
	}
	m.s.span = span
	m.s.begin(m, parts)
	lo, hi := int(span.Start-m.span.Start), int(span.End-m.span.Start)
	if m.runsAsProgram(m.s.rows) {
		m.forwardFew(lo, hi, parts, sink)
		return
	}
	for i := lo; i < hi; i++ {
		m.layers[i].forward(m, i)
	}
	m.s.end(m, parts)
	m.heads(sink)
}

// check returns what is wrong with a part.
func (m *Model) check(p *Part) error {
	span := m.s.span
	first := span.Start == 0
	switch {
	case first != (p.Tokens != nil), len(p.Hidden)%m.cfg.Dim != 0, p.rows(m.cfg.Dim) == 0:
		return fmt.Errorf("%w: %d tokens and %d values of hidden states for layer %d on", ErrInput, len(p.Tokens), len(p.Hidden), span.Start)
	case p.Logits > 0 && int(span.End) != m.cfg.Layers:
		return fmt.Errorf("%w: logits wanted of layers %v of %d", ErrInput, span, m.cfg.Layers)
	case p.Logits < 0 || p.Logits > p.rows(m.cfg.Dim) || len(p.Out) > p.rows(m.cfg.Dim)*m.cfg.Dim || len(p.Out)%m.cfg.Dim != 0:
		return fmt.Errorf("%w: more rows wanted than the %d there are", ErrInput, p.rows(m.cfg.Dim))
	case int(p.Pos)+p.rows(m.cfg.Dim) > m.cfg.Context:
		return fmt.Errorf("%w: position %d, the context is %d", ErrInput, int(p.Pos)+p.rows(m.cfg.Dim)-1, m.cfg.Context)
	}
	for _, t := range p.Tokens {
		if t < 0 || int(t) >= m.cfg.Vocab {
			return fmt.Errorf("%w: token %d of %d", ErrInput, t, m.cfg.Vocab)
		}
	}
	return nil
}
