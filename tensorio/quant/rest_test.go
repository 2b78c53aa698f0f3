package quant

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
)

// TestRest compares the product of a token and its rest with that of float
// activations: it must be a hundred times nearer than that of the token alone,
// and the same bits in every form.
func TestRest(t *testing.T) {
	const rows, cols = 32, 512
	for _, typ := range []tensorio.Type{tensorio.Q8_0, tensorio.Q4_1, tensorio.Q6_K, tensorio.Q4_K, tensorio.IQ4_NL} {
		t.Run(typ.String(), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(typ)))
			src := randomBlocks(rng, typ, rows*cols/typ.BlockLen(), false)
			m := newMatrix(t, typ, rows, cols, src)
			weights := make([]float32, rows*cols)
			if err := Dequantize(weights, typ, src); err != nil {
				t.Fatal(err)
			}
			x := make([]float32, 2*cols)
			for i := range cols {
				x[i] = float32(rng.NormFloat64())
			}
			var first []float32
			for _, c := range forms() {
				var a Acts
				a.begin(&c.kernels, x, 1, cols, m)
				a.Quantize(0, 1)
				a.Rest(x[cols:], 0)
				if first == nil {
					first = append(first, x[cols:]...)
				}
				for i, v := range x[cols:] {
					if math.Float32bits(v) != math.Float32bits(first[i]) {
						t.Fatalf("%s: the rest of column %d is %v, want %v", c.form, i, v, first[i])
					}
				}
			}
			var a Acts
			y := make([]float32, 2*rows)
			a.Prepare(x, 2, cols, m)
			m.Mul(y, rows, &a, 0, m.Panels())
			var alone, both float64
			for r := range rows {
				var want float64
				for k, w := range weights[r*cols:][:cols] {
					want += float64(w) * float64(x[k])
				}
				alone += math.Abs(float64(y[r]) - want)
				both += math.Abs(float64(y[r]+y[rows+r]) - want)
			}
			if both > alone/50 {
				t.Errorf("the error is %g, alone %g: want a fiftieth at most", both, alone)
			}
		})
	}
}
