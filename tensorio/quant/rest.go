package quant

import "github.com/shardnode/shardnode/tensorio"

// Quantizes reports whether products with m quantise the activations, which
// those with float weights do not.
func (m *Matrix) Quantizes() bool {
	return m.typ != tensorio.F32 && m.typ != tensorio.F16 && m.typ != tensorio.BF16
}

// Rest writes to dst, [cols], what quantising left of token t: x - d*q. A
// product with the rest, added to that with the token, is as good as one with
// activations of 15 bits. Acts must be prepared for matrices of one kind that
// quantise.
func (a *Acts) Rest(dst []float32, t int) {
	x, dst := a.floats[t*a.cols:(t+1)*a.cols], dst[:a.cols]
	switch {
	case a.hasSupers:
		for i, b := range a.supers[t*(a.cols/256):][:a.cols/256] {
			rest(dst[256*i:][:256], x[256*i:], b.d, b.q[:])
		}
	case a.hasBlocks:
		for i, b := range a.blocks[t*a.blockStride():][:a.cols/32] {
			rest(dst[32*i:][:32], x[32*i:], b.d, b.q[:])
		}
	case a.hasBytes:
		for i, b := range a.bytes[t*a.blockStride():][:a.cols/32] {
			rest(dst[32*i:][:32], x[32*i:], b.d, b.q[:])
		}
	case a.hasWide:
		for i, b := range a.wide[t*a.blockStride():][:a.cols/32] {
			for k := 0; k < 32; k += 4 { // back from 0, 2, 1, 3
				b.q[k+1], b.q[k+2] = b.q[k+2], b.q[k+1]
			}
			rest(dst[32*i:][:32], x[32*i:], b.d, b.q[:])
		}
	default:
		clear(dst)
	}
}

// rest writes x - d*q, rounded twice, to dst. The conversion keeps compilers from
// fusing the two.
func rest[T int8 | int16](dst, x []float32, d float32, q []T) {
	for k := range dst {
		dst[k] = x[k] - float32(d*float32(q[k]))
	}
}
