package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// each runs body over n elements of the arrays in and stores what it returns
// to out, masked at the end.
func each(n, out Register, in []Register, body func(v []VecVirtual) VecVirtual) {
	loop, rest, done := label("loop"), label("rest"), label("done")
	i := GP64()
	XORQ(i, i)
	SUBQ(Imm(width), n)
	JL(LabelRef(rest))
	Label(loop)
	v := make([]VecVirtual, len(in))
	for a, p := range in {
		v[a] = load(at(p, i, 0))
	}
	VMOVUPS(body(v), at(out, i, 0))
	ADDQ(Imm(width), i)
	SUBQ(Imm(width), n)
	JGE(LabelRef(loop))
	Label(rest)
	ADDQ(Imm(width), n)
	JZ(LabelRef(done))
	m := tailMasks(n, 1)[0]
	for a, p := range in {
		v[a] = masked(at(p, i, 0), m)
	}
	VMASKMOVPS(body(v), m, at(out, i, 0))
	Label(done)
}

const (
	geluA float32 = -2 * 0.7978845608028654
	geluB float32 = -2 * 0.7978845608028654 * 0.044715
)

func genElementwise() {
	begin("addAVX2", "dst, x, y *float32, n int)", "addAVX2 is addRef.")
	each(ptr("n"), ptr("dst"), []Register{ptr("x"), ptr("y")}, func(v []VecVirtual) VecVirtual {
		VADDPS(v[1], v[0], v[0])
		return v[0]
	})
	end()

	begin("scaleAVX2", "x *float32, n int, s float32)", "scaleAVX2 is scaleRef.")
	s, x := broadcast("s"), ptr("x")
	each(ptr("n"), x, []Register{x}, func(v []VecVirtual) VecVirtual {
		VMULPS(s, v[0], v[0])
		return v[0]
	})
	end()

	begin("axpyAVX2", "x, y *float32, n int, a float32)", "axpyAVX2 is axpyRef.")
	a, y := broadcast("a"), ptr("y")
	each(ptr("n"), y, []Register{ptr("x"), y}, func(v []VecVirtual) VecVirtual {
		VFMADD231PS(v[0], a, v[1])
		return v[1]
	})
	end()

	begin("mulScaleAVX2", "dst, x, w *float32, n int, s float32)", "mulScaleAVX2 is mulScaleRef.")
	s = broadcast("s")
	each(ptr("n"), ptr("dst"), []Register{ptr("x"), ptr("w")}, func(v []VecVirtual) VecVirtual {
		VMULPS(s, v[0], v[0])
		VMULPS(v[1], v[0], v[0])
		return v[0]
	})
	end()

	begin("expToAVX2", "dst, x *float32, n int)", "expToAVX2 is expToRef.")
	e := newExp()
	each(ptr("n"), ptr("dst"), []Register{ptr("x")}, func(v []VecVirtual) VecVirtual {
		return e.exp(v[0])
	})
	end()

	begin("siluMulAVX2", "dst, gate, up *float32, n int)", "siluMulAVX2 is siluMulRef.")
	e = newExp()
	each(ptr("n"), ptr("dst"), []Register{ptr("gate"), ptr("up")}, func(v []VecVirtual) VecVirtual {
		t := YMM()
		VXORPS(bits(1<<31), v[0], t)
		return e.gated(t, v[0], v[1])
	})
	end()

	begin("geluMulAVX2", "dst, gate, up *float32, n int)", "geluMulAVX2 is geluMulRef.")
	e = newExp()
	inner := load(float(geluB))
	each(ptr("n"), ptr("dst"), []Register{ptr("gate"), ptr("up")}, func(v []VecVirtual) VecVirtual {
		t := YMM()
		VMULPS(v[0], v[0], t)
		VFMADD213PS(float(geluA), inner, t)
		VMULPS(t, v[0], t)
		return e.gated(t, v[0], v[1])
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
