package quant

import (
	"fmt"
	"math"
	"slices"
)

// An actBlock holds 32 activations of a token, quantised: x[k] is about
// d * q[k]. Kernels read it by offset.
type actBlock struct {
	q     [32]int8
	d     float32 // max|x| / 127
	dsum  float32 // d * sum of q
	sum8  int32   // -8 * sum of q: what the offset 8 of Q4_0 costs
	sum16 int32   // -16 * sum of q: Q5_0
}

// An actByte holds the same for weights of 8 bits.
type actByte struct {
	q      [32]int8
	d      float32
	sum128 int32 // -128 * sum of q: what the offset 128 of packed Q8_0 costs
	_      [2]int32
}

// An actWide is an actByte for machines that cannot multiply two full bytes.
type actWide struct {
	q      [32]int16 // of every four columns 0, 2, 1, 3
	d      float32
	sum128 int32
	_      [2]int32
}

// An actSuper holds 256 activations of a token, quantised.
type actSuper struct {
	q     [256]int8
	sum16 [16]int16 // sums of 16 q each
	sum32 [8]int16  // sums of 32 q each
	d     float32   // max|x| / 127
	_     [3]int32
}

// An Acts holds the activations of one step, [tokens, cols], in the forms that
// the matrices want that it is prepared for. The zero Acts is empty. It grows
// to the largest step it has seen and allocates nothing after that.
type Acts struct {
	tokens, cols int
	k            *kernels // that it is prepared for

	floats []float32  // [tokens, cols], the caller's
	blocks []actBlock // [tokens, 2*ceil(cols/64)], the odd one zero
	bytes  []actByte  // the same
	wide   []actWide  // the same
	supers []actSuper // [tokens, cols/256]

	hasBlocks, hasBytes, hasWide, hasSupers bool
}

// Tokens returns the number of tokens of the last Prepare.
func (a *Acts) Tokens() int { return a.tokens }

// Prepare makes the forms of x, [tokens, cols], that the given matrices need.
// Acts keeps x: it must not change until the last Mul with it. Prepare panics
// if x is shorter than tokens*cols or a matrix has other columns.
func (a *Acts) Prepare(x []float32, tokens, cols int, ms ...*Matrix) {
	a.Begin(x, tokens, cols, ms...)
	a.Quantize(0, tokens)
}

// Begin is the first half of Prepare, for whoever wants the second one done by
// several goroutines: it takes the memory.
func (a *Acts) Begin(x []float32, tokens, cols int, ms ...*Matrix) {
	a.begin(&chosen.kernels, x, tokens, cols, ms...)
}

// begin is Begin for a given set of kernels.
func (a *Acts) begin(k *kernels, x []float32, tokens, cols int, ms ...*Matrix) {
	if tokens < 0 || cols < 0 || len(x) < tokens*cols {
		panic(fmt.Sprintf("quant: %d activations, want %d tokens x %d columns", len(x), tokens, cols))
	}
	a.tokens, a.cols, a.k, a.floats = tokens, cols, k, x[:tokens*cols]
	a.hasBlocks, a.hasBytes, a.hasWide, a.hasSupers = false, false, false, false
	for _, m := range ms {
		if m.cols != cols {
			panic(fmt.Sprintf("quant: activations of %d columns for a matrix of %d columns", cols, m.cols))
		}
		switch m.layout.kind {
		case kindBlock:
			a.hasBlocks = true
		case kindByte:
			if k.wide(m.typ) {
				a.hasWide = true
			} else {
				a.hasBytes = true
			}
		case kindSuper:
			a.hasSupers = true
		}
	}
	if a.hasBlocks {
		a.blocks = resize(a.blocks, tokens*a.blockStride())
	}
	if a.hasBytes {
		a.bytes = resize(a.bytes, tokens*a.blockStride())
	}
	if a.hasWide {
		a.wide = resize(a.wide, tokens*a.blockStride())
	}
	if a.hasSupers {
		a.supers = resize(a.supers, tokens*(cols/256))
	}
}

// Quantize is the second half of Prepare, for tokens [lo, hi). Disjoint ranges
// may be done at the same time.
func (a *Acts) Quantize(lo, hi int) {
	for t := lo; t < hi; t++ {
		x := a.floats[t*a.cols : (t+1)*a.cols]
		if a.hasBlocks {
			n := a.blockStride()
			a.k.quantizeBlocks(a.blocks[t*n:(t+1)*n], x)
		}
		if a.hasBytes {
			n := a.blockStride()
			a.k.quantizeBytes(a.bytes[t*n:(t+1)*n], x)
		}
		if a.hasWide {
			n := a.blockStride()
			a.k.quantizeWide(a.wide[t*n:(t+1)*n], x)
		}
		if a.hasSupers {
			n := a.cols / 256
			a.k.quantizeSupers(a.supers[t*n:(t+1)*n], x)
		}
	}
}

// blockStride returns the number of blocks of a token.
func (a *Acts) blockStride() int { return (a.cols + 63) / 64 * 2 }

// has reports whether the form is there that m needs with some kernels.
func (a *Acts) has(k *kernels, m *Matrix) bool {
	switch m.layout.kind {
	case kindBlock:
		return a.hasBlocks
	case kindByte:
		if k.wide(m.typ) {
			return a.hasWide
		}
		return a.hasBytes
	case kindSuper:
		return a.hasSupers
	}
	return true
}

// resize returns s with length n, and memory for it.
func resize[E any](s []E, n int) []E {
	return slices.Grow(s[:0], n)[:n]
}

// smallestMax is the bit pattern of 2^-100: blocks whose activations are all
// smaller are zero, so that the reciprocal of d is finite.
const smallestMax = (127 - 100) << 23

// scaleOf returns max|x|/127 and its reciprocal, by which x is multiplied. A
// block with an infinity or NaN in it has d NaN and q zero, so that it makes
// every output NaN that depends on it.
func scaleOf(x []float32) (d, inverse float32) {
	var top uint32
	for _, v := range x {
		top = max(top, math.Float32bits(v)&0x7fffffff)
	}
	switch {
	case top >= 0x7f800000:
		return math.Float32frombits(0x7fc00000), 0
	case top < smallestMax:
		return 0, 0
	}
	d = math.Float32frombits(top) / 127
	return d, 1 / d
}

// roundMagic is 1.5 * 2^23: adding it to a number below 2^22 rounds that to an
// integer, ties to even, which is then in the low bits.
const roundMagic = 12582912.0

// roundInt8 returns v*inverse rounded to the nearest integer, ties to even. The
// product is at most a little over 127.
func roundInt8(v, inverse float32) int8 {
	if inverse == 0 { // v may be anything
		return 0
	}
	return int8(math.Float32bits(float32(v*inverse) + roundMagic))
}

// refQuantizeBlocks quantises the activations of a token. dst is as long as x
// in blocks of 32, or one longer.
func refQuantizeBlocks(dst []actBlock, x []float32) {
	for i := range dst {
		b := &dst[i]
		if 32*i >= len(x) {
			*b = actBlock{}
			continue
		}
		in := (*[32]float32)(x[32*i:])
		var sum int32
		b.d, sum = quantize32(&b.q, in)
		b.dsum = b.d * float32(sum)
		b.sum8, b.sum16 = -8*sum, -16*sum
	}
}

// refQuantizeBytes is refQuantizeBlocks for weights of 8 bits.
func refQuantizeBytes(dst []actByte, x []float32) {
	for i := range dst {
		b := &dst[i]
		if 32*i >= len(x) {
			*b = actByte{}
			continue
		}
		var sum int32
		b.d, sum = quantize32(&b.q, (*[32]float32)(x[32*i:]))
		b.sum128 = -128 * sum
	}
}

// refQuantizeWide is refQuantizeBytes with codes of 16 bits.
func refQuantizeWide(dst []actWide, x []float32) {
	var b [1]actByte
	for i := range dst {
		refQuantizeBytes(b[:], x[min(32*i, len(x)):])
		dst[i] = actWide{d: b[0].d, sum128: b[0].sum128}
		for k, v := range b[0].q {
			dst[i].q[k&^3|k&1<<1|k>>1&1] = int16(v)
		}
	}
}

// quantize32 quantises a block and returns its scale and the sum of its codes.
func quantize32(q *[32]int8, x *[32]float32) (d float32, sum int32) {
	d, inverse := scaleOf(x[:])
	for k, v := range x {
		q[k] = roundInt8(v, inverse)
		sum += int32(q[k])
	}
	return d, sum
}

// refQuantizeSupers quantises the activations of a token in blocks of 256.
func refQuantizeSupers(dst []actSuper, x []float32) {
	for i := range dst {
		b := &dst[i]
		in := (*[256]float32)(x[256*i:])
		var inverse float32
		b.d, inverse = scaleOf(in[:])
		for j := range 16 {
			var sum int16
			for k := 16 * j; k < 16*j+16; k++ {
				q := roundInt8(in[k], inverse)
				b.q[k] = q
				sum += int16(q)
			}
			b.sum16[j] = sum
		}
		for j := range 8 {
			b.sum32[j] = b.sum16[2*j] + b.sum16[2*j+1]
		}
	}
}
