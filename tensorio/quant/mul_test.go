package quant

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
)

// computed returns the types that there are kernels for.
func computed() []tensorio.Type {
	var ts []tensorio.Type
	for t := range tensorio.Type(64) {
		if t.Supported() == nil {
			ts = append(ts, t)
		}
	}
	return ts
}

// randomBlocks returns n blocks of a type with any codes. Scales are moderate
// numbers, or anything at all when wild.
func randomBlocks(rng *rand.Rand, t tensorio.Type, n int, wild bool) []byte {
	size := t.BlockBytes()
	b := make([]byte, n*size)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	if wild {
		return b
	}
	for i := range n {
		block := b[i*size : (i+1)*size]
		switch t {
		case tensorio.F32:
			binary.LittleEndian.PutUint32(block, math.Float32bits(float32(rng.NormFloat64())))
		case tensorio.BF16:
			binary.LittleEndian.PutUint16(block, uint16(math.Float32bits(float32(rng.NormFloat64()))>>16))
		case tensorio.F16:
			moderate(rng, block)
		case tensorio.MXFP4:
			block[0] = byte(121 + rng.IntN(8))
		case tensorio.IQ1_M: // d is in the upper four bits of four words
			var d [2]byte
			moderate(rng, d[:])
			for j := range 4 {
				block[49+2*j] = block[49+2*j]&15 | byte(binary.LittleEndian.Uint16(d[:])>>(4*j))<<4
			}
		default:
			for _, at := range scalesAt(t) {
				moderate(rng, block[at:])
			}
		}
	}
	return b
}

// scalesAt returns where half-precision numbers are in a block.
func scalesAt(t tensorio.Type) []int {
	switch t {
	case tensorio.Q2_K:
		return []int{80, 82}
	case tensorio.Q3_K:
		return []int{108}
	case tensorio.Q6_K:
		return []int{208}
	case tensorio.TQ1_0:
		return []int{52}
	case tensorio.TQ2_0:
		return []int{64}
	case tensorio.Q4_1, tensorio.Q5_1, tensorio.Q4_K, tensorio.Q5_K:
		return []int{0, 2}
	}
	return []int{0}
}

// moderate writes a half-precision number between 2^-7 and 2^0 to b.
func moderate(rng *rand.Rand, b []byte) {
	binary.LittleEndian.PutUint16(b, uint16(rng.IntN(2)<<15|(8+rng.IntN(8))<<10|rng.IntN(1<<10)))
}

// randomActs returns activations like a model's: a few are large.
func randomActs(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
		if rng.IntN(50) == 0 {
			x[i] *= 30
		}
	}
	return x
}

// newMatrix packs a matrix.
func newMatrix(t testing.TB, typ tensorio.Type, rows, cols int, src []byte) *Matrix {
	t.Helper()
	n, err := PackedBytes(typ, rows, cols)
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewMatrix(typ, rows, cols, make([]byte, n))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.PackPanels(src, 0, m.Panels()); err != nil {
		t.Fatal(err)
	}
	return m
}

// forms returns every form that this machine runs, the plain one first.
func forms() []choice { return append([]choice{plain()}, machineForms()...) }

// mulWith multiplies with a form, from the activations on.
func mulWith(c choice, m *Matrix, y []float32, ldy int, x []float32, tokens int) {
	var a Acts
	a.begin(&c.kernels, x, tokens, m.cols, m)
	a.Quantize(0, tokens)
	m.mul(&c.kernels, y, ldy, &a, 0, m.Panels())
}

// compare multiplies with every form and reports the first difference.
func compare(t *testing.T, m *Matrix, x []float32, tokens int) {
	t.Helper()
	ldy := m.rows + 3
	want := make([]float32, tokens*ldy)
	mulWith(plain(), m, want, ldy, x, tokens)
	for _, c := range machineForms() {
		got := make([]float32, tokens*ldy)
		mulWith(c, m, got, ldy, x, tokens)
		for i := range want {
			if !same(got[i], want[i]) {
				t.Fatalf("%s %v %dx%d, %d tokens: y[%d][%d] = %x, want %x", c.form, m.typ, m.rows, m.cols, tokens, i/ldy, i%ldy, got[i], want[i])
			}
		}
	}
}

func TestEveryFormGivesTheBitsOfThePlainOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	manyRows, manyBlocks := []int{1, 15, 16, 17, 45}, []int{1, 2, 3, 7}
	if testing.Short() { // an emulated processor
		manyRows, manyBlocks = []int{17}, []int{1, 3}
	}
	for _, typ := range computed() {
		t.Run(typ.String(), func(t *testing.T) {
			for _, rows := range manyRows {
				for _, blocks := range manyBlocks {
					cols := blocks * typ.BlockLen()
					for _, tokens := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, expandFrom, expandFrom + 11} {
						wild := tokens%3 == 0
						m := newMatrix(t, typ, rows, cols, randomBlocks(rng, typ, rows*blocks, wild))
						compare(t, m, randomActs(rng, tokens*cols), tokens)
					}
				}
			}
		})
	}
}

// TestLongRowsAreMultipliedAlike has rows that do not fit where the codes for many
// tokens are expanded.
func TestLongRowsAreMultipliedAlike(t *testing.T) {
	rng := rand.New(rand.NewPCG(43, 44))
	for _, typ := range []tensorio.Type{tensorio.Q8_0, tensorio.Q4_K} {
		const cols = 1 << 15
		m := newMatrix(t, typ, 3, cols, randomBlocks(rng, typ, 3*cols/typ.BlockLen(), false))
		compare(t, m, randomActs(rng, expandFrom*cols), expandFrom)
	}
}

// TestMulIsNearTheExactProduct compares with float64 products of the exact
// weights: the difference is that of 8-bit activations, none for floats.
func TestMulIsNearTheExactProduct(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const rows, cols, tokens = 33, 1024, 2
	for _, typ := range computed() {
		src := randomBlocks(rng, typ, rows*cols/typ.BlockLen(), false)
		w := make([]float32, rows*cols)
		if err := Dequantize(w, typ, src); err != nil {
			t.Fatal(err)
		}
		x := randomActs(rng, tokens*cols)
		m := newMatrix(t, typ, rows, cols, src)
		var a Acts
		a.Prepare(x, tokens, cols, m)
		y := make([]float32, tokens*rows)
		m.Mul(y, rows, &a, 0, m.Panels())
		var diff, norm float64
		for i, v := range y {
			var want float64
			for k := range cols {
				want += float64(w[i%rows*cols+k]) * float64(x[i/rows*cols+k])
			}
			diff += (float64(v) - want) * (float64(v) - want)
			norm += want * want
		}
		limit := 0.05
		if m.layout.kind == kindFloat {
			limit = 1e-5
		}
		if rel := math.Sqrt(diff / norm); !(rel < limit) {
			t.Errorf("%v: relative difference %g, want below %g", typ, rel, limit)
		}
	}
}

func TestTheFormThatTheEnvironmentAsksForRuns(t *testing.T) {
	// Read here so that go test does not reuse the result of another form: it
	// does not see what the package read before the tests began.
	_ = os.Getenv("SHARDNODE_SIMD")
	want := os.Getenv("SHARDNODE_TEST_SIMD")
	if want == "" {
		t.Skip("SHARDNODE_TEST_SIMD is not set")
	}
	if Form() != want {
		t.Fatalf("form %q runs, want %q", Form(), want)
	}
}
