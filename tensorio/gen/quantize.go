package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// genQuantize writes a kernel that quantises whole blocks of 32 activations to
// 8 bits, or to the same in 16 bits, and records them. It has one form: a block
// fits four 256-bit vectors.
func genQuantize(name string, at record) {
	TEXT(name+"AVX2", NOSPLIT, "func(dst *byte, x *float32, n uint64)")
	Pragma("noescape")
	Doc(name + "AVX2 quantises n whole blocks.")
	label := func(s string) string { return name + "_" + s }
	dst, x, n := Load(Param("dst"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	Label(label("block"))
	var v [4]VecVirtual
	top := YMM()
	for i := range v {
		v[i] = YMM()
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, v[i])
		if i == 0 {
			VPAND(abs.mem(), v[i], top)
			continue
		}
		t := YMM()
		VPAND(abs.mem(), v[i], t)
		VPMAXUD(t, top, top)
	}
	d, factor := XMM(), YMM()
	scaleOf(name, top, d, factor)
	for i := range v {
		VMULPS(factor, v[i], v[i])
		VCVTPS2DQ(v[i], v[i])
	}
	Label(label("store"))
	VMOVSS(d, Mem{Base: dst, Disp: at.d})
	sum, t := YMM(), YMM()
	VPADDD(v[0], v[1], sum)
	VPADDD(v[2], v[3], t)
	VPADDD(t, sum, sum)
	s := fold(sum, func(a, b, c Op) { VPADDD(a, b, c) })
	neg := GP32()
	VMOVD(s, neg)
	NEGL(neg)
	pack16(v)
	if at == wideRecord {
		storeWide(dst, v)
	} else {
		pack8(v)
		VMOVDQU(v[0], Mem{Base: dst})
	}
	if at.sum128 > 0 {
		SHLL(Imm(7), neg)
		MOVL(neg, Mem{Base: dst, Disp: at.sum128})
	} else {
		storeSums(at, dst, s, d, neg)
	}
	ADDQ(U32(uint32(at.size)), dst)
	ADDQ(U32(128), x)
	DECQ(n)
	JNZ(LabelRef(label("block")))
	VZEROUPPER()
	RET()
	scaleOfRest(name, d, func() {
		for i := range v {
			VPXOR(v[i], v[i], v[i])
		}
		JMP(LabelRef(label("store")))
	})
}

// pack16 narrows 32 numbers to 16 bits, in order, into v[0] and v[2].
func pack16(v [4]VecVirtual) {
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPERMQ(Imm(0xd8), v[0], v[0])
	VPERMQ(Imm(0xd8), v[2], v[2])
}

// pack8 narrows v[0] and v[2] to 8 bits, in order, into v[0].
func pack8(v [4]VecVirtual) {
	VPACKSSWB(v[2], v[0], v[0])
	VPERMQ(Imm(0xd8), v[0], v[0])
}

// storeSums writes the sums of a quant.actBlock. sum is the sum of the codes,
// neg the negative one, which is lost.
func storeSums(at record, dst, sum Register, d VecVirtual, neg Register) {
	f := XMM()
	VCVTDQ2PS(sum, f)
	VMULSS(d, f, f)
	VMOVSS(f, Mem{Base: dst, Disp: at.dsum})
	SHLL(Imm(3), neg)
	MOVL(neg, Mem{Base: dst, Disp: at.sum8})
	ADDL(neg, neg)
	MOVL(neg, Mem{Base: dst, Disp: at.sum16})
}

// storeWide writes 32 numbers of 16 bits, of every four first the even ones.
func storeWide(dst Register, v [4]VecVirtual) {
	for i, w := range []VecVirtual{v[0], v[2]} {
		VPSHUFB(evensFirst.mem(), w, w)
		VMOVDQU(w, Mem{Base: dst, Disp: 32 * i})
	}
}

// fold brings the lanes of y together with op, into the lowest.
func fold(y VecVirtual, op func(a, b, c Op)) Register {
	half := XMM()
	VEXTRACTI128(Imm(1), y, half)
	op(half, y.AsX(), y.AsX())
	VPSHUFD(Imm(0x4e), y.AsX(), half)
	op(half, y.AsX(), y.AsX())
	VPSHUFD(Imm(0xb1), y.AsX(), half)
	op(half, y.AsX(), y.AsX())
	return y.AsX()
}

// scaleOf sets d to top/127, top being the bits of the largest magnitude, and
// factor to its reciprocal, as quant.scaleOf does. Blocks without a scale go
// to the labels of scaleOfRest.
func scaleOf(name string, top VecVirtual, d, factor VecVirtual) {
	m := fold(top, func(a, b, c Op) { VPMAXUD(a, b, c) })
	bits := GP32()
	VMOVD(m, bits)
	CMPL(bits, U32(0x7f800000))
	JAE(LabelRef(name + "_nan"))
	CMPL(bits, U32((127-100)<<23))
	JB(LabelRef(name + "_zero"))
	VDIVSS(float127.mem(), m, d)
	f := XMM()
	VMOVSS(float1.mem(), f)
	VDIVSS(d, f, f)
	VBROADCASTSS(f, factor)
}

// scaleOfRest writes what happens to blocks without a scale: d is NaN or zero,
// and clear makes the codes zero and goes on.
func scaleOfRest(name string, d VecVirtual, clear func()) {
	Label(name + "_nan")
	VMOVSS(nan.mem(), d)
	JMP(LabelRef(name + "_clear"))
	Label(name + "_zero")
	VPXOR(d, d, d)
	Label(name + "_clear")
	clear()
}

// genQuantizeSuper writes the kernel that quantises blocks of 256 activations.
func genQuantizeSuper() {
	TEXT("quantizeSupersAVX2", NOSPLIT, "func(dst *byte, x *float32, n uint64)")
	Pragma("noescape")
	Doc("quantizeSupersAVX2 is refQuantizeSupers for n blocks.")
	dst, x, n := Load(Param("dst"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	Label("super_block")
	// Four chains of maxima.
	var top [4]VecVirtual
	for i := range 32 {
		t := YMM()
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, t)
		VPAND(abs.mem(), t, t)
		if i < 4 {
			top[i] = t
			continue
		}
		VPMAXUD(t, top[i%4], top[i%4])
	}
	VPMAXUD(top[1], top[0], top[0])
	VPMAXUD(top[3], top[2], top[2])
	VPMAXUD(top[2], top[0], top[0])
	d, factor := XMM(), YMM()
	scaleOf("super", top[0], d, factor)
	sums, q, left := GP64(), GP64(), GP64()
	MOVQ(dst, q)
	MOVQ(dst, sums)
	MOVQ(U32(8), left)
	Label("super_part")
	var v [4]VecVirtual
	for i := range v {
		v[i] = YMM()
		VMULPS(Mem{Base: x, Disp: 32 * i}, factor, v[i])
		VCVTPS2DQ(v[i], v[i])
	}
	superSums(dst, sums, v)
	pack16(v)
	pack8(v)
	VMOVDQU(v[0], Mem{Base: q})
	ADDQ(U32(128), x)
	ADDQ(Imm(32), q)
	ADDQ(Imm(4), sums)
	DECQ(left)
	JNZ(LabelRef("super_part"))
	Label("super_next")
	VMOVSS(d, Mem{Base: dst, Disp: superD})
	ADDQ(U32(superSize), dst)
	DECQ(n)
	JNZ(LabelRef("super_block"))
	VZEROUPPER()
	RET()
	scaleOfRest("super", d, func() {
		z := YMM()
		VPXOR(z, z, z)
		for at := 0; at < superD-16; at += 32 {
			VMOVDQU(z, Mem{Base: dst, Disp: at})
		}
		VMOVDQU(z.AsX(), Mem{Base: dst, Disp: superD - 16})
		ADDQ(U32(1024), x)
		JMP(LabelRef("super_next"))
	})
}

// superSums writes the sums of 16 and of 32 codes of a quant.actSuper at dst;
// sums moves with the sums of 16.
func superSums(dst, sums Register, v [4]VecVirtual) {
	// The sums of each 16, side by side in 16 bits.
	first, second, high := YMM(), YMM(), XMM()
	VPADDD(v[1], v[0], first)
	VPADDD(v[3], v[2], second)
	VPHADDD(second, first, first)
	VPHADDD(first, first, first)
	VEXTRACTI128(Imm(1), first, high)
	VPADDD(high, first.AsX(), high)
	VPACKSSDW(high, high, high)
	pair, sum := GP32(), GP32()
	VMOVD(high, pair)
	MOVL(pair, Mem{Base: sums, Disp: superSum16})
	MOVL(pair, sum)
	SHRL(Imm(16), sum)
	ADDL(pair, sum)
	slot := GP64() // sum32 moves half as fast as sum16
	MOVQ(sums, slot)
	SUBQ(dst, slot)
	SHRQ(Imm(1), slot)
	ADDQ(dst, slot)
	MOVW(sum.As16(), Mem{Base: slot, Disp: superSum32})
}
