package vec

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// exactFMA computes a*b + c in unlimited precision and rounds once.
func exactFMA(a, b, c float32) float32 {
	for _, v := range []float32{a, b, c} {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return float32(float64(a)*float64(b) + float64(c))
		}
	}
	p := new(big.Float).SetPrec(2000).Mul(big.NewFloat(float64(a)), big.NewFloat(float64(b)))
	p.Add(p, new(big.Float).SetPrec(2000).SetFloat64(float64(c)))
	if p.Sign() == 0 {
		return float32(float64(a)*float64(b) + float64(c)) // exact, and has the right sign
	}
	f, _ := p.Float32()
	return f
}

// crafted are values near the edges of float32 and of its rounding.
var crafted = []float32{
	0, float32(math.Copysign(0, -1)), 1, -1, 1.5, 3, 1.0 / 3, -2.0 / 3,
	math.MaxFloat32, -math.MaxFloat32, math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32,
	0x1p-126, -0x1p-126, 0x1.fffffcp-127, 0x1p-125, 0x1p-75, 0x1p-74, 0x1p64, 0x1p63,
	1 + 0x1p-23, 1 - 0x1p-24, -1 - 0x1p-23, 1 + 0x1p-12, 1 - 0x1p-12, 0x1p-24, 0x1p-25, -0x1p-24, -0x1p-25,
	0x1.000002p0, 0x1.fffffep0, 0x1.000002p-24, 0x1p-48, 0x1p-49, -0x1p-60, 0x1p-149, 0x1.8p-148,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
	65504, 65519.996, 65520, 88.72, -103.9, -104, 89,
}

func sameBits(a, b float32) bool {
	if a != a || b != b {
		return a != a && b != b
	}
	return math.Float32bits(a) == math.Float32bits(b)
}

func TestFMARoundsOnceOnCraftedValues(t *testing.T) {
	for _, a := range crafted {
		for _, b := range crafted {
			for _, c := range crafted {
				if got, want := FMA(a, b, c), exactFMA(a, b, c); !sameBits(got, want) {
					t.Fatalf("FMA(%x, %x, %x) = %x, want %x", a, b, c, got, want)
				}
			}
		}
	}
}

func TestFMARoundsOnceOnRandomBits(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 200_000 {
		a, b := math.Float32frombits(rng.Uint32()), math.Float32frombits(rng.Uint32())
		c := math.Float32frombits(rng.Uint32())
		if rng.IntN(2) == 0 { // near cancellation, or near a tie
			c = float32(-float64(a) * float64(b) * (1 + float64(rng.IntN(5)-2)*0x1p-24))
		}
		if got, want := FMA(a, b, c), exactFMA(a, b, c); !sameBits(got, want) {
			t.Fatalf("seed %d: FMA(%x, %x, %x) = %x, want %x", seed, a, b, c, got, want)
		}
	}
}

// TestFMAKeepsWhatDecidesATie builds sums that lie just beside a tie of two
// float32, closer than float64 can tell.
func TestFMAKeepsWhatDecidesATie(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 2))
	for range 200_000 {
		e := rng.IntN(60) - 30
		c := float32(math.Ldexp(float64(1<<23+rng.IntN(1<<23)), e))
		half := float32(math.Ldexp(1, e-1)) // half a unit of c
		// a*b = half * (1 +- 2^-23)(1 -+ 2^-23 ...): a tie and a little.
		a := float32(math.Ldexp(1, rng.IntN(20)-10)) * (1 + float32(rng.IntN(5)-2)*0x1p-12)
		b := half / a * (1 + float32(rng.IntN(3)-1)*0x1p-23)
		if rng.IntN(2) == 0 {
			b = -b
		}
		if got, want := FMA(a, b, c), exactFMA(a, b, c); !sameBits(got, want) {
			t.Fatalf("seed %d: FMA(%x, %x, %x) = %x, want %x", seed, a, b, c, got, want)
		}
	}
}

func FuzzFMA(f *testing.F) {
	f.Add(uint32(0x3f800001), uint32(0x3f800001), uint32(0xbf800002))
	f.Fuzz(func(t *testing.T, x, y, z uint32) {
		a, b, c := math.Float32frombits(x), math.Float32frombits(y), math.Float32frombits(z)
		if got, want := FMA(a, b, c), exactFMA(a, b, c); !sameBits(got, want) {
			t.Fatalf("FMA(%x, %x, %x) = %x, want %x", a, b, c, got, want)
		}
	})
}
