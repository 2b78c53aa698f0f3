package dice

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// A recipe makes a random block of a type: random bytes, and then the scale
// that gives weights the wanted spread, and the minimum that centres them.
type recipe struct {
	typ  tensorio.Type
	d    int     // offset of the scale, float16
	sd   float64 // standard deviation of weights when the scale is 1
	min  int     // offset of the minimum, float16; 0 for none
	mean float64 // of the weights when the scale is 1 and the minimum 0, over what a minimum of 1 subtracts
}

// recipes have the standard deviations of uniform codes: of n values 1 apart it
// is sqrt((n*n-1)/12).
var recipes = []recipe{
	{typ: tensorio.F32},
	{typ: tensorio.F16},
	{typ: tensorio.BF16},
	{typ: tensorio.Q8_0, sd: 73.9},
	{typ: tensorio.Q4_0, sd: 4.61},
	{typ: tensorio.Q5_0, sd: 9.23},
	{typ: tensorio.Q4_1, sd: 4.61, min: 2, mean: -7.5},
	{typ: tensorio.Q5_1, sd: 9.23, min: 2, mean: -15.5},
	{typ: tensorio.IQ4_NL, sd: 69},
	{typ: tensorio.IQ4_XS, sd: 1275},
	{typ: tensorio.Q2_K, d: 80, sd: 13.9, min: 82, mean: 1.5},
	{typ: tensorio.Q3_K, d: 108, sd: 42.4},
	{typ: tensorio.Q4_K, sd: 260, min: 2, mean: 7.5},
	{typ: tensorio.Q5_K, sd: 534, min: 2, mean: 15.5},
	{typ: tensorio.Q6_K, d: 208, sd: 1365},
}

// recipeOf returns how to make blocks of type t, which is not a float.
func recipeOf(t tensorio.Type) (recipe, bool) {
	for _, r := range recipes {
		if r.typ == t && r.sd > 0 {
			return r, true
		}
	}
	return recipe{}, false
}

// fill fills buf with blocks.
func (r recipe) fill(buf []byte, rng *rand.PCG) {
	var scales [2]uint16
	d := float32(spread / r.sd)
	vec.ToF16(scales[:], []float32{d, d * float32(r.mean)})
	for size := r.typ.BlockBytes(); len(buf) >= size; buf = buf[size:] {
		block := buf[:size]
		for len(block) >= 8 {
			binary.LittleEndian.PutUint64(block, rng.Uint64())
			block = block[8:]
		}
		for i, last := 0, rng.Uint64(); i < len(block); i++ {
			block[i] = byte(last >> (8 * i))
		}
		binary.LittleEndian.PutUint16(buf[r.d:], scales[0])
		if r.min > 0 {
			binary.LittleEndian.PutUint16(buf[r.min:], scales[1])
		}
	}
}
