package folder

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/quant"
	"github.com/shardnode/shardnode/tensorio/safetensors"
)

// A source is a tensor of the folder.
type source struct {
	name  string
	dtype safetensors.DType
	typ   tensorio.Type
	shape []int
	data  []byte
}

// cols returns the length of a row.
func (s *source) cols() int { return s.shape[len(s.shape)-1] }

// rows returns how many rows there are.
func (s *source) rows() int {
	n := 1
	for _, d := range s.shape[:len(s.shape)-1] {
		n *= d
	}
	return n
}

// row returns row r.
func (s *source) row(r int) []byte {
	n := len(s.data) / max(1, s.rows())
	return s.data[r*n:][:n:n]
}

// A made is a tensor of the GGUF file.
type made struct {
	tensorio.Tensor // Data are nil if its rows are to be made

	from tensorio.Type // of the rows that row returns
	// row returns row r before it is converted: in the folder's memory, or in buf,
	// which it may use.
	row func(buf []byte, r int) []byte
	add float32 // to each element

	// parts are what rows are made of: each as many rows as the others.
	parts [][]byte
}

// sources returns what rows [lo, lo+n) are made of.
func (m *made) sources(lo, n int) [][]byte {
	rows := m.Elements() / m.Shape[len(m.Shape)-1]
	if len(m.parts) == 0 || n == 0 {
		return nil
	}
	per := max(1, rows/len(m.parts))
	return m.parts[min(lo/per, len(m.parts)):min((lo+n-1)/per+1, len(m.parts))]
}

// outer returns the parts of a tensor by its outermost dimension.
func (s *source) outer() [][]byte {
	if len(s.shape) < 3 {
		return [][]byte{s.data}
	}
	parts := make([][]byte, s.shape[0])
	size := len(s.data) / max(1, len(parts))
	for i := range parts {
		parts[i] = s.data[i*size:][:size]
	}
	return parts
}

// as returns s as it is.
func as(s *source) made {
	m := rowsOf(s, func(r int) int { return r })
	m.Data = s.data
	return m
}

// rowsOf returns s with its rows in another order.
func rowsOf(s *source, order func(r int) int) made {
	return made{
		Tensor: tensorio.Tensor{Type: s.typ, Shape: s.shape},
		from:   s.typ,
		row:    func(_ []byte, r int) []byte { return s.row(order(r)) },
		parts:  s.outer(),
	}
}

// part returns rows [lo, lo+n) of each block of s that has so many rows; blocks are
// counted by the outermost dimension.
func part(s *source, block, lo, n int) made {
	m := rowsOf(s, func(r int) int { return r/n*block + lo + r%n })
	m.Shape = append(append([]int{}, s.shape[:len(s.shape)-2]...), n, s.cols())
	return m
}

// permuted returns s with the rows of each head in the order of neighbouring
// pairs (LlamaModel.permute): row 2i is i there, row 2i+1 is i + half.
func permuted(s *source, heads int) made {
	vector := len(s.shape) == 1
	rows := s.rows()
	if vector {
		rows = s.shape[0]
	}
	size := rows / heads
	order := func(r int) int { return r/size*size + r%size%2*(size/2) + r%size/2 }
	if !vector {
		return rowsOf(s, order)
	}
	n := len(s.data) / max(1, rows)
	return made{Tensor: tensorio.Tensor{Type: s.typ, Shape: s.shape}, from: s.typ, row: func(buf []byte, _ int) []byte {
		buf = buf[:0]
		for r := range rows {
			buf = append(buf, s.data[order(r)*n:][:n]...)
		}
		return buf
	}}
}

// stacked returns tensors of one shape as one.
func stacked(all []*source) made {
	each := all[0].rows()
	var parts [][]byte
	for _, s := range all {
		parts = append(parts, s.data)
	}
	return made{
		parts:  parts,
		Tensor: tensorio.Tensor{Type: all[0].typ, Shape: append([]int{len(all)}, all[0].shape...)},
		from:   all[0].typ,
		row:    func(_ []byte, r int) []byte { return all[r/each].row(r % each) },
	}
}

// turned returns [outer, a, b] as [outer, n, a]: columns lo, lo+step, ... of b, of
// which there are n, become rows.
func turned(s *source, lo, step, n int) made {
	a, b := s.shape[len(s.shape)-2], s.cols()
	size := len(s.data) / max(1, s.rows()*b)
	return made{
		Tensor: tensorio.Tensor{Type: s.typ, Shape: append(append([]int{}, s.shape[:len(s.shape)-2]...), n, a)},
		parts:  s.outer(),
		from:   s.typ,
		row: func(buf []byte, r int) []byte {
			buf = buf[:0]
			outer, col := r/n, lo+r%n*step
			for i := range a {
				buf = append(buf, s.data[((outer*a+i)*b+col)*size:][:size]...)
			}
			return buf
		},
	}
}

// columns returns every step-th column of s from lo on.
func columns(s *source, lo, step int) made {
	n := (s.cols() - lo + step - 1) / step
	size := len(s.data) / max(1, s.rows()*s.cols())
	return made{
		Tensor: tensorio.Tensor{Type: s.typ, Shape: append(append([]int{}, s.shape[:len(s.shape)-1]...), n)},
		from:   s.typ,
		row: func(buf []byte, r int) []byte {
			buf = buf[:0]
			row := s.row(r)
			for i := range n {
				buf = append(buf, row[(lo+i*step)*size:][:size]...)
			}
			return buf
		},
	}
}

// mxfp4 returns [outer, rows, blocks, 16] of codes and [outer, rows, blocks] of
// scales as MXFP4: of the rows in outer lo, lo+step, ..., of which there are n. In
// the folder byte j of a block holds elements 2j and 2j+1, in a GGUF file j and j+16.
func mxfp4(codes, scales *source, lo, step, n int) made {
	rows, blocks := codes.shape[1], codes.shape[2]
	return made{
		Tensor: tensorio.Tensor{Type: tensorio.MXFP4, Shape: []int{codes.shape[0], n, blocks * 32}},
		parts:  codes.outer(),
		from:   tensorio.MXFP4,
		row: func(buf []byte, r int) []byte {
			buf = buf[:0]
			at := r/n*rows + lo + r%n*step
			for b := range blocks {
				src := codes.data[(at*blocks+b)*16:][:16]
				buf = append(buf, scales.data[at*blocks+b])
				for j := range 16 {
					low := src[j/2] >> (j % 2 * 4) & 15
					high := src[8+j/2] >> (j % 2 * 4) & 15
					buf = append(buf, low|high<<4)
				}
			}
			return buf
		},
	}
}

// finish names a tensor and decides its type: vectors, norms and routers are
// float32 in GGUF files (ModelBase.prepare_tensors).
func (m made) finish(name string) made {
	m.Name = name
	if len(m.Shape) <= 1 || !strings.HasSuffix(name, ".weight") || strings.HasSuffix(name, "_norm.weight") || strings.Contains(name, "ffn_gate_inp") {
		m.convert(tensorio.F32)
	}
	return m
}

// convert makes the tensor one of another type.
func (m *made) convert(t tensorio.Type) {
	m.Type = t
	if m.Type != m.from || m.add != 0 {
		m.Data = nil
	}
}

// rowBytes returns the length of a row as made.
func (m *made) rowBytes() int {
	n, err := m.Type.RowBytes(m.Shape[len(m.Shape)-1])
	if err != nil {
		panic("folder: " + err.Error()) // checked when the folder was opened
	}
	return n
}

// make appends rows [lo, lo+n) to dst.
func (m *made) make(dst []byte, lo, n int) []byte {
	cols := m.Shape[len(m.Shape)-1]
	var buf []byte
	var values []float32
	for r := lo; r < lo+n; r++ {
		row := m.row(buf, r)
		if m.Type == m.from && m.add == 0 {
			dst = append(dst, row...)
			buf = keep(buf, row)
			continue
		}
		if values == nil {
			values = make([]float32, cols)
		}
		if err := quant.Dequantize(values, m.from, row); err != nil {
			panic("folder: " + err.Error()) // checked when the folder was opened
		}
		for i := range values {
			values[i] += m.add
		}
		dst = encode(dst, values, m.Type)
		buf = keep(buf, row)
	}
	return dst
}

// keep returns row as the next buffer if it may be one: if it grew from buf.
func keep(buf, row []byte) []byte {
	if cap(buf) == 0 {
		return make([]byte, 0, len(row))
	}
	return buf
}

// encode appends values as type t.
func encode(dst []byte, x []float32, t tensorio.Type) []byte {
	if t == tensorio.F32 {
		for _, v := range x {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
		return dst
	}
	n, err := t.RowBytes(len(x))
	if err != nil {
		panic("folder: " + err.Error()) // checked when the folder was opened
	}
	dst = append(dst, make([]byte, n)...)
	if err := quant.Quantize(dst[len(dst)-n:], t, x); err != nil {
		panic("folder: " + err.Error()) // only types that Quantize has are asked for
	}
	return dst
}

// check reports whether a tensor of the folder can be used at all.
func (s *source) check() error {
	if len(s.shape) == 0 {
		return fmt.Errorf("tensor %q is a single number: want a vector or a matrix", s.name)
	}
	if s.dtype != safetensors.U8 {
		if _, ok := s.dtype.Type(); !ok {
			return fmt.Errorf("tensor %q has the element type %s, which can't be computed: use a folder in BF16, F16 or F32, or a GGUF file", s.name, s.dtype)
		}
	}
	return nil
}
