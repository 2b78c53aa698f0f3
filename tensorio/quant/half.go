package quant

import (
	"encoding/binary"
	"math"
)

// f16 returns the value of an IEEE 754 half-precision number. It is exact.
func f16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp, frac := uint32(h>>10&31), uint32(h&0x3ff)
	switch exp {
	case 0: // zero or subnormal: frac * 2^-24
		return math.Float32frombits(math.Float32bits(float32(frac)*0x1p-24) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// bf16 returns the value of a bfloat16 number. It is exact.
func bf16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// le16 returns the little-endian number at b[0:2].
func le16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }

// f16At returns the half-precision number at b[0:2].
func f16At(b []byte) float32 { return f16(le16(b)) }
