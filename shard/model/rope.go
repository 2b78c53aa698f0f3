package model

import (
	"fmt"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// loadRope makes the frequencies of the rotary embedding. Files of Llama 3.1
// and later divide them by a tensor, rope_freqs.weight.
func (m *Model) loadRope(l *loader) error {
	factors := l.optional(ropeName, m.cfg.RopeDim/2)
	for i, f := range factors {
		if !(f > 0 && f < 1e9) {
			return fmt.Errorf("tensor %q: element %d is %v, want a positive number", ropeName, i, f)
		}
	}
	m.rope = vec.NewRotary(m.cfg.RopeBase, m.cfg.RopeDim, 1/m.cfg.RopeScale, factors)
	if m.cfg.Window > 0 {
		m.ropeLocal = vec.NewRotary(m.cfg.RopeLocalBase, m.cfg.RopeDim, 1, nil)
	}
	return l.err
}

// angles are the cosines and sines of the rows' positions, [rows, ropeDim/2].
type angles struct{ cos, sin []float32 }

// fit makes room for n rows of dim/2 pairs.
func (a *angles) fit(n, dim int) {
	a.cos, a.sin = grow(a.cos, n*dim/2), grow(a.sin, n*dim/2)
}

// set fills row r for a position. rope is nil if nobody needs them.
func (a *angles) set(rope *vec.Rotary, r int, at shard.Pos) {
	if rope == nil {
		return
	}
	cos, sin := a.row(rope, r)
	rope.Tables(cos, sin, int(at))
}

// row returns the cosines and sines of row r.
func (a *angles) row(rope *vec.Rotary, r int) (cos, sin []float32) {
	n := rope.Pairs()
	return a.cos[r*n:][:n], a.sin[r*n:][:n]
}
