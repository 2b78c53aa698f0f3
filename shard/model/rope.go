package model

import (
	"fmt"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// Names of tensors of factors that frequencies are divided by: that of Llama 3.1
// and later, and those of longrope (arXiv 2402.13753) in Phi 3 and 4, for
// sessions within the length that the model was first trained with and beyond.
const (
	ropeName      = "rope_freqs.weight"
	ropeLongName  = "rope_factors_long.weight"
	ropeShortName = "rope_factors_short.weight"
)

// A rotary is a rotary embedding.
type rotary struct {
	*vec.Rotary
	amplitude float32 // of the cosines and sines
}

// loadRope makes the frequencies of the rotary embedding.
//
// Of longrope's two sets of factors a model takes the long one, if its context
// is long, whatever the length of a session: its keys are kept with their
// rotation, and could not change it when the session grows.
func (m *Model) loadRope(l *loader) error {
	c := &m.cfg
	name := ropeName
	switch {
	case l.src.Has(ropeLongName) && c.Context > c.RopeContext:
		name = ropeLongName
	case l.src.Has(ropeShortName):
		name = ropeShortName
	}
	factors := l.optional(name, c.RopeDim/2)
	for i, f := range factors {
		if !(f > 0 && f < 1e9) {
			return fmt.Errorf("tensor %q: element %d is %v, want a positive number", name, i, f)
		}
	}
	m.rope = &rotary{vec.NewRotary(c.RopeBase, c.RopeDim, 1/c.RopeScale, factors), 1}
	if name != ropeName {
		m.rope.amplitude = c.RopeAmplitude
	}
	switch {
	case c.Window > 0 && c.arch.windowed:
		m.ropeLocal = m.rope
	case c.Window > 0:
		m.ropeLocal = &rotary{vec.NewRotary(c.RopeLocalBase, c.RopeDim, 1, nil), 1}
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
func (a *angles) set(rope *rotary, r int, at shard.Pos) {
	if rope == nil {
		return
	}
	cos, sin := a.row(rope, r)
	rope.Tables(cos, sin, int(at))
	if rope.amplitude != 1 {
		vec.Scale(cos, rope.amplitude)
		vec.Scale(sin, rope.amplitude)
	}
}

// row returns the cosines and sines of row r.
func (a *angles) row(rope *rotary, r int) (cos, sin []float32) {
	n := rope.Pairs()
	return a.cos[r*n:][:n], a.sin[r*n:][:n]
}
