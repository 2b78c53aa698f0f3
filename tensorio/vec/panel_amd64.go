package vec

// panelKernel is panelsRef for so many rows and a multiple of so many panels
// as its name says.
type panelKernel[T any] func(c *float32, cStride int, a *float32, aStride int, b *T, bStride, depth, panels, add int)

// panelKernels are the shapes that there are for one type of elements: few
// rows take two panels at once, so that enough sums are under way.
type panelKernels[T any] struct {
	pair [3]panelKernel[T] // of 1, 2 and 3 rows with 2 panels
	one  panelKernel[T]    // row with 1 panel
	four panelKernel[T]    // rows with 1 panel
	six  panelKernel[T]    // rows with 1 panel; nil if there is none
}

var (
	panelsF32AVX2 = panelKernels[float32]{
		pair: [3]panelKernel[float32]{panelsF32x1x2AVX2, panelsF32x2x2AVX2, panelsF32x3x2AVX2},
		one:  panelsF32x1x1AVX2, four: panelsF32x4x1AVX2, six: panelsF32x6x1AVX2,
	}
	panelsF16AVX2 = panelKernels[uint16]{
		pair: [3]panelKernel[uint16]{panelsF16x1x2AVX2, panelsF16x2x2AVX2, panelsF16x3x2AVX2},
		one:  panelsF16x1x1AVX2, four: panelsF16x4x1AVX2,
	}
	panelsI8AVX2 = panelKernels[int8]{
		pair: [3]panelKernel[int8]{panelsI8x1x2AVX2, panelsI8x2x2AVX2, panelsI8x3x2AVX2},
		one:  panelsI8x1x1AVX2, four: panelsI8x4x1AVX2,
	}
)

func panelsF32(p *Product, b []float32) {
	if chosen == ref || p.Depth == 0 {
		panelsF32Ref(p, b)
		return
	}
	sendPanels(p, b, &panelsF32AVX2)
}

func panelsF16(p *Product, b []uint16) {
	if chosen == ref || p.Depth == 0 {
		panelsF16Ref(p, b)
		return
	}
	sendPanels(p, b, &panelsF16AVX2)
}

func panelsI8(p *Product, b []int8) {
	if chosen == ref || p.Depth == 0 {
		panelsI8Ref(p, b)
		return
	}
	sendPanels(p, b, &panelsI8AVX2)
}

// sendPanels gives each kernel as many rows as it takes.
func sendPanels[T any](p *Product, b []T, k *panelKernels[T]) {
	add := 0
	if p.Add {
		add = 1
	}
	for r := 0; r < p.Rows; {
		c, a, left := p.C[r*p.CStride:], p.A[r*p.AStride:], p.Rows-r
		switch {
		case k.six != nil && (left >= 9 || left == 6):
			k.six(&c[0], p.CStride, &a[0], p.AStride, &b[0], p.BStride, p.Depth, p.Panels, add)
			r += 6
		case left >= 7 || left == 4:
			k.four(&c[0], p.CStride, &a[0], p.AStride, &b[0], p.BStride, p.Depth, p.Panels, add)
			r += 4
		default:
			n := min(left, 3)
			pairs := p.Panels &^ 1
			if pairs > 0 {
				k.pair[n-1](&c[0], p.CStride, &a[0], p.AStride, &b[0], p.BStride, p.Depth, pairs, add)
			}
			for i := 0; i < n && pairs < p.Panels; i++ {
				k.one(&c[i*p.CStride+pairs*PanelWidth], 0, &a[i*p.AStride], 0, &b[pairs*p.BStride], 0, p.Depth, 1, add)
			}
			r += n
		}
	}
}
