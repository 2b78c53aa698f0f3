package vec

// This file sends each kernel to the form that was chosen. The plain form
// also does what the fast one leaves: empty slices and odd ends.

func dot(x, y []float32) float32 {
	switch {
	case chosen == ref || len(x) == 0:
		return dotRef(x, y)
	case chosen == avx512:
		return dotAVX512(&x[0], &y[0], len(x))
	}
	return dotAVX2(&x[0], &y[0], len(x))
}

func largest(x []float32) float32 {
	switch {
	case chosen == ref || len(x) == 0:
		return maxRef(x)
	case chosen == avx512:
		return maxAVX512(&x[0], len(x))
	}
	return maxAVX2(&x[0], len(x))
}

func expSum(x []float32, shift float32) float32 {
	switch {
	case chosen == ref || len(x) == 0:
		return expSumRef(x, shift)
	case chosen == avx512:
		return expSumAVX512(&x[0], len(x), shift)
	}
	return expSumAVX2(&x[0], len(x), shift)
}

func mulScale(dst, x, w []float32, s float32) {
	switch {
	case chosen == ref || len(x) == 0:
		mulScaleRef(dst, x, w, s)
	case chosen == avx512:
		mulScaleAVX512(&dst[0], &x[0], &w[0], len(x), s)
	default:
		mulScaleAVX2(&dst[0], &x[0], &w[0], len(x), s)
	}
}

func add(dst, x, y []float32) {
	switch {
	case chosen == ref || len(x) == 0:
		addRef(dst, x, y)
	case chosen == avx512:
		addAVX512(&dst[0], &x[0], &y[0], len(x))
	default:
		addAVX2(&dst[0], &x[0], &y[0], len(x))
	}
}

func scale(x []float32, s float32) {
	switch {
	case chosen == ref || len(x) == 0:
		scaleRef(x, s)
	case chosen == avx512:
		scaleAVX512(&x[0], len(x), s)
	default:
		scaleAVX2(&x[0], len(x), s)
	}
}

func axpy(a float32, x, y []float32) {
	switch {
	case chosen == ref || len(x) == 0:
		axpyRef(a, x, y)
	case chosen == avx512:
		axpyAVX512(&x[0], &y[0], len(x), a)
	default:
		axpyAVX2(&x[0], &y[0], len(x), a)
	}
}

func expTo(dst, x []float32) {
	switch {
	case chosen == ref || len(x) == 0:
		expToRef(dst, x)
	case chosen == avx512:
		expToAVX512(&dst[0], &x[0], len(x))
	default:
		expToAVX2(&dst[0], &x[0], len(x))
	}
}

func siluMul(dst, gate, up []float32) {
	switch {
	case chosen == ref || len(gate) == 0:
		siluMulRef(dst, gate, up)
	case chosen == avx512:
		siluMulAVX512(&dst[0], &gate[0], &up[0], len(gate))
	default:
		siluMulAVX2(&dst[0], &gate[0], &up[0], len(gate))
	}
}

func geluMul(dst, gate, up []float32) {
	switch {
	case chosen == ref || len(gate) == 0:
		geluMulRef(dst, gate, up)
	case chosen == avx512:
		geluMulAVX512(&dst[0], &gate[0], &up[0], len(gate))
	default:
		geluMulAVX2(&dst[0], &gate[0], &up[0], len(gate))
	}
}

// whole returns how many of n elements the fast form of a kernel takes whose
// AVX2 form takes multiples of 8.
func whole(n int) int {
	switch chosen {
	case ref:
		return 0
	case avx512:
		return n
	}
	return n &^ 7
}

func toF16(dst []uint16, x []float32) (overflow bool) {
	n := whole(len(x))
	switch {
	case n > 0 && chosen == avx512:
		overflow = toF16AVX512(&dst[0], &x[0], n) != 0
	case n > 0:
		overflow = toF16AVX2(&dst[0], &x[0], n) != 0
	}
	return toF16Ref(dst[n:], x[n:]) || overflow
}

func fromF16(dst []float32, x []uint16) {
	n := whole(len(x))
	switch {
	case n > 0 && chosen == avx512:
		fromF16AVX512(&dst[0], &x[0], n)
	case n > 0:
		fromF16AVX2(&dst[0], &x[0], n)
	}
	fromF16Ref(dst[n:], x[n:])
}

func toBF16(dst []uint16, x []float32) {
	n := whole(len(x))
	switch {
	case n > 0 && chosen == avx512:
		toBF16AVX512(&dst[0], &x[0], n)
	case n > 0:
		toBF16AVX2(&dst[0], &x[0], n)
	}
	toBF16Ref(dst[n:], x[n:])
}

func fromBF16(dst []float32, x []uint16) {
	n := whole(len(x))
	switch {
	case n > 0 && chosen == avx512:
		fromBF16AVX512(&dst[0], &x[0], n)
	case n > 0:
		fromBF16AVX2(&dst[0], &x[0], n)
	}
	fromBF16Ref(dst[n:], x[n:])
}

func roundBF16(x []float32) {
	n := whole(len(x))
	switch {
	case n > 0 && chosen == avx512:
		roundBF16AVX512(&x[0], n)
	case n > 0:
		roundBF16AVX2(&x[0], n)
	}
	roundBF16Ref(x[n:])
}

func ropeHalf(x, cos, sin []float32, half int) {
	n, b := whole(half), x[half:][:half]
	switch {
	case n > 0 && chosen == avx512:
		ropeHalfAVX512(&x[0], &b[0], &cos[0], &sin[0], n)
	case n > 0:
		ropeHalfAVX2(&x[0], &b[0], &cos[0], &sin[0], n)
	}
	ropeHalfRef(x[n:], cos[n:], sin[n:], half)
}

func ropePairs(x, cos, sin []float32) {
	n, x := whole(2*len(cos))/2, x[:2*len(cos)]
	switch {
	case n > 0 && chosen == avx512:
		ropePairsAVX512(&x[0], &cos[0], &sin[0], n)
	case n > 0:
		ropePairsAVX2(&x[0], &cos[0], &sin[0], n)
	}
	ropePairsRef(x[2*n:], cos[n:], sin[n:])
}

func fromI8(dst []float32, x []int8) {
	n := whole(len(x))
	switch {
	case n > 0 && chosen == avx512:
		fromI8AVX512(&dst[0], &x[0], n)
	case n > 0:
		fromI8AVX2(&dst[0], &x[0], n)
	}
	fromI8Ref(dst[n:], x[n:])
}
