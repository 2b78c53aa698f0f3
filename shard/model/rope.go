package model

import (
	"fmt"

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
	return l.err
}
