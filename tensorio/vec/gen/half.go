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

// genHalf writes the 16-bit conversions. They take multiples of 8 elements,
// because no masked store has 16-bit elements.
func genHalf() {
	begin("toF16AVX2", "dst *uint16, x *float32, n int) uint32",
		"toF16AVX2 is toF16Ref for a multiple of 8 elements; the result is not 0 on overflow.")
	dst, x := ptr("dst"), ptr("x")
	over := zero()
	abs := load(bits(1<<31 - 1))
	whole(ptr("n"), func(i Register) {
		v, a := load(at(x, i, 0)), YMM()
		VCVTPS2PH(Imm(0), v, at16(dst, i, 0))
		VANDPS(abs, v, a)
		VCMPPS(Imm(5), float(65520), a, a) // not below: NaN as well
		VORPS(a, over, over)
	})
	r := GP32()
	VMOVMSKPS(over, r)
	Store(r, ReturnIndex(0))
	end()

	begin("fromF16AVX2", "dst *float32, x *uint16, n int)", "fromF16AVX2 is fromF16Ref for a multiple of 8 elements.")
	dst, x = ptr("dst"), ptr("x")
	whole(ptr("n"), func(i Register) {
		v := YMM()
		VCVTPH2PS(at16(x, i, 0), v)
		VMOVUPS(v, at(dst, i, 0))
	})
	end()

	begin("toBF16AVX2", "dst *uint16, x *float32, n int)", "toBF16AVX2 is toBF16Ref for a multiple of 8 elements.")
	dst, x = ptr("dst"), ptr("x")
	whole(ptr("n"), func(i Register) {
		v := bf16(load(at(x, i, 0)))
		high := XMM()
		VEXTRACTI128(Imm(1), v, high)
		VPACKUSDW(high, v.AsX(), high)
		VMOVDQU(high, at16(dst, i, 0))
	})
	end()

	begin("fromBF16AVX2", "dst *float32, x *uint16, n int)", "fromBF16AVX2 is fromBF16Ref for a multiple of 8 elements.")
	dst, x = ptr("dst"), ptr("x")
	whole(ptr("n"), func(i Register) {
		v := YMM()
		VPMOVZXWD(at16(x, i, 0), v)
		VPSLLD(Imm(16), v, v)
		VMOVUPS(v, at(dst, i, 0))
	})
	end()

	begin("roundBF16AVX2", "x *float32, n int)", "roundBF16AVX2 is roundBF16Ref for a multiple of 8 elements.")
	x = ptr("x")
	whole(ptr("n"), func(i Register) {
		v := bf16(load(at(x, i, 0)))
		VPSLLD(Imm(16), v, v)
		VMOVUPS(v, at(x, i, 0))
	})
	end()
}

// bf16 returns bf16FromF32(v) in 32-bit lanes.
func bf16(v VecVirtual) VecVirtual {
	nan, top, r := YMM(), YMM(), YMM()
	VCMPPS(Imm(3), v, v, nan) // unordered
	VPSRLD(Imm(16), v, top)
	VPAND(bits(1), top, r)
	VPADDD(bits(0x7fff), r, r)
	VPADDD(v, r, r)
	VPSRLD(Imm(16), r, r)
	VPOR(bits(0x40), top, top)
	VBLENDVPS(nan, top, r, r)
	return r
}

func genRope() {
	begin("ropeHalfAVX2", "a, b, cos, sin *float32, n int)",
		"ropeHalfAVX2 rotates the pairs (a[i], b[i]) as ropeHalfRef does, for n a multiple of 8.")
	a, b, cos, sin := ptr("a"), ptr("b"), ptr("cos"), ptr("sin")
	whole(ptr("n"), func(i Register) {
		x, y, c, s := load(at(a, i, 0)), load(at(b, i, 0)), load(at(cos, i, 0)), load(at(sin, i, 0))
		p, q := YMM(), YMM()
		VMULPS(c, x, p)
		VFNMADD231PS(y, s, p)
		VMULPS(c, y, q)
		VFMADD231PS(x, s, q)
		VMOVUPS(p, at(a, i, 0))
		VMOVUPS(q, at(b, i, 0))
	})
	end()

	begin("ropePairsAVX2", "x, cos, sin *float32, n int)",
		"ropePairsAVX2 is ropePairsRef for n pairs, a multiple of 4.")
	x, cos, sin := ptr("x"), ptr("cos"), ptr("sin")
	sign := GLOBL("even_signs", RODATA|NOPTR)
	for i := range width {
		DATA(4*i, U32(uint32(1-i%2)<<31))
	}
	flip := load(sign)
	n := ptr("n")
	ADDQ(n, n) // elements
	whole(n, func(i Register) {
		// Each cosine and sine serves the two lanes of a pair.
		v, c, s, swapped := load(at(x, i, 0)), YMM(), YMM(), YMM()
		VPMOVZXDQ(Mem{Base: cos, Index: i, Scale: 2}, c)
		VPMOVZXDQ(Mem{Base: sin, Index: i, Scale: 2}, s)
		VMOVSLDUP(c, c)
		VMOVSLDUP(s, s)
		VXORPS(flip, s, s)
		VPERMILPS(Imm(0xb1), v, swapped)
		VMULPS(c, v, v)
		VFMADD231PS(swapped, s, v)
		VMOVUPS(v, at(x, i, 0))
	})
	end()
}
