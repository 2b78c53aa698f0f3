package vec

// This file sends each kernel to the form that was chosen. The plain form
// also does what the fast one leaves: empty slices and odd ends.

// whole returns the largest multiple of step up to n, or 0 if the plain form runs.
func whole(n, step int) int {
	if chosen == ref {
		return 0
	}
	return n &^ (step - 1)
}

func dot(x, y []float32) float32 {
	var s [lanes]float32
	n := whole(len(x), lanes)
	if n == 0 {
		return dotRef(x, y)
	}
	dotNEON(&x[0], &y[0], n, &s)
	if n < len(x) {
		for l := range lanes {
			if n+l < len(x) {
				s[l] = FMA(x[n+l], y[n+l], s[l])
			} else {
				s[l] += 0
			}
		}
	}
	return fold(&s)
}

func largest(x []float32) float32 {
	n := whole(len(x), lanes)
	if n == 0 {
		return maxRef(x)
	}
	var s [lanes]float32
	maxNEON(&x[0], n, &s)
	for l, v := range x[n:] {
		if v > s[l] {
			s[l] = v
		}
	}
	return foldMax(&s)
}

func expSum(x []float32, shift float32) float32 {
	n := whole(len(x), lanes)
	if n == 0 {
		return expSumRef(x, shift)
	}
	var s [lanes]float32
	expSumNEON(&x[0], n, shift, &s)
	for l, v := range x[n:] {
		e := expRef(v - shift)
		x[n+l] = e
		s[l] += e
	}
	return fold(&s)
}

func mulScale(dst, x, w []float32, s float32) {
	n := whole(len(x), 4)
	if n > 0 {
		mulScaleNEON(&dst[0], &x[0], &w[0], n, s)
	}
	mulScaleRef(dst[n:], x[n:], w[n:], s)
}

func add(dst, x, y []float32) {
	n := whole(len(x), 4)
	if n > 0 {
		addNEON(&dst[0], &x[0], &y[0], n)
	}
	addRef(dst[n:], x[n:], y[n:])
}

func scale(x []float32, s float32) {
	n := whole(len(x), 4)
	if n > 0 {
		scaleNEON(&x[0], n, s)
	}
	scaleRef(x[n:], s)
}

func axpy(a float32, x, y []float32) {
	n := whole(len(x), 4)
	if n > 0 {
		axpyNEON(&x[0], &y[0], n, a)
	}
	axpyRef(a, x[n:], y[n:])
}

func expTo(dst, x []float32) {
	n := whole(len(x), 4)
	if n > 0 {
		expToNEON(&dst[0], &x[0], n)
	}
	expToRef(dst[n:], x[n:])
}

func siluMul(dst, gate, up []float32) {
	n := whole(len(gate), 4)
	if n > 0 {
		siluMulNEON(&dst[0], &gate[0], &up[0], n)
	}
	siluMulRef(dst[n:], gate[n:], up[n:])
}

func geluMul(dst, gate, up []float32) {
	n := whole(len(gate), 4)
	if n > 0 {
		geluMulNEON(&dst[0], &gate[0], &up[0], n)
	}
	geluMulRef(dst[n:], gate[n:], up[n:])
}

func ropeHalf(x, cos, sin []float32, half int) {
	n := whole(half, 4)
	if n > 0 {
		b := x[half:][:half]
		ropeHalfNEON(&x[0], &b[0], &cos[0], &sin[0], n)
	}
	ropeHalfRef(x[n:], cos[n:], sin[n:], half)
}

func ropePairs(x, cos, sin []float32) {
	n := whole(len(cos), 4)
	if n > 0 {
		_ = x[2*n-1]
		ropePairsNEON(&x[0], &cos[0], &sin[0], n)
	}
	ropePairsRef(x[2*n:], cos[n:], sin[n:])
}

func toF16(dst []uint16, x []float32) (overflow bool) {
	n := whole(len(x), 8)
	if n > 0 {
		overflow = toF16NEON(&dst[0], &x[0], n) != 0
	}
	return toF16Ref(dst[n:], x[n:]) || overflow
}

func fromF16(dst []float32, x []uint16) {
	n := whole(len(x), 8)
	if n > 0 {
		fromF16NEON(&dst[0], &x[0], n)
	}
	fromF16Ref(dst[n:], x[n:])
}

func toBF16(dst []uint16, x []float32) {
	n := whole(len(x), 8)
	if n > 0 {
		toBF16NEON(&dst[0], &x[0], n)
	}
	toBF16Ref(dst[n:], x[n:])
}

func fromBF16(dst []float32, x []uint16) {
	n := whole(len(x), 8)
	if n > 0 {
		fromBF16NEON(&dst[0], &x[0], n)
	}
	fromBF16Ref(dst[n:], x[n:])
}

func fromI8(dst []float32, x []int8) {
	n := whole(len(x), 8)
	if n > 0 {
		fromI8NEON(&dst[0], &x[0], n)
	}
	fromI8Ref(dst[n:], x[n:])
}

func roundBF16(x []float32) {
	n := whole(len(x), 8)
	if n > 0 {
		roundBF16NEON(&x[0], n)
	}
	roundBF16Ref(x[n:])
}
