// Command gen writes the AVX2, FMA and F16C forms of the kernels of package
// vec. Run it with `go generate` in the package's folder.
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// width is the number of float32 in a vector register.
const width = 8

func main() {
	ConstraintExpr("amd64")
	genSums()
	genElementwise()
	genHalf()
	genRope()
	genDots(1, 1)
	genDots(1, 4)
	genDots(2, 2)
	genDots(4, 1)
	genAccum(1)
	genAccum(2)
	genFromI8()
	for _, e := range elements {
		for _, shape := range [][2]int{{1, 1}, {1, 2}, {2, 2}, {3, 2}, {4, 1}} {
			genPanels(e, shape[0], shape[1])
		}
	}
	genPanels(elements[0], 6, 1)
	Generate()
}

// begin starts a function of the given arguments and result.
func begin(name, signature, doc string) {
	TEXT(name, NOSPLIT, "func("+signature)
	Doc(doc)
	Pragma("noescape")
}

func end() {
	VZEROUPPER()
	RET()
}

// labels makes names that are unique in the file.
var labelCount int

func label(what string) string {
	labelCount++
	return fmt.Sprintf("%s_%d", what, labelCount)
}

func ptr(name string) Register { return Load(Param(name), GP64()) }

// at addresses the float32 number i from base, and off vector widths after it.
func at(base, i Register, off int) Mem {
	return Mem{Base: base, Index: i, Scale: 4, Disp: 4 * width * off}
}

// at16 is at for 16-bit elements.
func at16(base, i Register, off int) Mem {
	return Mem{Base: base, Index: i, Scale: 2, Disp: 2 * width * off}
}

var constants = map[uint32]Mem{}

// bits returns 8 copies of v in memory.
func bits(v uint32) Mem {
	if m, ok := constants[v]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("vec_%08x", v), RODATA|NOPTR)
	for i := range width {
		DATA(4*i, U32(v))
	}
	constants[v] = m
	return m
}

func float(f float32) Mem { return bits(math.Float32bits(f)) }

func load(m Op) VecVirtual {
	y := YMM()
	VMOVUPS(m, y)
	return y
}

func zero() VecVirtual {
	y := YMM()
	VXORPS(y, y, y)
	return y
}

// broadcast returns the float32 parameter in all lanes.
func broadcast(name string) VecVirtual {
	y := YMM()
	m, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, y)
	return y
}

var maskTable *Mem

// tailMasks returns masks that choose the first rest of count vectors of lanes;
// rest is below 16.
func tailMasks(rest Register, count int) []VecVirtual {
	if maskTable == nil {
		m := GLOBL("tail_masks", RODATA|NOPTR)
		for i := range 4 * width {
			v := U32(0)
			if i < 2*width {
				v = math.MaxUint32
			}
			DATA(4*i, v)
		}
		maskTable = &m
	}
	p, back := GP64(), GP64()
	LEAQ(maskTable.Offset(8*width), p)
	MOVQ(rest, back)
	NEGQ(back)
	out := make([]VecVirtual, count)
	for i := range out {
		out[i] = load(at(p, back, i))
	}
	return out
}

func masked(m Mem, mask VecVirtual) VecVirtual {
	y := YMM()
	VMASKMOVPS(m, mask, y)
	return y
}

// fold16 folds the 16 lanes lo, hi to lane 0 of the result with op(b, a, dst),
// where a comes from the lower lanes.
func fold16(lo, hi VecVirtual, op func(b, a, dst Op)) VecVirtual {
	op(hi, lo, lo)
	x, y := lo.AsX(), XMM()
	VEXTRACTF128(Imm(1), lo, y)
	op(y, x, x)
	VPERMILPS(Imm(0x4e), x, y)
	op(y, x, x)
	VPERMILPS(Imm(0xb1), x, y)
	op(y, x, x)
	return lo
}

func add(b, a, dst Op) { VADDPS(b, a, dst) }

// larger keeps a unless b is larger: MAXPS gives its second source, the first
// operand here, when the sources are equal or one is NaN.
func larger(b, a, dst Op) { VMAXPS(a, b, dst) }
