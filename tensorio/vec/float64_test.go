package vec

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

const prec = 320

func wide(x float64) *big.Float { return new(big.Float).SetPrec(prec).SetFloat64(x) }

func op(f func(z, x, y *big.Float) *big.Float, x, y *big.Float) *big.Float {
	return f(new(big.Float).SetPrec(prec), x, y)
}

// series returns the sum of first * (x*x)^k * sign^k / (start+1)...(start+2k).
func series(first, x *big.Float, start int, sign float64) *big.Float {
	sum, term, square := wide(0), first, op((*big.Float).Mul, x, x)
	for k := range 60 {
		sum.Add(sum, term)
		i := start + 2*k
		term = op((*big.Float).Quo, op((*big.Float).Mul, term, square), wide(sign*float64(i+1)*float64(i+2)))
	}
	return sum
}

// exactExp returns e^x = (e^(x/2^12))^(2^12), with e^r = cosh r + sinh r.
func exactExp(x float64) *big.Float {
	r := wide(math.Ldexp(x, -12))
	y := op((*big.Float).Add, series(wide(1), r, 0, 1), series(r, r, 1, 1))
	for range 12 {
		y = op((*big.Float).Mul, y, y)
	}
	return y
}

// exactSinCos subtracts multiples of 2*pi and sums the series.
func exactSinCos(x float64) (sin, cos *big.Float) {
	pi, _, err := big.ParseFloat("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798214808651", 10, prec, big.ToNearestEven)
	if err != nil {
		panic(err)
	}
	turn := op((*big.Float).Mul, pi, wide(2))
	n := wide(math.Round(x / (2 * math.Pi)))
	r := op((*big.Float).Sub, wide(x), op((*big.Float).Mul, n, turn))
	return series(r, r, 1, -1), series(wide(1), r, 0, -1)
}

// units returns the distance of got from want in units in the last place of got.
func units(got float64, want *big.Float) float64 {
	d := op((*big.Float).Sub, wide(got), want)
	f, _ := d.Float64()
	return math.Abs(f) / (math.Nextafter(math.Abs(got), math.Inf(1)) - math.Abs(got))
}

func TestFloat64FunctionsAreWithinTwoUnits(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	worst := map[string]float64{}
	note := func(name string, x, got float64, want *big.Float) {
		u := units(got, want)
		if !(u <= 2) {
			t.Fatalf("%s(%v) = %v is off by %.2f units, want 2 at most", name, x, got, u)
		}
		worst[name] = max(worst[name], u)
	}
	for i := range 3000 {
		x := rng.NormFloat64() * math.Pow(10, float64(i%4)-1)
		if math.Abs(x) < 700 {
			note("ExpF64", x, ExpF64(x), exactExp(x))
		}
		y := math.Exp(x / 10)
		if i%2 == 0 {
			y = 1 + x*1e-4
		}
		if y > 0 && y != 1 {
			// ln y = l + (y/e^l - 1) - ..., and the rest is far below a unit.
			l := LogF64(y)
			rest := op((*big.Float).Sub, op((*big.Float).Quo, wide(y), exactExp(l)), wide(1))
			note("LogF64", y, l, op((*big.Float).Add, wide(l), rest))
		}
		z := rng.Float64() * math.Pow(2, float64(i%21))
		if i%3 == 0 {
			z = float64(rng.IntN(1<<19)) * (math.Pi / 2) // near a zero of either
		}
		sin, cos := SinCosF64(z)
		s, c := exactSinCos(z)
		note("sine of SinCosF64", z, sin, s)
		note("cosine of SinCosF64", z, cos, c)
	}
	t.Log(worst)
}

func TestFloat64FunctionsAtTheEdges(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"ExpF64(0)", ExpF64(0), 1},
		{"ExpF64(Inf)", ExpF64(inf), inf},
		{"ExpF64(-Inf)", ExpF64(-inf), 0},
		{"ExpF64(710)", ExpF64(710), inf},
		{"ExpF64(-746)", ExpF64(-746), 0},
		{"ExpF64(NaN)", ExpF64(nan), nan},
		{"LogF64(1)", LogF64(1), 0},
		{"LogF64(0)", LogF64(0), -inf},
		{"LogF64(-1)", LogF64(-1), nan},
		{"LogF64(Inf)", LogF64(inf), inf},
		{"LogF64(NaN)", LogF64(nan), nan},
		{"LogF64(2^-1074)", LogF64(math.SmallestNonzeroFloat64), -744.4400719213812}, // math.Log is wrong here on amd64,
		{"ExpF64(-744)", ExpF64(-744), math.Exp(-744)},
		{"PowF64(5e5, 0)", PowF64(500000, 0), 1},
	} {
		if c.got != c.want && !(c.got != c.got && c.want != c.want) {
			t.Errorf("%s = %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestRotaryTablesTurnAsDefined(t *testing.T) {
	factors := []float32{1, 1, 2, 4}
	r := NewRotary(10000, 8, 0.5, factors)
	cos, sin := make([]float32, r.Pairs()), make([]float32, r.Pairs())
	for _, pos := range []int{0, 1, 77, 131071} {
		r.Tables(cos, sin, pos)
		for i := range cos {
			a := float64(pos) * math.Pow(10000, -float64(2*i)/8) * 0.5 / float64(factors[i])
			if math.Abs(float64(cos[i])-math.Cos(a)) > 1e-7 || math.Abs(float64(sin[i])-math.Sin(a)) > 1e-7 {
				t.Errorf("pair %d at %d: cos %v sin %v, want %v %v", i, pos, cos[i], sin[i], math.Cos(a), math.Sin(a))
			}
		}
	}
}

func TestRopeFormsRotateTheirPairs(t *testing.T) {
	cos, sin := []float32{0, 1}, []float32{1, 0} // a quarter turn, and none
	half := []float32{1, 2, 3, 4, 9, 5, 6, 7, 8, 9}
	RopeHalf(half, 5, cos, sin)
	same(t, "RopeHalf", half, []float32{-3, 2, 1, 4, 9, -7, 6, 5, 8, 9})
	pairs := []float32{1, 2, 3, 4, 9, 5, 6, 7, 8, 9}
	RopePairs(pairs, 5, cos, sin)
	same(t, "RopePairs", pairs, []float32{-2, 1, 3, 4, 9, -6, 5, 7, 8, 9})
}

func TestSoftmaxAndNormMatchTheirFormulas(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 7, 16, 100, 2048} {
		s := source{rng, 0}
		x, w := s.floats(n), s.floats(n)
		p, y := clone(x), make([]float32, n)
		Softmax(p)
		RMSNorm(y, x, w, 1e-5)
		total, squares := 0.0, 0.0
		for _, v := range x {
			total += math.Exp(float64(v))
			squares += float64(v) * float64(v)
		}
		for i, v := range x {
			want := math.Exp(float64(v)) / total
			if math.Abs(float64(p[i])-want) > 5e-6*want {
				t.Fatalf("softmax of %d: value %d is %v, want %v", n, i, p[i], want)
			}
			want = float64(v) / math.Sqrt(squares/float64(n)+1e-5) * float64(w[i])
			if math.Abs(float64(y[i])-want) > 1e-6*math.Abs(want) {
				t.Fatalf("norm of %d: value %d is %v, want %v", n, i, y[i], want)
			}
		}
	}
}

// goldenBits was computed on amd64. It changes only when a definition does,
// and then peers of the old and the new program disagree.
const goldenBits = 0x906cecd73b6e677

// TestBitsAreThoseOfEveryOtherProcessor runs on each architecture that is
// tested and finds compilers that fuse where they must not.
func TestBitsAreThoseOfEveryOtherProcessor(t *testing.T) {
	h := fnv.New64a()
	write := func(x ...float32) {
		for _, v := range x {
			if v != v {
				v = float32(math.NaN())
			}
			_ = binary.Write(h, binary.LittleEndian, v)
		}
	}
	rng := rand.New(rand.NewPCG(7, 7))
	floats := func(n int) []float32 { // exact, so the same everywhere: -4 to 4
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(int32(rng.Uint32()>>8)-1<<23) * 0x1p-21
		}
		return x
	}
	r := NewRotary(500000, 64, 1, nil)
	cos, sin := make([]float32, 32), make([]float32, 32)
	for n := 1; n < 300; n += 7 {
		x, y, w := floats(n), floats(n), floats(n)
		write(Dot(x, y), Max(x))
		write(Exp(x[0]), float32(LogF64(ExpF64(float64(x[0]))*3)))
		RMSNorm(w, x, y, 1e-6)
		write(w...)
		SiluMul(w, x, y)
		write(w...)
		GeluMul(w, x, y)
		write(w...)
		Axpy(1.25, x, y)
		write(y...)
		Softmax(x)
		write(x...)
		r.Tables(cos, sin, n*n)
		z := floats(128)
		RopeHalf(z, 64, cos, sin)
		RopePairs(z, 64, cos, sin)
		write(z...)
		rows, p := make([]uint16, 2*21*PanelWidth), floats(3*2*PanelWidth)
		ToF16(rows, floats(len(rows)))
		product := Product{C: p, CStride: 2 * PanelWidth, A: z, AStride: 30, BStride: 21 * PanelWidth, Rows: 3, Depth: 21, Panels: 2}
		product.F16([][]uint16{rows}, nil)
		product.Add = true
		product.F32([][]float32{floats(len(rows))}, nil)
		product.I8([][]int8{slices.Repeat([]int8{-128, 7, 127, 0}, len(rows)/4)}, nil)
		write(p...)
		for _, v := range p {
			f := float64(v)
			sn, cs := SinCosF64(f * 1000)
			for _, d := range []float64{sn, cs, ExpF64(f), LogF64(math.Abs(f)), PowF64(10000, f)} {
				_ = binary.Write(h, binary.LittleEndian, d)
			}
		}
	}
	if got := h.Sum64(); got != goldenBits {
		t.Errorf("the kernels give %#x, want %#x: other peers compute other bits", got, uint64(goldenBits))
	}
}
