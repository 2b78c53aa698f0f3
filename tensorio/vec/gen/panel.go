package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// An element is what panels are made of.
type element struct {
	name, goType string
	bytes        int
	load         func(t target, m Mem) VecVirtual // a vector of them
}

var elements = []element{
	{"F32", "float32", 4, target.loadFloats},
	{"F16", "uint16", 2, func(t target, m Mem) VecVirtual {
		y := t.vec()
		VCVTPH2PS(m, y)
		return y
	}},
	{"I8", "int8", 1, func(t target, m Mem) VecVirtual {
		y := t.vec()
		VPMOVSXBD(m, y)
		VCVTDQ2PS(y, y)
		return y
	}},
}

// strided is rows that lie stride apart: two registers address six of them.
type strided struct{ base, base3, stride Register }

// newStrided takes a pointer and a stride in float32.
func newStrided(name, stride string, rows int) strided {
	s := strided{base: ptr(name), stride: ptr(stride)}
	SHLQ(Imm(2), s.stride)
	if rows > 3 {
		s.base3 = GP64()
		s.third()
	}
	return s
}

// third makes base3 follow base.
func (s strided) third() {
	if s.base3 != nil {
		LEAQ(Mem{Base: s.base, Index: s.stride, Scale: 2}, s.base3)
		ADDQ(s.stride, s.base3)
	}
}

// advance moves all rows.
func (s strided) advance(bytes int) {
	ADDQ(U32(uint32(bytes)), s.base)
	if s.base3 != nil {
		ADDQ(U32(uint32(bytes)), s.base3)
	}
}

func (s strided) row(r, disp int) Mem {
	m := Mem{Base: s.base, Disp: disp}
	if r >= 3 {
		m.Base, r = s.base3, r-3
	}
	if r > 0 {
		m.Index, m.Scale = s.stride, uint8(r)
	}
	return m
}

// panelUnroll is how many steps of depth one round of the inner loop takes.
const panelUnroll = 4

// panelShapes returns the numbers of rows and panels of a kernel: what the
// registers of the target hold, with enough sums under way.
func (t target) panelShapes(e element) [][2]int {
	shapes := [][2]int{{1, 1}, {1, 2}, {2, 2}, {3, 2}, {4, 1}}
	switch {
	case t.wide():
		shapes = append(shapes, [2]int{4, 2}, [2]int{6, 1}, [2]int{6, 2})
	case e.name == "F32":
		shapes = append(shapes, [2]int{6, 1})
	}
	return shapes
}

// genPanels writes the product of some rows with panels, pans of them at a
// time, of one b after the other. All sums stay in registers while the depth
// passes.
func (t target) genPanels(e element, rows, pans int) {
	name := fmt.Sprintf("panels%sx%dx%d%s", e.name, rows, pans, t.name)
	begin(name, "c *float32, cStride int, a *float32, aStride int, b *[]"+e.goType+", off, count, bStride, depth, panels, add, deep, gap int)",
		fmt.Sprintf("%s is panels%sRef for %d rows and a multiple of %d panels, above 0, that begin off elements into count slices from b on; add and deep are 0 or 1. "+
			"It loads the next slice into the cache, and after the last what lies gap bytes from it.", name, e.name, rows, pans))
	c, a := newStrided("c", "cStride", rows), newStrided("a", "aStride", rows)
	b, bStride, panels, gap := GP64(), ptr("bStride"), GP64(), GP64()
	if e.bytes > 1 {
		SHLQ(Imm(uint64(e.bytes/2)), bStride) // times 2 or 4
	}
	again := t.nextSlice(e, b, panels, gap)
	next := label("panel")
	Label(next)
	acc := t.panelSums(c, rows, pans)
	Load(Param("a"), a.base)
	a.third()
	at := []Register{GP64()}
	MOVQ(b, at[0])
	if pans == 2 {
		at = append(at, GP64())
		LEAQ(Mem{Base: b, Index: bStride, Scale: 1}, at[1])
	}
	t.panelDepth(e, acc, a, at, gap)
	for r := range acc {
		for i, y := range acc[r] {
			VMOVUPS(y, c.row(r, 4*t.width*i))
		}
	}
	c.advance(4 * lanes * pans)
	for range pans {
		ADDQ(bStride, b)
	}
	SUBQ(Imm(uint64(pans)), panels)
	JG(LabelRef(next))
	done := label("done")
	SUBQ(Imm(1), slot("count"))
	JZ(LabelRef(done))
	ADDQ(Imm(sliceBytes), slot("b"))
	CMPQ(slot("deep"), Imm(0))
	JE(LabelRef(again)) // c has gone on
	MOVQ(U32(1), slot("add"))
	depth, back := ptr("depth"), ptr("panels")
	SHLQ(Imm(2), depth)
	ADDQ(depth, slot("a"))
	SHLQ(Imm(6), back) // 64 bytes of c for each panel
	SUBQ(back, c.base)
	c.third()
	JMP(LabelRef(again))
	Label(done)
	end()
}

// sliceBytes is the size of the header of a slice, which begins with its pointer.
const sliceBytes = 24

// slot addresses a parameter, which the function may change.
func slot(name string) Mem {
	m, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return m.Addr
}

// nextSlice begins with the slice that parameter b points to, and returns a label
// of that.
func (t target) nextSlice(e element, b, panels, gap Register) string {
	again, last := label("slice"), label("last")
	Label(again)
	header := ptr("b")
	MOVQ(Mem{Base: header}, b)
	Load(Param("gap"), gap)
	CMPQ(slot("count"), Imm(1))
	JE(LabelRef(last))
	MOVQ(Mem{Base: header, Disp: sliceBytes}, gap)
	SUBQ(b, gap)
	Label(last)
	off := ptr("off")
	LEAQ(Mem{Base: b, Index: off, Scale: uint8(e.bytes)}, b)
	Load(Param("panels"), panels)
	return again
}

// panelSums returns the sums of some panels as they begin: 0, or what c holds.
func (t target) panelSums(c strided, rows, pans int) [][]VecVirtual {
	acc := make([][]VecVirtual, rows)
	for r := range acc {
		for range pans {
			acc[r] = append(acc[r], t.zeros()...)
		}
	}
	from0 := label("from0")
	CMPQ(slot("add"), Imm(0))
	JE(LabelRef(from0))
	for r := range acc {
		for i, y := range acc[r] {
			VMOVUPS(c.row(r, 4*t.width*i), y)
		}
	}
	Label(from0)
	return acc
}

// panelDepth passes the depth of some panels, which begin at at.
func (t target) panelDepth(e element, acc [][]VecVirtual, a strided, at []Register, gap Register) {
	loop, rest, one, done := label("loop"), label("rest"), label("one"), label("depth")
	left := ptr("depth")
	advance := func(n int) {
		a.advance(4 * n)
		for _, p := range at {
			ADDQ(U32(uint32(n*lanes*e.bytes)), p)
		}
	}
	SUBQ(Imm(panelUnroll), left)
	JL(LabelRef(rest))
	Label(loop)
	for _, p := range at {
		for line := 0; line < panelUnroll*lanes*e.bytes; line += 64 {
			PREFETCHT0(Mem{Base: p, Index: gap, Scale: 1, Disp: line})
		}
	}
	for u := range panelUnroll {
		t.panelStep(e, acc, a, at, u)
	}
	advance(panelUnroll)
	SUBQ(Imm(panelUnroll), left)
	JGE(LabelRef(loop))
	Label(rest)
	ADDQ(Imm(panelUnroll), left)
	JZ(LabelRef(done))
	Label(one)
	t.panelStep(e, acc, a, at, 0)
	advance(1)
	DECQ(left)
	JNZ(LabelRef(one))
	Label(done)
}

// panelStep does step u of depth. Whichever of a and b takes fewer registers
// is held while the other passes.
func (t target) panelStep(e element, acc [][]VecVirtual, a strided, b []Register, u int) {
	element := func(i int) VecVirtual { // vector i of the panels
		per := t.parts()
		return e.load(t, Mem{Base: b[i/per], Disp: (per*u + i%per) * t.width * e.bytes})
	}
	weight := func(r int) VecVirtual {
		y := t.vec()
		VBROADCASTSS(a.row(r, 4*u), y)
		return y
	}
	if len(b) == 1 {
		var parts []VecVirtual
		for i := range acc[0] {
			parts = append(parts, element(i))
		}
		for r := range acc {
			w := weight(r)
			for i, y := range parts {
				VFMADD231PS(y, w, acc[r][i])
			}
		}
		return
	}
	w := make([]VecVirtual, len(acc))
	for r := range w {
		w[r] = weight(r)
	}
	for i := range acc[0] {
		y := element(i)
		for r := range acc {
			VFMADD231PS(y, w[r], acc[r][i])
		}
	}
}
