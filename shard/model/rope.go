package model

import (
	"fmt"
	"math"

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
	amplitude := float32(1)
	switch {
	case name != ropeName:
		amplitude = c.RopeAmplitude
	case c.YarnFactor > 0:
		factors, amplitude = c.yarn()
	}
	m.rope = &rotary{vec.NewRotary(c.RopeBase, c.RopeDim, 1/c.RopeScale, factors), amplitude}
	switch {
	case c.Window > 0 && (c.arch.windowed && c.arch.globalEvery == 0 || c.arch.oneRope):
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

// readYarn reads what the metadata say of YaRN.
func (r *keys) readYarn(c *Config) {
	if kind, _ := r.meta.Str(r.arch + ".rope.scaling.type"); kind != "yarn" {
		return
	}
	c.YarnFactor = r.real("rope.scaling.factor", 1)
	c.YarnAmplitude = float32(r.real("rope.scaling.yarn_attn_factor", r.real("rope.scaling.attn_factor", 0)))
	if _, known := r.meta.Float(r.arch + yarnLogKey); known && c.arch.latent && c.YarnAmplitude == 0 {
		c.YarnAmplitude = 1 // scores have it (latentScale)
	}
	c.YarnFast = r.real("rope.scaling.yarn_beta_fast", 32)
	c.YarnSlow = r.real("rope.scaling.yarn_beta_slow", 1)
}

// yarn returns what YaRN divides the frequencies by, and its amplitude (arXiv
// 2309.00071, sections 3.2 and 3.4; transformers, _compute_yarn_parameters).
func (c *Config) yarn() (factors []float32, amplitude float32) {
	// border is the pair that turns so many times within the first context.
	border := func(turns float64) float64 {
		return float64(c.RopeDim) * vec.LogF64(float64(c.RopeContext)/(max(turns, 1e-9)*2*math.Pi)) / (2 * vec.LogF64(c.RopeBase))
	}
	lo, hi := border(c.YarnFast), border(c.YarnSlow)
	if !c.arch.fineYarn {
		lo, hi = math.Floor(lo), math.Ceil(hi)
	}
	lo, hi = max(lo, 0), min(hi, float64(c.RopeDim-1))
	for i := range c.RopeDim / 2 {
		divided := min(max((float64(i)-lo)/max(hi-lo, 1e-3), 0), 1)
		share := float64(divided / c.YarnFactor)
		factors = append(factors, float32(1/(share+(1-divided))))
	}
	if c.YarnAmplitude > 0 {
		return factors, c.YarnAmplitude
	}
	grown := float64(0.1 * vec.LogF64(c.YarnFactor))
	return factors, float32(grown + 1)
}
