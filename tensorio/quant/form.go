package quant

import (
	"fmt"
	"os"

	"github.com/shardnode/shardnode/tensorio"
)

// A mulFunc is a fast form of refMul for one type.
type mulFunc func(m *Matrix, y []float32, ldy int, a *Acts, lo, hi int)

// kernels are the fast forms that a machine has. What is nil is done by the
// plain form.
type kernels struct {
	mul            [64]mulFunc // by type
	quantizeBlocks func(dst []actBlock, x []float32)
	quantizeSupers func(dst []actSuper, x []float32)
}

// of returns the fast form for a type, nil if there is none.
func (k *kernels) of(t tensorio.Type) mulFunc {
	if int(t) >= len(k.mul) {
		return nil
	}
	return k.mul[t]
}

// A choice is a set of kernels and why it runs.
type choice struct {
	form    string
	kernels kernels
	err     error
}

// chosen is the form that runs, chosen once when the program starts.
var chosen = choose(os.Getenv("SHARDNODE_SIMD"))

// Form returns the name of the kernels that run: "ref" for plain Go, or "avx2".
func Form() string { return chosen.form }

// FormError returns an error if SHARDNODE_SIMD asks for kernels that this
// machine or this program does not have; the plain form runs then.
func FormError() error { return chosen.err }

// plain is the form that every machine has.
func plain() choice {
	return choice{form: "ref", kernels: kernels{quantizeBlocks: refQuantizeBlocks, quantizeSupers: refQuantizeSupers}}
}

// choose returns the fastest form there is, or the one that want names.
func choose(want string) choice {
	fast := machineForms()
	switch {
	case want == "ref", want == "" && len(fast) == 0:
		return plain()
	case want == "":
		return fast[0]
	}
	for _, c := range fast {
		if c.form == want {
			return c
		}
	}
	c := plain()
	c.err = fmt.Errorf("SHARDNODE_SIMD=%s: this machine has no such kernels, plain Go runs; unset it, or set it to ref", want)
	return c
}
