package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// floatFormats are the float types.
var floatFormats = []string{"F32", "F16", "BF16"}

// genFloat writes the kernel of a float type for a number of tokens: one fused
// multiply-add a weight and token, in the order of the columns.
func genFloat(t target, format string, tokens int) {
	k := newTile(t, format, tokens)
	acc := k.grid(tokens)
	acc.each(func(_, _ int, v VecVirtual) { k.zero(v) })
	size := 32
	if format == "F32" {
		size = 64
	}
	const unroll = 4
	SUBQ(Imm(unroll), k.n)
	JB(LabelRef(k.label("rest")))
	Label(k.label("four"))
	k.prefetch(k.w, unroll*size)
	for i := range unroll {
		k.column(acc, format, i*size, 4*i)
	}
	ADDQ(U32(uint32(unroll*size)), k.w)
	ADDQ(Imm(4*unroll), k.a)
	SUBQ(Imm(unroll), k.n)
	JAE(LabelRef(k.label("four")))
	Label(k.label("rest"))
	ADDQ(Imm(unroll), k.n)
	JZ(LabelRef(k.label("done")))
	Label(k.label("one"))
	k.column(acc, format, 0, 0)
	ADDQ(Imm(uint64(size)), k.w)
	ADDQ(Imm(4), k.a)
	DECQ(k.n)
	JNZ(LabelRef(k.label("one")))
	Label(k.label("done"))
	k.finish(&store{tile: k, regs: acc})
}

// column adds the products of the column at disp and act to acc.
func (k *tile) column(acc grid, format string, disp, act int) {
	w := make([]VecVirtual, k.parts())
	for h := range w {
		w[h] = k.vec()
		switch format {
		case "F32":
			k.load(Mem{Base: k.w, Disp: disp + h*k.bytes()}, w[h])
		case "F16":
			VCVTPH2PS(Mem{Base: k.w, Disp: disp + h*k.bytes()/2}, w[h])
		case "BF16":
			VPMOVZXWD(Mem{Base: k.w, Disp: disp + h*k.bytes()/2}, w[h])
			VPSLLD(Imm(16), w[h], w[h])
		}
	}
	for n := range k.tokens {
		x := k.act(k.a, n, act)
		if k.evex {
			VFMADD231PS_BCST(x, w[0], acc[0][n])
			continue
		}
		v := k.vec()
		VBROADCASTSS(x, v)
		for h := range w {
			VFMADD231PS(w[h], v, acc[h][n])
		}
	}
}
