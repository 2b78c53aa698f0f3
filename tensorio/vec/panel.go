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
// several products. The right side may lie in several places, b after b.
type Product struct {
	C       []float32 // [rows, panels*16], rows CStride apart
	A       []float32 // [rows, depth], rows AStride apart
	CStride int
	AStride int
	BStride int // from one panel of a b to the next, in elements

	Rows, Depth, Panels int // Depth and Panels of one b

	// Add adds to what C holds.
	Add bool

	// Deep says what several b are: more depth, so that A is as much longer.
	// Otherwise they are more columns, and rows of C are as much longer.
	Deep bool
}

// Part returns the product of b number i alone.
func (p *Product) Part(i int) Product {
	q := *p
	if p.Deep {
		q.A, q.Add = p.A[i*p.Depth:], p.Add || i > 0
	} else {
		q.C = p.C[i*p.Panels*PanelWidth:]
	}
	return q
}

// checkProduct panics if a slice is too short, and reports whether there is
// anything to do.
func checkProduct[T any](p *Product, b [][]T) bool {
	if p.Rows <= 0 || p.Panels <= 0 || p.Depth < 0 || len(b) == 0 {
		return false
	}
	cols, depth := p.Panels*PanelWidth, p.Depth
	if p.Deep {
		depth *= len(b)
	} else {
		cols *= len(b)
	}
	c, a := (p.Rows-1)*p.CStride+cols, (p.Rows-1)*p.AStride+depth
	n, shortest := (p.Panels-1)*p.BStride+p.Depth*PanelWidth, len(b[0])
	for i := range b {
		shortest = min(shortest, len(b[i]))
	}
	if c > len(p.C) || a > len(p.A) || n > shortest || p.CStride < 0 || p.AStride < 0 || p.BStride < 0 {
		panic(fmt.Sprintf("vec: product of %d rows, %d times %d panels, depth %d: c is %d long, want %d; a is %d, want %d; b is %d, want %d",
			p.Rows, len(b), p.Panels, p.Depth, len(p.C), c, len(p.A), a, shortest, n))
	}
	return true
}

// F32 computes p with each b, one after the other. next is what the next product
// will read, if that is known and may not be in the cache yet: forms load as much
// of it as a b has while they work on the last. It changes no result.
func (p *Product) F32(b [][]float32, next []float32) {
	if checkProduct(p, b) {
		panelsF32(p, b, next)
	}
}

// F16 is [Product.F32] with half precision, which widens exactly.
func (p *Product) F16(b [][]uint16, next []uint16) {
	if checkProduct(p, b) {
		panelsF16(p, b, next)
	}
}

// I8 is [Product.F32] with whole numbers.
func (p *Product) I8(b [][]int8, next []int8) {
	if checkProduct(p, b) {
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
