package quant

import (
	"encoding/binary"
	"math/bits"

	"github.com/shardnode/shardnode/tensorio"
)

// An indexed is a block of 256 weights whose codes stand for numbers of a
// table: weight k is d * scale[k/16] * values[code[k]]. That is exact in
// float32: 11 bits of d, 6 of the scale and 7 of the number.
type indexed struct {
	d     float32
	scale [16]int8
	code  [256]uint8
}

// unpackIndexed reads a block of IQ4_XS, IQ3, IQ2, IQ1 or TQ.
func unpackIndexed(s *indexed, t tensorio.Type, src []byte) {
	switch t {
	case tensorio.IQ4_XS:
		s.unpackIQ4XS(src)
	case tensorio.IQ3_XXS:
		s.unpackIQ3XXS(src)
	case tensorio.IQ3_S:
		s.unpackIQ3S(src)
	case tensorio.IQ2_XXS:
		s.unpackIQ2XXS(src)
	case tensorio.IQ2_XS:
		s.unpackIQ2XS(src)
	case tensorio.IQ2_S:
		s.unpackIQ2S(src)
	case tensorio.IQ1_S:
		s.unpackIQ1S(src)
	case tensorio.IQ1_M:
		s.unpackIQ1M(src)
	case tensorio.TQ1_0:
		s.unpackTQ1(src)
	case tensorio.TQ2_0:
		s.unpackTQ2(src)
	}
}

func decodeIndexed(dst []float32, t tensorio.Type, src []byte) {
	var s indexed
	unpackIndexed(&s, t, src)
	values := valuesOf(t)
	for k, c := range s.code {
		dst[k] = s.d * float32(int32(s.scale[k/16])*int32(values[c]))
	}
}

// scale32 sets the scale of sub-block b of 32.
func (s *indexed) scale32(b int, scale int8) { s.scale[2*b], s.scale[2*b+1] = scale, scale }

// put writes the codes of weights 8g to 8g+7.
func (s *indexed) put(g int, codes uint64) { binary.LittleEndian.PutUint64(s.code[8*g:], codes) }

// spread2 makes bytes of eight numbers of two bits.
func spread2(v uint16) uint64 {
	x := uint64(v)
	x = (x | x<<24) & 0x000000ff000000ff
	x = (x | x<<12) & 0x000f000f000f000f
	return (x | x<<6) & 0x0303030303030303
}

// spread4 makes bytes of four numbers of four bits.
func spread4(v uint16) uint64 {
	x := uint64(v)
	x = (x | x<<8) & 0x00ff00ff
	return (x | x<<4) & 0x0f0f0f0f
}

// spread1 makes bytes, 0 or 1, of eight bits.
func spread1(v uint8) uint64 {
	x := uint64(v)
	x = (x | x<<28) & 0x0000000f0000000f
	x = (x | x<<14) & 0x0003000300030003
	return (x | x<<7) & 0x0101010101010101
}

// signs7 returns eight signs of which the file has seven: their number is even
// (ggml's ksigns_iq2xs).
func signs7(v uint32) uint8 {
	s := uint8(v & 127)
	return s | uint8(bits.OnesCount8(s)&1)<<7
}

// unpackIQ4XS reads block_iq4_xs: d, scales_h, scales_l[4], qs[128].
func (s *indexed) unpackIQ4XS(src []byte) {
	s.d = f16At(src)
	high := le16(src[2:])
	for b := range 8 {
		low := src[4+b/2] >> (4 * (b % 2)) & 15
		s.scale32(b, int8(low|uint8(high>>(2*b)&3)<<4)-32)
		for g := range 2 {
			qs := binary.LittleEndian.Uint64(src[8+16*b+8*g:])
			s.put(4*b+g, qs&0x0f0f0f0f0f0f0f0f)
			s.put(4*b+2+g, qs>>4&0x0f0f0f0f0f0f0f0f)
		}
	}
}

// unpackIQ3XXS reads block_iq3_xxs: d, qs[64], and for each 32 weights a word of
// four times seven signs and a scale.
func (s *indexed) unpackIQ3XXS(src []byte) {
	s.d = f16At(src) * 0.25
	for b := range 8 {
		aux := word(src, 66+4*b)
		s.scale32(b, int8(2*(aux>>28)+1))
		for l := range 4 {
			qs := src[2+8*b+2*l:]
			s.put(4*b+l, spread4(gridIQ3XXS[qs[0]])|spread4(gridIQ3XXS[qs[1]])<<32|spread1(signs7(aux>>(7*l)))<<3)
		}
	}
}

// unpackIQ3S reads block_iq3_s: d, qs[64], qh[8], signs[32], scales[4].
func (s *indexed) unpackIQ3S(src []byte) {
	s.d = f16At(src)
	qs, qh, signs, scales := src[2:66], src[66:74], src[74:106], src[106:110]
	for b := range 8 {
		s.scale32(b, int8(2*(scales[b/2]>>(4*(b%2))&15)+1))
		for l := range 4 {
			g := 4*b + l
			first := uint16(qs[2*g]) | uint16(qh[b]>>(2*l)&1)<<8
			second := uint16(qs[2*g+1]) | uint16(qh[b]>>(2*l+1)&1)<<8
			s.put(g, spread4(gridIQ3S[first])|spread4(gridIQ3S[second])<<32|spread1(signs[g])<<3)
		}
	}
}

// unpackIQ2XXS reads block_iq2_xxs: d, and for each 32 weights four codes of the
// grid and a word of four times seven signs and a scale.
func (s *indexed) unpackIQ2XXS(src []byte) {
	s.d = f16At(src) * 0.125
	for b := range 8 {
		qs, aux := src[2+8*b:], word(src, 6+8*b)
		s.scale32(b, int8(2*(aux>>28)+1))
		for l := range 4 {
			s.put(4*b+l, spread2(gridIQ2XXS[qs[l]])|spread1(signs7(aux>>(7*l)))<<2)
		}
	}
}

// unpackIQ2XS reads block_iq2_xs: d, 32 words of nine bits of code and seven
// signs, scales[8].
func (s *indexed) unpackIQ2XS(src []byte) {
	s.d = f16At(src) * 0.125
	s.scales4(src[66:])
	for g := range 32 {
		v := le16(src[2+2*g:])
		s.put(g, spread2(gridIQ2XS[v&511])|spread1(signs7(uint32(v>>9)))<<2)
	}
}

// unpackIQ2S reads block_iq2_s: d, qs[32], signs[32], qh[8], scales[8].
func (s *indexed) unpackIQ2S(src []byte) {
	s.d = f16At(src) * 0.125
	s.scales4(src[74:])
	for g := range 32 {
		index := uint16(src[2+g]) | uint16(src[66+g/4]>>(2*(g%4))&3)<<8
		s.put(g, spread2(gridIQ2S[index])|spread1(src[34+g])<<2)
	}
}

// scales4 reads a scale of four bits for each 16 weights.
func (s *indexed) scales4(b []byte) {
	for j := range s.scale {
		s.scale[j] = int8(2*(b[j/2]>>(4*(j%2))&15) + 1)
	}
}

// unpackIQ1S reads block_iq1_s: d, qs[32], and for each 32 weights four times
// three bits of code, a scale and the sign of what is added.
func (s *indexed) unpackIQ1S(src []byte) {
	s.d = f16At(src) * 0.125
	for b := range 8 {
		qh := le16(src[34+2*b:])
		s.scale32(b, int8(2*(qh>>12&7)+1))
		for l := range 4 {
			index := uint16(src[2+4*b+l]) | qh>>(3*l)&7<<8
			s.put(4*b+l, spread2(gridIQ1[index])|uint64(qh>>15)*(4*0x0101010101010101))
		}
	}
}

// unpackIQ1M reads block_iq1_m: qs[32], qh[16], four words of four scales and
// four bits of d.
func (s *indexed) unpackIQ1M(src []byte) {
	var d uint16
	for i := range 4 {
		sc := le16(src[48+2*i:])
		d |= sc >> 12 << (4 * i)
		for j := range 4 {
			s.scale[4*i+j] = int8(2*(sc>>(3*j)&7) + 1)
		}
	}
	s.d = f16(d) * 0.125
	for g := range 32 {
		qh := src[32+g/2] >> (4 * (g % 2))
		index := uint16(src[g]) | uint16(qh&7)<<8
		s.put(g, spread2(gridIQ1[index])|uint64(qh>>3&1)*(4*0x0101010101010101))
	}
}

// unpackTQ1 reads block_tq1_0: qs[48] with five weights a byte, qh[4] with four,
// d. Byte b has the weights as the digits of 3*b*3^n / 256.
func (s *indexed) unpackTQ1(src []byte) {
	s.d = f16At(src[52:])
	s.ones()
	k := 0
	for _, part := range []struct{ lo, hi, digits int }{{0, 32, 5}, {32, 48, 5}, {48, 52, 4}} {
		power := uint8(1)
		for range part.digits {
			for _, b := range src[part.lo:part.hi] {
				s.code[k] = uint8(uint16(b*power) * 3 >> 8)
				k++
			}
			power *= 3
		}
	}
}

// unpackTQ2 reads block_tq2_0: qs[64], d.
func (s *indexed) unpackTQ2(src []byte) {
	s.d = f16At(src[64:])
	s.ones()
	for g := range 32 {
		qs := binary.LittleEndian.Uint64(src[g/16*32+g%4*8:])
		s.put(g, qs>>(2*(g/4%4))&0x0303030303030303)
	}
}

// ones makes all scales 1.
func (s *indexed) ones() {
	for j := range s.scale {
		s.scale[j] = 1
	}
}
