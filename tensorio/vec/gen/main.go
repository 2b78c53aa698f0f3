// Command gen writes the AVX2 and AVX-512 forms of the kernels of package vec.
// Run it with `go generate` in the package's folder.
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// width is the number of float32 in a vector register of AVX2, for kernels that
// have no other form.
const width = 8

func main() {
	ConstraintExpr("amd64")
	for _, t := range []target{avx2, avx512} {
		t.genSums()
		t.genElementwise()
		t.genHalf()
		t.genFromI8()
		t.genRope()
		for _, e := range elements {
			for _, shape := range t.panelShapes(e) {
				t.genPanels(e, shape[0], shape[1])
			}
		}
	}
	Generate()
}

// begin starts the form of a kernel: doc has its name for %s.
func (t target) begin(kernel, signature, doc string) {
	begin(kernel+t.name, signature, fmt.Sprintf(doc, kernel+t.name))
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

// at addresses the float32 number i from base, and off vectors of AVX2 after it.
func at(base, i Register, off int) Mem { return avx2.at(base, i, off) }

// at16 is at for 16-bit elements.
func at16(base, i Register, off int) Mem {
	return Mem{Base: base, Index: i, Scale: 2, Disp: 2 * width * off}
}

var constants = map[uint32]Mem{}

// bits returns 16 copies of v in memory: a vector of the widest target.
func bits(v uint32) Mem {
	if m, ok := constants[v]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("vec_%08x", v), RODATA|NOPTR)
	for i := range lanes {
		DATA(4*i, U32(v))
	}
	constants[v] = m
	return m
}

func float(f float32) Mem { return bits(math.Float32bits(f)) }

func load(m Op) VecVirtual { return avx2.load(m) }

func zero() VecVirtual { return avx2.zero() }

// broadcast returns the float32 parameter in all lanes.
func broadcast(name string) VecVirtual { return avx2.broadcast(name) }

// fold16 folds the 16 lanes lo, hi to lane 0 of the result.
func fold16(lo, hi VecVirtual, op func(b, a, dst Op)) VecVirtual {
	avx2.fold([]VecVirtual{lo, hi}, op)
	return lo
}
