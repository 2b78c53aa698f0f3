package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

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

// A tile is a kernel under construction: one panel with some tokens.
type tile struct {
	target
	held    held
	tokens  int
	name    string
	w, a, n Register              // weights, activations of token 0, units left
	x       Register              // expanded codes, if they are not taken from the weights
	lines   map[[3]int]VecVirtual // lines of codes in registers: offset, line, part
	strides map[int]Register      // bytes between tokens, times an odd number

	scratch    Register // aligned memory of the stack, unless all fits registers
	used, room int      // bytes of scratch
}

// newTile starts a function that multiplies packed weights.
//
//	func(w, a *byte, stride uint64, y *float32, ldy uint64, tail *int32, n uint64)
//
// stride and ldy are in bytes, tail is a mask of rows or nil for all of them.
func newTile(t target, format string, tokens int) *tile {
	k := &tile{target: t, held: held{}, tokens: tokens, name: fmt.Sprintf("mul%s%sx%d", t.name, format, tokens)}
	TEXT(k.name, 0, "func(w, a *byte, stride uint64, y *float32, ldy uint64, tail *int32, n uint64)")
	k.prologue(format)
	return k
}

// newExpandedTile starts a function that takes the codes from x, as expand
// wrote them, and the scales from w.
func newExpandedTile(t target, format string, tokens int) *tile {
	k := &tile{target: t, held: held{}, tokens: tokens, name: fmt.Sprintf("mul%s%sExpandedx%d", t.name, format, tokens)}
	TEXT(k.name, 0, "func(w, x, a *byte, stride uint64, y *float32, ldy uint64, tail *int32, n uint64)")
	k.prologue(format)
	k.x = Load(Param("x"), GP64())
	return k
}

// prologue documents the function, loads its arguments and finds its scratch
// memory.
func (k *tile) prologue(format string) {
	Pragma("noescape")
	Doc(fmt.Sprintf("%s multiplies a panel of %s with %d tokens.", k.name, format, k.tokens))
	k.w = Load(Param("w"), GP64())
	k.a = Load(Param("a"), GP64())
	k.n = Load(Param("n"), GP64())
	k.strides = map[int]Register{}
	if k.tokens > 1 {
		k.strides[1] = Load(Param("stride"), GP64())
	}
	for odd := 3; odd < k.tokens; odd += 2 {
		s, twice := GP64(), k.strides[1]
		k.strides[odd] = s
		if odd <= 5 { // 3 = 1 + 2, 5 = 1 + 4
			LEAQ(Mem{Base: twice, Index: twice, Scale: uint8(odd - 1)}, s)
		} else {
			LEAQ(Mem{Base: k.strides[odd-2], Index: twice, Scale: 2}, s)
		}
	}
	if !k.inRegisters() {
		k.room = 3 * k.parts() * k.tokens * k.bytes()
		local := AllocLocal(k.room + 64)
		k.scratch = GP64()
		LEAQ(local, k.scratch)
		ADDQ(Imm(63), k.scratch)
		ANDQ(I8(-64), k.scratch)
	}
}

// inRegisters reports whether there are registers for all stores.
func (k *tile) inRegisters() bool { return k.evex || k.tokens <= 2 }

// label returns a label of this function.
func (k *tile) label(s string) string { return k.name + "_" + s }

// act returns the address of a token's activations, disp bytes from at.
func (k *tile) act(at Register, token, disp int) Mem {
	m := Mem{Base: at, Disp: disp}
	if token > 0 {
		power := token & -token
		m.Index, m.Scale = k.strides[token/power], uint8(power)
	}
	return m
}

// prefetch asks for the weights that a kernel of few tokens will want, which
// waits for memory. With 2, 3 and 4 tokens it reads 1.4, 1.3 and 1.2 times as fast
// from there (Zen 3, Q8_0, Q4_0, Q4_K). More tokens wait for arithmetic.
func (k *tile) prefetch(w Register, n int) {
	if k.tokens > 4 {
		return
	}
	for off := 0; off < n; off += 64 {
		PREFETCHT0(Mem{Base: w, Disp: off + prefetchBytes})
	}
}

// prefetchBytes is how far ahead of a decode kernel weights are asked for. Of a
// Zen 3's 20.7 GB/s a kernel gets 10 to 13 without, 17 to 19 with 1 to 2 KiB
// (BenchmarkMulFromMemory, Q4_1, Q8_0, Q4_K).
const prefetchBytes = 2048

// finish writes the outputs and ends the function.
func (k *tile) finish(acc *store) {
	if k.used > k.room {
		panic("scratch is too small")
	}
	y, ldy, tail := Load(Param("y"), GP64()), Load(Param("ldy"), GP64()), Load(Param("tail"), GP64())
	TESTQ(tail, tail)
	JNZ(LabelRef(k.label("tail")))
	k.output(acc, y, ldy, nil)
	Label(k.label("tail"))
	masks := make([]Op, k.parts())
	for h := range masks {
		m := k.vec()
		k.load(Mem{Base: tail, Disp: h * k.bytes()}, m)
		masks[h] = m
		if k.evex {
			masks[h] = K()
			VPMOVD2M(m, masks[h])
		}
	}
	k.output(acc, y, ldy, masks)
}

// output writes the rows of masks, or all, and returns.
func (k *tile) output(acc *store, y, ldy Register, masks []Op) {
	at := GP64()
	MOVQ(y, at)
	for n := range k.tokens {
		for h := range k.parts() {
			v, to := acc.get(h, n), Mem{Base: at, Disp: h * k.bytes()}
			switch {
			case masks == nil:
				VMOVUPS(v, to)
			case k.evex:
				VMOVUPS(v, masks[h], to)
			default:
				VMASKMOVPS(v, masks[h], to)
			}
		}
		if n < k.tokens-1 {
			ADDQ(ldy, at)
		}
	}
	VZEROUPPER()
	RET()
}
