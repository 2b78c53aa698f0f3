package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// each runs body over n elements of the arrays in and stores what it returns
// to out, masked at the end.
func (t target) each(n, out Register, in []Register, body func(v []VecVirtual) VecVirtual) {
	loop, rest, done := label("loop"), label("rest"), label("done")
	i := GP64()
	XORQ(i, i)
	SUBQ(t.step(), n)
	JL(LabelRef(rest))
	Label(loop)
	v := make([]VecVirtual, len(in))
	for a, p := range in {
		v[a] = t.load(t.at(p, i, 0))
	}
	VMOVUPS(body(v), t.at(out, i, 0))
	ADDQ(t.step(), i)
	SUBQ(t.step(), n)
	JGE(LabelRef(loop))
	Label(rest)
	ADDQ(t.step(), n)
	JZ(LabelRef(done))
	m := t.masks(n, 1)[0]
	for a, p := range in {
		v[a] = t.loadMasked(t.at(p, i, 0), m)
	}
	t.store(body(v), t.at(out, i, 0), m)
	Label(done)
}

const (
	geluA float32 = -2 * 0.7978845608028654
	geluB float32 = -2 * 0.7978845608028654 * 0.044715
)

func (t target) genElementwise() {
	t.begin("add", "dst, x, y *float32, n int)", "%s is addRef.")
	t.each(ptr("n"), ptr("dst"), []Register{ptr("x"), ptr("y")}, func(v []VecVirtual) VecVirtual {
		VADDPS(v[1], v[0], v[0])
		return v[0]
	})
	end()

	t.begin("scale", "x *float32, n int, s float32)", "%s is scaleRef.")
	s, x := t.broadcast("s"), ptr("x")
	t.each(ptr("n"), x, []Register{x}, func(v []VecVirtual) VecVirtual {
		VMULPS(s, v[0], v[0])
		return v[0]
	})
	end()

	t.begin("axpy", "x, y *float32, n int, a float32)", "%s is axpyRef.")
	a, y := t.broadcast("a"), ptr("y")
	t.each(ptr("n"), y, []Register{ptr("x"), y}, func(v []VecVirtual) VecVirtual {
		VFMADD231PS(v[0], a, v[1])
		return v[1]
	})
	end()

	t.begin("mulScale", "dst, x, w *float32, n int, s float32)", "%s is mulScaleRef.")
	s = t.broadcast("s")
	t.each(ptr("n"), ptr("dst"), []Register{ptr("x"), ptr("w")}, func(v []VecVirtual) VecVirtual {
		VMULPS(s, v[0], v[0])
		VMULPS(v[1], v[0], v[0])
		return v[0]
	})
	end()

	t.begin("expTo", "dst, x *float32, n int)", "%s is expToRef.")
	e := t.newExp()
	t.each(ptr("n"), ptr("dst"), []Register{ptr("x")}, func(v []VecVirtual) VecVirtual {
		return e.exp(v[0])
	})
	end()

	t.begin("siluMul", "dst, gate, up *float32, n int)", "%s is siluMulRef.")
	e = t.newExp()
	t.each(ptr("n"), ptr("dst"), []Register{ptr("gate"), ptr("up")}, func(v []VecVirtual) VecVirtual {
		u := t.vec()
		VXORPS(bits(1<<31), v[0], u)
		return e.gated(u, v[0], v[1])
	})
	end()

	t.begin("geluMul", "dst, gate, up *float32, n int)", "%s is geluMulRef.")
	e = t.newExp()
	inner := t.load(float(geluB))
	t.each(ptr("n"), ptr("dst"), []Register{ptr("gate"), ptr("up")}, func(v []VecVirtual) VecVirtual {
		u := t.vec()
		VMULPS(v[0], v[0], u)
		VFMADD213PS(float(geluA), inner, u)
		VMULPS(u, v[0], u)
		return e.gated(u, v[0], v[1])
	})
	end()
}

// gated returns g/(1+e^t) * up. It destroys t.
func (e exp) gated(t, g, up VecVirtual) VecVirtual {
	d := e.exp(t)
	VADDPS(float(1), d, d)
	VDIVPS(d, g, d)
	VMULPS(up, d, d)
	return d
}
