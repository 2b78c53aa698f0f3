package vec

// panelsRef defines [Product], given how an element of b widens.
func panelsRef[T any](p *Product, b [][]T, widen func(T) float32) {
	for i := range b {
		q := p.Part(i)
		panelRef(&q, b[i], widen)
	}
}

func panelRef[T any](p *Product, b []T, widen func(T) float32) {
	for r := range p.Rows {
		if !p.Add {
			clear(p.C[r*p.CStride:][:p.Panels*PanelWidth])
		}
	}
	var wide [PanelWidth]float32
	for n := range p.Panels {
		for d := range p.Depth {
			for j, y := range b[n*p.BStride+d*PanelWidth:][:PanelWidth] {
				wide[j] = widen(y)
			}
			for r := range p.Rows {
				x, c := p.A[r*p.AStride+d], p.C[r*p.CStride+n*PanelWidth:][:PanelWidth]
				for j, y := range wide {
					c[j] = FMA(x, y, c[j])
				}
			}
		}
	}
}

func panelsF32Ref(p *Product, b [][]float32) { panelsRef(p, b, func(x float32) float32 { return x }) }

func panelsF16Ref(p *Product, b [][]uint16) { panelsRef(p, b, f32FromF16) }

func panelsI8Ref(p *Product, b [][]int8) { panelsRef(p, b, f32FromI8) }

func f32FromI8(x int8) float32 { return float32(x) }

func fromI8Ref(dst []float32, x []int8) {
	for i, v := range x {
		dst[i] = float32(v)
	}
}
