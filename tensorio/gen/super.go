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
}

// genSuper writes the kernel of a K-quant for a number of tokens.
func genSuper(t target, f superFormat, tokens int) {
	k := newTile(t, f.name, tokens)
	k.hold(nibbles)
	switch f.bits {
	case 5:
		k.hold(bit4)
	case 6:
		k.hold(bits45)
	}
	k.supers(f)
}

// supers writes a kernel of 256-blocks from its prologue on.
func (k *tile) supers(f superFormat) {
	acc, total := k.store(), k.store()
	acc.zero()
	Label(k.label("unit"))
	if f.signed {
		k.correct(total)
	} else {
		total.zero()
	}
	codes, scales, a, left := GP64(), GP64(), GP64(), GP64()
	from := source{w: codes, bits: f.bits, a: a}
	if k.x != nil {
		from.w, from.plain = k.x, true
	} else {
		LEAQ(Mem{Base: k.w, Disp: f.head}, codes)
	}
	LEAQ(Mem{Base: k.w, Disp: 64}, scales)
	MOVQ(k.a, a)
	MOVQ(U32(8), left)
	Label(k.label("part"))
	k.prefetch(codes, 64*f.bits)
	k.subBlocks(f, total, from, scales)
	if from.plain {
		ADDQ(U32(8*64), k.x)
	} else {
		ADDQ(U32(uint32(64*f.bits)), codes)
	}
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
func (k *tile) subBlocks(f superFormat, total *store, from source, scales Register) {
	sums := k.grid(k.tokens)
	step := k.limit(f.bits)
	if f.fine {
		step = min(step, 4)
	}
	for lo := 0; lo < 8; lo += step {
		k.dotGroups(sums, from, lo, lo+step, true)
		k.flush(f, sums, total, scales, lo/4)
	}
}

// flush multiplies sums with the scale of their row and adds them to total. half
// says which of the two scales of 32 columns, if there are two.
func (k *tile) flush(f superFormat, sums grid, total *store, scales Register, half int) {
	for h := range k.parts() {
		var sc VecVirtual
		if k.vnni {
			sc = k.scale32(f, scales, h, half)
		} else {
			sc = k.scale16(f, scales, h, half)
		}
		for n, s := range sums[h] {
			if k.vnni {
				VPMULLD(sc, s, s)
			} else {
				VPMADDWD(sc, s, s)
			}
			total.addInt(h, n, s)
		}
	}
}

// scale16 returns the scales of rows as pairs of 16-bit numbers.
func (k *tile) scale16(f superFormat, scales Register, h, half int) VecVirtual {
	sc := k.vec()
	if !f.fine {
		VPBROADCASTQ(Mem{Base: scales, Disp: h * k.lanes}, sc)
		VPSHUFB(k.constant(spread), sc, sc)
		return sc
	}
	k.bytePairs(Mem{Base: scales, Disp: h * k.bytes() / 2}, f.signed, sc)
	VPSHUFB(k.constant([]constant{pairFirst, pairSecond}[half]), sc, sc)
	return sc
}

// scale32 returns the scales of rows as 32-bit numbers.
func (k *tile) scale32(f superFormat, scales Register, h, half int) VecVirtual {
	sc := k.vec()
	if !f.fine {
		VPMOVZXBD(Mem{Base: scales, Disp: h * k.lanes}, sc)
		return sc
	}
	// Two bytes for each row: the lower or the upper one, with its sign. Those
	// without one are small.
	VPMOVSXWD(Mem{Base: scales, Disp: h * k.bytes() / 2}, sc)
	if half == 0 {
		VPSLLD(Imm(24), sc, sc)
		VPSRAD(Imm(24), sc, sc)
	} else {
		VPSRAD(Imm(8), sc, sc)
	}
	return sc
}

// bytePairs reads two bytes for each row as 16-bit numbers.
func (k *tile) bytePairs(at Mem, signed bool, to VecVirtual) {
	if signed {
		VPMOVSXBW(at, to)
	} else {
		VPMOVZXBW(at, to)
	}
}

// pairSums sets sums to the sum over pairs of sub-blocks of the 8-bit numbers
// at disp with the activations' sums at act.
func (k *tile) pairSums(sums grid, pairs, disp, act int, signed bool) {
	for p := range pairs {
		w := make([]VecVirtual, k.parts())
		for h := range w {
			w[h] = k.vec()
			k.bytePairs(Mem{Base: k.w, Disp: disp + p*32 + h*k.bytes()/2}, signed, w[h])
		}
		k.dotPairs(sums, w, k.a, act+4*p, p == 0)
	}
}

// correct starts total with what the offset 32 of the codes costs.
func (k *tile) correct(total *store) {
	sums := k.grid(k.tokens)
	k.pairSums(sums, 8, 64, superSum16, true)
	sums.each(func(h, n int, v VecVirtual) {
		VPSLLD(Imm(5), v, v)
		z := k.vec()
		k.zero(z)
		VPSUBD(v, z, z)
		total.set(h, n, z)
	})
}

// addScaled adds the exact totals, scaled, to the results.
func (k *tile) addScaled(total, acc *store) {
	dw := k.halves(0)
	for n := range k.tokens {
		d := k.scaled(k.act(k.a, n, superD), dw)
		for h := range k.parts() {
			s := k.vec()
			VCVTDQ2PS(total.op(h, n), s)
			acc.multiplyAdd(h, n, s, d[h], true)
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
		dmin := k.vec()
		VCVTPH2PS(Mem{Base: k.w, Disp: 32 + h*k.bytes()/2}, dmin)
		for n, s := range sums[h] {
			VCVTDQ2PS(s, s)
			d := k.scaled(k.act(k.a, n, superD), []VecVirtual{dmin})[0]
			acc.change(h, n, func(sum VecVirtual) { VFNMADD231PS(s, d, sum) })
		}
	}
}
