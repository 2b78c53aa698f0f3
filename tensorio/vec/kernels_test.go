package vec

import (
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestWantedFormRuns(t *testing.T) {
	want := os.Getenv("SHARDNODE_TEST_SIMD")
	got, err := Form()
	if err != nil {
		t.Error(err)
	}
	if want != "" && got != want {
		t.Errorf("form %q runs, want %q", got, want)
	}
}

func TestChooseObeysOrSaysWhyNot(t *testing.T) {
	for _, c := range []struct {
		wish string
		have []form
		want form
		fail bool
	}{
		{"", []form{avx2}, avx2, false},
		{"", []form{neondot, neon}, neondot, false},
		{"", nil, ref, false},
		{"ref", []form{avx2}, ref, false},
		{"avx2", []form{avx2}, avx2, false},
		{"", []form{avx512, avx2}, avx512, false},
		{"avxvnni", []form{avx512, avx2}, ref, true},
		{"neon", []form{neondot, neon}, neon, false},
		{"avx2", nil, ref, true},
		{"neondot", []form{neon}, ref, true},
		{"neon", []form{avx2}, ref, true},
		{"sse", []form{avx2}, ref, true},
	} {
		got, err := choose(c.wish, c.have)
		if got != c.want || (err != nil) != c.fail {
			t.Errorf("choose(%q, %q) = %q, %v, want %q and an error: %v", c.wish, c.have, got, err, c.want, c.fail)
		}
	}
}

// avo takes the registers of AVX-512 when 16 do not suffice.
func TestGeneratedCodeStaysWithinItsForm(t *testing.T) {
	code, err := os.ReadFile("kernels_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	kernels := strings.Split(string(code), "TEXT ·")[1:]
	if len(kernels) < 40 {
		t.Fatalf("found %d kernels: is this the generated code?", len(kernels))
	}
	foreign := regexp.MustCompile(`\b([XY](1[6-9]|2\d|3[01])|[ZK]\d+)\b`)
	for _, k := range kernels {
		name, body, _ := strings.Cut(k, "(")
		if m := foreign.FindString(body); m != "" && !strings.HasSuffix(name, "AVX512") {
			t.Errorf("%s uses register %s, which AVX2 lacks", name, m)
		}
	}
}

// source makes inputs: plain values, extremes, or a mix.
type source struct {
	rng  *rand.Rand
	kind uint8
}

func (s source) value() float32 {
	switch k := s.kind % 4; {
	case k == 1 || k == 2 && s.rng.IntN(8) == 0:
		return crafted[s.rng.IntN(len(crafted))]
	case k == 3:
		return math.Float32frombits(s.rng.Uint32())
	}
	return float32(s.rng.NormFloat64() * 4)
}

// floats returns n values that start at any multiple of 4 bytes.
func (s source) floats(n int) []float32 {
	x := make([]float32, n+8)[s.rng.IntN(8):][:n:n]
	for i := range x {
		x[i] = s.value()
	}
	return x
}

func (s source) halfs(n int) []uint16 {
	x := make([]uint16, n+8)[s.rng.IntN(8):][:n:n]
	for i := range x {
		if s.kind%4 == 3 {
			x[i] = uint16(s.rng.Uint32())
		} else {
			x[i] = f16FromF32(s.value())
		}
	}
	return x
}

func clone[T any](x []T) []T { return append([]T(nil), x...) }

func same(t *testing.T, name string, got, want []float32) {
	t.Helper()
	for i := range want {
		if !sameBits(got[i], want[i]) {
			t.Fatalf("%s: value %d of %d is %x, want %x", name, i, len(want), got[i], want[i])
		}
	}
}

func same16(t *testing.T, name string, got, want []uint16) {
	t.Helper()
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("%s: value %d of %d is %04x, want %04x", name, i, len(want), got[i], want[i])
		}
	}
}

// compareSums compares the kernels that fold lanes with their definitions.
func compareSums(t *testing.T, s source, n int) {
	x, y := s.floats(n), s.floats(n)
	same(t, "dot", []float32{dot(x, y)}, []float32{dotRef(x, y)})
	same(t, "max", []float32{largest(x)}, []float32{maxRef(x)})
	a, b := clone(x), clone(x)
	shift := s.value()
	sums := []float32{expSum(a, shift), expSumRef(b, shift)}
	same(t, "expSum values", a, b)
	same(t, "expSum", sums[:1], sums[1:])
}

func compareElementwise(t *testing.T, s source, n int) {
	x, y, c := s.floats(n), s.floats(n), s.value()
	for _, k := range []struct {
		name      string
		fast, def func(dst []float32)
	}{
		{"add", func(d []float32) { add(d, x, y) }, func(d []float32) { addRef(d, x, y) }},
		{"scale", func(d []float32) { scale(d, c) }, func(d []float32) { scaleRef(d, c) }},
		{"axpy", func(d []float32) { axpy(c, y, d) }, func(d []float32) { axpyRef(c, y, d) }},
		{"mulScale", func(d []float32) { mulScale(d, x, y, c) }, func(d []float32) { mulScaleRef(d, x, y, c) }},
		{"expTo", func(d []float32) { expTo(d, d) }, func(d []float32) { expToRef(d, d) }},
		{"siluMul", func(d []float32) { siluMul(d, d, y) }, func(d []float32) { siluMulRef(d, d, y) }},
		{"geluMul", func(d []float32) { geluMul(d, d, y) }, func(d []float32) { geluMulRef(d, d, y) }},
		{"roundBF16", roundBF16, roundBF16Ref},
	} {
		// The guards behind the slice show stores beyond it.
		got, want := append(clone(x), 1, 2, 3)[:n], clone(x)
		k.fast(got)
		k.def(want)
		same(t, k.name, got, want)
		same(t, k.name+" guard", got[:n+3][n:], []float32{1, 2, 3})
	}
}

func compareHalf(t *testing.T, s source, n int) {
	x, h := s.floats(n), s.halfs(n)
	g16, w16 := make([]uint16, n), make([]uint16, n)
	if got, want := toF16(g16, x), toF16Ref(w16, x); got != want {
		t.Fatalf("toF16 reports overflow %v, want %v", got, want)
	}
	same16(t, "toF16", g16, w16)
	toBF16(g16, x)
	toBF16Ref(w16, x)
	same16(t, "toBF16", g16, w16)
	got, want := make([]float32, n), make([]float32, n)
	fromF16(got, h)
	fromF16Ref(want, h)
	same(t, "fromF16", got, want)
	fromBF16(got, h)
	fromBF16Ref(want, h)
	same(t, "fromBF16", got, want)
}

func compareRope(t *testing.T, s source, pairs int) {
	x, cos, sin := s.floats(2*pairs+3), s.floats(pairs), s.floats(pairs)
	got, want := clone(x), clone(x)
	ropeHalf(got, cos, sin, pairs)
	ropeHalfRef(want, cos, sin, pairs)
	same(t, "ropeHalf", got, want)
	ropePairs(got, cos, sin)
	ropePairsRef(want, cos, sin)
	same(t, "ropePairs", got, want)
}

func needFast(t *testing.T) {
	if chosen == ref {
		t.Skip("only the plain form runs here: there is nothing to compare")
	}
}

func TestFastFormsGiveTheBitsOfTheDefinition(t *testing.T) {
	needFast(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for kind := range uint8(4) {
		s := source{rand.New(rand.NewPCG(seed, uint64(kind))), kind}
		for n := range 100 {
			compareSums(t, s, n)
			compareElementwise(t, s, n)
			compareHalf(t, s, n)
			compareRope(t, s, n)
		}
	}
}

func FuzzKernels(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint8(17))
	f.Add(uint64(2), uint8(3), uint8(128))
	f.Fuzz(func(t *testing.T, seed uint64, kind, n uint8) {
		needFast(t)
		s := source{rand.New(rand.NewPCG(seed, 3)), kind}
		compareSums(t, s, int(n))
		compareElementwise(t, s, int(n))
		compareHalf(t, s, int(n))
		compareRope(t, s, int(n))
	})
}

// TestExpIsWithinTwoUnits tries arguments over the whole range of results.
func TestExpIsWithinTwoUnits(t *testing.T) {
	worst := 0.0
	var x, got []float32
	for u := uint32(0); u < 0x42d20000; u += 997 { // up to 105
		v := math.Float32frombits(u)
		x = append(x, v, -v)
	}
	got = make([]float32, len(x))
	ExpTo(got, x)
	for i, v := range x {
		if !sameBits(got[i], expRef(v)) {
			t.Fatalf("ExpTo(%x) = %x, want %x", v, got[i], expRef(v))
		}
		want := math.Exp(float64(v))
		if want > math.MaxFloat32 {
			if got[i] < math.MaxFloat32 {
				t.Fatalf("Exp(%v) = %v, want more than float32 holds", v, got[i])
			}
			continue
		}
		unit := math.Max(math.Abs(float64(math.Nextafter32(float32(want), 0))-float64(float32(want))), math.SmallestNonzeroFloat32)
		worst = max(worst, math.Abs(float64(got[i])-want)/unit)
	}
	if worst > 2 {
		t.Errorf("Exp is off by %.2f units, want 2 at most", worst)
	}
	t.Logf("worst %.2f units", worst)
}
