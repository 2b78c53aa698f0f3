package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// A target is an instruction set with its vector width. What another one does
// differently has its place in this file.
type target struct {
	name  string
	width int // float32 in a vector register
}

var (
	avx2   = target{"AVX2", 8}    // with FMA and F16C
	avx512 = target{"AVX512", 16} // F, BW, DQ and VL of it
)

// lanes is the number of virtual lanes of a sum.
const lanes = 16

// parts returns how many vectors hold the lanes of a sum.
func (t target) parts() int { return lanes / t.width }

// wide says that masks are registers of their own.
func (t target) wide() bool { return t.width == lanes }

// step returns the width as an operand.
func (t target) step() Op { return Imm(uint64(t.width)) }

// vec returns a new vector register.
func (t target) vec() VecVirtual {
	if t.wide() {
		return ZMM()
	}
	return YMM()
}

// at addresses the float32 number i from base, and off vector widths after it.
func (t target) at(base, i Register, off int) Mem {
	return Mem{Base: base, Index: i, Scale: 4, Disp: 4 * t.width * off}
}

// loadFloats is load.
func (t target) loadFloats(m Mem) VecVirtual { return t.load(m) }

func (t target) load(m Op) VecVirtual {
	v := t.vec()
	VMOVUPS(m, v)
	return v
}

func (t target) zero() VecVirtual {
	v := t.vec()
	if !t.wide() {
		VXORPS(v, v, v)
		return v
	}
	i, err := x86.VPXORD(v, v, v)
	if err != nil {
		panic(err) // there is such an instruction
	}
	i.CancellingInputs = true // avo would take v for used before
	Instruction(i)
	return v
}

// zeros returns cleared vectors for the lanes of a sum.
func (t target) zeros() []VecVirtual {
	var vs []VecVirtual
	for range t.parts() {
		vs = append(vs, t.zero())
	}
	return vs
}

// broadcast returns the float32 parameter in all lanes.
func (t target) broadcast(name string) VecVirtual {
	v := t.vec()
	m, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, v)
	return v
}

// A mask chooses the elements of the last vector. The nil mask chooses all.
type mask struct {
	y    VecVirtual    // AVX2: sign bits
	k    OpmaskVirtual // AVX-512
	rest Register      // how many it chooses of the first vector
}

var signTable, bitTable *Mem

// masks returns masks that choose the first rest of count vectors of elements;
// rest is below the number of elements.
func (t target) masks(rest Register, count int) []*mask {
	if t.wide() {
		return []*mask{{k: bitMask(rest, 2), rest: rest}}
	}
	if signTable == nil {
		m := GLOBL("tail_masks", RODATA|NOPTR)
		for i := range 4 * t.width {
			v := U32(0)
			if i < 2*t.width {
				v = math.MaxUint32
			}
			DATA(4*i, v)
		}
		signTable = &m
	}
	p, back := GP64(), GP64()
	LEAQ(signTable.Offset(8*t.width), p)
	MOVQ(rest, back)
	NEGQ(back)
	var out []*mask
	for i := range count {
		out = append(out, &mask{y: t.load(t.at(p, back, i)), rest: rest})
	}
	return out
}

// bitMask returns a mask of the first rest*scale/2 elements, below 16.
func bitMask(rest Register, scale uint8) OpmaskVirtual {
	if bitTable == nil {
		m := GLOBL("bit_masks", RODATA|NOPTR)
		for i := range lanes {
			DATA(2*i, U16(1<<i-1))
		}
		bitTable = &m
	}
	p, k := GP64(), K()
	LEAQ(*bitTable, p)
	KMOVW(Mem{Base: p, Index: rest, Scale: scale}, k)
	return k
}

// loadMasked loads the elements that m chooses, and zeros.
func (t target) loadMasked(p Mem, m *mask) VecVirtual {
	v := t.vec()
	switch {
	case m == nil:
		VMOVUPS(p, v)
	case t.wide():
		VMOVUPS_Z(p, m.k, v)
	default:
		VMASKMOVPS(p, m.y, v)
	}
	return v
}

// store stores the elements that m chooses.
func (t target) store(v VecVirtual, p Mem, m *mask) {
	switch {
	case m == nil:
		VMOVUPS(v, p)
	case t.wide():
		VMOVUPS(v, m.k, p)
	default:
		VMASKMOVPS(v, m.y, p)
	}
}

// loadOr loads the elements that m chooses, and takes the others from other.
func (t target) loadOr(p Mem, m *mask, other VecVirtual) VecVirtual {
	if t.wide() {
		v := t.vec()
		VMOVAPS(other, v)
		VMOVUPS(p, m.k, v)
		return v
	}
	v := t.loadMasked(p, m)
	VBLENDVPS(m.y, v, other, v)
	return v
}

// addMasked adds the lanes of v that m chooses to acc. v is lost.
func (t target) addMasked(v, acc VecVirtual, m *mask) {
	if t.wide() {
		VADDPS(v, acc, m.k, acc)
		return
	}
	VANDPS(m.y, v, v)
	VADDPS(v, acc, acc)
}

// fold folds the 16 lanes of acc to lane 0 of its first vector with
// op(b, a, dst), where a comes from the lower lanes.
func (t target) fold(acc []VecVirtual, op func(b, a, dst Op)) Register {
	v := acc[0]
	y, x := v.AsY(), v.AsX()
	upper := XMM()
	if t.wide() {
		half := YMM()
		VEXTRACTF64X4(Imm(1), v, half)
		op(half, y, y)
		VEXTRACTF32X4(Imm(1), y, upper)
	} else {
		op(acc[1], y, y)
		VEXTRACTF128(Imm(1), y, upper)
	}
	op(upper, x, x)
	VPERMILPS(Imm(0x4e), x, upper)
	op(upper, x, x)
	VPERMILPS(Imm(0xb1), x, upper)
	op(upper, x, x)
	return x
}

func add(b, a, dst Op) { VADDPS(b, a, dst) }

// larger keeps a unless b is larger: MAXPS gives its second source, the first
// operand here, when the sources are equal or one is NaN.
func larger(b, a, dst Op) { VMAXPS(a, b, dst) }
