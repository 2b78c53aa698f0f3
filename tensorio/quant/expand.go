package quant

import (
	"sync"
	"unsafe"
)

// An expanded is a kernel that takes the codes from where expand wrote them: for
// a prompt they are taken apart once, not again for every few tokens.
type expanded struct {
	unitBytes int // of the codes of a unit
	tokens    int // of a tile
	expand    func(w, x *byte, n uint64)
	mul       func(w, x, a *byte, stride uint64, y *float32, ldy uint64, tail *int32, n uint64)
}

// expandFrom is the number of tokens from which expanding codes is worth it.
const expandFrom = 24

// expandedBytes is how much room for codes there is: it stays in a core's second
// cache while all tokens pass over it. Half of the 512 KiB of a Zen 3 core.
const expandedBytes = 256 << 10

// rooms are the places for expanded codes that nobody uses.
var rooms = sync.Pool{New: func() any { return new([expandedBytes + 63]byte) }}

// fits reports whether tokens and matrix are such that codes are expanded.
func (e *expanded) fits(m *Matrix, tokens int) bool {
	return e != nil && tokens >= expandFrom && m.layout.units(m.cols)*e.unitBytes <= expandedBytes
}

// run multiplies panels with the first tokens of a and returns how many: tiles
// are full.
func (e *expanded) run(m *Matrix, y []float32, ldy int, a *Acts, lo, hi int) int {
	room := rooms.Get().(*[expandedBytes + 63]byte)
	defer rooms.Put(room)
	x := room[-uintptr(unsafe.Pointer(room))&63:]
	base, stride := a.form(m)
	units := m.layout.units(m.cols)
	size := units * e.unitBytes
	group := expandedBytes / size
	tokens := a.tokens / e.tokens * e.tokens
	for g := lo; g < hi; g += group {
		end := min(g+group, hi)
		for p := g; p < end; p++ {
			e.expand(&m.buf[p*m.panelBytes], &x[(p-g)*size], uint64(units))
		}
		for t := 0; t < tokens; t += e.tokens {
			at := (*byte)(unsafe.Add(base, t*stride))
			for p := g; p < end; p++ {
				e.mul(&m.buf[p*m.panelBytes], &x[(p-g)*size], at, uint64(stride),
					&y[t*ldy+p*PanelRows], uint64(4*ldy), m.tail(p), uint64(units))
			}
		}
	}
	return tokens
}
