package quant

// refSuperPanel adds, block of 256 by block,
//
//	acc = fma(S, d*da, acc)          S = sum of scale[j] * idot[j]
//	acc = fma(-M, dmin*da, acc)      M = sum of min[j] * (sum q)[j], types with a minimum
//
// where idot[j] is the exact product of sub-block j: of what the codes stand
// for, or of the codes less the offset. S and M are exact in int32: at most 2^28
// and 2^21.
func refSuperPanel(acc *[PanelRows]float32, m *Matrix, p int, x []actSuper) {
	l := &m.layout
	panel := m.panel(p)
	for i := range x {
		b := &x[i]
		unit := panel[i*l.unitBytes:][:l.unitBytes]
		var total, low [PanelRows]int32
		superDots(&total, l, unit, b)
		if l.minimum {
			superMinima(&low, l, unit, b)
		}
		for r := range acc {
			acc[r] = fma(float32(total[r]), l.d(unit, r)*b.d, acc[r])
			if l.minimum {
				acc[r] = fma(float32(-low[r]), f16At(unit[32+2*r:])*b.d, acc[r])
			}
		}
	}
}

// superDots adds S of a unit to total.
func superDots(total *[PanelRows]int32, l *layout, unit []byte, b *actSuper) {
	var words [8]uint32
	for j := range 8 {
		part, q := unit[l.head+j*l.codeBytes:][:l.codeBytes], (*[32]int8)(b.q[32*j:])
		if l.scaling == scales32 { // Q4_K, Q5_K: both halves at once
			var dot [PanelRows]int32
			dotNibbles(&dot, part, q)
			if l.codeBytes == 320 {
				dotHighBits(&dot, part[256:], q)
			}
			for r := range total {
				total[r] += int32(unit[superScales+16*j+r]) * dot[r]
			}
			continue
		}
		c0, c1 := -l.offset*int32(b.sum16[2*j]), -l.offset*int32(b.sum16[2*j+1])
		for r := range total {
			codeWords(&words, l.codeBytes, part[4*r:])
			if l.values != nil {
				for i, w := range words {
					words[i] = lookup(l.values, w)
				}
			}
			first, second := c0, c1
			for i := range 4 {
				first += dot4(words[i], q, 4*i)
				second += dot4(words[4+i], q, 16+4*i)
			}
			s0, s1 := l.scales(unit, j, r)
			total[r] += s0*first + s1*second
		}
	}
}

// codeWords sets the codes, four to a word, of 32 columns of the row whose codes
// begin at b: what packWords wrote.
func codeWords(words *[8]uint32, codeBytes int, b []byte) {
	switch codeBytes {
	case 128, 192: // bits 2i and 2i+1 of two words, and bits of a third
		v, w := word(b, 0), word(b, 64)
		for i := range 4 {
			words[i], words[4+i] = v>>(2*i)&0x03030303, w>>(2*i)&0x03030303
		}
		if codeBytes == 192 {
			high := word(b, 128)
			for i := range words {
				words[i] |= high >> i & 0x01010101 << 2
			}
		}
		return
	}
	for i := range 4 {
		w := word(b, 64*i)
		words[i], words[4+i] = w&0x0f0f0f0f, w>>4&0x0f0f0f0f
	}
	if codeBytes == 384 {
		v, w := word(b, 256), word(b, 320)
		for i := range 4 {
			words[i] |= v >> (2 * i) & 0x03030303 << 4
			words[4+i] |= w >> (2 * i) & 0x03030303 << 4
		}
	}
}

// dot4 returns the product of the four signed bytes of w with q[k:k+4].
func dot4(w uint32, q *[32]int8, k int) int32 {
	return int32(int8(w))*int32(q[k]) + int32(int8(w>>8))*int32(q[k+1]) +
		int32(int8(w>>16))*int32(q[k+2]) + int32(int8(w>>24))*int32(q[k+3])
}

// superMinima sets M of a unit.
func superMinima(low *[PanelRows]int32, l *layout, unit []byte, b *actSuper) {
	if l.scaling == scalesNibbles {
		for j, s := range b.sum16 {
			for r := range low {
				low[r] += int32(unit[superScales+j/2*32+2*r+j%2]>>4) * int32(s)
			}
		}
		return
	}
	for j, s := range b.sum32 {
		for r := range low {
			low[r] += int32(unit[superMins+j/2*32+2*r+j%2]) * int32(s)
		}
	}
}
