package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// A constant is a vector in memory: 64 bytes made of 64-bit words, repeated.
type constant struct {
	name  string
	words []uint64
}

// Masks of every byte or 16-bit number, and numbers.
var (
	nibbles  = constant{"nibbles", []uint64{0x0f0f0f0f0f0f0f0f}}
	bit4     = constant{"bit4", []uint64{0x1010101010101010}}
	bits45   = constant{"bits45", []uint64{0x3030303030303030}}
	evens    = constant{"evens", []uint64{0x00ff00ff00ff00ff}}
	ones16   = constant{"ones16", []uint64{0x0001000100010001}}
	abs      = constant{"abs", []uint64{0x7fffffff7fffffff}}
	float1   = constant{"float1", []uint64{0x3f8000003f800000}}
	float127 = constant{"float127", []uint64{0x42fe000042fe0000}}
	nan      = constant{"nan", []uint64{0x7fc000007fc00000}}
)

// Orders of bytes for VPSHUFB.
var (
	// pairFirst and pairSecond repeat one of two 16-bit numbers.
	pairFirst  = constant{"pairFirst", []uint64{0x0504050401000100, 0x0d0c0d0c09080908}}
	pairSecond = constant{"pairSecond", []uint64{0x0706070603020302, 0x0f0e0f0e0b0a0b0a}}

	// spread makes pairs of 16-bit numbers of eight bytes.
	spread = constant{"spread", []uint64{0x8001800180008000, 0x8003800380028002, 0x8005800580048004, 0x8007800780068006}}

	// evensFirst brings of every four 16-bit numbers first the even, then the
	// odd ones.
	evensFirst = constant{"evensFirst", []uint64{0x0706030205040100, 0x0f0e0b0a0d0c0908}}
)

// written are the constants that the file has already.
var written = map[string]Mem{}

// mem returns the constant's address, and writes it the first time.
func (c constant) mem() Mem {
	if m, ok := written[c.name]; ok {
		return m
	}
	m := GLOBL(c.name, 8|16) // RODATA|NOPTR
	for i := range 8 {
		DATA(8*i, U64(c.words[i%len(c.words)]))
	}
	written[c.name] = m
	return m
}

// hold keeps constants in registers where there are enough, for all of the
// function.
func (k *tile) hold(cs ...constant) {
	if !k.evex {
		return
	}
	for _, c := range cs {
		v := k.vec()
		k.load(c.mem(), v)
		k.held[c.name] = v
	}
}

// constant returns a constant as an operand.
func (k *tile) constant(c constant) Op {
	if v, ok := k.held[c.name]; ok {
		return v
	}
	return c.mem()
}

// held are constants in registers.
type held map[string]VecVirtual
