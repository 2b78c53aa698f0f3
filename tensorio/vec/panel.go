package vec

import "fmt"

// PanelWidth is the number of columns of a panel: 16 float32 are one register
// of AVX-512, two of AVX2, four of NEON.
const PanelWidth = 16

// A Product is a small matrix product, c = a b, or c += a b, whose right side
// lies in panels of [PanelWidth] columns, each [depth, 16]. Both halves of
// attention are such products: scores with keys that lie in panels of
// positions, and the weighted sum of values that lie in panels of columns.
//
// Each element of c is one chain in ascending depth,
//
//	c[r, j] = FMA(a[r, d], b[d, j], c[r, j])
//
// that starts with 0, or with what c holds. So its bits depend on neither the
// number of rows nor that of panels, and a sum over some depth can be taken in
// several products.
type Product struct {
	C       []float32 // [rows, panels*16], rows CStride apart
	A       []float32 // [rows, depth], rows AStride apart
	CStride int
	AStride int
	BStride int // from one panel of b to the next, in elements

	Rows, Depth, Panels int

	// Add adds to what C holds.
	Add bool
}

// check panics if a slice is too short, and reports whether there is anything
// to do.
func (p *Product) check(b int) bool {
	if p.Rows <= 0 || p.Panels <= 0 || p.Depth < 0 {
		return false
	}
	c := (p.Rows-1)*p.CStride + p.Panels*PanelWidth
	a := (p.Rows-1)*p.AStride + p.Depth
	n := (p.Panels-1)*p.BStride + p.Depth*PanelWidth
	if c > len(p.C) || a > len(p.A) || n > b || p.CStride < 0 || p.AStride < 0 || p.BStride < 0 {
		panic(fmt.Sprintf("vec: product of %d rows, %d panels, depth %d: c is %d long, want %d; a is %d, want %d; b is %d, want %d",
			p.Rows, p.Panels, p.Depth, len(p.C), c, len(p.A), a, b, n))
	}
	return true
}

// F32 computes p with b. next is what the next product will read, if that is
// known and may not be in the cache yet: forms load as much of it as b has while
// they work on b. It changes no result.
func (p *Product) F32(b, next []float32) {
	if p.check(len(b)) {
		panelsF32(p, b, next)
	}
}

// F16 is [Product.F32] with half precision, which widens exactly.
func (p *Product) F16(b, next []uint16) {
	if p.check(len(b)) {
		panelsF16(p, b, next)
	}
}

// I8 is [Product.F32] with whole numbers.
func (p *Product) I8(b, next []int8) {
	if p.check(len(b)) {
		panelsI8(p, b, next)
	}
}

// FromI8 converts whole numbers.
func FromI8(dst []float32, x []int8) {
	fromI8(dst[:len(x)], x)
}

// Mul sets dst[i] *= x[i] over the length of x.
func Mul(dst, x []float32) {
	dst = dst[:len(x)]
	mulScale(dst, dst, x, 1) // a product with 1 is exact
}
