package vec

import "unsafe"

// panelKernel is panelsRef for so many rows and a multiple of so many panels
// as its name says.
type panelKernel[T any] func(c *float32, cStride int, a *float32, aStride int, b *[]T, off, count, bStride, depth, panels, add, deep, gap int)

// panelKernels are the shapes that there are for one type of elements, by the
// number of rows; nil where there is none.
type panelKernels[T any] struct {
	pair   [7]panelKernel[T] // with two panels at once
	single [7]panelKernel[T] // with one; there is one of a row
}

var (
	panelsF32AVX2 = panelKernels[float32]{
		pair:   [7]panelKernel[float32]{1: panelsF32x1x2AVX2, 2: panelsF32x2x2AVX2, 3: panelsF32x3x2AVX2},
		single: [7]panelKernel[float32]{1: panelsF32x1x1AVX2, 4: panelsF32x4x1AVX2, 6: panelsF32x6x1AVX2},
	}
	panelsF16AVX2 = panelKernels[uint16]{
		pair:   [7]panelKernel[uint16]{1: panelsF16x1x2AVX2, 2: panelsF16x2x2AVX2, 3: panelsF16x3x2AVX2},
		single: [7]panelKernel[uint16]{1: panelsF16x1x1AVX2, 4: panelsF16x4x1AVX2},
	}
	panelsI8AVX2 = panelKernels[int8]{
		pair:   [7]panelKernel[int8]{1: panelsI8x1x2AVX2, 2: panelsI8x2x2AVX2, 3: panelsI8x3x2AVX2},
		single: [7]panelKernel[int8]{1: panelsI8x1x1AVX2, 4: panelsI8x4x1AVX2},
	}
	panelsF32AVX512 = panelKernels[float32]{
		pair: [7]panelKernel[float32]{
			1: panelsF32x1x2AVX512, 2: panelsF32x2x2AVX512, 3: panelsF32x3x2AVX512, 4: panelsF32x4x2AVX512, 6: panelsF32x6x2AVX512,
		},
		single: [7]panelKernel[float32]{1: panelsF32x1x1AVX512, 4: panelsF32x4x1AVX512, 6: panelsF32x6x1AVX512},
	}
	panelsF16AVX512 = panelKernels[uint16]{
		pair: [7]panelKernel[uint16]{
			1: panelsF16x1x2AVX512, 2: panelsF16x2x2AVX512, 3: panelsF16x3x2AVX512, 4: panelsF16x4x2AVX512, 6: panelsF16x6x2AVX512,
		},
		single: [7]panelKernel[uint16]{1: panelsF16x1x1AVX512, 4: panelsF16x4x1AVX512, 6: panelsF16x6x1AVX512},
	}
	panelsI8AVX512 = panelKernels[int8]{
		pair: [7]panelKernel[int8]{
			1: panelsI8x1x2AVX512, 2: panelsI8x2x2AVX512, 3: panelsI8x3x2AVX512, 4: panelsI8x4x2AVX512, 6: panelsI8x6x2AVX512,
		},
		single: [7]panelKernel[int8]{1: panelsI8x1x1AVX512, 4: panelsI8x4x1AVX512, 6: panelsI8x6x1AVX512},
	}
)

func panelsF32(p *Product, b [][]float32, next []float32) {
	switch {
	case chosen == ref || p.Depth == 0:
		panelsF32Ref(p, b)
	case chosen == avx512:
		sendPanels(p, b, next, &panelsF32AVX512)
	default:
		sendPanels(p, b, next, &panelsF32AVX2)
	}
}

func panelsF16(p *Product, b [][]uint16, next []uint16) {
	switch {
	case chosen == ref || p.Depth == 0:
		panelsF16Ref(p, b)
	case chosen == avx512:
		sendPanels(p, b, next, &panelsF16AVX512)
	default:
		sendPanels(p, b, next, &panelsF16AVX2)
	}
}

func panelsI8(p *Product, b [][]int8, next []int8) {
	switch {
	case chosen == ref || p.Depth == 0:
		panelsI8Ref(p, b)
	case chosen == avx512:
		sendPanels(p, b, next, &panelsI8AVX512)
	default:
		sendPanels(p, b, next, &panelsI8AVX2)
	}
}

// one returns 1 for true and 0 for false.
func one(x bool) int {
	if x {
		return 1
	}
	return 0
}

// take returns how many of the rows that are left go together.
func (k *panelKernels[T]) take(left int) int {
	switch {
	case k.single[6] != nil && (left >= 9 || left == 6):
		return 6
	case left >= 7 || left == 4:
		return 4
	}
	return min(left, 3)
}

// sendPanels gives a kernel all b at once if there is one for all rows, and else
// the rows to several, one b after the other, which stays in the cache.
func sendPanels[T any](p *Product, b [][]T, next []T, k *panelKernels[T]) {
	n := k.take(p.Rows)
	kernel := k.single[n]
	if k.pair[n] != nil && p.Panels%2 == 0 {
		kernel = k.pair[n]
	}
	if n == p.Rows && kernel != nil {
		kernel(&p.C[0], p.CStride, &p.A[0], p.AStride, &b[0], 0, len(b), p.BStride, p.Depth, p.Panels, one(p.Add), one(p.Deep), gapTo(b[len(b)-1], next))
		return
	}
	for i := range b {
		then := next
		if i+1 < len(b) {
			then = b[i+1]
		}
		q := p.Part(i)
		sendRows(&q, b[i:], gapTo(b[i], then), k)
	}
}

// gapTo returns how far next lies from b, 0 if there is no next.
func gapTo[T any](b, next []T) int {
	if len(next) == 0 {
		return 0
	}
	return int(uintptr(unsafe.Pointer(&next[0])) - uintptr(unsafe.Pointer(&b[0])))
}

// sendRows gives each kernel as many rows as it takes of the first b.
func sendRows[T any](p *Product, b [][]T, gap int, k *panelKernels[T]) {
	add := one(p.Add)
	for r, n := 0, 0; r < p.Rows; r += n {
		n = k.take(p.Rows - r)
		c, a, pairs := p.C[r*p.CStride:], p.A[r*p.AStride:], 0
		if k.pair[n] != nil {
			pairs = p.Panels &^ 1
		}
		if pairs > 0 {
			k.pair[n](&c[0], p.CStride, &a[0], p.AStride, &b[0], 0, 1, p.BStride, p.Depth, pairs, add, 0, gap)
		}
		if pairs == p.Panels {
			continue
		}
		rest, rows := k.single[n], n
		if rest == nil {
			rest, rows = k.single[1], 1
		}
		for i := 0; i < n; i += rows {
			rest(&c[i*p.CStride+pairs*PanelWidth], p.CStride, &a[i*p.AStride], p.AStride,
				&b[0], pairs*p.BStride, 1, p.BStride, p.Depth, p.Panels-pairs, add, 0, gap)
		}
	}
}
