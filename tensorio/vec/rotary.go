package vec

// A Rotary holds the frequencies of rotary position embedding (Su et al.,
// "RoFormer", 2021). It does not change after [NewRotary].
type Rotary struct {
	freq []float64 // [dim/2], radians a position
}

// NewRotary returns the rotary embedding of the first dim values of a head:
// pair i turns by base^(-2i/dim) * scale / factors[i] radians a position.
//
// scale is 1 or the reciprocal of a linear context extension. factors is nil
// or [dim/2], as the tensor rope_freqs of a GGUF file; it is not kept.
func NewRotary(base float64, dim int, scale float64, factors []float32) *Rotary {
	r := &Rotary{freq: make([]float64, dim/2)}
	for i := range r.freq {
		f := PowF64(base, float64(-2*i)/float64(dim)) * scale
		if factors != nil {
			f /= float64(factors[i])
		}
		r.freq[i] = f
	}
	return r
}

// Pairs returns the number of pairs: the length of the tables of one position.
func (r *Rotary) Pairs() int { return len(r.freq) }

// Tables writes the cosines and sines of all pairs at a position to cos and
// sin, each [Pairs].
func (r *Rotary) Tables(cos, sin []float32, pos int) {
	for i, f := range r.freq {
		s, c := SinCosF64(float64(float64(pos) * f))
		cos[i], sin[i] = float32(c), float32(s)
	}
}

// RopeHalf rotates each head of x, which is [heads, headDim], in place: the
// pairs are (i, i+len(cos)), as NeoX and Qwen have them. Values past
// 2*len(cos) stay.
func RopeHalf(x []float32, headDim int, cos, sin []float32) {
	half := len(cos)
	sin = sin[:half]
	checkHead(headDim, half)
	for ; len(x) >= headDim; x = x[headDim:] {
		ropeHalf(x[:headDim], cos, sin, half)
	}
}

// RopePairs is [RopeHalf] with the pairs (2i, 2i+1), as GGUF files of llama
// models have them.
func RopePairs(x []float32, headDim int, cos, sin []float32) {
	sin = sin[:len(cos)]
	checkHead(headDim, len(cos))
	for ; len(x) >= headDim; x = x[headDim:] {
		ropePairs(x[:headDim], cos, sin)
	}
}

func checkHead(headDim, pairs int) {
	if headDim < 1 || headDim < 2*pairs {
		panic("vec: a head is smaller than its rotary pairs")
	}
}
