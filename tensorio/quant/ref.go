package quant

import (
	"encoding/binary"
	"math"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// refMul is the definition of Mul.
func refMul(m *Matrix, y []float32, ldy int, a *Acts, lo, hi int) {
	var out [PanelRows]float32
	for p := lo; p < hi; p++ {
		rows := min(PanelRows, m.rows-p*PanelRows)
		for t := range a.tokens {
			out = [PanelRows]float32{}
			switch m.layout.kind {
			case kindFloat:
				refFloatPanel(&out, m, p, a.floats[t*a.cols:(t+1)*a.cols])
			case kindBlock:
				n := a.blockStride()
				refBlockPanel(&out, m, p, a.blocks[t*n:(t+1)*n])
			case kindByte:
				n := a.blockStride()
				refBytePanel(&out, m, p, a.bytes[t*n:(t+1)*n])
			case kindSuper:
				n := a.cols / 256
				refSuperPanel(&out, m, p, a.supers[t*n:(t+1)*n])
			}
			copy(y[t*ldy+p*PanelRows:][:rows], out[:])
		}
	}
}

// fma returns a*b + c, rounded once.
func fma(a, b, c float32) float32 {
	if s := float64(a)*float64(b) + float64(c); rounds(s) {
		return float32(s)
	}
	return vec.FMA(a, b, c)
}

// rounds reports whether a sum of an exact product and a float32, rounded to
// float64, may be rounded again: it is not half way between two float32, and
// not below the normal ones.
func rounds(s float64) bool {
	bits := math.Float64bits(s)
	return bits&0x1fffffff != 0x10000000 && bits>>52&0x7ff >= 1023-125
}

// refFloatPanel adds w[k]*x[k] in ascending k.
func refFloatPanel(acc *[PanelRows]float32, m *Matrix, p int, x []float32) {
	panel := m.panel(p)
	var w [PanelRows]float32
	for _, v := range x {
		switch m.typ {
		case tensorio.F32:
			for r := range w {
				w[r] = math.Float32frombits(binary.LittleEndian.Uint32(panel[4*r:]))
			}
		case tensorio.F16:
			for r := range w {
				w[r] = f16(le16(panel[2*r:]))
			}
		default: // BF16
			for r := range w {
				w[r] = bf16(le16(panel[2*r:]))
			}
		}
		panel = panel[m.layout.unitBytes:]
		b := float64(v)
		for r := range w {
			if s := float64(w[r])*b + float64(acc[r]); rounds(s) {
				acc[r] = float32(s)
			} else {
				acc[r] = vec.FMA(w[r], v, acc[r])
			}
		}
	}
}

// refBlockPanel adds, block by block,
//
//	acc = fma(idot, dw*da, acc)
//	acc = fma(m, da*sum q, acc)      types with a minimum
//
// where idot is the exact sum of the products of the codes, less the offset, or
// of what the codes stand for.
func refBlockPanel(acc *[PanelRows]float32, m *Matrix, p int, x []actBlock) {
	l := &m.layout
	panel := m.panel(p)
	var idot [PanelRows]int32
	for i := range x {
		b := &x[i]
		unit := panel[i/2*l.unitBytes:][:l.unitBytes]
		scales := unit[i%2*32:][:32]
		codes := unit[l.head+i%2*l.codeBytes:][:l.codeBytes]
		if l.values != nil {
			dotValues(&idot, l.values, codes, &b.q)
		} else {
			dotNibbles(&idot, codes, &b.q)
		}
		if l.codeBytes == 320 {
			dotHighBits(&idot, codes[256:], &b.q)
		}
		var correction int32
		switch l.offset {
		case 8:
			correction = b.sum8
		case 16:
			correction = b.sum16
		}
		for r := range acc {
			acc[r] = fma(float32(idot[r]+correction), l.d(scales, r)*b.d, acc[r])
			if l.minimum {
				acc[r] = fma(f16At(unit[64+i%2*32+2*r:]), b.dsum, acc[r])
			}
		}
	}
}

// refBytePanel is refBlockPanel for Q8_0.
func refBytePanel(acc *[PanelRows]float32, m *Matrix, p int, x []actByte) {
	l := &m.layout
	panel := m.panel(p)
	var idot [PanelRows]int32
	for i := range x {
		b := &x[i]
		unit := panel[i/2*l.unitBytes:][:l.unitBytes]
		scales := unit[i%2*32:][:32]
		dotBytes(&idot, unit[l.head+i%2*l.codeBytes:][:l.codeBytes], &b.q)
		for r := range acc {
			acc[r] = fma(float32(idot[r]), f16At(scales[2*r:])*b.d, acc[r])
		}
	}
}

// dotBytes sets the exact products of 8-bit codes with 32 activations.
func dotBytes(dot *[PanelRows]int32, codes []byte, q *[32]int8) {
	*dot = [PanelRows]int32{}
	for j := range 8 {
		q0, q1, q2, q3 := int32(q[4*j]), int32(q[4*j+1]), int32(q[4*j+2]), int32(q[4*j+3])
		line := (*[64]byte)(codes[64*j:])
		for r := range dot {
			w := binary.LittleEndian.Uint32(line[4*r:4*r+4]) ^ 0x80808080 // signed again
			dot[r] += int32(int8(w))*q0 + int32(int8(w>>8))*q1 + int32(int8(w>>16))*q2 + int32(int8(w>>24))*q3
		}
	}
}

// dotNibbles sets the exact products of 4-bit codes with 32 activations: low
// nibbles with the first half, high ones with the second.
func dotNibbles(dot *[PanelRows]int32, codes []byte, q *[32]int8) {
	*dot = [PanelRows]int32{}
	for j := range 4 {
		q0, q1, q2, q3 := int32(q[4*j]), int32(q[4*j+1]), int32(q[4*j+2]), int32(q[4*j+3])
		h0, h1, h2, h3 := int32(q[16+4*j]), int32(q[17+4*j]), int32(q[18+4*j]), int32(q[19+4*j])
		line := (*[64]byte)(codes[64*j:])
		for r := range dot {
			w := binary.LittleEndian.Uint32(line[4*r : 4*r+4])
			dot[r] += int32(w&15)*q0 + int32(w>>4&15)*h0 +
				int32(w>>8&15)*q1 + int32(w>>12&15)*h1 +
				int32(w>>16&15)*q2 + int32(w>>20&15)*h2 +
				int32(w>>24&15)*q3 + int32(w>>28)*h3
		}
	}
}

// dotValues is dotNibbles for codes that stand for numbers of a table.
func dotValues(dot *[PanelRows]int32, values *[16]int8, codes []byte, q *[32]int8) {
	for r := range dot {
		var sum int32
		for i := range 4 {
			w := word(codes, 64*i+4*r)
			sum += dot4(lookup(values, w&0x0f0f0f0f), q, 4*i) + dot4(lookup(values, w>>4&0x0f0f0f0f), q, 16+4*i)
		}
		dot[r] = sum
	}
}

// dotHighBits adds 16 times the products of the fifth bits.
func dotHighBits(dot *[PanelRows]int32, bits []byte, q *[32]int8) {
	for r := range dot {
		w := binary.LittleEndian.Uint32(bits[4*r : 4*r+4])
		var sum int32
		for j := range 8 {
			v := w >> j
			sum += int32(v&1)*int32(q[4*j]) + int32(v>>8&1)*int32(q[4*j+1]) +
				int32(v>>16&1)*int32(q[4*j+2]) + int32(v>>24&1)*int32(q[4*j+3])
		}
		dot[r] += sum << 4
	}
}
