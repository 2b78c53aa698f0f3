package quant

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
)

// TestEveryWeightIsWhereItBelongs multiplies with one activation at a time:
// each output is that weight, but for rounding.
func TestEveryWeightIsWhereItBelongs(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	for _, typ := range computed() {
		const rows = 19
		cols := max(2*typ.BlockLen(), 40)
		if typ.BlockLen() == 32 {
			cols = 96 // an odd number of blocks
		}
		src := randomBlocks(rng, typ, rows*cols/typ.BlockLen(), false)
		w := make([]float32, rows*cols)
		if err := Dequantize(w, typ, src); err != nil {
			t.Fatal(err)
		}
		x := make([]float32, cols*cols)
		for k := range cols {
			x[k*cols+k] = 1
		}
		m := newMatrix(t, typ, rows, cols, src)
		var a Acts
		a.Prepare(x, cols, cols, m)
		y := make([]float32, cols*rows)
		m.Mul(y, rows, &a, 0, m.Panels())
		for i, got := range y {
			k, r := i/rows, i%rows
			want := w[r*cols+k]
			// A weight with a minimum is a difference of larger numbers.
			if diff := math.Abs(float64(got - want)); !(diff <= 1e-4+1e-5*math.Abs(float64(want))) {
				t.Fatalf("%v: weight [%d, %d] = %v, want %v", typ, r, k, got, want)
			}
		}
	}
}

func TestMatrixRefusesWhatItCannotHold(t *testing.T) {
	for _, c := range []struct {
		name       string
		typ        tensorio.Type
		rows, cols int
	}{
		{"no rows", tensorio.F32, 0, 8},
		{"no columns", tensorio.F32, 8, 0},
		{"negative", tensorio.Q8_0, -1, 32},
		{"half a block", tensorio.Q4_1, 4, 48},
		{"half a K block", tensorio.Q6_K, 4, 128},
		{"too large", tensorio.F32, math.MaxInt / 2, 64},
		{"huge in both", tensorio.Q8_0, math.MaxInt, math.MaxInt - 31},
		{"no kernels", tensorio.NVFP4, 16, 256},
		{"unknown", tensorio.Type(77), 16, 256},
	} {
		if n, err := PackedBytes(c.typ, c.rows, c.cols); err == nil {
			t.Errorf("%s: PackedBytes = %d, want an error", c.name, n)
		}
		if _, err := NewMatrix(c.typ, c.rows, c.cols, nil); err == nil {
			t.Errorf("%s: NewMatrix gives no error", c.name)
		}
	}
	_, err := PackedBytes(tensorio.NVFP4, 16, 256)
	if e, ok := errors.AsType[*tensorio.UnsupportedError](err); !ok || e.Type != tensorio.NVFP4 {
		t.Errorf("NVFP4: %v, want an UnsupportedError", err)
	}
}

// TestPackedWeightsAreNotMuchLargerThanTheFile holds what DESIGN.md says.
func TestPackedWeightsAreNotMuchLargerThanTheFile(t *testing.T) {
	unpacked := map[tensorio.Type]float64{ // those that are kept out of their grids
		tensorio.IQ1_S: 2.16, tensorio.IQ1_M: 2.08, tensorio.IQ2_XXS: 1.64, tensorio.IQ2_XS: 1.57, tensorio.IQ2_S: 1.42,
		tensorio.IQ3_XXS: 1.43, tensorio.IQ3_S: 1.28, tensorio.TQ1_0: 1.26,
	}
	for _, typ := range computed() {
		const rows, cols = 64, 2048
		n, err := PackedBytes(typ, rows, cols)
		if err != nil {
			t.Fatal(err)
		}
		file, err := typ.RowBytes(cols)
		if err != nil {
			t.Fatal(err)
		}
		limit := 1.06
		if l, ok := unpacked[typ]; ok {
			limit = l
		}
		if ratio := float64(n) / float64(rows*file); ratio > limit {
			t.Errorf("%v: the packed form has %.3f times the bytes of the file, want %v at most", typ, ratio, limit)
		}
	}
}

func TestMatrixRefusesWrongBuffers(t *testing.T) {
	n, err := PackedBytes(tensorio.Q4_0, 20, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, n - 1, n + 1} {
		if _, err := NewMatrix(tensorio.Q4_0, 20, 64, make([]byte, size)); err == nil {
			t.Errorf("a buffer of %d bytes: no error, want %d", size, n)
		}
	}
	m, err := NewMatrix(tensorio.Q4_0, 20, 64, make([]byte, n))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ bytes, lo, hi int }{
		{20*36 - 1, 0, 2}, {20*36 + 1, 0, 2}, {0, 0, 2}, {20 * 36, -1, 2}, {20 * 36, 0, 3}, {20 * 36, 2, 1},
	} {
		if err := m.PackPanels(make([]byte, c.bytes), c.lo, c.hi); err == nil {
			t.Errorf("panels [%d, %d) of %d bytes: no error", c.lo, c.hi, c.bytes)
		}
	}
}

func TestMulPanicsOnOutputsTooShort(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	m := newMatrix(t, tensorio.Q8_0, 20, 64, randomBlocks(rng, tensorio.Q8_0, 40, false))
	var a, unprepared Acts
	a.Prepare(randomActs(rng, 3*64), 3, 64, m)
	unprepared.Prepare(randomActs(rng, 3*64), 3, 64)
	for _, c := range []struct {
		name        string
		len, ldy    int
		acts        *Acts
		first, last int
	}{
		{"y", 59, 20, &a, 0, 2},
		{"ldy", 60, 19, &a, 0, 2},
		{"panel", 60, 20, &a, 0, 3},
		{"negative panel", 60, 20, &a, -1, 2},
		{"acts", 60, 20, &unprepared, 0, 2},
		{"empty acts", 60, 20, &Acts{}, 0, 2},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", c.name)
				}
			}()
			m.Mul(make([]float32, c.len), c.ldy, c.acts, c.first, c.last)
		}()
	}
}

func TestMulWritesOnlyItsPanels(t *testing.T) {
	rng := rand.New(rand.NewPCG(25, 26))
	for _, typ := range computed() {
		const rows, tokens, ldy = 53, 7, 60
		cols := 2 * typ.BlockLen()
		m := newMatrix(t, typ, rows, cols, randomBlocks(rng, typ, rows*2, false))
		x := randomActs(rng, tokens*cols)
		for _, c := range forms() {
			var a Acts
			a.begin(&c.kernels, x, tokens, cols, m)
			a.Quantize(0, tokens)
			y := make([]float32, tokens*ldy)
			for i := range y {
				y[i] = 777
			}
			m.mul(&c.kernels, y, ldy, &a, 2, 4)
			for i, v := range y {
				if r := i % ldy; (r >= 32 && r < rows) == (v == 777) {
					t.Fatalf("%s %v: y[%d][%d] = %v", c.form, typ, i/ldy, r, v)
				}
			}
		}
	}
}

// TestBitsDoNotDependOnTheCompany multiplies the same token alone, in a batch,
// and panel by panel.
func TestBitsDoNotDependOnTheCompany(t *testing.T) {
	rng := rand.New(rand.NewPCG(27, 28))
	for _, typ := range computed() {
		const rows, tokens = 100, 13
		cols := 3 * typ.BlockLen()
		m := newMatrix(t, typ, rows, cols, randomBlocks(rng, typ, rows*3, false))
		x := randomActs(rng, tokens*cols)
		var a Acts
		a.Prepare(x, tokens, cols, m)
		all := make([]float32, tokens*rows)
		m.Mul(all, rows, &a, 0, m.Panels())
		for tok := range tokens {
			a.Prepare(x[tok*cols:], 1, cols, m)
			one := make([]float32, rows)
			for p := range m.Panels() {
				m.Mul(one, rows, &a, p, p+1)
			}
			for r, v := range one {
				if v != all[tok*rows+r] {
					t.Fatalf("%v: y[%d][%d] = %x alone, %x in company", typ, tok, r, v, all[tok*rows+r])
				}
			}
		}
	}
}

// TestPanelsMayBeDoneAtOnce packs and multiplies panels, and quantises tokens,
// in many goroutines; run with -race it also proves that they are apart.
func TestPanelsMayBeDoneAtOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(33, 34))
	for _, typ := range computed() {
		const rows, tokens = 75, 9
		cols := 2 * typ.BlockLen()
		src := randomBlocks(rng, typ, rows*2, false)
		m := newMatrix(t, typ, rows, cols, src)
		x := randomActs(rng, tokens*cols)
		var a Acts
		a.Prepare(x, tokens, cols, m)
		want, got := make([]float32, tokens*rows), make([]float32, tokens*rows)
		m.Mul(want, rows, &a, 0, m.Panels())

		var wg sync.WaitGroup
		a.Begin(x, tokens, cols, m)
		for tok := range tokens {
			wg.Go(func() { a.Quantize(tok, tok+1) })
		}
		for p := range m.Panels() {
			wg.Go(func() {
				if err := m.PackPanels(src, p, p+1); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for p := range m.Panels() {
			wg.Go(func() { m.Mul(got, rows, &a, p, p+1) })
		}
		wg.Wait()
		if !slices.Equal(got, want) {
			t.Errorf("%v: the results differ from those of one goroutine", typ)
		}
	}
}

func TestMulAndPrepareDoNotAllocate(t *testing.T) {
	rng := rand.New(rand.NewPCG(29, 30))
	for _, typ := range computed() {
		const rows, tokens = 40, 5
		cols := 2 * typ.BlockLen()
		m := newMatrix(t, typ, rows, cols, randomBlocks(rng, typ, rows*2, false))
		x, y := randomActs(rng, tokens*cols), make([]float32, tokens*rows)
		for _, c := range forms() {
			var a Acts
			ms := []*Matrix{m}
			if n := testing.AllocsPerRun(20, func() {
				a.begin(&c.kernels, x, tokens, cols, ms...)
				a.Quantize(0, tokens)
				m.mul(&c.kernels, y, rows, &a, 0, m.Panels())
			}); n != 0 {
				t.Errorf("%s %v: %v allocations, want none", c.form, typ, n)
			}
		}
	}
}
