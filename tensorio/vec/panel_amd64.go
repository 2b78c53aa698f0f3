package vec

import "unsafe"

// panelKernel is panelsRef for so many rows and a multiple of so many panels
// as its name says.
type panelKernel[T any] func(c *float32, cStride int, a *float32, aStride int, b *T, bStride, depth, panels, add, gap int)

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

func panelsF32(p *Product, b, next []float32) {
	switch {
	case chosen == ref || p.Depth == 0:
		panelsF32Ref(p, b)
	case chosen == avx512:
		sendPanels(p, b, next, &panelsF32AVX512)
	default:
		sendPanels(p, b, next, &panelsF32AVX2)
	}
}

func panelsF16(p *Product, b, next []uint16) {
	switch {
	case chosen == ref || p.Depth == 0:
		panelsF16Ref(p, b)
	case chosen == avx512:
		sendPanels(p, b, next, &panelsF16AVX512)
	default:
		sendPanels(p, b, next, &panelsF16AVX2)
	}
}

func panelsI8(p *Product, b, next []int8) {
	switch {
	case chosen == ref || p.Depth == 0:
		panelsI8Ref(p, b)
	case chosen == avx512:
		sendPanels(p, b, next, &panelsI8AVX512)
	default:
		sendPanels(p, b, next, &panelsI8AVX2)
	}
}

// sendPanels gives each kernel as many rows as it takes.
func sendPanels[T any](p *Product, b, next []T, k *panelKernels[T]) {
	gap := 0
	if len(next) > 0 {
		gap = int(uintptr(unsafe.Pointer(&next[0])) - uintptr(unsafe.Pointer(&b[0])))
	}
	add := 0
	if p.Add {
		add = 1
	}
	for r, n := 0, 0; r < p.Rows; r += n {
		left := p.Rows - r
		switch {
		case k.single[6] != nil && (left >= 9 || left == 6):
			n = 6
		case left >= 7 || left == 4:
			n = 4
		default:
			n = min(left, 3)
		}
		c, a, pairs := p.C[r*p.CStride:], p.A[r*p.AStride:], 0
		if k.pair[n] != nil {
			pairs = p.Panels &^ 1
		}
		if pairs > 0 {
			k.pair[n](&c[0], p.CStride, &a[0], p.AStride, &b[0], p.BStride, p.Depth, pairs, add, gap)
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
				&b[pairs*p.BStride], p.BStride, p.Depth, p.Panels-pairs, add, gap)
		}
	}
}
