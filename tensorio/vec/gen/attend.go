package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// genDots writes the scores of some heads with n rows of keys, keys rows at a
// time; heads*keys is 1 or 4.
func genDots(heads, keys int) {
	name := fmt.Sprintf("dotsF16x%dx%dAVX2", heads, keys)
	begin(name, "dst *float32, dstStride int, q *float32, k *uint16, stride, dim, n int, scale float32)",
		fmt.Sprintf("%s computes the scores of %d heads with n rows, a multiple of %d above 0; dim is a multiple of 4.", name, heads, keys))
	dst, stride, dim, n := ptr("dst"), ptr("stride"), ptr("dim"), ptr("n")
	scale := broadcast("scale")
	SHLQ(Imm(1), stride)
	rows := []Register{ptr("k")}
	for len(rows) < keys {
		r := GP64()
		LEAQ(Mem{Base: rows[len(rows)-1], Index: stride, Scale: 1}, r)
		rows = append(rows, r)
	}
	jump := stride
	if keys > 1 {
		jump = GP64()
		MOVQ(stride, jump)
		SHLQ(Imm(uint64(keys/2)), jump) // times 2 or 4
	}
	qs := []Register{ptr("q")}
	for len(qs) < heads {
		r := GP64()
		LEAQ(Mem{Base: qs[len(qs)-1], Index: dim, Scale: 4}, r)
		qs = append(qs, r)
	}
	full, c := GP64(), GP64()
	MOVQ(dim, full)
	ANDQ(I32(-16), full)

	next, loop, rest, fold := label("next"), label("loop"), label("rest"), label("fold")
	Label(next)
	acc := make([][2]VecVirtual, heads*keys) // [head, key]
	for i := range acc {
		acc[i] = [2]VecVirtual{zero(), zero()}
	}
	// step multiplies 8 columns, or 4 and zeros, into one half of the lanes.
	step := func(half, disp int, four bool) {
		vs := make([]VecVirtual, keys)
		for r := range rows {
			vs[r] = YMM()
			m := at16(rows[r], c, disp)
			if four {
				vs[r] = zero() // avo does not know that writing X clears the rest of Y
				VMOVQ(m, vs[r].AsX())
				VCVTPH2PS(vs[r].AsX(), vs[r].AsX())
			} else {
				VCVTPH2PS(m, vs[r])
			}
		}
		for h := range qs {
			if keys == 1 && !four {
				VFMADD231PS(at(qs[h], c, disp), vs[0], acc[h][half])
				continue
			}
			y := YMM()
			if four {
				y = zero()
				VMOVUPS(at(qs[h], c, disp), y.AsX())
			} else {
				VMOVUPS(at(qs[h], c, disp), y)
			}
			for r := range rows {
				VFMADD231PS(vs[r], y, acc[h*keys+r][half])
			}
		}
	}
	XORQ(c, c)
	CMPQ(c, full)
	JGE(LabelRef(rest))
	Label(loop)
	step(0, 0, false)
	step(1, 1, false)
	ADDQ(Imm(16), c)
	CMPQ(c, full)
	JL(LabelRef(loop))
	Label(rest)
	genDotsTail(dim, acc, step, fold)
	Label(fold)
	storeDots(acc, dst, scale, keys)
	ADDQ(Imm(uint64(4*keys)), dst)
	for _, r := range rows {
		ADDQ(jump, r)
	}
	SUBQ(Imm(uint64(keys)), n)
	JG(LabelRef(next))
	end()
}

// genDotsTail handles the 4, 8 or 12 columns after the last 16.
func genDotsTail(dim Register, acc [][2]VecVirtual, step func(half, disp int, four bool), fold string) {
	four, upper := label("four"), label("upper")
	t := GP64()
	MOVQ(dim, t)
	ANDQ(Imm(15), t)
	JZ(LabelRef(fold))
	CMPQ(t, Imm(8))
	JL(LabelRef(four))
	step(0, 0, false)
	CMPQ(t, Imm(12))
	JL(LabelRef(upper))
	step(1, 1, true)
	JMP(LabelRef(fold))
	Label(four)
	step(0, 0, true)
	Label(upper)
	none := zero()
	for i := range acc {
		VADDPS(none, acc[i][1], acc[i][1]) // turns -0 into 0, as the definition does
	}
}

// storeDots folds the lanes of each sum, scales it and stores it.
func storeDots(acc [][2]VecVirtual, dst Register, scale VecVirtual, keys int) {
	if len(acc) == 1 {
		x := fold16(acc[0][0], acc[0][1], add).AsX()
		VMULSS(scale.AsX(), x, x)
		VMOVSS(x, Mem{Base: dst})
		return
	}
	for i := range acc {
		VADDPS(acc[i][1], acc[i][0], acc[i][0])
	}
	pair := func(a, b VecVirtual) VecVirtual { // 8 to 8: [a+a b+b]
		lo, hi := YMM(), YMM()
		VINSERTF128(Imm(1), b.AsX(), a, lo)
		VPERM2F128(Imm(0x31), b, a, hi)
		VADDPS(hi, lo, lo)
		return lo
	}
	ab, cd := pair(acc[0][0], acc[1][0]), pair(acc[2][0], acc[3][0])
	u, v := YMM(), YMM()
	VUNPCKLPD(cd, ab, u)
	VUNPCKHPD(cd, ab, v)
	VADDPS(v, u, u) // [a a c c  b b d d]
	VPERMILPS(Imm(0xb1), u, v)
	VADDPS(v, u, u)
	x, y := u.AsX(), XMM()
	VEXTRACTF128(Imm(1), u, y)
	VBLENDPS(Imm(0b1010), y, x, x) // [a b c d]
	VMULPS(scale.AsX(), x, x)
	if keys == 4 {
		VMOVUPS(x, Mem{Base: dst})
		return
	}
	next := ptr("dstStride")
	row := GP64()
	LEAQ(Mem{Base: dst, Index: next, Scale: 4}, row)
	if keys == 2 {
		VMOVLPS(x, Mem{Base: dst})
		VMOVHPS(x, Mem{Base: row})
		return
	}
	VMOVSS(x, Mem{Base: dst})
	for h := 1; h < 4; h++ {
		VEXTRACTPS(Imm(uint64(h)), x, Mem{Base: row})
		LEAQ(Mem{Base: row, Index: next, Scale: 4}, row)
	}
}

// genAccum writes the weighted sum of rows for some heads: 64 sums are kept in
// registers while all rows pass, then the next columns are done.
func genAccum(heads int) {
	name := fmt.Sprintf("accumF16x%dAVX2", heads)
	begin(name, "dst *float32, p *float32, pStride int, v *uint16, stride, dim, n int)",
		fmt.Sprintf("%s adds n weighted rows to %d heads, n above 0; dim is a multiple of 4.", name, heads))
	dsts, ps := []Register{ptr("dst")}, []Register{ptr("p")}
	stride, left, n, v := ptr("stride"), ptr("dim"), ptr("n"), ptr("v")
	SHLQ(Imm(1), stride)
	if heads == 2 {
		d := GP64()
		LEAQ(Mem{Base: dsts[0], Index: left, Scale: 4}, d)
		dsts = append(dsts, d)
		w := ptr("pStride")
		LEAQ(Mem{Base: ps[0], Index: w, Scale: 4}, w)
		ps = append(ps, w)
	}
	for cols := 64 / heads; cols >= 4; cols /= 2 {
		again, loop, smaller := label("columns"), label("loop"), label("smaller")
		Label(again)
		CMPQ(left, Imm(uint64(cols)))
		JL(LabelRef(smaller))
		accumColumns(cols, dsts, ps, stride, n, v, loop)
		for _, d := range dsts {
			ADDQ(U32(4*cols), d)
		}
		ADDQ(U32(2*cols), v)
		SUBQ(Imm(uint64(cols)), left)
		JMP(LabelRef(again))
		Label(smaller)
	}
	end()
}

func accumColumns(cols int, dsts, ps []Register, stride, n, v Register, loop string) {
	vecs := max(cols/width, 1)
	reg := func(y VecVirtual) Register {
		if cols < width {
			return y.AsX()
		}
		return y
	}
	acc := make([][]VecVirtual, len(dsts))
	for h, d := range dsts {
		for i := range vecs {
			y := YMM()
			VMOVUPS(Mem{Base: d, Disp: 4 * width * i}, reg(y))
			acc[h] = append(acc[h], y)
		}
	}
	row, j := GP64(), GP64()
	MOVQ(v, row)
	XORQ(j, j)
	Label(loop)
	w := make([]VecVirtual, len(ps))
	for h, p := range ps {
		w[h] = YMM()
		VBROADCASTSS(at(p, j, 0), reg(w[h]))
	}
	for i := range vecs {
		y := YMM()
		VCVTPH2PS(Mem{Base: row, Disp: 2 * width * i}, reg(y))
		for h := range dsts {
			VFMADD231PS(reg(y), reg(w[h]), reg(acc[h][i]))
		}
	}
	ADDQ(stride, row)
	INCQ(j)
	CMPQ(j, n)
	JL(LabelRef(loop))
	for h, d := range dsts {
		for i := range vecs {
			VMOVUPS(reg(acc[h][i]), Mem{Base: d, Disp: 4 * width * i})
		}
	}
}
