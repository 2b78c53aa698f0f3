package quant

import (
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// A mulFunc is a fast form of refMul for one type.
type mulFunc func(m *Matrix, y []float32, ldy int, a *Acts, lo, hi int)

// kernels are the fast forms that a machine has. What is nil is done by the
// plain form.
type kernels struct {
	mul            [64]mulFunc // by type
	quantizeBlocks func(dst []actBlock, x []float32)
	quantizeBytes  func(dst []actByte, x []float32)
	quantizeSupers func(dst []actSuper, x []float32)

	// quantizeWide is there if the fast forms of kindByte want an actWide.
	quantizeWide func(dst []actWide, x []float32)
}

// wide reports whether the 8-bit type t is multiplied with 16-bit activations.
func (k *kernels) wide(t tensorio.Type) bool { return k.quantizeWide != nil && k.of(t) != nil }

// of returns the fast form for a type, nil if there is none.
func (k *kernels) of(t tensorio.Type) mulFunc {
	if int(t) >= len(k.mul) {
		return nil
	}
	return k.mul[t]
}

// A choice is a named set of kernels.
type choice struct {
	form    string
	kernels kernels
}

// chosen is the form that runs, the one that vec chose when the program
// started: SHARDNODE_SIMD forces both, and vec.Form says if it could not.
var chosen = choose(vec.Form())

// Form returns the name of the kernels that run, one of those of [vec.Form].
func Form() string { return chosen.form }

// plain is the form that every machine has.
func plain() choice {
	return choice{form: "ref", kernels: kernels{
		quantizeBlocks: refQuantizeBlocks, quantizeBytes: refQuantizeBytes, quantizeSupers: refQuantizeSupers,
	}}
}

// choose returns the form of a name, the plain one if there is none. The error
// is vec's to tell.
func choose(form string, _ error) choice {
	for _, c := range machineForms() {
		if c.form == form {
			return c
		}
	}
	return plain()
}
