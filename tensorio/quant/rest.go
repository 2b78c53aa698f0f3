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
		for k, v := range x {
			b := &a.supers[t*(a.cols/256)+k/256]
			dst[k] = left(v, b.d, float32(b.q[k%256]))
		}
	case a.hasBlocks:
		for k, v := range x {
			b := &a.blocks[t*a.blockStride()+k/32]
			dst[k] = left(v, b.d, float32(b.q[k%32]))
		}
	case a.hasBytes:
		for k, v := range x {
			b := &a.bytes[t*a.blockStride()+k/32]
			dst[k] = left(v, b.d, float32(b.q[k%32]))
		}
	case a.hasWide:
		for k, v := range x {
			b := &a.wide[t*a.blockStride()+k/32]
			dst[k] = left(v, b.d, float32(b.q[k%32&^3|k&1<<1|k>>1&1]))
		}
	default:
		clear(dst)
	}
}

// left returns v - d*q, rounded twice. The conversion keeps compilers from
// fusing the two.
func left(v, d, q float32) float32 { return v - float32(d*q) }
