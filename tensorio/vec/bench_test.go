package vec

import (
	"math/rand/v2"
	"testing"
)

// both runs a benchmark with the chosen form and with the definition.
func both(b *testing.B, name string, bytes int, fast, def func()) {
	for _, k := range []struct {
		form string
		run  func()
	}{{string(chosen), fast}, {"definition", def}} {
		b.Run(name+"/"+k.form, func(b *testing.B) {
			b.SetBytes(int64(bytes))
			for b.Loop() {
				k.run()
			}
		})
	}
}

func BenchmarkKernels(b *testing.B) {
	const n = 2048
	s := source{rand.New(rand.NewPCG(1, 1)), 0}
	x, y, d, h := s.floats(n), s.floats(n), s.floats(n), s.halfs(n)
	h2 := make([]uint16, n)
	both(b, "Dot", 8*n, func() { dot(x, y) }, func() { dotRef(x, y) })
	both(b, "Max", 4*n, func() { largest(x) }, func() { maxRef(x) })
	both(b, "ExpSum", 4*n, func() { copy(d, x); expSum(d, 3) }, func() { copy(d, x); expSumRef(d, 3) })
	both(b, "RMSNorm", 4*n, func() { RMSNorm(d, x, y, 1e-5) }, func() { mulScaleRef(d, x, y, dotRef(x, x)) })
	both(b, "Add", 4*n, func() { add(d, x, y) }, func() { addRef(d, x, y) })
	both(b, "Axpy", 4*n, func() { axpy(1e-3, x, d) }, func() { axpyRef(1e-3, x, d) })
	both(b, "ExpTo", 4*n, func() { expTo(d, x) }, func() { expToRef(d, x) })
	both(b, "SiluMul", 4*n, func() { siluMul(d, x, y) }, func() { siluMulRef(d, x, y) })
	both(b, "GeluMul", 4*n, func() { geluMul(d, x, y) }, func() { geluMulRef(d, x, y) })
	both(b, "ToF16", 4*n, func() { toF16(h2, x) }, func() { toF16Ref(h2, x) })
	both(b, "FromF16", 4*n, func() { fromF16(d, h) }, func() { fromF16Ref(d, h) })
	both(b, "ToBF16", 4*n, func() { toBF16(h2, x) }, func() { toBF16Ref(h2, x) })
	both(b, "FromBF16", 4*n, func() { fromBF16(d, h) }, func() { fromBF16Ref(d, h) })
	both(b, "RoundBF16", 4*n, func() { roundBF16(x) }, func() { roundBF16Ref(x) })
	cos, sin := s.floats(32), s.floats(32)
	both(b, "RopeHalf64", 256, func() { ropeHalf(x[:64], cos, sin, 32) }, func() { ropeHalfRef(x[:64], cos, sin, 32) })
	both(b, "RopePairs64", 256, func() { ropePairs(x[:64], cos, sin) }, func() { ropePairsRef(x[:64], cos, sin) })
}

func BenchmarkFMA(b *testing.B) {
	x, y := float32(1.0001), float32(0.9)
	acc := float32(0)
	for b.Loop() {
		acc = FMA(acc, y, x)
	}
	_ = acc
}
