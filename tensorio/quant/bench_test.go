package quant

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
)

func BenchmarkMul(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 6))
	const rows, cols = 2048, 2048
	for _, typ := range computed() {
		m := newMatrix(b, typ, rows, cols, randomBlocks(rng, typ, rows*cols/typ.BlockLen(), false))
		for _, tokens := range []int{1, 8, 64} {
			x := randomActs(rng, tokens*cols)
			y := make([]float32, tokens*rows)
			for _, c := range forms() {
				var a Acts
				a.begin(&c.kernels, x, tokens, cols, m)
				a.Quantize(0, tokens)
				if c.form == "ref" && tokens > 1 {
					continue
				}
				b.Run(fmt.Sprintf("%s/%v/tokens=%d", c.form, typ, tokens), func(b *testing.B) {
					b.SetBytes(int64(len(m.buf)))
					for b.Loop() {
						m.mul(&c.kernels, y, rows, &a, 0, m.Panels())
					}
					b.ReportMetric(float64(b.N)*2*rows*cols*float64(tokens)/b.Elapsed().Seconds()/1e9, "Gop/s")
				})
			}
		}
	}
}

// BenchmarkMulFromMemory multiplies one token with a matrix that no cache
// holds: what decoding a large model does.
func BenchmarkMulFromMemory(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	const cols = 2048
	for _, typ := range computed() {
		rowBytes, err := typ.RowBytes(cols)
		if err != nil {
			b.Fatal(err)
		}
		rows := 192 << 20 / rowBytes / PanelRows * PanelRows
		n, err := PackedBytes(typ, rows, cols)
		if err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, n)
		m, err := NewMatrix(typ, rows, cols, buf)
		if err != nil {
			b.Fatal(err)
		}
		for i := 0; i < n; i += 4096 {
			buf[i] = 1
		}
		y := make([]float32, rows)
		var a Acts
		a.Prepare(randomActs(rng, cols), 1, cols, m)
		b.Run(typ.String(), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				m.Mul(y, rows, &a, 0, m.Panels())
			}
		})
	}
}

func BenchmarkPack(b *testing.B) {
	rng := rand.New(rand.NewPCG(9, 10))
	const rows, cols = 1024, 2048
	for _, typ := range computed() {
		src := randomBlocks(rng, typ, rows*cols/typ.BlockLen(), false)
		m := newMatrix(b, typ, rows, cols, src)
		b.Run(typ.String(), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			for b.Loop() {
				if err := m.PackPanels(src, 0, m.Panels()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPrepare(b *testing.B) {
	rng := rand.New(rand.NewPCG(11, 12))
	const cols = 2048
	for _, typ := range []tensorio.Type{tensorio.Q8_0, tensorio.Q4_K} {
		m := newMatrix(b, typ, 16, cols, randomBlocks(rng, typ, 16*cols/typ.BlockLen(), false))
		x := randomActs(rng, cols)
		var a Acts
		b.Run(typ.String(), func(b *testing.B) {
			b.SetBytes(4 * cols)
			for b.Loop() {
				a.Prepare(x, 1, cols, m)
			}
		})
	}
}
