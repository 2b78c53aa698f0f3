package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A scaling says how the integer scales of 256-blocks are stored, as in quant's
// layout.go.
type scaling int

const (
	scalesNone    scaling = iota
	scalesPairs32         // of two sub-blocks of 32 columns: [4, 16, 2]
	scalesPairs16         // of two sub-blocks of 16 columns: [8, 16, 2]
	scalesNibbles         // the same, with the minima in the upper nibbles
)

// bytes returns the length of the scales of a block.
func (s scaling) bytes() int {
	return map[scaling]int{scalesPairs32: 128, scalesPairs16: 256, scalesNibbles: 256}[s]
}

// A smallFormat is a type of 256-weight blocks with codes of four bits or less.
type smallFormat struct {
	name    string
	alike   []string // types that are packed alike
	bits    int
	values  values // what codes stand for; of numbers the offset only
	offset  bool
	scaling scaling
	float   bool // the scale of a block is float32, not half precision
}

// codesLess returns the offset of codes that are numbers.
func codesLess(shift int) values { return values{shift: shift} }

var smallFormats = []smallFormat{
	{name: "Q2_K", bits: 2, scaling: scalesNibbles},
	{name: "Q3_K", bits: 3, values: codesLess(2), offset: true, scaling: scalesPairs16},
	{name: "IQ4_XS", bits: 4, values: valuesIQ4, offset: true, scaling: scalesPairs32, float: true},
	{name: "IQ3_XXS", bits: 4, values: valuesIQ3XXS, offset: true, scaling: scalesPairs32, float: true},
	{name: "IQ3_S", bits: 4, values: valuesIQ3S, offset: true, scaling: scalesPairs32, float: true},
	{name: "IQ2_XXS", bits: 3, values: valuesIQ2, offset: true, scaling: scalesPairs32, float: true},
	{name: "IQ2_S", alike: []string{"IQ2_XS"}, bits: 3, values: valuesIQ2, offset: true, scaling: scalesPairs16, float: true},
	{name: "IQ1_S", bits: 3, values: valuesIQ1, offset: true, scaling: scalesPairs32, float: true},
	{name: "IQ1_M", bits: 3, values: valuesIQ1, offset: true, scaling: scalesPairs16, float: true},
	{name: "TQ2_0", alike: []string{"TQ1_0"}, bits: 2, values: codesLess(0), offset: true, float: true},
}

// smallScales is where the scales of a block begin.
const smallScales = 64

// genSmall writes the kernel of a format for a number of tokens.
func genSmall(t target, f smallFormat, tokens int) {
	k := newTile(t, f.name, tokens)
	k.hold(map[int][]constant{2: {bits01}, 3: {bits01, bit2}, 4: {nibbles}}[f.bits]...)
	k.smalls(f, k.table(f.values))
}

// smalls writes a kernel of a format from its prologue on. Expanded codes are
// numbers already: they have no table.
func (k *tile) smalls(f smallFormat, table *table) {
	acc, total := k.store(), (*store)(nil)
	limit := k.valuesLimit(f.values, f.bits)
	if limit <= 1 {
		total = &store{tile: k, regs: k.grid(k.tokens)}
	} else {
		total = k.store()
	}
	acc.zero()
	partBytes, head := 64*f.bits, smallScales+f.scaling.bytes()
	Label(k.label("unit"))
	if f.offset && limit > 0 {
		k.correctSmall(f, total)
	} else {
		total.zero()
	}
	codes, scales, a, left := GP64(), GP64(), GP64(), GP64()
	if k.x == nil {
		LEAQ(Mem{Base: k.w, Disp: head}, codes)
	}
	LEAQ(Mem{Base: k.w, Disp: smallScales}, scales)
	MOVQ(k.a, a)
	MOVQ(U32(4), left)
	Label(k.label("part"))
	k.prefetch(codes, 2*partBytes)
	for p := range 2 {
		from := source{w: codes, codes: p * partBytes, bits: f.bits, a: a, act: 32 * p}
		if k.x != nil {
			from.w, from.codes, from.plain = k.x, p*8*64, true
		}
		k.lines = map[[3]int]VecVirtual{}
		if limit <= 1 {
			k.shallow(f, total, from, table, scales, p, limit == 0)
		} else {
			k.deep(f, total, from, table, scales, p, limit)
		}
	}
	if k.x != nil {
		ADDQ(U32(2*8*64), k.x)
	} else {
		ADDQ(U32(uint32(2*partBytes)), codes)
	}
	ADDQ(Imm(uint64(f.scaling.bytes()/4)), scales)
	ADDQ(Imm(64), a)
	DECQ(left)
	JNZ(LabelRef(k.label("part")))
	k.addSmall(f, total, acc)
	ADDQ(U32(uint32(head+8*partBytes)), k.w)
	ADDQ(U32(superSize), k.a)
	DECQ(k.n)
	JNZ(LabelRef(k.label("unit")))
	k.finish(acc)
}

// deep adds the scaled products of 32 columns to total, adding up several
// products before they are scaled.
func (k *tile) deep(f smallFormat, total *store, from source, t *table, scales Register, p, limit int) {
	sums := k.grid(k.tokens)
	step := limit
	if f.scaling == scalesPairs16 || f.scaling == scalesNibbles {
		step = min(step, 4)
	}
	for lo := 0; lo < 8; lo += step {
		k.dotValues(sums, from, t, lo, lo+step, true)
		for h := range k.parts() {
			var sc Op
			if f.scaling == scalesNone {
				if !k.vnni {
					sc = k.constant(ones16)
				}
			} else {
				sc = k.smallScale(f, scales, p, lo/4, h)
			}
			for n, s := range sums[h] {
				switch {
				case !k.vnni:
					VPMADDWD(sc, s, s)
				case sc != nil:
					VPMULLD(sc, s, s)
				}
				total.addInt(h, n, s)
			}
		}
	}
}

// shallow is deep for numbers of which two products fill 16 bits. The totals are
// in registers, the scales in memory if there are many totals.
func (k *tile) shallow(f smallFormat, total *store, from source, t *table, scales Register, p int, signed bool) {
	if signed {
		for h := range k.parts() {
			k.dotSigned(total.regs, from, t, k.smallScale(f, scales, p, 0, h), h, false)
		}
		return
	}
	sc := make([]Op, k.parts())
	for g := range 8 {
		if g == 0 || g == 4 && f.scaling == scalesPairs16 {
			for h := range sc {
				v := k.smallScale(f, scales, p, g/4, h)
				sc[h] = v
				if !k.inRegisters() {
					sc[h] = Mem{Base: k.scratch, Disp: k.used + h*k.bytes()}
					k.move(v, sc[h])
				}
			}
		}
		w := make([]VecVirtual, k.parts())
		for h := range w {
			w[h] = k.lookup(t, k.smallCodes(from, g, h))
		}
		for n := range k.tokens {
			v := k.vec()
			VPBROADCASTD(k.act(from.a, n, from.act+4*g), v)
			for h := range w {
				d := v
				if h < len(w)-1 {
					d = k.vec()
				}
				VPMADDUBSW(v, w[h], d)
				VPMADDWD(sc[h], d, d)
				VPADDD(d, total.regs[h][n], total.regs[h][n])
			}
		}
	}
}

// smallScale returns the scales of rows for columns 16*half and on of part p of
// 64 columns, as pairs of 16-bit numbers or, with VNNI, as 32-bit numbers.
func (k *tile) smallScale(f smallFormat, scales Register, p, half, h int) VecVirtual {
	at := Mem{Base: scales, Disp: h * k.bytes() / 2}
	if f.scaling == scalesPairs32 {
		half = p
	} else {
		at.Disp += 32 * p
	}
	sc := k.vec()
	if k.vnni {
		k.scaleWords(f, at, half, sc)
	} else {
		k.bytePairs(at, f.scaling != scalesNibbles, sc)
		if f.scaling == scalesNibbles {
			k.and(k.constant(nibble16), sc, sc)
		}
		VPSHUFB(k.constant([]constant{pairFirst, pairSecond}[half]), sc, sc)
	}
	return sc
}

// scaleWords reads the first or second of two scales of each row as 32 bits.
func (k *tile) scaleWords(f smallFormat, at Mem, half int, sc VecVirtual) {
	switch {
	case f.scaling == scalesNibbles:
		VPMOVZXWD(at, sc)
		if half == 1 {
			VPSRLD(Imm(8), sc, sc)
		}
		k.and(k.constant(nibble32), sc, sc)
	case half == 0:
		VPMOVSXWD(at, sc)
		VPSLLD(Imm(24), sc, sc)
		VPSRAD(Imm(24), sc, sc)
	default:
		VPMOVSXWD(at, sc)
		VPSRAD(Imm(8), sc, sc)
	}
}

// correctSmall starts total with what the offset of the numbers costs.
func (k *tile) correctSmall(f smallFormat, total *store) {
	sums := k.grid(k.tokens)
	switch f.scaling {
	case scalesPairs16:
		k.pairSums(sums, 8, smallScales, superSum16, true)
	case scalesPairs32:
		k.pairSums(sums, 4, smallScales, superSum32, true)
	case scalesNone:
		ones := make([]VecVirtual, k.parts())
		for h := range ones {
			ones[h] = k.vec()
			k.load(ones16.mem(), ones[h])
		}
		for p := range 4 {
			k.dotPairs(sums, ones, k.a, superSum32+4*p, p == 0)
		}
	}
	sums.each(func(h, n int, v VecVirtual) {
		if f.values.shift > 0 {
			VPSLLD(Imm(uint64(f.values.shift)), v, v)
		}
		z := k.vec()
		k.zero(z)
		VPSUBD(v, z, z)
		total.set(h, n, z)
	})
}

// addSmall adds the exact totals, scaled, to the results, and takes the minima
// off.
func (k *tile) addSmall(f smallFormat, total, acc *store) {
	dw := make([]VecVirtual, k.parts())
	if f.float {
		for h := range dw {
			dw[h] = k.vec()
			k.load(Mem{Base: k.w, Disp: h * k.bytes()}, dw[h])
		}
	} else {
		dw = k.halves(0)
	}
	for n := range k.tokens {
		d := k.scaled(k.act(k.a, n, superD), dw)
		for h := range k.parts() {
			s := k.vec()
			VCVTDQ2PS(total.op(h, n), s)
			acc.multiplyAdd(h, n, s, d[h], true)
		}
	}
	if f.scaling == scalesNibbles {
		k.subtractNibbles(acc)
	}
}

// subtractNibbles subtracts the minima of Q2_K, scaled, from the results.
func (k *tile) subtractNibbles(acc *store) {
	sums := k.grid(k.tokens)
	for p := range 8 {
		w := make([]VecVirtual, k.parts())
		for h := range w {
			w[h] = k.vec()
			VPMOVZXBW(Mem{Base: k.w, Disp: smallScales + p*32 + h*k.bytes()/2}, w[h])
			VPSRLW(Imm(4), w[h], w[h])
		}
		k.dotPairs(sums, w, k.a, superSum16+4*p, p == 0)
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
