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
	load         func(m Mem) VecVirtual // 8 of them
}

var elements = []element{
	{"F32", "float32", 4, func(m Mem) VecVirtual { return load(m) }},
	{"F16", "uint16", 2, func(m Mem) VecVirtual {
		y := YMM()
		VCVTPH2PS(m, y)
		return y
	}},
	{"I8", "int8", 1, func(m Mem) VecVirtual {
		y := YMM()
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

// genPanels writes the product of some rows with panels, pans of them at a
// time. All sums stay in registers while the depth passes.
func genPanels(e element, rows, pans int) {
	name := fmt.Sprintf("panels%sx%dx%dAVX2", e.name, rows, pans)
	begin(name, "c *float32, cStride int, a *float32, aStride int, b *"+e.goType+", bStride, depth, panels, add int)",
		fmt.Sprintf("%s is panels%sRef for %d rows and a multiple of %d panels, above 0; add is 0 or 1.", name, e.name, rows, pans))
	c, a := newStrided("c", "cStride", rows), newStrided("a", "aStride", rows)
	b, bStride, panels := ptr("b"), ptr("bStride"), ptr("panels")
	if e.bytes > 1 {
		SHLQ(Imm(uint64(e.bytes/2)), bStride) // times 2 or 4
	}
	acc := make([][]VecVirtual, rows)
	next, from0, rest, one, done := label("panel"), label("from0"), label("rest"), label("one"), label("done")
	Label(next)
	for r := range acc {
		acc[r] = make([]VecVirtual, 2*pans)
		for i := range acc[r] {
			acc[r][i] = zero()
		}
	}
	addTo := ptr("add")
	TESTQ(addTo, addTo)
	JZ(LabelRef(from0))
	for r := range acc {
		for i, y := range acc[r] {
			VMOVUPS(c.row(r, 4*width*i), y)
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
			ADDQ(U32(uint32(n*2*width*e.bytes)), p)
		}
	}
	loop := label("loop")
	SUBQ(Imm(panelUnroll), left)
	JL(LabelRef(rest))
	Label(loop)
	for u := range panelUnroll {
		panelStep(e, acc, a, at, u)
	}
	advance(panelUnroll)
	SUBQ(Imm(panelUnroll), left)
	JGE(LabelRef(loop))
	Label(rest)
	ADDQ(Imm(panelUnroll), left)
	JZ(LabelRef(done))
	Label(one)
	panelStep(e, acc, a, at, 0)
	advance(1)
	DECQ(left)
	JNZ(LabelRef(one))
	Label(done)
	for r := range acc {
		for i, y := range acc[r] {
			VMOVUPS(y, c.row(r, 4*width*i))
		}
	}
	c.advance(8 * width * pans)
	for range pans {
		ADDQ(bStride, b)
	}
	SUBQ(Imm(uint64(pans)), panels)
	JG(LabelRef(next))
	end()
}

// panelStep does step u of depth. Whichever of a and b takes fewer registers
// is held while the other passes.
func panelStep(e element, acc [][]VecVirtual, a strided, b []Register, u int) {
	element := func(i int) VecVirtual { // vector i of the panels
		return e.load(Mem{Base: b[i/2], Disp: (2*u + i%2) * width * e.bytes})
	}
	weight := func(r int) VecVirtual {
		y := YMM()
		VBROADCASTSS(a.row(r, 4*u), y)
		return y
	}
	if len(b) == 1 {
		lo, hi := element(0), element(1)
		for r := range acc {
			w := weight(r)
			VFMADD231PS(lo, w, acc[r][0])
			VFMADD231PS(hi, w, acc[r][1])
		}
		return
	}
	w := make([]VecVirtual, len(acc))
	for r := range w {
		w[r] = weight(r)
	}
	for i := range 2 * len(b) {
		y := element(i)
		for r := range acc {
			VFMADD231PS(y, w[r], acc[r][i])
		}
	}
}
