package model

import (
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
)

// Costs is what a span takes on this machine, as [Model.Measure] found it.
type Costs struct {
	Decode  time.Duration // one token through one layer
	Prefill time.Duration // one token of a prompt chunk through one layer
	Head    time.Duration // norm and head for one row; 0 on a span without
}

// Measure times the layers with made-up input: single tokens, then chunks of up
// to rows of a prompt, and the head. Each kind runs at least once, and begins
// no further round after limit. kv must have room for rows positions; its
// content is lost.
func (m *Model) Measure(kv *kvcache.Session, rows int, limit time.Duration) (Costs, error) {
	part := Part{KV: kv, Tokens: make([]shard.Token, rows)}
	if m.span.Start > 0 {
		part.Tokens, part.Hidden = nil, make([]uint16, rows*m.cfg.Dim)
		for i := range part.Hidden {
			part.Hidden[i] = uint16(0x3f80 + i*37%97 | i&1<<15) // 1 to 2, both signs
		}
	}
	for i := range part.Tokens {
		part.Tokens[i] = shard.Token(i * 37 % m.cfg.Vocab)
	}
	var c Costs
	perToken, err := m.best(part, 1, limit)
	if err != nil {
		return c, err
	}
	c.Decode = perToken / time.Duration(len(m.layers))
	// As many rows as take about the limit if a row cost a quarter of a token.
	n := max(2, min(rows, int(4*limit/max(1, perToken))))
	perRow, err := m.best(part, n, limit)
	if err != nil {
		return c, err
	}
	c.Prefill = perRow / time.Duration(len(m.layers))
	if m.HasHead() {
		hidden := make([]uint16, m.cfg.Dim)
		c.Head = shortest(limit/4, func() { m.Head(hidden) })
	}
	kv.Truncate(0)
	return c, nil
}

// best returns the time of one of the first n rows of p, in a batch of them.
func (m *Model) best(p Part, n int, limit time.Duration) (time.Duration, error) {
	if p.Tokens != nil {
		p.Tokens = p.Tokens[:n]
	} else {
		p.Hidden = p.Hidden[:n*m.cfg.Dim]
	}
	parts := []Part{p}
	took := shortest(limit, func() { m.Forward(parts, nil) })
	return took / time.Duration(n), parts[0].Err
}

// shortest runs f once, and again until the limit or 50 times, and returns
// the shortest time: what else the machine does only adds to it.
func shortest(limit time.Duration, f func()) time.Duration {
	start := time.Now()
	best := time.Duration(0)
	for range 50 {
		t := time.Now()
		f()
		if took := time.Since(t); best == 0 || took < best {
			best = took
		}
		if time.Since(start) > limit {
			break
		}
	}
	return best
}
