package vec

// panelKernel is panelsRef for so many rows and a multiple of so many panels
// as its name says.
type panelKernel[T any] func(c *float32, cStride int, a *float32, aStride int, b *T, bStride, depth, panels, add int)

// panelKernels are the shapes that there are for one type of elements. Few rows
// take two panels at once, so that enough sums are under way.
type panelKernels[T any] struct {
	one  [5]panelKernel[T] // 1 to 4 rows with 1 panel
	pair [3]panelKernel[T] // 1 or 2 rows with 2 panels
}

var (
	panelsF32NEON = panelKernels[float32]{
		one:  [5]panelKernel[float32]{1: panelsF32x1x1NEON, 2: panelsF32x2x1NEON, 3: panelsF32x3x1NEON, 4: panelsF32x4x1NEON},
		pair: [3]panelKernel[float32]{1: panelsF32x1x2NEON, 2: panelsF32x2x2NEON},
	}
	panelsF16NEON = panelKernels[uint16]{
		one:  [5]panelKernel[uint16]{1: panelsF16x1x1NEON, 2: panelsF16x2x1NEON, 3: panelsF16x3x1NEON, 4: panelsF16x4x1NEON},
		pair: [3]panelKernel[uint16]{1: panelsF16x1x2NEON, 2: panelsF16x2x2NEON},
	}
	panelsI8NEON = panelKernels[int8]{
		one:  [5]panelKernel[int8]{1: panelsI8x1x1NEON, 2: panelsI8x2x1NEON, 3: panelsI8x3x1NEON, 4: panelsI8x4x1NEON},
		pair: [3]panelKernel[int8]{1: panelsI8x1x2NEON, 2: panelsI8x2x2NEON},
	}
)

func panelsF32(p *Product, b [][]float32, _ []float32) {
	if chosen == ref || p.Depth == 0 {
		panelsF32Ref(p, b)
		return
	}
	sendPanels(p, b, &panelsF32NEON)
}

func panelsF16(p *Product, b [][]uint16, _ []uint16) {
	if chosen == ref || p.Depth == 0 {
		panelsF16Ref(p, b)
		return
	}
	sendPanels(p, b, &panelsF16NEON)
}

func panelsI8(p *Product, b [][]int8, _ []int8) {
	if chosen == ref || p.Depth == 0 {
		panelsI8Ref(p, b)
		return
	}
	sendPanels(p, b, &panelsI8NEON)
}

// sendPanels gives each kernel as many rows of one b as it takes.
func sendPanels[T any](p *Product, b [][]T, k *panelKernels[T]) {
	for i := range b {
		q := p.Part(i)
		sendRows(&q, b[i], k)
	}
}

func sendRows[T any](p *Product, b []T, k *panelKernels[T]) {
	add := 0
	if p.Add {
		add = 1
	}
	for r := 0; r < p.Rows; {
		n := min(p.Rows-r, 4)
		c, a, pairs := p.C[r*p.CStride:], p.A[r*p.AStride:], 0
		if n <= 2 {
			pairs = p.Panels &^ 1
		}
		if pairs > 0 {
			k.pair[n](&c[0], p.CStride, &a[0], p.AStride, &b[0], p.BStride, p.Depth, pairs, add)
		}
		if pairs < p.Panels {
			k.one[n](&c[pairs*PanelWidth], p.CStride, &a[0], p.AStride, &b[pairs*p.BStride], p.BStride, p.Depth, p.Panels-pairs, add)
		}
		r += n
	}
}
