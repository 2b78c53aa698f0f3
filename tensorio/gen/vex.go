package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Opcodes of AVX-VNNI, which Go's assembler encodes as AVX-512 only.
const (
	vexBytes = 0x50 // VPDPBUSD
	vexWords = 0x52 // VPDPWSSD
)

// vexDot adds an instruction of AVX-VNNI between 256-bit registers as bytes. a
// and w are in the order of Go's assembler: for bytes a is signed, w unsigned.
func vexDot(opcode byte, a, w, sum VecVirtual) {
	i := &ir.Instruction{Opcode: "LONG", Inputs: []Op{a, w, sum}, Outputs: []Op{sum}, ISA: []string{"AVXVNNI"}}
	i.Operands = []Op{vexBytesOf{opcode: opcode, i: i}}
	Instruction(i)
}

// vexBytesOf is the encoding of an instruction, written out once avo has given
// its inputs registers.
type vexBytesOf struct {
	Constant // what avo is to take it for

	opcode byte
	i      *ir.Instruction
}

// Asm returns the operands of LONG and a further BYTE.
func (v vexBytesOf) Asm() string {
	var regs [3]byte
	for n, op := range v.i.Inputs {
		regs[n] = byte(op.(Physical).PhysicalIndex())
	}
	b := encodeVEX(v.opcode, regs[0], regs[1], regs[2])
	name := map[byte]string{vexBytes: "VPDPBUSD", vexWords: "VPDPWSSD"}[v.opcode]
	return fmt.Sprintf("$0x%02x%02x%02x%02x; BYTE $0x%02x // %s Y%d, Y%d, Y%d",
		b[3], b[2], b[1], b[0], b[4], name, regs[0], regs[1], regs[2])
}

// encodeVEX returns VEX.256.66.0F38.W0 opcode /r (Intel SDM, volume 2, "VPDPBUSD"
// and section 2.3.5): sum is ModRM.reg, w VEX.vvvv, a ModRM.rm.
func encodeVEX(opcode, a, w, sum byte) [5]byte {
	if a > 15 || w > 15 || sum > 15 {
		panic("AVX-VNNI has 16 registers")
	}
	const map0F38, l256, p66 = 2, 1 << 2, 1
	rxb := (1-sum>>3)<<7 | 1<<6 | (1-a>>3)<<5
	return [5]byte{0xc4, rxb | map0F38, (15-w)<<3 | l256 | p66, opcode, 0xc0 | sum&7<<3 | a&7}
}
