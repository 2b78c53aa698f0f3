package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// lanes16 runs full for each 16 elements and tail for the rest, with i the
// index of the first element.
func lanes16(n Register, full func(i Register), tail func(i Register, masks []VecVirtual)) {
	loop, rest, done := label("loop"), label("rest"), label("done")
	i := GP64()
	XORQ(i, i)
	SUBQ(Imm(2*width), n)
	JL(LabelRef(rest))
	Label(loop)
	full(i)
	ADDQ(Imm(2*width), i)
	SUBQ(Imm(2*width), n)
	JGE(LabelRef(loop))
	Label(rest)
	ADDQ(Imm(2*width), n)
	JZ(LabelRef(done))
	tail(i, tailMasks(n, 2))
	Label(done)
}

func genSums() {
	begin("dotAVX2", "x, y *float32, n int) float32", "dotAVX2 is dotRef.")
	x, y, n := ptr("x"), ptr("y"), ptr("n")
	acc := []VecVirtual{zero(), zero()}
	lanes16(n, func(i Register) {
		for h := range acc {
			v := load(at(x, i, h))
			VFMADD231PS(at(y, i, h), v, acc[h])
		}
	}, func(i Register, m []VecVirtual) {
		for h := range acc {
			v, w := masked(at(x, i, h), m[h]), masked(at(y, i, h), m[h])
			VFMADD231PS(w, v, acc[h])
		}
	})
	Store(fold16(acc[0], acc[1], add).AsX(), ReturnIndex(0))
	end()

	begin("maxAVX2", "x *float32, n int) float32", "maxAVX2 is maxRef.")
	x, n = ptr("x"), ptr("n")
	low := load(float(float32(math.Inf(-1))))
	acc = []VecVirtual{YMM(), YMM()}
	VMOVAPS(low, acc[0])
	VMOVAPS(low, acc[1])
	lanes16(n, func(i Register) {
		for h := range acc {
			larger(load(at(x, i, h)), acc[h], acc[h])
		}
	}, func(i Register, m []VecVirtual) {
		for h := range acc {
			v := masked(at(x, i, h), m[h])
			VBLENDVPS(m[h], v, low, v)
			larger(v, acc[h], acc[h])
		}
	})
	Store(fold16(acc[0], acc[1], larger).AsX(), ReturnIndex(0))
	end()

	begin("expSumAVX2", "x *float32, n int, shift float32) float32", "expSumAVX2 is expSumRef.")
	x, n = ptr("x"), ptr("n")
	shift := broadcast("shift")
	acc = []VecVirtual{zero(), zero()}
	e := newExp()
	lanes16(n, func(i Register) {
		for h := range acc {
			v := load(at(x, i, h))
			VSUBPS(shift, v, v)
			v = e.exp(v)
			VMOVUPS(v, at(x, i, h))
			VADDPS(v, acc[h], acc[h])
		}
	}, func(i Register, m []VecVirtual) {
		for h := range acc {
			v := masked(at(x, i, h), m[h])
			VSUBPS(shift, v, v)
			v = e.exp(v)
			VMASKMOVPS(v, m[h], at(x, i, h))
			VANDPS(m[h], v, v)
			VADDPS(v, acc[h], acc[h])
		}
	})
	Store(fold16(acc[0], acc[1], add).AsX(), ReturnIndex(0))
	end()
}

// exp holds the bounds of expRef; they must be registers, because MAXPS and
// MINPS pass a NaN of their second source on, which alone may be memory.
type exp struct{ lo, hi VecVirtual }

func newExp() exp { return exp{load(float(-104)), load(float(89))} }

// exp returns expRef(v). It destroys v.
func (e exp) exp(v VecVirtual) VecVirtual {
	VMAXPS(v, e.lo, v)
	VMINPS(v, e.hi, v)
	magic := float(0x1.8p23)
	t, n := YMM(), YMM()
	VMULPS(float(1.44269504088896341), v, t)
	VADDPS(magic, t, t)
	VSUBPS(magic, t, n)
	VFNMADD231PS(float(0.693359375), n, v)
	VFNMADD231PS(float(-2.12194440e-4), n, v)
	p := load(float(1.9875691500e-4))
	for _, c := range []float32{
		1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
	} {
		VFMADD213PS(float(c), v, p)
	}
	square := YMM()
	VMULPS(v, v, square)
	VFMADD213PS(v, square, p)
	VADDPS(float(1), p, p)
	k, k1 := t, YMM()
	VPSUBD(magic, t, k)
	VPSRAD(Imm(1), k, k1)
	VPSUBD(k1, k, k)
	for _, f := range []VecVirtual{k1, k} {
		VPADDD(bits(127), f, f)
		VPSLLD(Imm(23), f, f)
		VMULPS(f, p, p)
	}
	return p
}
