package quant

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/shardnode/shardnode/tensorio"
)

// A blockDecoder writes the values of one block of a file to dst, which is one
// block long. The formulas are those of ggml's dequantize_row_*, in float32
// and in the same order of operations.
type blockDecoder func(dst []float32, src []byte)

// decoderOf returns the decoder of a type, nil if there is none.
func decoderOf(t tensorio.Type) blockDecoder {
	switch t {
	case tensorio.F32:
		return decodeF32
	case tensorio.F16:
		return func(dst []float32, src []byte) { dst[0] = f16At(src) }
	case tensorio.BF16:
		return func(dst []float32, src []byte) { dst[0] = bf16(le16(src)) }
	case tensorio.Q8_0:
		return decodeQ8_0
	case tensorio.Q4_0, tensorio.Q4_1, tensorio.Q5_0, tensorio.Q5_1:
		return func(dst []float32, src []byte) { decodeNibbles(dst, t, src) }
	case tensorio.IQ4_NL, tensorio.MXFP4:
		return func(dst []float32, src []byte) { decodeValues(dst, t, src) }
	case tensorio.IQ4_XS, tensorio.IQ3_XXS, tensorio.IQ3_S, tensorio.IQ2_XXS, tensorio.IQ2_XS, tensorio.IQ2_S,
		tensorio.IQ1_S, tensorio.IQ1_M, tensorio.TQ1_0, tensorio.TQ2_0:
		return func(dst []float32, src []byte) { decodeIndexed(dst, t, src) }
	case tensorio.Q2_K:
		return decodeQ2_K
	case tensorio.Q3_K:
		return decodeQ3_K
	case tensorio.Q4_K, tensorio.Q5_K:
		return func(dst []float32, src []byte) { decodeQ45_K(dst, t, src) }
	case tensorio.Q6_K:
		return decodeQ6_K
	}
	return nil
}

// Dequantize writes the exact float32 values of the blocks in src to dst. src
// is in a file's layout; dst must have exactly as many values as src has.
func Dequantize(dst []float32, t tensorio.Type, src []byte) error {
	dec := decoderOf(t)
	if dec == nil {
		return &tensorio.UnsupportedError{Type: t}
	}
	want, err := t.RowBytes(len(dst))
	if err != nil {
		return fmt.Errorf("dequantize: %w", err)
	}
	if len(src) != want {
		return fmt.Errorf("dequantize %d %v weights: have %d bytes, want %d", len(dst), t, len(src), want)
	}
	n, size := t.BlockLen(), t.BlockBytes()
	for len(dst) > 0 {
		dec(dst[:n], src[:size])
		dst, src = dst[n:], src[size:]
	}
	return nil
}

func decodeF32(dst []float32, src []byte) {
	dst[0] = math.Float32frombits(binary.LittleEndian.Uint32(src))
}

func decodeQ8_0(dst []float32, src []byte) {
	d := f16At(src)
	for k := range 32 {
		dst[k] = float32(int8(src[2+k])) * d
	}
}

// decodeNibbles decodes Q4_0, Q4_1, Q5_0 and Q5_1.
func decodeNibbles(dst []float32, t tensorio.Type, src []byte) {
	var u [32]uint8
	unpackNibbles(&u, t, src)
	d := f16At(src)
	switch t {
	case tensorio.Q4_0, tensorio.Q5_0:
		off := offsetOf(t)
		for k, v := range u {
			dst[k] = float32(int32(v)-off) * d
		}
	default: // Q4_1, Q5_1
		m := f16At(src[2:])
		for k, v := range u {
			dst[k] = float32(float32(v)*d) + m
		}
	}
}

// decodeValues decodes IQ4_NL and MXFP4.
func decodeValues(dst []float32, t tensorio.Type, src []byte) {
	var u [32]uint8
	unpackNibbles(&u, t, src)
	d, values := f16At(src), valuesOf(t)
	if t == tensorio.MXFP4 {
		d = math.Float32frombits(e8m0Half(src[0]))
	}
	for k, c := range u {
		dst[k] = float32(values[c]) * d
	}
}

// offsetOf returns what is subtracted from the unsigned codes of t.
func offsetOf(t tensorio.Type) int32 {
	switch t {
	case tensorio.Q4_0:
		return 8
	case tensorio.Q5_0:
		return 16
	}
	return 0
}

// unpackNibbles writes the unsigned codes of a block of Q4_0, Q4_1, Q5_0, Q5_1,
// IQ4_NL or MXFP4 (ggml-common.h: [d] [m] [32 high bits] [16 bytes: low nibbles are the
// first half of the block, high nibbles the second]).
func unpackNibbles(u *[32]uint8, t tensorio.Type, src []byte) {
	qs := src[len(src)-16:]
	for k := range 16 {
		u[k] = qs[k] & 15
		u[k+16] = qs[k] >> 4
	}
	if t == tensorio.Q5_0 || t == tensorio.Q5_1 {
		high := binary.LittleEndian.Uint32(src[len(src)-20:])
		for k := range u {
			u[k] |= uint8(high>>k&1) << 4
		}
	}
}

// A superBlock is a block of a K-quant with its codes unpacked: weight k is
// d*scale[k/16]*q[k] - dmin*min[k/16].
type superBlock struct {
	d, dmin    float32
	scale, min [16]int8
	q          [256]int8
}

func decodeQ2_K(dst []float32, src []byte) {
	var s superBlock
	unpackQ2_K(&s, src)
	for k, q := range s.q {
		dl := s.d * float32(s.scale[k/16])
		ml := s.dmin * float32(s.min[k/16])
		dst[k] = float32(dl*float32(q)) - ml
	}
}

func decodeQ3_K(dst []float32, src []byte) {
	var s superBlock
	unpackQ3_K(&s, src)
	for k, q := range s.q {
		dl := s.d * float32(s.scale[k/16])
		dst[k] = dl * float32(q)
	}
}

// decodeQ45_K decodes Q4_K and Q5_K.
func decodeQ45_K(dst []float32, t tensorio.Type, src []byte) {
	var s superBlock
	unpackQ45_K(&s, t, src)
	for k, q := range s.q {
		dl := s.d * float32(s.scale[k/16])
		ml := s.dmin * float32(s.min[k/16])
		dst[k] = float32(dl*float32(q)) - ml
	}
}

func decodeQ6_K(dst []float32, src []byte) {
	var s superBlock
	unpackQ6_K(&s, src)
	for k, q := range s.q {
		dl := s.d * float32(s.scale[k/16])
		dst[k] = dl * float32(q)
	}
}

// unpackQ2_K reads block_q2_K: scales[16] (low nibble scale, high nibble
// min), qs[64], d, dmin.
func unpackQ2_K(s *superBlock, src []byte) {
	scales, qs := src[:16], src[16:80]
	s.d, s.dmin = f16At(src[80:]), f16At(src[82:])
	for j, v := range scales {
		s.scale[j], s.min[j] = int8(v&15), int8(v>>4)
	}
	for k := range s.q {
		half, rest := k/128, k%128
		s.q[k] = int8(qs[half*32+rest%32] >> (2 * (rest / 32)) & 3)
	}
}

// unpackQ3_K reads block_q3_K: hmask[32], qs[64], scales[12], d.
func unpackQ3_K(s *superBlock, src []byte) {
	hmask, qs, sc := src[:32], src[32:96], src[96:108]
	s.d, s.dmin = f16At(src[108:]), 0
	for j := range 16 {
		s.scale[j], s.min[j] = scaleQ3_K(j, sc), 0
	}
	for k := range s.q {
		half, rest := k/128, k%128
		low := qs[half*32+rest%32] >> (2 * (rest / 32)) & 3
		high := hmask[k%32] >> (k / 32) & 1
		s.q[k] = int8(low|high<<2) - 4
	}
}

// scaleQ3_K returns the scale of sub-block j of Q3_K.
func scaleQ3_K(j int, sc []byte) int8 {
	low := sc[j%8] >> (4 * (j / 8)) & 15
	high := sc[8+j%4] >> (2 * (j / 4)) & 3
	return int8(low|high<<4) - 32
}

// scaleMinK4 returns the 6-bit scale and minimum of sub-block j of Q4_K and
// Q5_K (ggml's get_scale_min_k4).
func scaleMinK4(j int, q []byte) (scale, minimum int8) {
	if j < 4 {
		return int8(q[j] & 63), int8(q[j+4] & 63)
	}
	return int8(q[j+4]&15 | q[j-4]>>6<<4), int8(q[j+4]>>4 | q[j]>>6<<4)
}

// unpackQ45_K reads block_q4_K (d, dmin, scales[12], qs[128]) and block_q5_K
// (d, dmin, scales[12], qh[32], qs[128]).
func unpackQ45_K(s *superBlock, t tensorio.Type, src []byte) {
	s.d, s.dmin = f16At(src), f16At(src[2:])
	for j := range 8 {
		sc, m := scaleMinK4(j, src[4:16])
		s.scale[2*j], s.scale[2*j+1] = sc, sc
		s.min[2*j], s.min[2*j+1] = m, m
	}
	qs := src[len(src)-128:]
	for k := range s.q {
		s.q[k] = int8(qs[k/64*32+k%32] >> (4 * (k / 32 % 2)) & 15)
	}
	if t == tensorio.Q5_K {
		qh := src[16:48]
		for k := range s.q {
			s.q[k] |= int8(qh[k%32]>>(k/32)&1) << 4
		}
	}
}

// unpackQ6_K reads block_q6_K: ql[128], qh[64], scales[16], d.
func unpackQ6_K(s *superBlock, src []byte) {
	ql, qh, sc := src[:128], src[128:192], src[192:208]
	s.d, s.dmin = f16At(src[208:]), 0
	for j, v := range sc {
		s.scale[j], s.min[j] = int8(v), 0
	}
	for k := range s.q {
		half, rest := k/128, k%128
		low := ql[half*64+rest%64] >> (4 * (rest / 64)) & 15
		high := qh[half*32+rest%32] >> (2 * (rest / 32)) & 3
		s.q[k] = int8(low|high<<4) - 32
	}
}
