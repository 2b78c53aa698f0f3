package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// whole runs body for each 8 of n elements; n is a multiple of 8, above 0.
func whole(n Register, body func(i Register)) {
	loop := label("loop")
	i := GP64()
	XORQ(i, i)
	Label(loop)
	body(i)
	ADDQ(Imm(width), i)
	CMPQ(i, n)
	JL(LabelRef(loop))
}

// vectors runs body over n elements, with the mask of the last ones where the
// target has masks of 16-bit elements; where it has none, n is a multiple of
// the width, above 0.
func (t target) vectors(n Register, body func(i Register, m *mask)) {
	if !t.wide() {
		whole(n, func(i Register) { body(i, nil) })
		return
	}
	loop, rest, done := label("loop"), label("rest"), label("done")
	i := GP64()
	XORQ(i, i)
	SUBQ(t.step(), n)
	JL(LabelRef(rest))
	Label(loop)
	body(i, nil)
	ADDQ(t.step(), i)
	SUBQ(t.step(), n)
	JGE(LabelRef(loop))
	Label(rest)
	ADDQ(t.step(), n)
	JZ(LabelRef(done))
	body(i, t.masks(n, 1)[0])
	Label(done)
}

// lengths says which numbers of elements vectors takes.
func (t target) lengths() string {
	if t.wide() {
		return ""
	}
	return " for a multiple of 8 elements"
}

// genHalf writes the 16-bit conversions.
func (t target) genHalf() {
	t.genToF16()

	t.begin("fromF16", "dst *float32, x *uint16, n int)", "%s is fromF16Ref"+t.lengths()+".")
	dst, x := ptr("dst"), ptr("x")
	t.vectors(ptr("n"), func(i Register, m *mask) {
		v := t.vec()
		if m == nil {
			VCVTPH2PS(at16(x, i, 0), v)
		} else {
			VCVTPH2PS_Z(at16(x, i, 0), m.k, v)
		}
		t.store(v, t.at(dst, i, 0), m)
	})
	end()

	t.begin("toBF16", "dst *uint16, x *float32, n int)", "%s is toBF16Ref"+t.lengths()+".")
	dst, x = ptr("dst"), ptr("x")
	t.vectors(ptr("n"), func(i Register, m *mask) {
		v := t.bf16(t.loadMasked(t.at(x, i, 0), m))
		switch {
		case m != nil:
			VPMOVDW(v, m.k, at16(dst, i, 0))
		case t.wide():
			VPMOVDW(v, at16(dst, i, 0))
		default:
			high := XMM()
			VEXTRACTI128(Imm(1), v, high)
			VPACKUSDW(high, v.AsX(), high)
			VMOVDQU(high, at16(dst, i, 0))
		}
	})
	end()

	t.begin("fromBF16", "dst *float32, x *uint16, n int)", "%s is fromBF16Ref"+t.lengths()+".")
	dst, x = ptr("dst"), ptr("x")
	t.vectors(ptr("n"), func(i Register, m *mask) {
		v := t.vec()
		if m == nil {
			VPMOVZXWD(at16(x, i, 0), v)
		} else {
			VPMOVZXWD_Z(at16(x, i, 0), m.k, v)
		}
		VPSLLD(Imm(16), v, v)
		t.store(v, t.at(dst, i, 0), m)
	})
	end()

	t.begin("roundBF16", "x *float32, n int)", "%s is roundBF16Ref"+t.lengths()+".")
	x = ptr("x")
	t.vectors(ptr("n"), func(i Register, m *mask) {
		v := t.bf16(t.loadMasked(t.at(x, i, 0), m))
		VPSLLD(Imm(16), v, v)
		t.store(v, t.at(x, i, 0), m)
	})
	end()
}

func (t target) genFromI8() {
	t.begin("fromI8", "dst *float32, x *int8, n int)", "%s is fromI8Ref"+t.lengths()+".")
	dst, x := ptr("dst"), ptr("x")
	t.vectors(ptr("n"), func(i Register, m *mask) {
		v, at8 := t.vec(), Mem{Base: x, Index: i, Scale: 1}
		if m == nil {
			VPMOVSXBD(at8, v)
		} else {
			VPMOVSXBD_Z(at8, m.k, v)
		}
		VCVTDQ2PS(v, v)
		t.store(v, t.at(dst, i, 0), m)
	})
	end()
}

func (t target) genToF16() {
	t.begin("toF16", "dst *uint16, x *float32, n int) uint32",
		"%s is toF16Ref"+t.lengths()+"; the result is not 0 on overflow.")
	dst, x := ptr("dst"), ptr("x")
	over, r := t.zero(), GP32()
	abs := t.load(bits(1<<31 - 1))
	overBits := K()
	if t.wide() {
		KXORW(overBits, overBits, overBits)
	}
	t.vectors(ptr("n"), func(i Register, m *mask) {
		v, a := t.loadMasked(t.at(x, i, 0), m), t.vec()
		if m == nil {
			VCVTPS2PH(Imm(0), v, at16(dst, i, 0))
		} else {
			VCVTPS2PH(Imm(0), v, m.k, at16(dst, i, 0))
		}
		VANDPS(abs, v, a)
		const notBelow = 5 // NaN as well
		if t.wide() {
			k := K()
			VCMPPS(Imm(notBelow), float(65520), a, k)
			KORW(k, overBits, overBits)
		} else {
			VCMPPS(Imm(notBelow), float(65520), a, a)
			VORPS(a, over, over)
		}
	})
	if t.wide() {
		KMOVW(overBits, r)
	} else {
		VMOVMSKPS(over, r)
	}
	Store(r, ReturnIndex(0))
	end()
}

// bf16 returns bf16FromF32(v) in 32-bit lanes.
func (t target) bf16(v VecVirtual) VecVirtual {
	const unordered = 3
	top, r := t.vec(), t.vec()
	VPSRLD(Imm(16), v, top)
	if t.wide() {
		nan := K()
		VCMPPS(Imm(unordered), v, v, nan)
		VPANDD(bits(1), top, r)
		VPADDD(bits(0x7fff), r, r)
		VPADDD(v, r, r)
		VPSRLD(Imm(16), r, r)
		VPORD(bits(0x40), top, nan, r)
		return r
	}
	nan := t.vec()
	VCMPPS(Imm(unordered), v, v, nan)
	VPAND(bits(1), top, r)
	VPADDD(bits(0x7fff), r, r)
	VPADDD(v, r, r)
	VPSRLD(Imm(16), r, r)
	VPOR(bits(0x40), top, top)
	VBLENDVPS(nan, top, r, r)
	return r
}

func (t target) genRope() {
	lengths, pairs := "for n a multiple of 8", ", a multiple of 4"
	if t.wide() {
		lengths, pairs = "for n of them", ""
	}
	t.begin("ropeHalf", "a, b, cos, sin *float32, n int)",
		"%s rotates the pairs (a[i], b[i]) as ropeHalfRef does, "+lengths+".")
	a, b, cos, sin := ptr("a"), ptr("b"), ptr("cos"), ptr("sin")
	t.vectors(ptr("n"), func(i Register, m *mask) {
		x, y := t.loadMasked(t.at(a, i, 0), m), t.loadMasked(t.at(b, i, 0), m)
		c, s := t.loadMasked(t.at(cos, i, 0), m), t.loadMasked(t.at(sin, i, 0), m)
		p, q := t.vec(), t.vec()
		VMULPS(c, x, p)
		VFNMADD231PS(y, s, p)
		VMULPS(c, y, q)
		VFMADD231PS(x, s, q)
		t.store(p, t.at(a, i, 0), m)
		t.store(q, t.at(b, i, 0), m)
	})
	end()

	t.begin("ropePairs", "x, cos, sin *float32, n int)",
		"%s is ropePairsRef for n pairs"+pairs+".")
	x, cos, sin := ptr("x"), ptr("cos"), ptr("sin")
	flip := t.load(evenSigns())
	n := ptr("n")
	ADDQ(n, n) // elements
	t.vectors(n, func(i Register, m *mask) {
		// Each cosine and sine serves the two lanes of a pair.
		v, c, s, swapped := t.loadMasked(t.at(x, i, 0), m), t.vec(), t.vec(), t.vec()
		cosAt, sinAt := Mem{Base: cos, Index: i, Scale: 2}, Mem{Base: sin, Index: i, Scale: 2}
		if m == nil {
			VPMOVZXDQ(cosAt, c)
			VPMOVZXDQ(sinAt, s)
		} else {
			k := bitMask(m.rest, 1) // half as many
			VPMOVZXDQ_Z(cosAt, k, c)
			VPMOVZXDQ_Z(sinAt, k, s)
		}
		VMOVSLDUP(c, c)
		VMOVSLDUP(s, s)
		VXORPS(flip, s, s)
		VPERMILPS(Imm(0xb1), v, swapped)
		VMULPS(c, v, v)
		VFMADD231PS(swapped, s, v)
		t.store(v, t.at(x, i, 0), m)
	})
	end()
}

var signs *Mem

// evenSigns returns a vector with the sign bits of the even lanes.
func evenSigns() Mem {
	if signs == nil {
		m := GLOBL("even_signs", RODATA|NOPTR)
		for i := range lanes {
			DATA(4*i, U32(uint32(1-i%2)<<31))
		}
		signs = &m
	}
	return *signs
}
