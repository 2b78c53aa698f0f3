package vec

import "math"

// lanes is the number of virtual lanes that sums run in.
const lanes = 16

// fold adds the lanes 8 to 8, 4 to 4, 2 to 2, 1 to 1.
func fold(s *[lanes]float32) float32 {
	for w := lanes / 2; w > 0; w /= 2 {
		for l := range w {
			s[l] += s[l+w]
		}
	}
	return s[0]
}

// dotRef defines [Dot].
func dotRef(x, y []float32) float32 {
	var s [lanes]float32
	y = y[:len(x)]
	for ; len(x) >= lanes; x, y = x[lanes:], y[lanes:] {
		for l := range lanes {
			s[l] = FMA(x[l], y[l], s[l])
		}
	}
	if len(x) > 0 {
		for l := range lanes {
			if l < len(x) {
				s[l] = FMA(x[l], y[l], s[l])
			} else {
				s[l] += 0 // turns -0 into 0, as FMA(0, 0, s) does
			}
		}
	}
	return fold(&s)
}

// maxRef defines [Max].
func maxRef(x []float32) float32 {
	var s [lanes]float32
	for l := range s {
		s[l] = float32(math.Inf(-1))
	}
	for i, v := range x {
		if v > s[i%lanes] {
			s[i%lanes] = v
		}
	}
	return foldMax(&s)
}

// foldMax takes the larger ones of the lanes in the order of [fold].
func foldMax(s *[lanes]float32) float32 {
	for w := lanes / 2; w > 0; w /= 2 {
		for l := range w {
			if s[l+w] > s[l] {
				s[l] = s[l+w]
			}
		}
	}
	return s[0]
}

// expSumRef defines [ExpSum].
func expSumRef(x []float32, shift float32) float32 {
	var s [lanes]float32
	for i, v := range x {
		e := expRef(v - shift)
		x[i] = e
		s[i%lanes] += e
	}
	return fold(&s)
}

// mulScaleRef sets dst = (x*s)*w.
func mulScaleRef(dst, x, w []float32, s float32) {
	for i, v := range x {
		dst[i] = float32(float32(v*s) * w[i])
	}
}

func addRef(dst, x, y []float32) {
	for i, v := range x {
		dst[i] = v + y[i]
	}
}

func scaleRef(x []float32, s float32) {
	for i := range x {
		x[i] = float32(x[i] * s)
	}
}

func axpyRef(a float32, x, y []float32) {
	for i, v := range x {
		y[i] = FMA(a, v, y[i])
	}
}

// The range of arguments in which expRef is neither 0 nor infinite, widened
// to the next integers.
const (
	expLo = -104
	expHi = 89
)

// The polynomial of Cephes' expf: e^r = 1 + r + r*r*P(r) for |r| <= ln 2 / 2.
const (
	log2E  float32 = 1.44269504088896341
	ln2Hi  float32 = 0.693359375
	ln2Lo  float32 = -2.12194440e-4
	expP0  float32 = 1.9875691500e-4
	expP1  float32 = 1.3981999507e-3
	expP2  float32 = 8.3334519073e-3
	expP3  float32 = 4.1665795894e-2
	expP4  float32 = 1.6666665459e-1
	expP5  float32 = 5.0000001201e-1
	magicF float32 = 0x1.8p23 // adding and subtracting it rounds to an integer
)

// expRef defines [Exp].
func expRef(x float32) float32 {
	if x < expLo {
		x = expLo
	}
	if x > expHi {
		x = expHi
	}
	t := float32(x*log2E) + magicF
	n := t - magicF
	r := FMA(-n, ln2Hi, x)
	r = FMA(-n, ln2Lo, r)
	p := FMA(expP0, r, expP1)
	p = FMA(p, r, expP2)
	p = FMA(p, r, expP3)
	p = FMA(p, r, expP4)
	p = FMA(p, r, expP5)
	p = FMA(p, float32(r*r), r) + 1
	// 2^n in two factors, so that only the last product can leave the normal range.
	k := int32(math.Float32bits(t) - math.Float32bits(magicF)) // = n, also when x is NaN: any value
	k1 := k >> 1
	return float32(float32(p*pow2(k1)) * pow2(k-k1))
}

// pow2 returns 2^k for -126 <= k <= 127.
func pow2(k int32) float32 {
	return math.Float32frombits(uint32(k+127) << 23)
}

func expToRef(dst, x []float32) {
	for i, v := range x {
		dst[i] = expRef(v)
	}
}

func siluMulRef(dst, gate, up []float32) {
	for i, g := range gate {
		dst[i] = float32(float32(g/(1+expRef(-g))) * up[i])
	}
}

// With u = sqrt(2/pi)*(x + 0.044715*x^3), the tanh form of GELU is
// x*(1+tanh(u))/2 = x/(1+e^(-2u)) (Hendrycks and Gimpel, "Gaussian Error
// Linear Units", 2016).
const (
	geluA float32 = -2 * 0.7978845608028654
	geluB float32 = -2 * 0.7978845608028654 * 0.044715
)

func geluMulRef(dst, gate, up []float32) {
	for i, g := range gate {
		u := float32(g * FMA(float32(g*g), geluB, geluA))
		dst[i] = float32(float32(g/(1+expRef(u))) * up[i])
	}
}

// ropeHalfRef rotates the pairs (i, i+half) of one head.
func ropeHalfRef(x, cos, sin []float32, half int) {
	for i, c := range cos {
		a, b, s := x[i], x[i+half], sin[i]
		x[i] = FMA(-b, s, float32(a*c))
		x[i+half] = FMA(a, s, float32(b*c))
	}
}

// ropePairsRef rotates the pairs (2i, 2i+1) of one head.
func ropePairsRef(x, cos, sin []float32) {
	for i, c := range cos {
		a, b, s := x[2*i], x[2*i+1], sin[i]
		x[2*i] = FMA(-b, s, float32(a*c))
		x[2*i+1] = FMA(a, s, float32(b*c))
	}
}

// f16FromF32 rounds to nearest even, as VCVTPS2PH and FCVT do.
func f16FromF32(x float32) uint16 {
	u := math.Float32bits(x)
	sign := uint16(u >> 16 & 0x8000)
	u &= 0x7fffffff
	switch {
	case u > 0x7f800000: // NaN
		return sign | 0x7e00 | uint16(u>>13&0x1ff)
	case u >= 0x47800000: // 65536 or more
		return sign | 0x7c00
	case u >= 0x38800000: // normal: 2^-14 or more
		u += 0xfff + u>>13&1
		return sign | uint16((u-(112<<23))>>13)
	case u < 0x33000000: // below 2^-25
		return sign
	}
	// Subnormal: a multiple of 2^-24.
	shift := 126 - u>>23
	m := u&0x7fffff | 0x800000
	m += 1<<(shift-1) - 1 + m>>shift&1
	return sign | uint16(m>>shift)
}

// f32FromF16 is exact.
func f32FromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	e, m := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch e {
	case 0:
		return math.Float32frombits(math.Float32bits(float32(m)*0x1p-24) | sign)
	case 0x1f:
		if m != 0 {
			m |= 0x200 // quiet
		}
		return math.Float32frombits(sign | 0x7f800000 | m<<13)
	}
	return math.Float32frombits(sign | (e+112)<<23 | m<<13)
}

func toF16Ref(dst []uint16, x []float32) (overflow bool) {
	for i, v := range x {
		dst[i] = f16FromF32(v)
		overflow = overflow || dst[i]&0x7c00 == 0x7c00
	}
	return overflow
}

func fromF16Ref(dst []float32, x []uint16) {
	for i, h := range x {
		dst[i] = f32FromF16(h)
	}
}

// bf16FromF32 rounds to nearest even and keeps NaN a NaN.
func bf16FromF32(x float32) uint16 {
	u := math.Float32bits(x)
	if u&0x7fffffff > 0x7f800000 {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

func toBF16Ref(dst []uint16, x []float32) {
	for i, v := range x {
		dst[i] = bf16FromF32(v)
	}
}

func fromBF16Ref(dst []float32, x []uint16) {
	for i, h := range x {
		dst[i] = math.Float32frombits(uint32(h) << 16)
	}
}

func roundBF16Ref(x []float32) {
	for i, v := range x {
		x[i] = math.Float32frombits(uint32(bf16FromF32(v)) << 16)
	}
}
