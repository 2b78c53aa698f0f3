package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// lanes16 runs full for each 16 elements and tail for the rest, with i the
// index of the first element.
func (t target) lanes16(n Register, full func(i Register), tail func(i Register, masks []*mask)) {
	loop, rest, done := label("loop"), label("rest"), label("done")
	i := GP64()
	XORQ(i, i)
	SUBQ(Imm(lanes), n)
	JL(LabelRef(rest))
	Label(loop)
	full(i)
	ADDQ(Imm(lanes), i)
	SUBQ(Imm(lanes), n)
	JGE(LabelRef(loop))
	Label(rest)
	ADDQ(Imm(lanes), n)
	JZ(LabelRef(done))
	tail(i, t.masks(n, t.parts()))
	Label(done)
}

func (t target) genSums() {
	t.begin("dot", "x, y *float32, n int) float32", "%s is dotRef.")
	x, y, n := ptr("x"), ptr("y"), ptr("n")
	acc := t.zeros()
	t.lanes16(n, func(i Register) {
		for h := range acc {
			v := t.load(t.at(x, i, h))
			VFMADD231PS(t.at(y, i, h), v, acc[h])
		}
	}, func(i Register, m []*mask) {
		for h := range acc {
			v, w := t.loadMasked(t.at(x, i, h), m[h]), t.loadMasked(t.at(y, i, h), m[h])
			VFMADD231PS(w, v, acc[h])
		}
	})
	Store(t.fold(acc, add), ReturnIndex(0))
	end()

	t.begin("max", "x *float32, n int) float32", "%s is maxRef.")
	x, n = ptr("x"), ptr("n")
	low := t.load(float(float32(math.Inf(-1))))
	acc = nil
	for range t.parts() {
		v := t.vec()
		VMOVAPS(low, v)
		acc = append(acc, v)
	}
	t.lanes16(n, func(i Register) {
		for h := range acc {
			larger(t.load(t.at(x, i, h)), acc[h], acc[h])
		}
	}, func(i Register, m []*mask) {
		for h := range acc {
			larger(t.loadOr(t.at(x, i, h), m[h], low), acc[h], acc[h])
		}
	})
	Store(t.fold(acc, larger), ReturnIndex(0))
	end()

	t.begin("expSum", "x *float32, n int, shift float32) float32", "%s is expSumRef.")
	x, n = ptr("x"), ptr("n")
	shift := t.broadcast("shift")
	acc = t.zeros()
	e := t.newExp()
	t.lanes16(n, func(i Register) {
		for h := range acc {
			v := t.load(t.at(x, i, h))
			VSUBPS(shift, v, v)
			v = e.exp(v)
			VMOVUPS(v, t.at(x, i, h))
			VADDPS(v, acc[h], acc[h])
		}
	}, func(i Register, m []*mask) {
		for h := range acc {
			v := t.loadMasked(t.at(x, i, h), m[h])
			VSUBPS(shift, v, v)
			v = e.exp(v)
			t.store(v, t.at(x, i, h), m[h])
			t.addMasked(v, acc[h], m[h])
		}
	})
	Store(t.fold(acc, add), ReturnIndex(0))
	end()
}

// exp holds the bounds of expRef; they must be registers, because MAXPS and
// MINPS pass a NaN of their second source on, which alone may be memory.
type exp struct {
	target
	lo, hi VecVirtual
}

func (t target) newExp() exp { return exp{t, t.load(float(-104)), t.load(float(89))} }

// exp returns expRef(v). It destroys v.
func (e exp) exp(v VecVirtual) VecVirtual {
	VMAXPS(v, e.lo, v)
	VMINPS(v, e.hi, v)
	magic := float(0x1.8p23)
	t, n := e.vec(), e.vec()
	VMULPS(float(1.44269504088896341), v, t)
	VADDPS(magic, t, t)
	VSUBPS(magic, t, n)
	VFNMADD231PS(float(0.693359375), n, v)
	VFNMADD231PS(float(-2.12194440e-4), n, v)
	p := e.load(float(1.9875691500e-4))
	for _, c := range []float32{
		1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
	} {
		VFMADD213PS(float(c), v, p)
	}
	square := e.vec()
	VMULPS(v, v, square)
	VFMADD213PS(v, square, p)
	VADDPS(float(1), p, p)
	k, k1 := t, e.vec()
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
