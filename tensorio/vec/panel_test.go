package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// bytes8 returns n whole numbers of all 256.
func (s source) bytes8(n int) []int8 {
	x := make([]int8, n+8)[s.rng.IntN(8):][:n:n]
	for i := range x {
		x[i] = int8(s.rng.Uint32())
	}
	return x
}

// product makes one of count b with strides of its own, and returns how long
// each b is.
func (s source) product(rows, depth, panels, count int) (p Product, b int) {
	p = Product{Rows: rows, Depth: depth, Panels: panels, Add: s.rng.IntN(2) == 0, Deep: s.rng.IntN(2) == 0}
	cols, long := panels*PanelWidth, depth
	if p.Deep {
		long *= count
	} else {
		cols *= count
	}
	p.CStride, p.AStride = cols+s.rng.IntN(5), long+s.rng.IntN(5)
	p.BStride = depth*PanelWidth + s.rng.IntN(40)
	p.A = s.floats(max(0, (rows-1)*p.AStride+long))
	p.C = s.floats(max(0, (rows-1)*p.CStride+cols))
	return p, max(0, (panels-1)*p.BStride+depth*PanelWidth)
}

// several returns count slices of what one returns.
func several[T any](count int, one func() []T) (all [][]T) {
	for range count {
		all = append(all, one())
	}
	return all
}

// comparePanels compares the chosen form of a product with its definition for
// each type of elements. The gaps between rows show stores beyond them.
func comparePanels(t *testing.T, s source, rows, depth, panels, count int) {
	p, n := s.product(rows, depth, panels, count)
	c := p.C
	full := several(count, func() []float32 { return s.floats(n) })
	half := several(count, func() []uint16 { return s.halfs(n) })
	whole := several(count, func() []int8 { return s.bytes8(n) })
	for _, k := range []struct {
		name      string
		fast, def func(p *Product)
	}{
		{"F32", func(p *Product) { p.F32(full, s.floats(9)) }, func(p *Product) { panelsF32Ref(p, full) }},
		{"F16", func(p *Product) { p.F16(half, nil) }, func(p *Product) { panelsF16Ref(p, half) }},
		{"I8", func(p *Product) { p.I8(whole, whole[0][n/2:]) }, func(p *Product) { panelsI8Ref(p, whole) }},
	} {
		got, want := p, p
		got.C, want.C = clone(c), clone(c)
		k.fast(&got)
		if rows > 0 {
			k.def(&want)
		}
		same(t, "product "+k.name, got.C, want.C)
	}
	x, y := make([]float32, n), make([]float32, n)
	fromI8(x, whole[0])
	fromI8Ref(y, whole[0])
	same(t, "fromI8", x, y)
}

func TestProductsGiveTheBitsOfTheDefinition(t *testing.T) {
	needFast(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for kind := range uint8(4) {
		s := source{rand.New(rand.NewPCG(seed, uint64(kind))), kind}
		for rows := range 20 {
			for depth := range 9 {
				comparePanels(t, s, rows, depth, 1+s.rng.IntN(4), 1+s.rng.IntN(4))
			}
			comparePanels(t, s, rows, 64, 2, 8)
			comparePanels(t, s, rows, 10+s.rng.IntN(100), s.rng.IntN(6), 1)
		}
	}
}

func FuzzProduct(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint8(4), uint8(64), uint8(2), uint8(7))
	f.Add(uint64(2), uint8(3), uint8(13), uint8(7), uint8(5), uint8(0))
	f.Fuzz(func(t *testing.T, seed uint64, kind, rows, depth, panels, more uint8) {
		needFast(t)
		comparePanels(t, source{rand.New(rand.NewPCG(seed, 5)), kind}, int(rows%24), int(depth), int(panels%7), 1+int(more%9))
	})
}

// TestSumsCanBeTakenInParts is what attention over pages rests on.
func TestSumsCanBeTakenInParts(t *testing.T) {
	s := source{rand.New(rand.NewPCG(1, 1)), 0}
	const rows, depth, panels = 7, 45, 3
	p, n := s.product(rows, depth, panels, 1)
	b := s.floats(n)
	p.Add = false
	p.F32([][]float32{b}, nil)
	want := clone(p.C)
	for at := 0; at < depth; {
		part := p
		part.Depth, part.Add = min(1+s.rng.IntN(9), depth-at), at > 0
		part.A = p.A[at:]
		part.F32([][]float32{b[at*PanelWidth:]}, b)
		at += part.Depth
	}
	same(t, "product in parts", p.C, want)
}

func TestSoftCapIsATanh(t *testing.T) {
	for _, limit := range []float32{1, 30, 50} {
		for x := float32(-400); x < 400; x += 0.37 {
			got := []float32{x}
			SoftCap(got, limit)
			want := float64(limit) * math.Tanh(float64(x)/float64(limit))
			if !(math.Abs(float64(got[0])-want) <= 1e-6*float64(limit)) {
				t.Fatalf("SoftCap(%v, %v) = %v, want %v", x, limit, got[0], want)
			}
		}
		ends := []float32{float32(math.Inf(1)), float32(math.Inf(-1)), 0}
		SoftCap(ends, limit)
		same(t, "SoftCap", ends, []float32{limit, -limit, 0})
	}
}

func TestAProductOfShortSlicesPanics(t *testing.T) {
	for _, p := range []Product{
		{C: make([]float32, 31), A: make([]float32, 4), Rows: 1, Depth: 4, Panels: 2, BStride: 64},
		{C: make([]float32, 32), A: make([]float32, 3), Rows: 1, Depth: 4, Panels: 2, BStride: 64},
		{C: make([]float32, 32), A: make([]float32, 4), Rows: 1, Depth: 4, Panels: 2, BStride: 65},
		{C: make([]float32, 32), A: make([]float32, 4), Rows: 1, Depth: 4, Panels: 2, BStride: -64},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v was computed", p)
				}
			}()
			p.F16([][]uint16{make([]uint16, 128)}, nil)
		}()
	}
}

// BenchmarkProduct counts the bytes of b once: 4 and 64 rows are what decoding
// and a prompt give heads that share keys in fours.
func BenchmarkProduct(b *testing.B) {
	s := source{rand.New(rand.NewPCG(1, 1)), 0}
	const depth, panels = 64, 2
	full, half, whole := [][]float32{s.floats(1024 * panels)}, [][]uint16{s.halfs(1024 * panels)}, [][]int8{s.bytes8(1024 * panels)}
	for _, rows := range []int{1, 2, 3, 4, 64} {
		p := Product{Rows: rows, Depth: depth, Panels: panels, CStride: 32, AStride: depth, BStride: 1024}
		p.C, p.A = s.floats(rows*32), s.floats(rows*depth)
		for _, k := range []struct {
			name string
			run  func()
		}{
			{"F32", func() { p.F32(full, nil) }}, {"F16", func() { p.F16(half, nil) }}, {"I8", func() { p.I8(whole, nil) }},
		} {
			b.Run(fmt.Sprintf("%s/rows=%d", k.name, rows), func(b *testing.B) {
				best := time.Hour // of short runs: what else the machine does only adds to it
				for b.Loop() {
					start := time.Now()
					for range 20 {
						k.run()
					}
					best = min(best, time.Since(start))
				}
				b.ReportMetric(20*float64(rows*depth*panels*16)/float64(best.Nanoseconds()), "Gmac/s")
			})
		}
	}
}
