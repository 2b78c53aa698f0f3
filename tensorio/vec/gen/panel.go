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
// time. All sums stay in registers while the depth passes.
func (t target) genPanels(e element, rows, pans int) {
	name := fmt.Sprintf("panels%sx%dx%d%s", e.name, rows, pans, t.name)
	begin(name, "c *float32, cStride int, a *float32, aStride int, b *"+e.goType+", bStride, depth, panels, add, gap int)",
		fmt.Sprintf("%s is panels%sRef for %d rows and a multiple of %d panels, above 0; add is 0 or 1. It loads what lies gap bytes from b into the cache.", name, e.name, rows, pans))
	c, a := newStrided("c", "cStride", rows), newStrided("a", "aStride", rows)
	b, bStride, panels, gap := ptr("b"), ptr("bStride"), ptr("panels"), ptr("gap")
	if e.bytes > 1 {
		SHLQ(Imm(uint64(e.bytes/2)), bStride) // times 2 or 4
	}
	acc := make([][]VecVirtual, rows)
	next, from0, rest, one, done := label("panel"), label("from0"), label("rest"), label("one"), label("done")
	Label(next)
	for r := range acc {
		for range pans {
			acc[r] = append(acc[r], t.zeros()...)
		}
	}
	addTo := ptr("add")
	TESTQ(addTo, addTo)
	JZ(LabelRef(from0))
	for r := range acc {
		for i, y := range acc[r] {
			VMOVUPS(c.row(r, 4*t.width*i), y)
		}
	}
	Label(from0)
	Load(Param("a"), a.base)
	a.third()
	at := []Register{GP64()}
	MOVQ(b, at[0])
	if pans == 2 {
		at = append(at, GP64())
		LEAQ(Mem{Base: b, Index: bStride, Scale: 1}, at[1])
	}
	left := ptr("depth")
	advance := func(n int) {
		a.advance(4 * n)
		for _, p := range at {
			ADDQ(U32(uint32(n*lanes*e.bytes)), p)
		}
	}
	loop := label("loop")
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
	end()
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
