package main

import (
	"math"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// values are what the codes of a type stand for, plus an offset that makes them
// unsigned: a power of two, so that taking it off is a shift.
type values struct {
	name  string
	shift int // the offset is 1 << shift
	of    []int
}

// The numbers of quant's tables.go. The offsets are the smallest that leave
// nothing negative, or larger where that costs nothing.
var (
	valuesIQ4    = values{"valuesIQ4", 7, []int{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}}
	valuesMXFP4  = values{"valuesMXFP4", 4, []int{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}}
	valuesIQ3XXS = values{"valuesIQ3XXS", 6, []int{4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62}}
	valuesIQ3S   = values{"valuesIQ3S", 4, []int{1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15}}
	valuesIQ2    = values{"valuesIQ2", 6, []int{8, 25, 43, 0, -8, -25, -43, 0}}
	valuesIQ1    = values{"valuesIQ1", 4, []int{-7, 1, 9, 0, -9, -1, 7, 0}}
)

// none reports whether codes are numbers themselves.
func (v values) none() bool { return v.of == nil }

// table returns the numbers by code, with the offset or as they are.
func (v values) table(signed bool) constant {
	words, offset, name := make([]uint64, 2), 1<<v.shift, v.name
	if signed {
		offset, name = 0, v.name+"Signed"
	}
	for i := range 16 {
		words[i/8] |= uint64(uint8(v.of[i%len(v.of)]+offset)) << (i % 8 * 8)
	}
	return constant{name, words}
}

// valuesLimit returns how many products with vectors of the numbers may be added
// up before widen: eight are 32 columns, of which 16 bits hold 8, 4, 1 or not
// even one.
func (k *tile) valuesLimit(v values, bits int) int {
	top := 1<<bits - 1
	if !v.none() {
		top = slices.Max(v.of) + 1<<v.shift
	}
	n := math.MaxInt16 / (2 * 127 * top)
	switch {
	case k.vnni || n >= 8:
		return 8
	case n >= 4:
		return 4
	}
	return min(n, 1)
}

// A table gives the numbers of codes: kept in a register where there are enough.
type table struct {
	of   constant
	held Op
}

// table prepares the lookup of numbers.
func (k *tile) table(v values) *table {
	if v.none() {
		return nil
	}
	t := &table{of: v.table(k.signed(v))}
	if k.evex || k.tokens == 1 {
		r := k.vec()
		k.load(t.of.mem(), r)
		t.held = r
	}
	return t
}

// lookup replaces codes by their numbers.
func (k *tile) lookup(t *table, w VecVirtual) VecVirtual {
	if t == nil {
		return w
	}
	from, ok := t.held.(VecVirtual)
	if !ok {
		from = k.vec()
		k.load(t.of.mem(), from)
	}
	VPSHUFB(w, from, w)
	return w
}

// smallCodes returns the codes of group g of 32 columns, which have two, three
// or four bits.
func (k *tile) smallCodes(s source, g, h int) VecVirtual {
	if s.bits >= 4 || s.plain {
		return k.codes(s, g, h)
	}
	w, from := k.vec(), k.line(s, g/4*64, h)
	if n := g % 4; n > 0 {
		VPSRLW(Imm(uint64(2*n)), from, w)
		from = w
	}
	k.and(k.constant(bits01), from, w)
	if s.bits == 2 {
		return w
	}
	v, from := k.vec(), k.line(s, 128, h)
	switch {
	case g < 2:
		VPSLLW(Imm(uint64(2-g)), from, v)
	case g > 2:
		VPSRLW(Imm(uint64(g-2)), from, v)
	default:
		k.move(from, v)
	}
	k.merge(k.constant(bit2), v, w)
	return w
}

// line returns bytes of the codes of 32 columns, which must not be changed. With
// one token there are registers to keep them for all groups.
func (k *tile) line(s source, disp, h int) VecVirtual {
	at := [3]int{s.codes, disp, h}
	if v, ok := k.lines[at]; ok {
		return v
	}
	v := k.vec()
	k.load(Mem{Base: s.w, Disp: s.codes + disp + h*k.bytes()}, v)
	if k.tokens == 1 && k.lines != nil {
		k.lines[at] = v
	}
	return v
}

var (
	bits01   = constant{"bits01", []uint64{0x0303030303030303}}
	bit2     = constant{"bit2", []uint64{0x0404040404040404}}
	nibble16 = constant{"nibble16", []uint64{0x000f000f000f000f}}
	nibble32 = constant{"nibble32", []uint64{0x0000000f0000000f}}
)

// dotValues adds the products of groups [lo, hi) of 32 columns to sums, or
// starts sums with them.
func (k *tile) dotValues(sums grid, s source, t *table, lo, hi int, first bool) {
	for g := lo; g < hi; g++ {
		w := make([]VecVirtual, k.parts())
		for h := range w {
			w[h] = k.lookup(t, k.smallCodes(s, g, h))
		}
		k.dot(sums, w, s.a, s.act+4*g, first && g == lo)
	}
}

// dotSigned adds the products of part h of the rows with 32 columns, each pair
// times sc of its row, to 32-bit sums, or starts sums with them. The numbers are
// signed: two products of 127 and 127 fit 16 bits, but none with an offset. All
// is done for one part of the rows before the next, as sc takes a register.
func (k *tile) dotSigned(sums grid, s source, t *table, sc VecVirtual, h int, first bool) {
	for g := range 8 {
		w, size := k.lookup(t, k.smallCodes(s, g, h)), k.vec()
		VPABSB(w, size)
		for n := range k.tokens {
			v := k.vec()
			VPBROADCASTD(k.act(s.a, n, s.act+4*g), v)
			VPSIGNB(w, v, v)
			VPMADDUBSW(v, size, v)
			if first && g == 0 {
				VPMADDWD(sc, v, sums[h][n])
				continue
			}
			VPMADDWD(sc, v, v)
			VPADDD(v, sums[h][n], sums[h][n])
		}
	}
}

// signed reports whether the numbers are multiplied as they are: an offset would
// make them too large for 16 bits.
func (k *tile) signed(v values) bool { return k.valuesLimit(v, 4) == 0 }
