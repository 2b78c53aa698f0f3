package vec

// This file sends each kernel to the form that was chosen. The plain form
// also does what the fast one leaves: empty slices and odd ends.

func dot(x, y []float32) float32 {
	if chosen != ref && len(x) > 0 {
		return dotAVX2(&x[0], &y[0], len(x))
	}
	return dotRef(x, y)
}

func largest(x []float32) float32 {
	if chosen != ref && len(x) > 0 {
		return maxAVX2(&x[0], len(x))
	}
	return maxRef(x)
}

func expSum(x []float32, shift float32) float32 {
	if chosen != ref && len(x) > 0 {
		return expSumAVX2(&x[0], len(x), shift)
	}
	return expSumRef(x, shift)
}

func mulScale(dst, x, w []float32, s float32) {
	if chosen != ref && len(x) > 0 {
		mulScaleAVX2(&dst[0], &x[0], &w[0], len(x), s)
		return
	}
	mulScaleRef(dst, x, w, s)
}

func add(dst, x, y []float32) {
	if chosen != ref && len(x) > 0 {
		addAVX2(&dst[0], &x[0], &y[0], len(x))
		return
	}
	addRef(dst, x, y)
}

func scale(x []float32, s float32) {
	if chosen != ref && len(x) > 0 {
		scaleAVX2(&x[0], len(x), s)
		return
	}
	scaleRef(x, s)
}

func axpy(a float32, x, y []float32) {
	if chosen != ref && len(x) > 0 {
		axpyAVX2(&x[0], &y[0], len(x), a)
		return
	}
	axpyRef(a, x, y)
}

func expTo(dst, x []float32) {
	if chosen != ref && len(x) > 0 {
		expToAVX2(&dst[0], &x[0], len(x))
		return
	}
	expToRef(dst, x)
}

func siluMul(dst, gate, up []float32) {
	if chosen != ref && len(gate) > 0 {
		siluMulAVX2(&dst[0], &gate[0], &up[0], len(gate))
		return
	}
	siluMulRef(dst, gate, up)
}

func geluMul(dst, gate, up []float32) {
	if chosen != ref && len(gate) > 0 {
		geluMulAVX2(&dst[0], &gate[0], &up[0], len(gate))
		return
	}
	geluMulRef(dst, gate, up)
}

// whole returns the largest multiple of 8 up to n, or 0 if the plain form runs.
func whole(n int) int {
	if chosen != ref {
		return n &^ 7
	}
	return 0
}

func toF16(dst []uint16, x []float32) (overflow bool) {
	n := whole(len(x))
	if n > 0 {
		overflow = toF16AVX2(&dst[0], &x[0], n) != 0
	}
	return toF16Ref(dst[n:], x[n:]) || overflow
}

func fromF16(dst []float32, x []uint16) {
	n := whole(len(x))
	if n > 0 {
		fromF16AVX2(&dst[0], &x[0], n)
	}
	fromF16Ref(dst[n:], x[n:])
}

func toBF16(dst []uint16, x []float32) {
	n := whole(len(x))
	if n > 0 {
		toBF16AVX2(&dst[0], &x[0], n)
	}
	toBF16Ref(dst[n:], x[n:])
}

func fromBF16(dst []float32, x []uint16) {
	n := whole(len(x))
	if n > 0 {
		fromBF16AVX2(&dst[0], &x[0], n)
	}
	fromBF16Ref(dst[n:], x[n:])
}

func roundBF16(x []float32) {
	n := whole(len(x))
	if n > 0 {
		roundBF16AVX2(&x[0], n)
	}
	roundBF16Ref(x[n:])
}

func ropeHalf(x, cos, sin []float32, half int) {
	n := whole(half)
	if n > 0 {
		b := x[half:][:half]
		ropeHalfAVX2(&x[0], &b[0], &cos[0], &sin[0], n)
	}
	ropeHalfRef(x[n:], cos[n:], sin[n:], half)
}

func ropePairs(x, cos, sin []float32) {
	n := whole(2*len(cos)) / 2
	if n > 0 {
		_ = x[2*n-1]
		ropePairsAVX2(&x[0], &cos[0], &sin[0], n)
	}
	ropePairsRef(x[2*n:], cos[n:], sin[n:])
}

// fitsRows reports whether the fast forms take rows of dim half-precision values.
func fitsRows(dim int) bool { return chosen != ref && dim > 0 && dim%4 == 0 }

func dotsF16(dst []float32, dstStride int, q []float32, heads int, k []uint16, stride, n int, scale float32) {
	dim := len(q) / heads
	if !fitsRows(dim) {
		dotsF16Ref(dst, dstStride, q, heads, k, stride, n, scale)
		return
	}
	h := 0
	for ; h+4 <= heads; h += 4 {
		dotsF16x4x1AVX2(&dst[h*dstStride], dstStride, &q[h*dim], &k[0], stride, dim, n, scale)
	}
	for ; h+2 <= heads; h += 2 {
		d, m := dst[h*dstStride:], n&^1
		if m > 0 {
			dotsF16x2x2AVX2(&d[0], dstStride, &q[h*dim], &k[0], stride, dim, m, scale)
		}
		if m < n {
			dotsF16x1x1AVX2(&d[m], 0, &q[h*dim], &k[m*stride], stride, dim, 1, scale)
			dotsF16x1x1AVX2(&d[dstStride+m], 0, &q[(h+1)*dim], &k[m*stride], stride, dim, 1, scale)
		}
	}
	if h < heads {
		d, m := dst[h*dstStride:], n&^3
		if m > 0 {
			dotsF16x1x4AVX2(&d[0], 0, &q[h*dim], &k[0], stride, dim, m, scale)
		}
		if m < n {
			dotsF16x1x1AVX2(&d[m], 0, &q[h*dim], &k[m*stride], stride, dim, n-m, scale)
		}
	}
}

func accumF16(dst []float32, heads int, p []float32, pStride int, v []uint16, stride, n int) {
	dim := len(dst) / heads
	if !fitsRows(dim) {
		accumF16Ref(dst, heads, p, pStride, v, stride, n)
		return
	}
	h := 0
	for ; h+2 <= heads; h += 2 {
		accumF16x2AVX2(&dst[h*dim], &p[h*pStride], pStride, &v[0], stride, dim, n)
	}
	if h < heads {
		accumF16x1AVX2(&dst[h*dim], &p[h*pStride], pStride, &v[0], stride, dim, n)
	}
}

func fromI8(dst []float32, x []int8) {
	n := whole(len(x))
	if n > 0 {
		fromI8AVX2(&dst[0], &x[0], n)
	}
	fromI8Ref(dst[n:], x[n:])
}
