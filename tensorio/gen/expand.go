package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// expandedTokens is the tile of the kernels that take expanded codes.
const expandedTokens = 6

// expandedBytes is the length of two expanded blocks of 16 rows.
func (f blockFormat) expandedBytes() int { return 2 * 8 * 64 }

// expandedBytes is the length of an expanded block of 16 rows.
func (f superFormat) expandedBytes() int { return 8 * 8 * 64 }

// genExpandedBlock writes the function that expands the codes of a format, and
// the kernel that multiplies them: for a prompt of many tokens the codes are
// taken apart once. A line of 64 bytes has four codes of each of 16 rows.
func genExpandedBlock(t target, f blockFormat) {
	newExpansion(t, f.name, f.head+2*f.codeBytes(), f.expandedBytes(), func(e *expansion) {
		for b := range 2 {
			e.bytes8(source{w: e.w, codes: f.head + b*f.codeBytes(), bits: f.bits}, b*f.expandedBytes()/2)
		}
	})
	newExpandedTile(t, f.name, expandedTokens).blocks(f)
}

// genExpandedSuper is genExpandedBlock for a K-quant.
func genExpandedSuper(t target, f superFormat) {
	newExpansion(t, f.name, f.head+8*64*f.bits, f.expandedBytes(), func(e *expansion) {
		for b := range 8 {
			e.bytes8(source{w: e.w, codes: f.head + b*64*f.bits, bits: f.bits}, b*8*64)
		}
	})
	newExpandedTile(t, f.name, expandedTokens).supers(f)
}

// genExpandedValues is genExpandedBlock for a format whose codes stand for
// numbers: these are looked up once.
func genExpandedValues(t target, f valueFormat) {
	newExpansion(t, f.name, valueHead+2*valueCodeBytes, 2*8*64, func(e *expansion) {
		for b := range 2 {
			e.numbers(source{w: e.w, codes: valueHead + b*valueCodeBytes, bits: 4}, f.values, b*8*64)
		}
	})
	newExpandedTile(t, f.name, expandedTokens).valueBlocks(f, nil)
}

// genExpandedSmall is genExpandedValues for a type of 256-blocks.
func genExpandedSmall(t target, f smallFormat) {
	head := smallScales + f.scaling.bytes()
	newExpansion(t, f.name, head+8*64*f.bits, f.expandedBytes(), func(e *expansion) {
		for b := range 8 {
			e.numbers(source{w: e.w, codes: head + b*64*f.bits, bits: f.bits}, f.values, b*8*64)
		}
	})
	newExpandedTile(t, f.name, expandedTokens).smalls(f, nil)
}

// expandedBytes is the length of an expanded block of 16 rows.
func (f smallFormat) expandedBytes() int { return 8 * 8 * 64 }

// An expansion is a function under construction that expands codes.
type expansion struct {
	*tile
}

// newExpansion writes func(w, x *byte, n uint64), which expands n units.
func newExpansion(t target, format string, unitBytes, expandedBytes int, unit func(e *expansion)) {
	k := &tile{target: t, held: held{}, tokens: 1, name: "expand" + t.name + format}
	TEXT(k.name, NOSPLIT, "func(w, x *byte, n uint64)")
	Pragma("noescape")
	Doc(k.name + " expands the codes of n units of a panel of " + format + ".")
	k.w, k.x, k.n = Load(Param("w"), GP64()), Load(Param("x"), GP64()), Load(Param("n"), GP64())
	Label(k.label("unit"))
	unit(&expansion{k})
	ADDQ(U32(uint32(unitBytes)), k.w)
	ADDQ(U32(uint32(expandedBytes)), k.x)
	DECQ(k.n)
	JNZ(LabelRef(k.label("unit")))
	VZEROUPPER()
	RET()
}

// bytes8 expands the codes of 32 columns to bytes.
func (e *expansion) bytes8(s source, at int) {
	for g := range 8 {
		for h := range e.parts() {
			e.move(e.codes(s, g, h), Mem{Base: e.x, Disp: at + g*64 + h*e.tile.bytes()})
		}
	}
}

// numbers expands the codes of 32 columns to the numbers that they stand for.
func (e *expansion) numbers(s source, v values, at int) {
	table := e.table(v)
	for g := range 8 {
		for h := range e.parts() {
			e.move(e.lookup(table, e.smallCodes(s, g, h)), Mem{Base: e.x, Disp: at + g*64 + h*e.tile.bytes()})
		}
	}
}
