package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// genQuantize writes the kernel that quantises whole blocks of 32 activations.
// It is one form: a block fits four 256-bit vectors.
func genQuantize() {
	TEXT("quantizeAVX2", NOSPLIT, "func(dst *byte, x *float32, n uint64)")
	Pragma("noescape")
	Doc("quantizeAVX2 is refQuantizeBlocks for n whole blocks.")
	dst, x, n := Load(Param("dst"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	abs := constant("abs", 0x7fffffff7fffffff)
	Label("quantize_block")
	var v [4]VecVirtual
	top := YMM()
	for i := range v {
		v[i] = YMM()
		VMOVUPS(Mem{Base: x, Disp: 32 * i}, v[i])
		if i == 0 {
			VPAND(abs, v[i], top)
			continue
		}
		t := YMM()
		VPAND(abs, v[i], t)
		VPMAXUD(t, top, top)
	}
	half := XMM()
	fold := func(y VecVirtual, op func(a, b, c Op)) Register {
		VEXTRACTI128(Imm(1), y, half)
		op(half, y.AsX(), y.AsX())
		VPSHUFD(Imm(0x4e), y.AsX(), half)
		op(half, y.AsX(), y.AsX())
		VPSHUFD(Imm(0xb1), y.AsX(), half)
		op(half, y.AsX(), y.AsX())
		return y.AsX()
	}
	m := fold(top, func(a, b, c Op) { VPMAXUD(a, b, c) })
	bits := GP32()
	VMOVD(m, bits)
	d, inverse := XMM(), XMM()
	CMPL(bits, U32(0x7f800000))
	JAE(LabelRef("quantize_nan"))
	CMPL(bits, U32((127-100)<<23))
	JB(LabelRef("quantize_zero"))
	VDIVSS(constant("f127", 0x42fe000042fe0000), m, d)
	one := XMM()
	VMOVSS(constant("f1", 0x3f8000003f800000), one)
	VDIVSS(d, one, inverse)
	factor := YMM()
	VBROADCASTSS(inverse, factor)
	for i := range v {
		VMULPS(factor, v[i], v[i])
		VCVTPS2DQ(v[i], v[i])
	}
	Label("quantize_store")
	VMOVSS(d, Mem{Base: dst, Disp: blockD})
	sum, t := YMM(), YMM()
	VPADDD(v[0], v[1], sum)
	VPADDD(v[2], v[3], t)
	VPADDD(t, sum, sum)
	s := fold(sum, func(a, b, c Op) { VPADDD(a, b, c) })
	f := XMM()
	VCVTDQ2PS(s, f)
	VMULSS(d, f, f)
	VMOVSS(f, Mem{Base: dst, Disp: blockDsum})
	neg := GP32()
	VMOVD(s, neg)
	NEGL(neg)
	SHLL(Imm(3), neg)
	MOVL(neg, Mem{Base: dst, Disp: blockSum8})
	ADDL(neg, neg)
	MOVL(neg, Mem{Base: dst, Disp: blockSum16})
	SHLL(Imm(3), neg)
	MOVL(neg, Mem{Base: dst, Disp: blockSum})
	// 16 bits, in order of columns.
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPERMQ(Imm(0xd8), v[0], v[0])
	VPERMQ(Imm(0xd8), v[2], v[2])
	bytes := YMM()
	VPACKSSWB(v[2], v[0], bytes)
	VPERMQ(Imm(0xd8), bytes, bytes)
	VMOVDQU(bytes, Mem{Base: dst})
	// Of every four columns first the even, then the odd ones.
	order := constant("evensFirst", 0x0706030205040100, 0x0f0e0b0a0d0c0908)
	for i, w := range []VecVirtual{v[0], v[2]} {
		VPSHUFB(order, w, w)
		VMOVDQU(w, Mem{Base: dst, Disp: blockWide + 32*i})
	}
	ADDQ(U32(blockSize), dst)
	ADDQ(U32(128), x)
	DECQ(n)
	JNZ(LabelRef("quantize_block"))
	VZEROUPPER()
	RET()
	Label("quantize_nan")
	VMOVSS(constant("fNaN", 0x7fc000007fc00000), d)
	JMP(LabelRef("quantize_clear"))
	Label("quantize_zero")
	VPXOR(d, d, d)
	Label("quantize_clear")
	for i := range v {
		VPXOR(v[i], v[i], v[i])
	}
	JMP(LabelRef("quantize_store"))
}

// genCPUID writes what x/sys/cpu does not tell.
func genCPUID() {
	TEXT("cpuidECX1", NOSPLIT, "func() uint32")
	Doc("cpuidECX1 returns the register ECX of CPUID leaf 1.")
	MOVL(U32(1), EAX)
	XORL(ECX, ECX)
	CPUID()
	Store(ECX, ReturnIndex(0))
	RET()
}
