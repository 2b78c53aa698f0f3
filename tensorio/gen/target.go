package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A target is an instruction set at a vector width. Everything that a further
// one does differently has its place here or asks here: AVX-512 has lanes 16,
// and with VNNI one instruction for multiply, widen.
type target struct {
	name  string
	lanes int // 32-bit lanes of a vector: rows that a vector holds
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

// A grid is a vector for each part of a panel and token.
type grid [][]VecVirtual

func (t target) grid(tokens int) grid {
	g := make(grid, t.parts())
	for h := range g {
		for range tokens {
			g[h] = append(g[h], t.vec())
		}
	}
	return g
}

// each calls f for every part and token.
func (g grid) each(f func(h, n int, v VecVirtual)) {
	for h := range g {
		for n, v := range g[h] {
			f(h, n, v)
		}
	}
}

// A store is a grid that lives over many blocks: in registers if there are
// enough, in aligned scratch memory otherwise.
type store struct {
	regs grid
	base Register
	disp int
	tile *tile
}

func (k *tile) store() *store {
	s := &store{tile: k}
	if k.tokens <= 2 {
		s.regs = k.grid(k.tokens)
		return s
	}
	s.base, s.disp = k.scratch, k.used
	k.used += k.parts() * k.tokens * k.bytes()
	return s
}

// mem returns where an element of a store in memory lives.
func (s *store) mem(h, n int) Mem {
	return Mem{Base: s.base, Disp: s.disp + (h*s.tile.tokens+n)*s.tile.bytes()}
}

// zero clears the store.
func (s *store) zero() {
	if s.regs != nil {
		s.regs.each(func(_, _ int, v VecVirtual) { VPXOR(v, v, v) })
		return
	}
	z := s.tile.vec()
	VPXOR(z, z, z)
	for h := range s.tile.parts() {
		for n := range s.tile.tokens {
			VMOVDQA(z, s.mem(h, n))
		}
	}
}

// set makes an element v.
func (s *store) set(h, n int, v VecVirtual) {
	if s.regs != nil {
		VMOVDQA(v, s.regs[h][n])
	} else {
		VMOVDQA(v, s.mem(h, n))
	}
}

// addInt adds v to an element; v is lost.
func (s *store) addInt(h, n int, v VecVirtual) {
	if s.regs != nil {
		VPADDD(v, s.regs[h][n], s.regs[h][n])
		return
	}
	VPADDD(s.mem(h, n), v, v)
	VMOVDQA(v, s.mem(h, n))
}

// multiplyAdd makes an element v*d + itself. v is lost; for a store in memory
// the result is in v, and in memory only if keep.
func (s *store) multiplyAdd(h, n int, v, d VecVirtual, keep bool) {
	if s.regs != nil {
		VFMADD231PS(v, d, s.regs[h][n])
		return
	}
	VFMADD213PS(s.mem(h, n), d, v)
	if keep {
		VMOVDQA(v, s.mem(h, n))
	}
}

// change lets f change an element in a register.
func (s *store) change(h, n int, f func(v VecVirtual)) {
	if s.regs != nil {
		f(s.regs[h][n])
		return
	}
	v := s.tile.vec()
	VMOVDQA(s.mem(h, n), v)
	f(v)
	VMOVDQA(v, s.mem(h, n))
}

// A tile is a kernel under construction: one panel with some tokens.
type tile struct {
	target
	tokens     int
	name       string
	w, a, n    Register // weights, activations of token 0, units left
	s, s3, s5  Register // bytes between tokens, times 1, 3, 5
	scratch    Register
	used, room int // bytes of scratch
}

// newTile starts a function.
//
//	func(w, a *byte, stride uint64, y *float32, ldy uint64, tail *int32, n uint64)
//
// stride and ldy are in bytes, tail is a mask of rows or nil for all of them.
func newTile(t target, format string, tokens int) *tile {
	k := &tile{target: t, tokens: tokens, name: fmt.Sprintf("mul%s%sx%d", t.name, format, tokens)}
	TEXT(k.name, 0, "func(w, a *byte, stride uint64, y *float32, ldy uint64, tail *int32, n uint64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies a panel of %s with %d tokens.", k.name, format, tokens))
	k.w = Load(Param("w"), GP64())
	k.a = Load(Param("a"), GP64())
	k.n = Load(Param("n"), GP64())
	if tokens > 1 {
		k.s = Load(Param("stride"), GP64())
	}
	if tokens > 3 {
		k.s3 = GP64()
		LEAQ(Mem{Base: k.s, Index: k.s, Scale: 2}, k.s3)
	}
	if tokens > 5 {
		k.s5 = GP64()
		LEAQ(Mem{Base: k.s, Index: k.s, Scale: 4}, k.s5)
	}
	if tokens > 2 {
		k.room = 3 * k.parts() * tokens * k.bytes()
		local := AllocLocal(k.room + 64)
		k.scratch = GP64()
		LEAQ(local, k.scratch)
		ADDQ(Imm(63), k.scratch)
		ANDQ(I8(-64), k.scratch)
	}
	return k
}

// label returns a label of this function.
func (k *tile) label(s string) string { return k.name + "_" + s }

// act returns the address of a token's activations, disp bytes from at.
func (k *tile) act(at Register, token, disp int) Mem {
	m := Mem{Base: at, Disp: disp}
	switch token {
	case 1, 2, 4:
		m.Index, m.Scale = k.s, uint8(token)
	case 3:
		m.Index, m.Scale = k.s3, 1
	case 5:
		m.Index, m.Scale = k.s5, 1
	}
	return m
}

// finish writes the outputs and ends the function.
func (k *tile) finish(acc *store) {
	if k.used > k.room {
		panic("scratch is too small")
	}
	y, ldy, tail := Load(Param("y"), GP64()), Load(Param("ldy"), GP64()), Load(Param("tail"), GP64())
	TESTQ(tail, tail)
	JNZ(LabelRef(k.label("tail")))
	yy := GP64()
	MOVQ(y, yy)
	out := func(masks []VecVirtual) {
		for n := range k.tokens {
			for h := range k.parts() {
				var v VecVirtual
				if acc.regs != nil {
					v = acc.regs[h][n]
				} else {
					v = k.vec()
					VMOVDQA(acc.mem(h, n), v)
				}
				at := Mem{Base: yy, Disp: h * k.bytes()}
				if masks == nil {
					VMOVUPS(v, at)
				} else {
					VMASKMOVPS(v, masks[h], at)
				}
			}
			if n < k.tokens-1 {
				ADDQ(ldy, yy)
			}
		}
		VZEROUPPER()
		RET()
	}
	out(nil)
	Label(k.label("tail"))
	yy = GP64()
	MOVQ(y, yy)
	var masks []VecVirtual
	for h := range k.parts() {
		m := k.vec()
		VMOVDQU(Mem{Base: tail, Disp: h * k.bytes()}, m)
		masks = append(masks, m)
	}
	out(masks)
}

// constants are vectors in memory, made once.
var constants = map[string]Mem{}

// constant returns a 32-byte vector in memory made of 64-bit words.
func constant(name string, words ...uint64) Mem {
	if m, ok := constants[name]; ok {
		return m
	}
	m := GLOBL(name, 8|16) // RODATA|NOPTR
	for i := range 4 {
		DATA(8*i, U64(words[i%len(words)]))
	}
	constants[name] = m
	return m
}

func nibbleMask() Mem { return constant("nibbles", 0x0f0f0f0f0f0f0f0f) }
func bit4Mask() Mem   { return constant("bit4", 0x1010101010101010) }
func bits45Mask() Mem { return constant("bits45", 0x3030303030303030) }
func evenMask() Mem   { return constant("evens", 0x00ff00ff00ff00ff) }
func signMask() Mem   { return constant("signs", 0x8080808080808080) }
func ones16() Mem     { return constant("ones16", 0x0001000100010001) }
