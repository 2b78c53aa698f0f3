package quant

import (
	"crypto/sha256"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
)

// quantizable are the types that Quantize makes blocks of.
var quantizable = []tensorio.Type{
	tensorio.Q4_0, tensorio.Q5_0, tensorio.Q5_1, tensorio.Q8_0, tensorio.Q4_K, tensorio.Q5_K, tensorio.Q6_K,
}

// weightsLike returns numbers as models have them: mostly small, some far out.
func weightsLike(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64() * 0.03)
		if rng.IntN(64) == 0 {
			x[i] *= 8
		}
	}
	return x
}

func TestQuantizedWeightsAreNearTheirOwn(t *testing.T) {
	// The error of a block, of its largest magnitude: half a step, and some more
	// where the ends are not reached.
	limits := map[tensorio.Type]float64{
		tensorio.Q4_0: 1.01 / 8, tensorio.Q5_0: 1.01 / 16, tensorio.Q5_1: 1.01 / 31, tensorio.Q8_0: 0.52 / 127,
		tensorio.Q4_K: 0.2, tensorio.Q5_K: 0.12, tensorio.Q6_K: 0.06,
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for _, typ := range quantizable {
		n := typ.BlockLen()
		for range 200 {
			x := weightsLike(rng, n)
			dst := make([]byte, typ.BlockBytes())
			if err := Quantize(dst, typ, x); err != nil {
				t.Fatal(err)
			}
			back := make([]float32, n)
			if err := Dequantize(back, typ, dst); err != nil {
				t.Fatal(err)
			}
			most, worst := 0.0, 0.0
			for i := range x {
				most, worst = max(most, math.Abs(float64(x[i]))), max(worst, math.Abs(float64(x[i]-back[i])))
			}
			if !(worst <= limits[typ]*most) {
				t.Fatalf("%v: a weight is off by %g of %g, want %g at most", typ, worst, most, limits[typ]*most)
			}
		}
	}
}

// TestQuantizedBytesStay compares the hash of some blocks with what Quantize made
// when whole files of it had the very bytes of llama-quantize's (llama-cpp-python
// 0.3.36: 0.6 million blocks of Q8_0 and Q4_0 each, 64512 of Q4_K, 12288 of Q6_K).
func TestQuantizedBytesStay(t *testing.T) {
	want := map[tensorio.Type]string{
		tensorio.Q4_0: "793be9dce87c9e39", tensorio.Q5_0: "08b4a2d43ac4cf12", tensorio.Q5_1: "c3520c5da8bfb5d0",
		tensorio.Q8_0: "28cdddf7c2b47a70", tensorio.Q4_K: "f05f160460c9e1e2", tensorio.Q5_K: "cc200e206f60ddfa",
		tensorio.Q6_K: "5ad459b37df4f781",
	}
	rng := rand.New(rand.NewPCG(7, 7))
	x := weightsLike(rng, 64*256)
	clear(x[256:512])                   // a block of zeros
	clear(x[512:544])                   // and a group
	for i := range x[1024 : 1024+256] { // one of one sign
		x[1024+i] = float32(math.Abs(float64(x[1024+i]))) + 0.01
	}
	for _, typ := range quantizable {
		n, _ := typ.RowBytes(len(x))
		dst := make([]byte, n)
		if err := Quantize(dst, typ, x); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(dst)
		if got := hex.EncodeToString(sum[:8]); got != want[typ] {
			t.Errorf("%v has the hash %s, want %s", typ, got, want[typ])
		}
	}
}

func TestQuantizeRefusesWhatDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		typ   tensorio.Type
		n, to int
	}{{tensorio.Q4_0, 33, 18}, {tensorio.Q4_0, 32, 17}, {tensorio.Q2_K, 256, 84}, {tensorio.IQ4_NL, 32, 18}, {tensorio.I32, 1, 4}} {
		if err := Quantize(make([]byte, c.to), c.typ, make([]float32, c.n)); err == nil {
			t.Errorf("%d weights went to %d bytes of %v", c.n, c.to, c.typ)
		}
	}
}

// FuzzQuantize feeds any bits: what comes out may be nonsense, but comes.
func FuzzQuantize(f *testing.F) {
	f.Add(uint64(1), uint32(0x7f800000), uint8(3))
	f.Add(uint64(2), uint32(0x7fc00000), uint8(200))
	f.Add(uint64(3), uint32(1), uint8(0))
	f.Fuzz(func(t *testing.T, seed uint64, bits uint32, at uint8) {
		rng := rand.New(rand.NewPCG(seed, 0))
		x := weightsLike(rng, 256)
		x[at] = math.Float32frombits(bits)
		for _, typ := range quantizable {
			n, _ := typ.RowBytes(len(x))
			if err := Quantize(make([]byte, n), typ, x); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkQuantize(b *testing.B) {
	x := weightsLike(rand.New(rand.NewPCG(3, 3)), 4096)
	for _, typ := range quantizable {
		b.Run(typ.String(), func(b *testing.B) {
			n, _ := typ.RowBytes(len(x))
			dst := make([]byte, n)
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				if err := Quantize(dst, typ, x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
