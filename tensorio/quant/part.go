package quant

import "fmt"

// Part returns panels [lo, hi) of m, one at least, as a matrix of their own. It
// shares the memory of m.
func (m *Matrix) Part(lo, hi int) Matrix {
	if lo < 0 || hi > m.Panels() || lo >= hi {
		panic(fmt.Sprintf("quant: panels [%d, %d) of %d", lo, hi, m.Panels()))
	}
	p := *m
	p.rows = min(hi*PanelRows, m.rows) - lo*PanelRows
	p.buf = m.buf[lo*m.panelBytes : hi*m.panelBytes]
	return p
}
