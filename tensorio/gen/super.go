package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Offsets in quant.actSuper.
const (
	superSum16 = 256
	superSum32 = 288
	superD     = 304
	superSize  = 320
)

// A superFormat is a K-quant as quant packs it.
type superFormat struct {
	name   string
	bits   int
	head   int  // bytes before the codes of a unit
	mins   int  // offset of the minima, 0 if there are none
	fine   bool // a scale for every 16 columns, not 32
	signed bool // the scales are signed, the codes have the offset 32
}

var superFormats = []superFormat{
	{name: "Q4_K", bits: 4, head: 320, mins: 192},
	{name: "Q5_K", bits: 5, head: 320, mins: 192},
	{name: "Q6_K", bits: 6, head: 320, fine: true, signed: true},
	{name: "Q2_K", bits: 4, head: 576, mins: 320, fine: true},
}

// genSuper writes the kernel of a K-quant for a number of tokens.
func genSuper(t target, f superFormat, tokens int) {
	k := newTile(t, f.name, tokens)
	acc, total := k.store(), k.store()
	acc.zero()
	Label(k.label("unit"))
	if f.signed {
		k.correct(total)
	} else {
		total.zero()
	}
	codes, scales, a, left := GP64(), GP64(), GP64(), GP64()
	LEAQ(Mem{Base: k.w, Disp: f.head}, codes)
	LEAQ(Mem{Base: k.w, Disp: 64}, scales)
	MOVQ(k.a, a)
	MOVQ(U32(8), left)
	Label(k.label("part"))
	if tokens == 1 {
		for off := 0; off < 64*f.bits; off += 64 {
			PREFETCHT0(Mem{Base: codes, Disp: off + prefetchBytes})
		}
	}
	k.subBlocks(f, total, codes, scales, a)
	ADDQ(U32(uint32(64*f.bits)), codes)
	if f.fine {
		ADDQ(Imm(32), scales)
	} else {
		ADDQ(Imm(16), scales)
	}
	ADDQ(Imm(32), a)
	DECQ(left)
	JNZ(LabelRef(k.label("part")))
	k.addScaled(total, acc)
	if f.mins > 0 {
		k.subtractMins(f, acc)
	}
	ADDQ(U32(uint32(f.head+8*64*f.bits)), k.w)
	ADDQ(U32(superSize), k.a)
	DECQ(k.n)
	JNZ(LabelRef(k.label("unit")))
	k.finish(acc)
}

// subBlocks adds the scaled dot products of 32 columns to total.
func (k *tile) subBlocks(f superFormat, total *store, codes, scales, a Register) {
	sums := k.grid(k.tokens)
	if f.bits == 4 && !f.fine {
		k.dotNibbles(sums, codes, 0, a, 0, 0, 4, 4)
		k.flush(f, sums, total, scales, 0)
		return
	}
	for nibble := range 2 {
		if f.bits < 6 {
			k.dotNibbles(sums, codes, 0, a, 0, nibble, 1, f.bits)
			k.flush(f, sums, total, scales, nibble)
			continue
		}
		// Two products of 6-bit codes are all that 16 bits hold.
		for j := range 4 {
			w := make([]VecVirtual, k.parts())
			for h := range w {
				w[h] = k.codes(codes, 0, j, nibble, h, f.bits)
			}
			k.dotCodes(sums, w, a, (nibble*4+j)*4, j%2 == 0)
			if j%2 == 1 {
				k.flush(f, sums, total, scales, nibble)
			}
		}
	}
}

// flush multiplies the pairs of 16-bit sums with the scale of their row and
// adds them to total.
func (k *tile) flush(f superFormat, sums grid, total *store, scales Register, nibble int) {
	for h := range k.parts() {
		sc := k.vec()
		if f.fine {
			at := Mem{Base: scales, Disp: h * k.bytes() / 2}
			if f.signed {
				VPMOVSXBW(at, sc)
			} else {
				VPMOVZXBW(at, sc)
			}
			VPSHUFB(pairMask(nibble), sc, sc)
		} else {
			VPBROADCASTQ(Mem{Base: scales, Disp: h * k.lanes}, sc)
			VPSHUFB(constant("spread", 0x8001800180008000, 0x8003800380028002, 0x8005800580048004, 0x8007800780068006), sc, sc)
		}
		for n, s := range sums[h] {
			VPMADDWD(sc, s, s)
			total.addInt(h, n, s)
		}
	}
}

// pairMask repeats the first or the second of two 16-bit numbers.
func pairMask(second int) Mem {
	if second == 0 {
		return constant("firsts", 0x0504050401000100, 0x0d0c0d0c09080908)
	}
	return constant("seconds", 0x0706070603020302, 0x0f0e0f0e0b0a0b0a)
}

// pairSums sets sums to the sum over pairs of sub-blocks of the 8-bit numbers
// at disp with the activations' sums at act.
func (k *tile) pairSums(sums grid, pairs, disp, act int, signed bool) {
	for p := range pairs {
		w := make([]VecVirtual, k.parts())
		for h := range w {
			w[h] = k.vec()
			at := Mem{Base: k.w, Disp: disp + p*32 + h*k.bytes()/2}
			if signed {
				VPMOVSXBW(at, w[h])
			} else {
				VPMOVZXBW(at, w[h])
			}
		}
		k.multiply(sums, w, k.a, act+4*p, p == 0, func(a, w, d VecVirtual) { VPMADDWD(a, w, d) },
			func(d, s VecVirtual) { VPADDD(d, s, s) })
	}
}

// correct starts total with what the offset 32 of the codes costs.
func (k *tile) correct(total *store) {
	sums := k.grid(k.tokens)
	k.pairSums(sums, 8, 64, superSum16, true)
	sums.each(func(h, n int, v VecVirtual) {
		VPSLLD(Imm(5), v, v)
		z := k.vec()
		VPXOR(z, z, z)
		VPSUBD(v, z, z)
		total.set(h, n, z)
	})
}

// addScaled adds the exact totals, scaled, to the results.
func (k *tile) addScaled(total, acc *store) {
	for h := range k.parts() {
		d := k.vec()
		VCVTPH2PS(Mem{Base: k.w, Disp: h * k.bytes() / 2}, d)
		for n := range k.tokens {
			s, v := k.vec(), k.vec()
			if total.regs != nil {
				VCVTDQ2PS(total.regs[h][n], s)
			} else {
				VCVTDQ2PS(total.mem(h, n), s)
			}
			VBROADCASTSS(k.act(k.a, n, superD), v)
			VMULPS(v, d, v)
			acc.multiplyAdd(h, n, s, v, true)
		}
	}
}

// subtractMins subtracts the minima, scaled, from the results.
func (k *tile) subtractMins(f superFormat, acc *store) {
	sums := k.grid(k.tokens)
	if f.fine {
		k.pairSums(sums, 8, f.mins, superSum16, false)
	} else {
		k.pairSums(sums, 4, f.mins, superSum32, false)
	}
	for h := range k.parts() {
		d := k.vec()
		VCVTPH2PS(Mem{Base: k.w, Disp: 32 + h*k.bytes()/2}, d)
		for n, s := range sums[h] {
			v := k.vec()
			VCVTDQ2PS(s, s)
			VBROADCASTSS(k.act(k.a, n, superD), v)
			VMULPS(v, d, v)
			acc.change(h, n, func(sum VecVirtual) { VFNMADD231PS(s, v, sum) })
		}
	}
}
