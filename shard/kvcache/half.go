package kvcache

import "math"

// putHalf writes src, as long as dst, to dst as float16 bits, rounded to the
// nearest, ties to even. It reports whether all values are in float16's range.
func putHalf(dst []uint16, src []float32) bool {
	src = src[:len(dst)]
	ok := true
	for i, x := range src {
		h, fits := half(x)
		dst[i] = h
		ok = ok && fits
	}
	return ok
}

// half returns the float16 nearest to x, ties to even (IEEE 754, binary16),
// and whether x is a number that rounds to a finite one.
func half(x float32) (uint16, bool) {
	b := math.Float32bits(x)
	sign := uint16(b >> 16 & 0x8000)
	mag := b & 0x7fffffff
	switch {
	case mag >= 0x477ff000: // 65520 and above round to infinity; not a number
		return sign | 0x7c00, false
	case mag < 0x38800000: // below 2^-14: a multiple of 2^-24
		// Adding 0.5 leaves the multiple in the low bits, rounded by the hardware.
		sum := math.Float32frombits(mag) + 0.5
		return sign | uint16(math.Float32bits(sum)-0x3f000000), true
	default:
		odd := mag >> 13 & 1
		return sign | uint16((mag-0x38000000+0xfff+odd)>>13), true
	}
}
