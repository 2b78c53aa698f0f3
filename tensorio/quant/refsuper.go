package quant

import (
	"github.com/shardnode/shardnode/tensorio"
)

// refSuperPanel adds, block of 256 by block,
//
//	acc = fma(S, d*da, acc)          S = sum of scale[j] * idot[j]
//	acc = fma(-M, dmin*da, acc)      M = sum of min[j] * (sum q)[j], types with a minimum
//
// where idot[j] is the exact product of the codes of sub-block j, less the
// offset. S and M are exact in int32: at most 2^28 and 2^21.
func refSuperPanel(acc *[PanelRows]float32, m *Matrix, p int, x []actSuper) {
	l := &m.layout
	panel := m.panel(p)
	for i := range x {
		b := &x[i]
		unit := panel[i*l.unitBytes:][:l.unitBytes]
		var total, low [PanelRows]int32
		superDots(&total, m.typ, l, unit, b)
		if l.minimum {
			superMinima(&low, m.typ, unit, b)
		}
		for r := range acc {
			acc[r] = fma(float32(total[r]), f16At(unit[2*r:])*b.d, acc[r])
			if l.minimum {
				acc[r] = fma(float32(-low[r]), f16At(unit[32+2*r:])*b.d, acc[r])
			}
		}
	}
}

// superDots adds S of a unit to total.
func superDots(total *[PanelRows]int32, t tensorio.Type, l *layout, unit []byte, b *actSuper) {
	codes := unit[len(unit)-8*l.codeBytes:]
	for j := range 8 {
		part, q := codes[j*l.codeBytes:][:l.codeBytes], (*[32]int8)(b.q[32*j:])
		if t == tensorio.Q4_K || t == tensorio.Q5_K {
			var dot [PanelRows]int32
			dotNibbles(&dot, part, q)
			if t == tensorio.Q5_K {
				dotHighBits(&dot, part[256:], q)
			}
			for r := range total {
				total[r] += int32(unit[superScales+16*j+r]) * dot[r]
			}
			continue
		}
		// A scale for each half of the 32 columns.
		c0, c1 := -l.offset*int32(b.sum16[2*j]), -l.offset*int32(b.sum16[2*j+1])
		for r := range total {
			first, second := c0, c1
			for i := range 4 {
				w := word(part, 64*i+4*r)
				first += dot4(w&0x0f0f0f0f, q, 4*i)
				second += dot4(w>>4&0x0f0f0f0f, q, 16+4*i)
			}
			if l.codeBytes == 384 {
				v, w := word(part, 256+4*r), word(part, 320+4*r)
				for i := range 4 {
					first += dot4(v>>(2*i)&0x03030303, q, 4*i) << 4
					second += dot4(w>>(2*i)&0x03030303, q, 16+4*i) << 4
				}
			}
			at := superScales + 32*j + 2*r
			total[r] += int32(int8(unit[at]))*first + int32(int8(unit[at+1]))*second
		}
	}
}

// dot4 returns the product of the four bytes of w with q[k:k+4].
func dot4(w uint32, q *[32]int8, k int) int32 {
	return int32(w&255)*int32(q[k]) + int32(w>>8&255)*int32(q[k+1]) +
		int32(w>>16&255)*int32(q[k+2]) + int32(w>>24)*int32(q[k+3])
}

// superMinima sets M of a unit.
func superMinima(low *[PanelRows]int32, t tensorio.Type, unit []byte, b *actSuper) {
	at, sums := superMins, b.sum32[:]
	if t == tensorio.Q2_K {
		at, sums = superMins2, b.sum16[:]
	}
	for j, s := range sums {
		for r := range low {
			low[r] += int32(unit[at+j/2*32+2*r+j%2]) * int32(s)
		}
	}
}
