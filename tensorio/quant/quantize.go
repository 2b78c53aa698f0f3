package quant

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// Quantize writes x as type t to dst, which must have the length of such a row: what
// llama.cpp makes of it without an importance matrix (ggml-quants.c, the functions
// quantize_row_*_ref). t is F32, F16, BF16, Q4_0, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K.
//
// Products are rounded before they are added, as in llama.cpp's own builds, which
// compile this part for processors without fused multiply-add.
func Quantize(dst []byte, t tensorio.Type, x []float32) error {
	n, err := t.RowBytes(len(x))
	if err != nil {
		return err
	}
	if len(dst) != n {
		return fmt.Errorf("%v row of %d weights: have %d bytes, want %d", t, len(x), len(dst), n)
	}
	var block func(dst []byte, x []float32)
	switch t {
	case tensorio.F32:
		for i, v := range x {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
		return nil
	case tensorio.F16, tensorio.BF16:
		quantizeHalves(dst, t, x)
		return nil
	case tensorio.Q4_0:
		block = quantizeQ4_0
	case tensorio.Q5_0:
		block = quantizeQ5_0
	case tensorio.Q5_1:
		block = quantizeQ5_1
	case tensorio.Q8_0:
		block = quantizeQ8_0
	case tensorio.Q4_K:
		block = quantizeQ4_K
	case tensorio.Q5_K:
		block = quantizeQ5_K
	case tensorio.Q6_K:
		block = quantizeQ6_K
	default:
		return fmt.Errorf("weights can't be quantised to %v", t)
	}
	size, bytes := t.BlockLen(), t.BlockBytes()
	for ; len(x) > 0; x, dst = x[size:], dst[bytes:] {
		block(dst[:bytes], x[:size])
	}
	return nil
}

// quantizeHalves writes float16 or bfloat16.
func quantizeHalves(dst []byte, t tensorio.Type, x []float32) {
	half := make([]uint16, len(x))
	if t == tensorio.F16 {
		vec.ToF16(half, x)
	} else {
		vec.ToBF16(half, x)
	}
	for i, v := range half {
		binary.LittleEndian.PutUint16(dst[2*i:], v)
	}
}

// putHalf writes x as float16 and returns what it became.
func putHalf(dst []byte, x float32) float32 {
	var half [1]uint16
	var back [1]float32
	vec.ToF16(half[:], []float32{x})
	vec.FromF16(back[:], half[:])
	binary.LittleEndian.PutUint16(dst, half[0])
	return back[0]
}

// reciprocal returns 1/d, or 0 for 0.
func reciprocal(d float32) float32 {
	if d == 0 {
		return 0
	}
	return 1 / d
}

// furthestFrom0 returns the first of the values that are furthest from 0.
func furthestFrom0(x []float32) float32 {
	most, at := float32(0), float32(0)
	for _, v := range x {
		if a := abs(v); most < a {
			most, at = a, v
		}
	}
	return at
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

func quantizeQ4_0(dst []byte, x []float32) {
	d := furthestFrom0(x) / -8
	id := reciprocal(d)
	putHalf(dst, d)
	for j := range 16 {
		lo := min(15, int(int8(float32(x[j]*id)+8.5)))
		hi := min(15, int(int8(float32(x[16+j]*id)+8.5)))
		dst[2+j] = byte(lo | hi<<4)
	}
}

func quantizeQ5_0(dst []byte, x []float32) {
	d := furthestFrom0(x) / -16
	id := reciprocal(d)
	putHalf(dst, d)
	high := uint32(0)
	for j := range 16 {
		lo := uint32(min(31, int(int8(float32(x[j]*id)+16.5))))    //nolint:gosec // 0 to 31
		hi := uint32(min(31, int(int8(float32(x[16+j]*id)+16.5)))) //nolint:gosec // 0 to 31
		dst[6+j] = byte(lo&15 | hi&15<<4)
		high |= lo>>4&1<<j | hi>>4&1<<(j+16)
	}
	binary.LittleEndian.PutUint32(dst[2:], high)
}

func quantizeQ5_1(dst []byte, x []float32) {
	lowest, highest := float32(math.MaxFloat32), float32(-math.MaxFloat32)
	for _, v := range x {
		if v < lowest {
			lowest = v
		}
		if v > highest {
			highest = v
		}
	}
	d := (highest - lowest) / 31
	id := reciprocal(d)
	putHalf(dst, d)
	putHalf(dst[2:], lowest)
	high := uint32(0)
	for j := range 16 {
		lo := uint32(uint8(float32((x[j]-lowest)*id) + 0.5))
		hi := uint32(uint8(float32((x[16+j]-lowest)*id) + 0.5))
		dst[8+j] = byte(lo&15 | hi&15<<4)
		high |= lo>>4&1<<j | hi>>4&1<<(j+16)
	}
	binary.LittleEndian.PutUint32(dst[4:], high)
}

func quantizeQ8_0(dst []byte, x []float32) {
	d := abs(furthestFrom0(x)) / 127
	id := reciprocal(d)
	putHalf(dst, d)
	for j, v := range x {
		dst[2+j] = byte(int8(math.Round(float64(float32(v * id)))))
	}
}
