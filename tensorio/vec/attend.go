package vec

// DotsF16 sets dst[j] = scale * the dot product of q with row j of k, in the
// lanes of [Dot]. Row j is k[j*stride:][:len(q)], in half precision.
func DotsF16(dst, q []float32, k []uint16, stride int, scale float32) {
	DotsF16Group(dst, len(dst), q, 1, k, stride, len(dst), scale)
}

// DotsF16Group is [DotsF16] for several heads that share the first n rows of
// k, reading each row once for all of them:
//
//	dst[h*dstStride+j] = scale * dot(q of head h, row j of k), 0 <= j < n
//
// q is [heads, headDim]. The bits are those of DotsF16 for each head.
func DotsF16Group(dst []float32, dstStride int, q []float32, heads int, k []uint16, stride, n int, scale float32) {
	if heads == 0 || n == 0 {
		return
	}
	dim := len(q) / heads
	_ = dst[(heads-1)*dstStride+n-1]
	_ = k[(n-1)*stride:][:dim]
	dotsF16(dst, dstStride, q[:heads*dim], heads, k, stride, n, scale)
}

// AccumF16 adds the rows of v to dst, weighted by p: for each j in order,
// dst[i] = FMA(p[j], v[j*stride+i], dst[i]) over the length of dst.
func AccumF16(dst, p []float32, v []uint16, stride int) {
	AccumF16Group(dst, 1, p, len(p), v, stride, len(p))
}

// AccumF16Group is [AccumF16] for several heads that share the first n rows of
// v. dst is [heads, headDim]; the weights of head h are p[h*pStride:][:n]. The
// bits are those of AccumF16 for each head.
func AccumF16Group(dst []float32, heads int, p []float32, pStride int, v []uint16, stride, n int) {
	if heads == 0 || n == 0 {
		return
	}
	dim := len(dst) / heads
	_ = p[(heads-1)*pStride+n-1]
	_ = v[(n-1)*stride:][:dim]
	accumF16(dst[:heads*dim], heads, p, pStride, v, stride, n)
}
