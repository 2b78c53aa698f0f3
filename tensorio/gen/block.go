package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A record says where things are in the activations of a block: offsets in
// quant.actBlock and quant.actByte.
type record struct {
	d, dsum, sum8, sum16, sum128 int
	size                         int
}

var (
	blockRecord = record{d: 32, dsum: 36, sum8: 40, sum16: 44, size: 48}
	byteRecord  = record{d: 64, sum128: 68, size: 80}
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

var blockFormats = []blockFormat{
	{name: "Q8_0", bits: 8, head: 64, act: byteRecord, correction: byteRecord.sum128},
	{name: "Q4_0", bits: 4, head: 64, act: blockRecord, correction: blockRecord.sum8},
	{name: "Q4_1", bits: 4, head: 128, act: blockRecord, minimum: true},
	{name: "Q5_0", bits: 5, head: 64, act: blockRecord, correction: blockRecord.sum16},
	{name: "Q5_1", bits: 5, head: 128, act: blockRecord, minimum: true},
}

// codeBytes is the length of the codes of a block of 16 rows.
func (f blockFormat) codeBytes() int { return 64 * f.bits }

// genBlock writes the kernel of a format for a number of tokens.
func genBlock(t target, f blockFormat, tokens int) {
	k := newTile(t, f.name, tokens)
	acc := k.store()
	acc.zero()
	var stash *store
	if f.bits == 5 {
		stash = k.stash()
	}
	unit := f.head + 2*f.codeBytes()
	Label(k.label("unit"))
	if tokens == 1 {
		for off := 0; off < unit; off += 64 {
			PREFETCHT0(Mem{Base: k.w, Disp: off + prefetchBytes})
		}
	}
	for b := range 2 {
		codes, act := f.head+b*f.codeBytes(), b*f.act.size
		sums := k.grid(tokens)
		switch f.bits {
		case 8:
			k.dotWide(sums, codes, act)
		case 4:
			k.dotNibbles(sums, k.w, codes, k.a, act, 0, 4, 4)
			k.widen(sums)
		case 5:
			k.dotNibbles(sums, k.w, codes, k.a, act, 0, 1, 5)
			k.widen(sums)
			sums.each(func(h, n int, v VecVirtual) { stash.set(h, n, v) })
			k.dotNibbles(sums, k.w, codes, k.a, act, 1, 1, 5)
			k.widen(sums)
			sums.each(func(h, n int, v VecVirtual) {
				if stash.regs != nil {
					VPADDD(stash.regs[h][n], v, v)
				} else {
					VPADDD(stash.mem(h, n), v, v)
				}
			})
		}
		k.scale(f, sums, acc, b, act)
	}
	ADDQ(U32(uint32(unit)), k.w)
	ADDQ(U32(uint32(2*f.act.size)), k.a)
	DECQ(k.n)
	JNZ(LabelRef(k.label("unit")))
	k.finish(acc)
}

// prefetchBytes is how far ahead of a decode kernel weights are asked for. Of a
// Zen 3's 20.7 GB/s a kernel gets 10 to 13 without, 17 to 19 with 1 to 2 KiB
// (BenchmarkMulFromMemory, Q4_1, Q8_0, Q4_K).
const prefetchBytes = 2048

// stash returns a store for the sums of half a block.
func (k *tile) stash() *store {
	s := &store{tile: k}
	if k.tokens == 1 {
		s.regs = k.grid(1)
		return s
	}
	if k.scratch == nil {
		k.room = k.parts() * k.tokens * k.bytes()
		local := AllocLocal(k.room + 64)
		k.scratch = GP64()
		LEAQ(local, k.scratch)
		ADDQ(Imm(63), k.scratch)
		ANDQ(I8(-64), k.scratch)
	}
	s.base, s.disp = k.scratch, k.used
	k.used += k.parts() * k.tokens * k.bytes()
	return s
}

// widen adds the pairs of 16-bit sums of each row.
func (k *tile) widen(sums grid) {
	sums.each(func(_, _ int, v VecVirtual) { VPMADDWD(ones16(), v, v) })
}

// dotWide multiplies signed bytes, widened to 16 bits and 128 too large, with
// 16-bit activations.
func (k *tile) dotWide(sums grid, codes, act int) {
	for j := range 8 {
		for odd := range 2 {
			w := make([]VecVirtual, k.parts())
			for h := range w {
				w[h] = k.vec()
				at := Mem{Base: k.w, Disp: codes + j*64 + h*k.bytes()}
				VMOVDQU(at, w[h])
				if odd == 0 {
					VPAND(evenMask(), w[h], w[h])
				} else {
					VPSRLW(Imm(8), w[h], w[h])
				}
			}
			k.multiply(sums, w, k.a, act+j*8+odd*4, j+odd == 0, func(a, w, d VecVirtual) { VPMADDWD(a, w, d) },
				func(d, s VecVirtual) { VPADDD(d, s, s) })
		}
	}
}

// dotNibbles multiplies unsigned codes with 8-bit activations into pairs of
// 16-bit sums. which is the first half of the columns (low nibbles) to do or
// the second; with groups 4 both are done in turn.
func (k *tile) dotNibbles(sums grid, base Register, codes int, a Register, act, which, groups, bits int) {
	first := true
	for j := range 4 {
		for nibble := range 2 {
			if groups == 1 && nibble != which {
				continue
			}
			w := make([]VecVirtual, k.parts())
			for h := range w {
				w[h] = k.codes(base, codes, j, nibble, h, bits)
			}
			k.dotCodes(sums, w, a, act+(nibble*4+j)*4, first)
			first = false
		}
	}
}

// dotCodes multiplies one vector of unsigned codes a part.
func (k *tile) dotCodes(sums grid, w []VecVirtual, a Register, act int, first bool) {
	k.multiply(sums, w, a, act, first, func(a, w, d VecVirtual) { VPMADDUBSW(a, w, d) },
		func(d, s VecVirtual) { VPADDW(d, s, s) })
}

// codes returns the unsigned codes of columns 4j to 4j+3 of a half of 32.
func (k *tile) codes(base Register, codes, j, nibble, h, bits int) VecVirtual {
	w := k.vec()
	VMOVDQU(Mem{Base: base, Disp: codes + j*64 + h*k.bytes()}, w)
	if nibble == 1 {
		VPSRLW(Imm(4), w, w)
	}
	VPAND(nibbleMask(), w, w)
	var shift, high int
	var mask Mem
	switch bits {
	case 4:
		return w
	case 5: // bit 4*nibble+j of the bytes after the nibbles, to bit 4
		shift, high, mask = 4-(4*nibble+j), codes+256, bit4Mask()
	case 6: // bits 2j and 2j+1, to bits 4 and 5
		shift, high, mask = 4-2*j, codes+256+nibble*64, bits45Mask()
	}
	v := k.vec()
	VMOVDQU(Mem{Base: base, Disp: high + h*k.bytes()}, v)
	switch {
	case shift > 0:
		VPSLLW(Imm(uint64(shift)), v, v)
	case shift < 0:
		VPSRLW(Imm(uint64(-shift)), v, v)
	}
	VPAND(mask, v, v)
	VPOR(v, w, w)
	return w
}

// multiply multiplies the weights w with four activations of each token.
func (k *tile) multiply(sums grid, w []VecVirtual, a Register, act int, first bool, mul func(a, w, d VecVirtual), add func(d, s VecVirtual)) {
	for n := range k.tokens {
		v := k.vec()
		VPBROADCASTD(k.act(a, n, act), v)
		for h := range w {
			if first {
				mul(v, w[h], sums[h][n])
				continue
			}
			d := v
			if h < len(w)-1 {
				d = k.vec()
			}
			mul(v, w[h], d)
			add(d, sums[h][n])
		}
	}
}

// scale adds a block's integer sums, which are lost, to the results.
func (k *tile) scale(f blockFormat, sums grid, acc *store, b, act int) {
	half := k.bytes() / 2
	var dw, m [2]VecVirtual
	for h := range k.parts() {
		dw[h] = k.vec()
		VCVTPH2PS(Mem{Base: k.w, Disp: b*32 + h*half}, dw[h])
	}
	for n := range k.tokens {
		v := k.vec()
		if f.correction > 0 {
			VPBROADCASTD(k.act(k.a, n, act+f.correction), v)
			for h := range k.parts() {
				VPADDD(v, sums[h][n], sums[h][n])
			}
		}
		VBROADCASTSS(k.act(k.a, n, act+f.act.d), v)
		for h := range k.parts() {
			VCVTDQ2PS(sums[h][n], sums[h][n])
			d := v
			if h < k.parts()-1 {
				d = k.vec()
			}
			VMULPS(v, dw[h], d)
			acc.multiplyAdd(h, n, sums[h][n], d, !f.minimum)
		}
	}
	if !f.minimum {
		return
	}
	for h := range k.parts() {
		m[h] = k.vec()
		VCVTPH2PS(Mem{Base: k.w, Disp: 64 + b*32 + h*half}, m[h])
	}
	for n := range k.tokens {
		v := k.vec()
		VBROADCASTSS(k.act(k.a, n, act+f.act.dsum), v)
		for h := range k.parts() {
			if acc.regs != nil {
				VFMADD231PS(v, m[h], acc.regs[h][n])
				continue
			}
			VFMADD231PS(v, m[h], sums[h][n])
			VMOVDQA(sums[h][n], acc.mem(h, n))
		}
	}
}
