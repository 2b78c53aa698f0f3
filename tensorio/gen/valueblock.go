package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A valueFormat is a type of 32-weight blocks whose codes stand for numbers. It
// is packed as Q4_0.
type valueFormat struct {
	name   string
	values values
	bf16   bool // the scales are bfloat16, not half precision
}

var valueFormats = []valueFormat{
	{name: "IQ4_NL", values: valuesIQ4},
	{name: "MXFP4", values: valuesMXFP4, bf16: true},
}

// genValueBlock writes the kernel of a format for a number of tokens.
func genValueBlock(t target, f valueFormat, tokens int) {
	k := newTile(t, f.name, tokens)
	k.hold(nibbles)
	k.valueBlocks(f, k.table(f.values))
}

// The unit of a valueFormat: two blocks.
const (
	valueHead      = 64
	valueCodeBytes = 256
)

// valueBlocks writes a kernel of a format from its prologue on. Expanded codes
// are numbers already: they have no table.
func (k *tile) valueBlocks(f valueFormat, table *table) {
	limit := k.valuesLimit(f.values, 4)
	acc := k.store()
	acc.zero()
	var half *store
	if limit == 4 {
		half = k.store()
	}
	Label(k.label("unit"))
	k.prefetch(k.w, valueHead+2*valueCodeBytes)
	for b := range 2 {
		from := source{w: k.w, codes: valueHead + b*valueCodeBytes, bits: 4, a: k.a, act: b * blockRecord.size}
		if k.x != nil {
			from.w, from.codes, from.plain = k.x, b*8*64, true
		}
		sums := k.grid(k.tokens)
		switch limit {
		case 8:
			if k.vnni {
				sums.each(func(_, n int, v VecVirtual) { k.valueCorrection(f, n, from.act, v) })
			}
			k.dotValues(sums, from, table, 0, 8, !k.vnni)
			k.widen(sums)
		case 4:
			k.dotValues(sums, from, table, 0, 4, true)
			k.widen(sums)
			sums.each(func(h, n int, v VecVirtual) { half.set(h, n, v) })
			k.dotValues(sums, from, table, 4, 8, true)
			k.widen(sums)
			sums.each(func(h, n int, v VecVirtual) { VPADDD(half.op(h, n), v, v) })
		default:
			ones := k.vec()
			k.load(ones16.mem(), ones)
			for h := range k.parts() {
				k.dotSigned(sums, from, table, ones, h, true)
			}
		}
		k.scaleValues(f, sums, acc, b, from.act)
	}
	ADDQ(U32(valueHead+2*valueCodeBytes), k.w)
	if k.x != nil {
		ADDQ(U32(2*8*64), k.x)
	}
	ADDQ(U32(uint32(2*blockRecord.size)), k.a)
	DECQ(k.n)
	JNZ(LabelRef(k.label("unit")))
	k.finish(acc)
}

// valueCorrection sets v to what the offset of the numbers costs a token.
func (k *tile) valueCorrection(f valueFormat, n, act int, v VecVirtual) {
	VPBROADCASTD(k.act(k.a, n, act+blockRecord.sum16), v)
	if f.values.shift > 4 {
		VPSLLD(Imm(uint64(f.values.shift-4)), v, v)
	}
}

// scaleValues adds a block's integer sums, which are lost, to the results.
func (k *tile) scaleValues(f valueFormat, sums grid, acc *store, b, act int) {
	var dw []VecVirtual
	if f.bf16 {
		for h := range k.parts() {
			d := k.vec()
			VPMOVZXWD(Mem{Base: k.w, Disp: b*32 + h*k.bytes()/2}, d)
			VPSLLD(Imm(16), d, d)
			dw = append(dw, d)
		}
	} else {
		dw = k.halves(b * 32)
	}
	for n := range k.tokens {
		if !k.vnni && !k.signed(f.values) {
			v := k.vec()
			k.valueCorrection(f, n, act, v)
			for h := range k.parts() {
				VPADDD(v, sums[h][n], sums[h][n])
			}
		}
		d := k.scaled(k.act(k.a, n, act+blockRecord.d), dw)
		for h := range k.parts() {
			VCVTDQ2PS(sums[h][n], sums[h][n])
			acc.multiplyAdd(h, n, sums[h][n], d[h], true)
		}
	}
}
