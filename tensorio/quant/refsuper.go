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
		var first, second [PanelRows]int32 // the two halves of 32 columns
		superHalves(&first, &second, l, codes[j*l.codeBytes:][:l.codeBytes], (*[32]int8)(b.q[32*j:]))
		if t == tensorio.Q4_K || t == tensorio.Q5_K {
			for r := range total {
				total[r] += int32(unit[superScales+16*j+r]) * (first[r] + second[r])
			}
			continue
		}
		c0, c1 := l.offset*int32(b.sum16[2*j]), l.offset*int32(b.sum16[2*j+1])
		for r := range total {
			at := superScales + 32*j + 2*r
			total[r] += int32(int8(unit[at]))*(first[r]-c0) + int32(int8(unit[at+1]))*(second[r]-c1)
		}
	}
}

// superHalves adds the products of the unsigned codes of 32 columns.
func superHalves(first, second *[PanelRows]int32, l *layout, codes []byte, q *[32]int8) {
	for j := range 4 {
		for r := range first {
			for i := range 4 {
				k, at := 4*j+i, r*4+i
				c := codes[64*j+at]
				u, v := c&15, c>>4
				switch l.codeBytes {
				case 320:
					h := codes[256+at]
					u |= h >> j & 1 << 4
					v |= h >> (4 + j) & 1 << 4
				case 384:
					u |= codes[256+at] >> (2 * j) & 3 << 4
					v |= codes[320+at] >> (2 * j) & 3 << 4
				}
				first[r] += int32(u) * int32(q[k])
				second[r] += int32(v) * int32(q[16+k])
			}
		}
	}
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
