package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// limit returns how many products with vectors of codes of some bits may be
// added up before widen: eight are 32 columns. In 16 bits 8 x 2 x 15 x 127 fit,
// 4 x 2 x 31 x 127 and 2 x 2 x 63 x 127 do.
func (t target) limit(bits int) int {
	if t.vnni {
		return 8
	}
	return map[int]int{4: 8, 5: 4, 6: 2}[bits]
}

// dot adds the products of unsigned codes, four columns of every row in w, with
// four signed activations of each token to sums; the first ones start them.
func (k *tile) dot(sums grid, w []VecVirtual, a Register, act int, first bool) {
	if k.vnni {
		k.accumulate(sums, w, a, act, first, k.dotBytes)
		return
	}
	k.multiply(sums, w, a, act, first, func(a, w, d VecVirtual) { VPMADDUBSW(a, w, d) },
		func(d, s VecVirtual) { VPADDW(d, s, s) })
}

// dotPairs adds the products of pairs of signed 16-bit numbers to 32-bit sums.
func (k *tile) dotPairs(sums grid, w []VecVirtual, a Register, act int, first bool) {
	if k.vnni {
		k.accumulate(sums, w, a, act, first, k.dotWords)
		return
	}
	k.multiply(sums, w, a, act, first, func(a, w, d VecVirtual) { VPMADDWD(a, w, d) },
		func(d, s VecVirtual) { VPADDD(d, s, s) })
}

// accumulate does with one instruction what multiply does with two.
func (k *tile) accumulate(sums grid, w []VecVirtual, a Register, act int, first bool, dot func(a Op, w, s VecVirtual)) {
	for n := range k.tokens {
		var v Op = k.act(a, n, act)
		if !k.evex {
			r := k.vec()
			VPBROADCASTD(v, r)
			v = r
		}
		for h := range w {
			if first {
				k.zero(sums[h][n])
			}
			dot(v, w[h], sums[h][n])
		}
	}
}

// multiply multiplies the weights w with four bytes of each token.
func (k *tile) multiply(sums grid, w []VecVirtual, a Register, act int, first bool, mul func(a, w, d VecVirtual), add func(d, s VecVirtual)) {
	for n := range k.tokens {
		v := k.vec()
		VPBROADCASTD(k.act(a, n, act), v)
		// The multiplications of a token before its additions: 5% faster on a
		// Zen 3, whose additions otherwise take the multipliers' pipes.
		d := make([]VecVirtual, len(w))
		for h := range w {
			if first {
				mul(v, w[h], sums[h][n])
				continue
			}
			d[h] = v
			if h < len(w)-1 {
				d[h] = k.vec()
			}
			mul(v, w[h], d[h])
		}
		for h := range w {
			if !first {
				add(d[h], sums[h][n])
			}
		}
	}
}

// widen makes 32-bit sums of what dot has added up.
func (k *tile) widen(sums grid) {
	if k.vnni {
		return
	}
	ones := k.constant(ones16)
	sums.each(func(_, _ int, v VecVirtual) { VPMADDWD(ones, v, v) })
}

// A source says where the 32 columns of a block are: their codes, of some bits,
// and the activations of token 0.
type source struct {
	w     Register
	codes int
	bits  int
	plain bool // a byte is a code: expanded
	a     Register
	act   int
}

// dotGroups adds the products of groups [lo, hi) of the eight groups of four
// columns of a block to sums, or sets sums to them if they hold nothing yet.
func (k *tile) dotGroups(sums grid, s source, lo, hi int, first bool) {
	for g := lo; g < hi; g++ {
		w := make([]VecVirtual, k.parts())
		for h := range w {
			w[h] = k.codes(s, g, h)
		}
		k.dot(sums, w, s.a, s.act+4*g, first && g == lo)
	}
}

// codes returns the unsigned codes of group g: low nibbles for the first four,
// high ones for the others, and what is above them.
func (k *tile) codes(s source, g, h int) VecVirtual {
	w, j := k.vec(), g%4
	if s.bits == 8 || s.plain {
		k.load(Mem{Base: s.w, Disp: s.codes + g*64 + h*k.bytes()}, w)
		return w
	}
	k.load(Mem{Base: s.w, Disp: s.codes + j*64 + h*k.bytes()}, w)
	if g >= 4 {
		VPSRLW(Imm(4), w, w)
	}
	k.and(k.constant(nibbles), w, w)
	var shift, high int
	var mask constant
	switch s.bits {
	case 4:
		return w
	case 5: // bit g of the bytes after the nibbles, to bit 4
		shift, high, mask = 4-g, s.codes+256, bit4
	case 6: // bits 2j and 2j+1, to bits 4 and 5
		shift, high, mask = 4-2*j, s.codes+256+g/4*64, bits45
	}
	v := k.vec()
	k.load(Mem{Base: s.w, Disp: high + h*k.bytes()}, v)
	switch {
	case shift > 0:
		VPSLLW(Imm(uint64(shift)), v, v)
	case shift < 0:
		VPSRLW(Imm(uint64(-shift)), v, v)
	}
	k.merge(k.constant(mask), v, w)
	return w
}
