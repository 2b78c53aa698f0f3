package quant

import (
	"encoding/binary"
	"math"
)

// f16 returns the value of an IEEE 754 half-precision number. It is exact: with
// the exponent field of a float32 the number is 2^-112 of its value.
func f16(h uint16) float32 {
	bits := uint32(h&0x7fff) << 13
	if bits >= 31<<23 { // infinity or NaN
		bits |= 0x7f800000
	} else {
		bits = math.Float32bits(math.Float32frombits(bits) * 0x1p112)
	}
	return math.Float32frombits(bits | uint32(h&0x8000)<<16)
}

// bf16 returns the value of a bfloat16 number. It is exact.
func bf16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// e8m0Half returns the bits of 2^(e-128), a float32: half the scale of MXFP4, of
// which e is the exponent. The smallest two are subnormal.
func e8m0Half(e uint8) uint32 {
	if e < 2 {
		return 0x00200000 << e
	}
	return uint32(e-1) << 23
}

// le16 returns the little-endian number at b[0:2].
func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }

// f16At returns the half-precision number at b[0:2].
func f16At(b []byte) float32 { return f16(le16(b)) }
