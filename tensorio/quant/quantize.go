package quant

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// Quantize writes x as type t to dst, which must have the length of such a row: what
// llama.cpp makes of it without an importance matrix (ggml-quants.c, quantize_row_*_ref).
// t is F16, BF16, Q4_0, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K or Q6_K.
func Quantize(dst []byte, t tensorio.Type, x []float32) error {
	n, err := t.RowBytes(len(x))
	if err != nil {
		return err
	}
	if len(dst) != n {
		return fmt.Errorf("%v row of %d weights: have %d bytes, want %d", t, len(x), len(dst), n)
	}
	switch t {
	case tensorio.F32:
		for i, v := range x {
			binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
		}
	case tensorio.F16, tensorio.BF16:
		half := make([]uint16, len(x))
		if t == tensorio.F16 {
			vec.ToF16(half, x)
		} else {
			vec.ToBF16(half, x)
		}
		for i, v := range half {
			binary.LittleEndian.PutUint16(dst[2*i:], v)
		}
	default:
		return fmt.Errorf("weights can't be quantised to %v", t)
	}
	return nil
}
