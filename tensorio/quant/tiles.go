package quant

import "unsafe"

// A tileFunc multiplies one panel with a few tokens. stride is the bytes from
// one token's activations to the next one's, ldy those between outputs, n the
// number of units of the panel. tail is nil, or the mask of the rows to write.
type tileFunc func(w, a *byte, stride uint64, y *float32, ldy uint64, tail *int32, n uint64)

// maxTile is the largest number of tokens that a tileFunc handles.
const maxTile = 12

// tileFuncs are the kernels of a type by number of tokens; there is one for 1.
type tileFuncs [maxTile + 1]tileFunc

// next returns how many of the tokens left the next tile takes: as few tiles as
// there can be, the last ones of about the same size.
func (fs *tileFuncs) next(left int) int {
	largest := maxTile
	for fs[largest] == nil {
		largest--
	}
	if left >= 2*largest {
		return largest
	}
	for tiles := (left + largest - 1) / largest; ; tiles++ {
		for n := (left + tiles - 1) / tiles; n <= min(left, largest); n++ {
			if fs[n] != nil && fs.cover(left-n, tiles-1) {
				return n
			}
		}
	}
}

// cover reports whether a number of tiles can take the tokens left.
func (fs *tileFuncs) cover(left, tiles int) bool {
	if left == 0 || tiles == 0 {
		return left == 0
	}
	for n := min(left, maxTile); n > 0; n-- {
		if fs[n] != nil && fs.cover(left-n, tiles-1) {
			return true
		}
	}
	return false
}

// groupBytes is how much of the weights stays in a core's second cache while
// all tokens pass over it. Half of the 512 KiB of a Zen 3 core.
const groupBytes = 256 << 10

// tailMask has a mask of n rows from tailMask[16-n].
var tailMask = [2 * PanelRows]int32{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}

// tail returns the mask of the rows of panel p, nil if it has all 16.
func (m *Matrix) tail(p int) *int32 {
	if rows := m.rows - p*PanelRows; rows < PanelRows {
		return &tailMask[PanelRows-rows]
	}
	return nil
}

// tiled returns the Mul of a type from its kernels. There may be none in e.
func tiled(fs *tileFuncs, e *expanded) mulFunc {
	return func(m *Matrix, y []float32, ldy int, a *Acts, lo, hi int) {
		done := 0
		if e.fits(m, a.tokens) {
			done = e.run(m, y, ldy, a, lo, hi)
		}
		base, stride := a.form(m)
		units := uint64(m.layout.units(m.cols))
		group := max(1, groupBytes/m.panelBytes)
		for g := lo; g < hi; g += group {
			for t := done; t < a.tokens; {
				n := fs.next(a.tokens - t)
				at := (*byte)(unsafe.Add(base, t*stride))
				for p := g; p < min(g+group, hi); p++ {
					fs[n](&m.buf[p*m.panelBytes], at, uint64(stride), &y[t*ldy+p*PanelRows], uint64(4*ldy), m.tail(p), units)
				}
				t += n
			}
		}
	}
}

// form returns the activations in the form for m, and the bytes from one token
// to the next.
func (a *Acts) form(m *Matrix) (base unsafe.Pointer, stride int) {
	switch m.layout.kind {
	case kindBlock:
		return unsafe.Pointer(&a.blocks[0]), a.blockStride() * int(unsafe.Sizeof(actBlock{}))
	case kindByte:
		if a.k.wide(m.typ) {
			return unsafe.Pointer(&a.wide[0]), a.blockStride() * int(unsafe.Sizeof(actWide{}))
		}
		return unsafe.Pointer(&a.bytes[0]), a.blockStride() * int(unsafe.Sizeof(actByte{}))
	case kindSuper:
		return unsafe.Pointer(&a.supers[0]), a.cols / 256 * int(unsafe.Sizeof(actSuper{}))
	}
	return unsafe.Pointer(&a.floats[0]), a.cols * 4
}
