package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// genFloat writes the kernel of a float type for a number of tokens: one fused
// multiply-add a weight and token, in the order of the columns.
func genFloat(t target, format string, tokens int) {
	k := newTile(t, format, tokens)
	acc := k.grid(tokens)
	acc.each(func(_, _ int, v VecVirtual) { VPXOR(v, v, v) })
	size := 32
	if format == "F32" {
		size = 64
	}
	const unroll = 4
	step := func(i int) {
		w := make([]VecVirtual, k.parts())
		for h := range w {
			w[h] = k.vec()
			at := Mem{Base: k.w, Disp: i*size + h*size/k.parts()}
			switch format {
			case "F32":
				VMOVUPS(at, w[h])
			case "F16":
				VCVTPH2PS(at, w[h])
			case "BF16":
				VPMOVZXWD(at, w[h])
				VPSLLD(Imm(16), w[h], w[h])
			}
		}
		for n := range tokens {
			v := k.vec()
			VBROADCASTSS(k.act(k.a, n, 4*i), v)
			for h := range w {
				VFMADD231PS(w[h], v, acc[h][n])
			}
		}
	}
	SUBQ(Imm(unroll), k.n)
	JB(LabelRef(k.label("rest")))
	Label(k.label("four"))
	if tokens == 1 {
		for off := 0; off < unroll*size; off += 64 {
			PREFETCHT0(Mem{Base: k.w, Disp: off + prefetchBytes})
		}
	}
	for i := range unroll {
		step(i)
	}
	ADDQ(U32(uint32(unroll*size)), k.w)
	ADDQ(Imm(4*unroll), k.a)
	SUBQ(Imm(unroll), k.n)
	JAE(LabelRef(k.label("four")))
	Label(k.label("rest"))
	ADDQ(Imm(unroll), k.n)
	JZ(LabelRef(k.label("done")))
	Label(k.label("one"))
	step(0)
	ADDQ(Imm(uint64(size)), k.w)
	ADDQ(Imm(4), k.a)
	DECQ(k.n)
	JNZ(LabelRef(k.label("one")))
	Label(k.label("done"))
	k.finish(&store{tile: k, regs: acc})
}
