package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// A target is an instruction set at a vector width. Everything that one does
// differently is decided here; the rest of the generator knows vectors only.
type target struct {
	form  string // its name in package quant
	name  string // its name in functions
	lanes int    // 32-bit lanes of a vector: rows that a vector holds

	// vnni says that VPDPBUSD and VPDPWSSD multiply and add in 32 bits. Without
	// it products of bytes are added up in 16 bits and widened in time.
	vnni bool

	// evex says that this is AVX-512 (F, BW, DQ, VL): 32 registers, masks, and
	// operands broadcast from memory.
	evex bool

	// expand says that taking codes apart costs so much that for many tokens it
	// is done once, beforehand.
	expand bool

	// Numbers of tokens that kernels exist for.
	blockTiles, superTiles, floatTiles []int
}

// targets are the instruction sets that kernels are written for.
var targets = []target{
	{
		form: "avx2", name: "AVX2", lanes: 8, expand: true,
		blockTiles: []int{1, 2, 3, 4, 6}, superTiles: []int{1, 2, 3, 4, 6}, floatTiles: []int{1, 2, 3, 4, 6},
	},
	{
		form: "avxvnni", name: "AVXVNNI", lanes: 8, vnni: true,
		blockTiles: []int{1, 2, 3, 4, 6}, superTiles: []int{1, 2, 3, 4, 6},
	},
	{
		form: "avx512", name: "AVX512", lanes: 16, vnni: true, evex: true,
		blockTiles: []int{1, 2, 3, 4, 6, 8, 12}, superTiles: []int{1, 2, 3, 4, 6, 8}, floatTiles: []int{1, 2, 3, 4, 6, 8, 12},
	},
}

// panelRows is the number of rows of a panel.
const panelRows = 16

// parts returns how many vectors hold a value of each row of a panel.
func (t target) parts() int { return panelRows / t.lanes }

// bytes returns the length of a vector.
func (t target) bytes() int { return 4 * t.lanes }

// vec returns a new vector register.
func (t target) vec() VecVirtual {
	if t.lanes == 16 {
		return ZMM()
	}
	return YMM()
}

// zero clears v.
func (t target) zero(v VecVirtual) {
	if !t.evex {
		VPXOR(v, v, v)
		return
	}
	i, err := x86.VPXORD(v, v, v)
	if err != nil {
		panic(err) // there is such an instruction
	}
	i.CancellingInputs = true // avo knows that of VPXOR only, and would keep v's old value
	Instruction(i)
}

// and sets to to v AND mask.
func (t target) and(mask Op, v, to VecVirtual) {
	if t.evex {
		VPANDD(mask, v, to)
	} else {
		VPAND(mask, v, to)
	}
}

// merge sets to to itself OR (v AND mask); v is lost.
func (t target) merge(mask Op, v, to VecVirtual) {
	if t.evex {
		const orAnd = 0xf8 // to OR (v AND mask), to being the highest bit of the index
		VPTERNLOGD(Imm(orAnd), mask, v, to)
		return
	}
	VPAND(mask, v, v)
	VPOR(v, to, to)
}

// load reads a vector, of any alignment and any kind of elements.
func (t target) load(at Mem, to VecVirtual) { VMOVUPS(at, to) }

// move copies a vector between registers and aligned memory.
func (t target) move(from, to Op) { VMOVAPS(from, to) }

// dotBytes adds the products of unsigned bytes with signed bytes, four in each
// lane, to 32-bit sums.
func (t target) dotBytes(signed Op, unsigned, sum VecVirtual) {
	switch {
	case !t.evex:
		vexDot(vexBytes, signed.(VecVirtual), unsigned, sum)
	case IsM32(signed):
		VPDPBUSD_BCST(signed, unsigned, sum)
	default:
		VPDPBUSD(signed, unsigned, sum)
	}
}

// dotWords adds the products of signed 16-bit numbers, two in each lane, to
// 32-bit sums.
func (t target) dotWords(a Op, w, sum VecVirtual) {
	switch {
	case !t.evex:
		vexDot(vexWords, a.(VecVirtual), w, sum)
	case IsM32(a):
		VPDPWSSD_BCST(a, w, sum)
	default:
		VPDPWSSD(a, w, sum)
	}
}
