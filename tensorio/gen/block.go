package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A record says where things are in the activations of a block: offsets in
// quant.actBlock, quant.actByte and quant.actWide.
type record struct {
	d, dsum, sum8, sum16, sum128 int
	size                         int
}

var (
	blockRecord = record{d: 32, dsum: 36, sum8: 40, sum16: 44, size: 48}
	byteRecord  = record{d: 32, sum128: 36, size: 48}
	wideRecord  = record{d: 64, sum128: 68, size: 80}
)

// A blockFormat is a type of 32-weight blocks as quant packs it.
type blockFormat struct {
	name       string
	bits       int
	head       int // bytes before the codes of a unit of two blocks
	act        record
	correction int // offset of the activations' correction, 0 if there is none
	minimum    bool
}

// blockFormats returns the types that have kernels for a target. Without VNNI
// two full bytes cannot be multiplied, so Q8_0 has activations of 16 bits.
func blockFormats(t target) []blockFormat {
	q8 := blockFormat{name: "Q8_0", bits: 8, head: 64, act: wideRecord, correction: wideRecord.sum128}
	if t.vnni {
		q8.act, q8.correction = byteRecord, byteRecord.sum128
	}
	return []blockFormat{
		q8,
		{name: "Q4_0", bits: 4, head: 64, act: blockRecord, correction: blockRecord.sum8},
		{name: "Q4_1", bits: 4, head: 128, act: blockRecord, minimum: true},
		{name: "Q5_0", bits: 5, head: 64, act: blockRecord, correction: blockRecord.sum16},
		{name: "Q5_1", bits: 5, head: 128, act: blockRecord, minimum: true},
	}
}

// codeBytes is the length of the codes of a block of 16 rows.
func (f blockFormat) codeBytes() int { return 64 * f.bits }

// genBlock writes the kernel of a format for a number of tokens.
func genBlock(t target, f blockFormat, tokens int) {
	k := newTile(t, f.name, tokens)
	k.hold(nibbles, bit4)
	k.blocks(f)
}

// blocks writes a kernel of 32-blocks from its prologue on.
func (k *tile) blocks(f blockFormat) {
	acc := k.store()
	acc.zero()
	var half *store
	if f.bits < 8 && k.limit(f.bits) < 8 {
		half = k.store()
	}
	unit := f.head + 2*f.codeBytes()
	Label(k.label("unit"))
	k.prefetch(k.w, unit)
	for b := range 2 {
		from := source{w: k.w, codes: f.head + b*f.codeBytes(), bits: f.bits, a: k.a, act: b * f.act.size}
		if k.x != nil {
			from.w, from.codes, from.plain = k.x, b*f.expandedBytes()/2, true
		}
		sums := k.grid(k.tokens)
		first := !k.begin(f, sums, from.act)
		switch {
		case f.bits == 8 && !k.vnni:
			k.dotWide(sums, from)
		case half == nil:
			k.dotGroups(sums, from, 0, 8, first)
			k.widen(sums)
		default:
			k.dotGroups(sums, from, 0, 4, first)
			k.widen(sums)
			sums.each(func(h, n int, v VecVirtual) { half.set(h, n, v) })
			k.dotGroups(sums, from, 4, 8, first)
			k.widen(sums)
			sums.each(func(h, n int, v VecVirtual) { VPADDD(half.op(h, n), v, v) })
		}
		k.scale(f, sums, acc, b, from.act)
	}
	ADDQ(U32(uint32(unit)), k.w)
	if k.x != nil {
		ADDQ(U32(uint32(f.expandedBytes())), k.x)
	}
	ADDQ(U32(uint32(2*f.act.size)), k.a)
	DECQ(k.n)
	JNZ(LabelRef(k.label("unit")))
	k.finish(acc)
}

// begin starts 32-bit sums with the correction, if they are summed up in 32 bits
// and there is one. Otherwise scale adds it.
func (k *tile) begin(f blockFormat, sums grid, act int) bool {
	if !k.vnni || f.correction == 0 {
		return false
	}
	sums.each(func(_, n int, v VecVirtual) { VPBROADCASTD(k.act(k.a, n, act+f.correction), v) })
	return true
}

// dotWide multiplies signed bytes, widened to 16 bits and 128 too large, with
// 16-bit activations.
func (k *tile) dotWide(sums grid, s source) {
	for j := range 8 {
		for odd := range 2 {
			w := make([]VecVirtual, k.parts())
			for h := range w {
				w[h] = k.vec()
				k.load(Mem{Base: k.w, Disp: s.codes + j*64 + h*k.bytes()}, w[h])
				if odd == 0 {
					k.and(k.constant(evens), w[h], w[h])
				} else {
					VPSRLW(Imm(8), w[h], w[h])
				}
			}
			k.dotPairs(sums, w, s.a, s.act+j*8+odd*4, j+odd == 0)
		}
	}
}

// scale adds a block's integer sums, which are lost, to the results.
func (k *tile) scale(f blockFormat, sums grid, acc *store, b, act int) {
	dw := k.halves(b * 32)
	for n := range k.tokens {
		if f.correction > 0 && !k.vnni {
			v := k.vec()
			VPBROADCASTD(k.act(k.a, n, act+f.correction), v)
			for h := range k.parts() {
				VPADDD(v, sums[h][n], sums[h][n])
			}
		}
		d := k.scaled(k.act(k.a, n, act+f.act.d), dw)
		for h := range k.parts() {
			VCVTDQ2PS(sums[h][n], sums[h][n])
			acc.multiplyAdd(h, n, sums[h][n], d[h], !f.minimum)
		}
	}
	if !f.minimum {
		return
	}
	m := k.halves(64 + b*32)
	for n := range k.tokens {
		v := k.vec()
		VBROADCASTSS(k.act(k.a, n, act+f.act.dsum), v)
		for h := range k.parts() {
			if acc.regs != nil {
				VFMADD231PS(v, m[h], acc.regs[h][n])
				continue
			}
			VFMADD231PS(v, m[h], sums[h][n])
			acc.set(h, n, sums[h][n])
		}
	}
}

// halves returns the 16 half-precision numbers at disp of a unit.
func (k *tile) halves(disp int) []VecVirtual {
	d := make([]VecVirtual, k.parts())
	for h := range d {
		d[h] = k.vec()
		VCVTPH2PS(Mem{Base: k.w, Disp: disp + h*k.bytes()/2}, d[h])
	}
	return d
}

// scaled returns w times the number at m.
func (k *tile) scaled(m Mem, w []VecVirtual) []VecVirtual {
	d := make([]VecVirtual, len(w))
	if k.evex {
		for h := range d {
			d[h] = k.vec()
			VMULPS_BCST(m, w[h], d[h])
		}
		return d
	}
	v := k.vec()
	VBROADCASTSS(m, v)
	for h := range d {
		d[h] = v
		if h < len(d)-1 {
			d[h] = k.vec()
		}
		VMULPS(v, w[h], d[h])
	}
	return d
}
