//go:build !amd64 && !arm64

package vec

// This file sends each kernel to the only form there is.

func dot(x, y []float32) float32 { return dotRef(x, y) }

func largest(x []float32) float32 { return maxRef(x) }

func expSum(x []float32, shift float32) float32 { return expSumRef(x, shift) }

func mulScale(dst, x, w []float32, s float32) { mulScaleRef(dst, x, w, s) }

func add(dst, x, y []float32) { addRef(dst, x, y) }

func scale(x []float32, s float32) { scaleRef(x, s) }

func axpy(a float32, x, y []float32) { axpyRef(a, x, y) }

func expTo(dst, x []float32) { expToRef(dst, x) }

func siluMul(dst, gate, up []float32) { siluMulRef(dst, gate, up) }

func geluMul(dst, gate, up []float32) { geluMulRef(dst, gate, up) }

func toF16(dst []uint16, x []float32) bool { return toF16Ref(dst, x) }

func fromF16(dst []float32, x []uint16) { fromF16Ref(dst, x) }

func toBF16(dst []uint16, x []float32) { toBF16Ref(dst, x) }

func fromBF16(dst []float32, x []uint16) { fromBF16Ref(dst, x) }

func roundBF16(x []float32) { roundBF16Ref(x) }

func ropeHalf(x, cos, sin []float32, half int) { ropeHalfRef(x, cos, sin, half) }

func ropePairs(x, cos, sin []float32) { ropePairsRef(x, cos, sin) }

func fromI8(dst []float32, x []int8) { fromI8Ref(dst, x) }

func panelsF32(p *Product, b [][]float32, _ []float32) { panelsF32Ref(p, b) }

func panelsF16(p *Product, b [][]uint16, _ []uint16) { panelsF16Ref(p, b) }

func panelsI8(p *Product, b [][]int8, _ []int8) { panelsI8Ref(p, b) }
