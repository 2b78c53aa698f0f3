package quant

import (
	"fmt"
	"math"

	"github.com/shardnode/shardnode/tensorio"
)

// A Matrix is a matrix of weights [rows, cols] in panels of 16 rows. The rows
// that the last panel has too many are zero.
type Matrix struct {
	typ        tensorio.Type
	rows, cols int
	layout     layout
	panelBytes int
	buf        []byte // [panels, panelBytes], the caller's memory
}

// PackedBytes returns the length of the buffer that NewMatrix wants for a
// matrix of rows x cols weights of type t: not much more than the file's bytes.
// It is an error when there are no kernels for t, or when cols is not a
// multiple of the type's block length.
func PackedBytes(t tensorio.Type, rows, cols int) (int, error) {
	l, err := layoutOf(t)
	if err != nil {
		return 0, err
	}
	if rows < 1 || cols < 1 {
		return 0, fmt.Errorf("matrix of %d x %d: want 1 row and 1 column or more", rows, cols)
	}
	if _, err := t.RowBytes(cols); err != nil {
		return 0, fmt.Errorf("matrix of %d x %d: %w", rows, cols, err)
	}
	panels, units := (rows-1)/PanelRows+1, (cols-1)/l.unitCols+1
	if units > math.MaxInt/l.unitBytes/panels {
		return 0, fmt.Errorf("matrix of %d x %d: too large for this machine", rows, cols)
	}
	return panels * units * l.unitBytes, nil
}

// NewMatrix returns the matrix whose panels are in buf, which must be
// PackedBytes long. The matrix keeps buf; it is the caller's to free, once
// nobody uses the matrix. buf may hold panels packed before, or anything:
// PackPanels fills it.
func NewMatrix(t tensorio.Type, rows, cols int, buf []byte) (*Matrix, error) {
	want, err := PackedBytes(t, rows, cols)
	if err != nil {
		return nil, err
	}
	if len(buf) != want {
		return nil, fmt.Errorf("%v matrix of %d x %d: have a buffer of %d bytes, want %d", t, rows, cols, len(buf), want)
	}
	l, err := layoutOf(t)
	if err != nil {
		return nil, err
	}
	return &Matrix{typ: t, rows: rows, cols: cols, layout: l, panelBytes: l.units(cols) * l.unitBytes, buf: buf}, nil
}

// Type returns the type of the weights in the file.
func (m *Matrix) Type() tensorio.Type { return m.typ }

// Rows returns the number of rows: the length of an output.
func (m *Matrix) Rows() int { return m.rows }

// Cols returns the number of columns: the length of an input.
func (m *Matrix) Cols() int { return m.cols }

// Panels returns the number of panels.
func (m *Matrix) Panels() int { return (m.rows-1)/PanelRows + 1 }

// PanelBytes returns the bytes of one panel, for whoever divides the work.
func (m *Matrix) PanelBytes() int { return m.panelBytes }

// PackPanels lays panels [lo, hi) out. src holds the whole matrix as its file
// has it, row by row. Disjoint ranges may be packed at the same time.
func (m *Matrix) PackPanels(src []byte, lo, hi int) error {
	rowBytes, err := m.typ.RowBytes(m.cols)
	if err != nil {
		return err
	}
	// PackedBytes has checked that the packed form, which is longer, fits an int.
	if len(src) != rowBytes*m.rows {
		return fmt.Errorf("%v matrix of %d x %d: have %d bytes, want %d", m.typ, m.rows, m.cols, len(src), rowBytes*m.rows)
	}
	if lo < 0 || hi > m.Panels() || lo > hi {
		return fmt.Errorf("panels [%d, %d) of %d", lo, hi, m.Panels())
	}
	for p := lo; p < hi; p++ {
		first := p * PanelRows
		m.packPanel(m.panel(p), src[first*rowBytes:min(first+PanelRows, m.rows)*rowBytes], rowBytes)
	}
	return nil
}

// packPanel lays the rows of one panel out, a few units of all rows at a time:
// what is written together stays in the first cache.
func (m *Matrix) packPanel(panel, src []byte, rowBytes int) {
	pack := quickPacker(m.typ)
	if pack == nil {
		pack = func(panel []byte, r int, row []byte) { packRow(panel, m.typ, &m.layout, r, row) }
	}
	units := max(1, packBytes/m.layout.unitBytes)
	step := units * m.layout.unitCols / m.typ.BlockLen() * m.typ.BlockBytes()
	for at := 0; at < rowBytes; at += step {
		n := min(step, rowBytes-at)
		some := panel[:min(units*m.layout.unitBytes, len(panel))]
		if m.layout.kind == kindFloat && m.typ != tensorio.F32 && n%8 == 0 && len(src) == PanelRows*rowBytes {
			quickHalves(some, src[at:], rowBytes, n)
			panel = panel[len(some):]
			continue
		}
		clear(some)
		for r := range len(src) / rowBytes {
			pack(some, r, src[r*rowBytes+at:][:n])
		}
		panel = panel[len(some):]
	}
}

// packBytes is how much of a panel is laid out at a time, for all its rows.
const packBytes = 8 << 10

// panel returns the bytes of panel p.
func (m *Matrix) panel(p int) []byte { return m.buf[p*m.panelBytes : (p+1)*m.panelBytes] }

// Mul multiplies panels [lo, hi) with the activations of a step:
//
//	y[t*ldy+r] = sum over k of w[r, k] * x[t, k]
//
// for every token t of a and every row r of the panels; the rest of y is left
// alone. Disjoint panels may be multiplied at the same time into one y. An
// element of y has the same bits whatever the number of tokens, the panels
// asked for and the form of the kernels.
//
// It panics if y or ldy is too short, if the panels do not exist, or if a was
// not prepared for a matrix of this type and these columns.
func (m *Matrix) Mul(y []float32, ldy int, a *Acts, lo, hi int) {
	m.mul(&chosen.kernels, y, ldy, a, lo, hi)
}

// mul is Mul with a given set of kernels.
func (m *Matrix) mul(k *kernels, y []float32, ldy int, a *Acts, lo, hi int) {
	if lo < 0 || hi > m.Panels() || lo > hi {
		panic(fmt.Sprintf("quant: panels [%d, %d) of %d", lo, hi, m.Panels()))
	}
	if a.cols != m.cols || !a.has(k, m) {
		panic(fmt.Sprintf("quant: activations of %d columns are not prepared for a %v matrix of %d columns", a.cols, m.typ, m.cols))
	}
	if lo == hi || a.tokens == 0 {
		return
	}
	if ldy < m.rows || len(y) < (a.tokens-1)*ldy+m.rows {
		panic(fmt.Sprintf("quant: output of %d, row length %d, for %d tokens of %d rows", len(y), ldy, a.tokens, m.rows))
	}
	if fast := k.of(m.typ); fast != nil {
		fast(m, y, ldy, a, lo, hi)
		return
	}
	refMul(m, y, ldy, a, lo, hi)
}
