package vec

import "math"

// The functions of this file are those of FreeBSD's msun (e_exp.c, e_log.c,
// k_sin.c, k_cos.c, by Sun Microsystems, 1993), with every product that is
// added kept apart by a conversion, so that all processors give the same bits.
// Package math has its own assembly for some processors and lets compilers
// fuse for others.

const (
	ln2HiF64  = 6.93147180369123816490e-01
	ln2LoF64  = 1.90821492927058770002e-10
	log2EF64  = 1.44269504088896338700e+00
	magicF64  = 0x1.8p52
	twoOverPi = 6.36619772367581382433e-01
	// Pi/2 in three parts; a part times an integer below 2^20 is exact.
	pio2A = 1.57079632673412561417e+00 // 33 bits
	pio2B = 6.07710050630396597660e-11 // the next 33
	pio2C = 2.02226624879595063154e-21 // the rest
)

// ExpF64 returns e^x within 1 unit in the last place, the same bits on every processor.
func ExpF64(x float64) float64 {
	switch {
	case x != x:
		return x
	case x > 709.782712893384:
		return math.Inf(1)
	case x < -745.1332191019412:
		return 0
	}
	n := float64(x*log2EF64) + magicF64
	n -= magicF64
	hi := x - float64(n*ln2HiF64)
	lo := float64(n * ln2LoF64)
	r := hi - lo
	t := r * r
	const (
		p1 = 1.66666666666666657415e-01
		p2 = -2.77777777770155933842e-03
		p3 = 6.61375632143793436117e-05
		p4 = -1.65339022054652515390e-06
		p5 = 4.13813679705723846039e-08
	)
	p := p4 + float64(t*p5)
	p = p3 + float64(t*p)
	p = p2 + float64(t*p)
	p = p1 + float64(t*p)
	c := r - float64(t*p)
	y := 1 - ((lo - float64(r*c)/(2-c)) - hi)
	k := int64(n)
	k1 := k >> 1
	return float64(float64(y*pow2F64(k1)) * pow2F64(k-k1))
}

func pow2F64(k int64) float64 { return math.Float64frombits(uint64(k+1023) << 52) }

// LogF64 returns the natural logarithm of x within 1 unit in the last place,
// the same bits on every processor.
func LogF64(x float64) float64 {
	switch {
	case x != x || x < 0:
		return math.NaN()
	case x == 0:
		return math.Inf(-1)
	case x > math.MaxFloat64:
		return x
	}
	k := int64(0)
	if x < 0x1p-1022 {
		x *= 0x1p54
		k = -54
	}
	u := math.Float64bits(x)
	k += int64(u>>52) - 1023
	u &= 1<<52 - 1
	// 1 + f in [sqrt(1/2), sqrt(2))
	if u >= 0x6a09e667f3bcd {
		k++
		u |= 1022 << 52
	} else {
		u |= 1023 << 52
	}
	f := math.Float64frombits(u) - 1
	const (
		l1 = 6.666666666666735130e-01
		l2 = 3.999999999940941908e-01
		l3 = 2.857142874366239149e-01
		l4 = 2.222219843214978396e-01
		l5 = 1.818357216161805012e-01
		l6 = 1.531383769920937332e-01
		l7 = 1.479819860511658591e-01
	)
	s := f / (2 + f)
	s2 := s * s
	s4 := s2 * s2
	t1 := s2 * (l1 + float64(s4*(l3+float64(s4*(l5+float64(s4*l7))))))
	t2 := s4 * (l2 + float64(s4*(l4+float64(s4*l6))))
	r := float64(t1) + float64(t2)
	h := float64(0.5 * float64(f*f))
	n := float64(k)
	return float64(n*ln2HiF64) - ((h - (float64(s*float64(h+r)) + float64(n*ln2LoF64))) - f)
}

// PowF64 returns x^y for x > 0 as ExpF64(y * LogF64(x)), the same bits on
// every processor. Its relative error is about |y*ln x| * 2^-53, enough for
// the frequencies of rotary tables.
func PowF64(x, y float64) float64 {
	return ExpF64(y * LogF64(x))
}

// SinCosF64 returns the sine and cosine of x within 1 unit in the last place
// for |x| <= 2^20, where positions times frequencies lie, the same bits on
// every processor. Further out the error grows with |x|.
func SinCosF64(x float64) (sin, cos float64) {
	n := float64(x*twoOverPi) + magicF64
	q := math.Float64bits(n)
	n -= magicF64
	// The reduced argument is y + w.
	a := x - float64(n*pio2A)
	b := float64(n * pio2B)
	h := a - b
	w := float64((a-h)-b) - float64(n*pio2C)
	y := h + w
	w -= y - h
	s, c := sinKernel(y, w), cosKernel(y, w)
	switch q & 3 {
	case 1:
		return c, -s
	case 2:
		return -s, -c
	case 3:
		return -c, s
	}
	return s, c
}

// sinKernel returns sin(x + y) for |x| <= pi/4 and a tail y.
func sinKernel(x, y float64) float64 {
	const (
		s1 = -1.66666666666666324348e-01
		s2 = 8.33333333332248946124e-03
		s3 = -1.98412698298579493134e-04
		s4 = 2.75573137070700676789e-06
		s5 = -2.50507602534068634195e-08
		s6 = 1.58969099521155010221e-10
	)
	z := x * x
	v := z * x
	r := s5 + float64(z*s6)
	r = s4 + float64(z*r)
	r = s3 + float64(z*r)
	r = s2 + float64(z*r)
	t := float64(0.5*y) - float64(v*r)
	t = float64(z*t) - y
	return x - (t - float64(v*s1))
}

// cosKernel returns cos(x + y) for |x| <= pi/4 and a tail y.
func cosKernel(x, y float64) float64 {
	const (
		c1 = 4.16666666666666019037e-02
		c2 = -1.38888888888741095749e-03
		c3 = 2.48015872894767294178e-05
		c4 = -2.75573143513906633035e-07
		c5 = 2.08757232129817482790e-09
		c6 = -1.13596475577881948265e-11
	)
	z := x * x
	r := c5 + float64(z*c6)
	r = c4 + float64(z*r)
	r = c3 + float64(z*r)
	r = c2 + float64(z*r)
	r = z * (c1 + float64(z*r))
	h := float64(0.5 * z)
	w := 1 - h
	return w + (((1 - w) - h) + (float64(z*r) - float64(x*y)))
}
