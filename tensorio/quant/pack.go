package quant

import (
	"encoding/binary"

	"github.com/shardnode/shardnode/tensorio"
)

// packRow brings one row of a file into a panel, as row r of its 16. The
// places of the row in the panel must be zero.
func packRow(panel []byte, t tensorio.Type, l *layout, r int, row []byte) {
	switch {
	case t == tensorio.F32:
		for ; len(row) >= 4; row, panel = row[4:], panel[64:] {
			binary.LittleEndian.PutUint32(panel[4*r:], binary.LittleEndian.Uint32(row))
		}
	case l.kind == kindFloat:
		for ; len(row) >= 2; row, panel = row[2:], panel[32:] {
			binary.LittleEndian.PutUint16(panel[2*r:], binary.LittleEndian.Uint16(row))
		}
	case l.kind == kindBlock || l.kind == kindByte:
		size := t.BlockBytes()
		for i := 0; len(row) >= size; i, row = i+1, row[size:] {
			packBlock(panel[i/2*l.unitBytes:][:l.unitBytes], t, l, r, i%2, row[:size])
		}
	default:
		size := t.BlockBytes()
		for ; len(row) >= size; row, panel = row[size:], panel[l.unitBytes:] {
			packSuper(panel[:l.unitBytes], t, l, r, row[:size])
		}
	}
}

// word returns the little-endian number at b[i:i+4]: four codes at once.
func word(b []byte, i int) uint32 { return binary.LittleEndian.Uint32(b[i:]) }

// packBlock brings one 32-block of row r into half h of a unit.
func packBlock(dst []byte, t tensorio.Type, l *layout, r, h int, src []byte) {
	copy(dst[h*32+r*2:][:2], src)
	if l.minimum {
		copy(dst[64+h*32+r*2:][:2], src[2:])
	}
	codes := dst[l.head+h*l.codeBytes+r*4:]
	if t == tensorio.Q8_0 {
		for j := range 8 {
			binary.LittleEndian.PutUint32(codes[j*64:], word(src, 2+4*j)^0x80808080)
		}
		return
	}
	qs := src[len(src)-16:]
	for j := range 4 {
		binary.LittleEndian.PutUint32(codes[j*64:], word(qs, 4*j))
	}
	if l.codeBytes == 320 {
		high, bits := word(src, len(src)-20), uint32(0)
		for j := range 8 { // bit 4j+t becomes bit j of byte t
			bits |= high >> (4 * j) & 15 * 0x00204081 & 0x01010101 << j
		}
		binary.LittleEndian.PutUint32(codes[256:], bits)
	}
}

// packSuper brings one 256-block of row r into a unit.
func packSuper(dst []byte, t tensorio.Type, l *layout, r int, src []byte) {
	head := superHead
	switch t {
	case tensorio.Q4_K, tensorio.Q5_K:
		copy(dst[r*2:][:2], src)
		copy(dst[32+r*2:][:2], src[2:])
		for j := range 8 {
			sc, m := scaleMinK4(j, src[4:16])
			dst[superScales+j*16+r] = byte(sc)
			dst[superMins+j/2*32+r*2+j%2] = byte(m)
		}
	case tensorio.Q6_K:
		copy(dst[r*2:][:2], src[208:])
		for j := range 8 {
			copy(dst[superScales+j*32+r*2:][:2], src[192+2*j:])
		}
	case tensorio.Q3_K:
		copy(dst[r*2:][:2], src[108:])
		for j := range 16 {
			dst[superScales+j/2*32+r*2+j%2] = byte(scaleQ3_K(j, src[96:108]))
		}
	case tensorio.Q2_K:
		head = superHead2
		copy(dst[r*2:][:2], src[80:])
		copy(dst[32+r*2:][:2], src[82:])
		for j, v := range src[:16] {
			dst[superScales+j/2*32+r*2+j%2] = v & 15
			dst[superMins2+j/2*32+r*2+j%2] = v >> 4
		}
	}
	var words [8]uint32
	for b := range 8 {
		superWords(&words, t, src, b)
		packWords(dst[head+b*l.codeBytes+r*4:], l.codeBytes, &words)
	}
}

// superWords sets the unsigned codes, four to a word, of columns 32b to 32b+31
// of a block. The layouts are those of the unpack functions.
func superWords(words *[8]uint32, t tensorio.Type, src []byte, b int) {
	half, g := b/4, b%4
	switch t {
	case tensorio.Q4_K, tensorio.Q5_K:
		qs := src[len(src)-128+b/2*32:]
		for j := range words {
			words[j] = word(qs, 4*j) >> (4 * (b % 2)) & 0x0f0f0f0f
		}
		if t == tensorio.Q5_K {
			for j := range words {
				words[j] |= word(src, 16+4*j) >> b & 0x01010101 << 4
			}
		}
	case tensorio.Q6_K:
		ql, qh := src[half*64+g%2*32:], src[128+half*32:]
		for j := range words {
			words[j] = word(ql, 4*j)>>(g/2*4)&0x0f0f0f0f | word(qh, 4*j)>>(2*g)&0x03030303<<4
		}
	case tensorio.Q3_K: // -4 to 3, and the offset 32
		qs := src[32+half*32:]
		for j := range words {
			words[j] = (word(qs, 4*j)>>(2*g)&0x03030303 | word(src, 4*j)>>b&0x01010101<<2) + 0x1c1c1c1c
		}
	case tensorio.Q2_K:
		qs := src[16+half*32:]
		for j := range words {
			words[j] = word(qs, 4*j) >> (2 * g) & 0x03030303
		}
	}
}

// packWords writes the codes of 32 columns of a row: nibbles, then what is
// above them.
func packWords(codes []byte, codeBytes int, words *[8]uint32) {
	for j := range 4 {
		binary.LittleEndian.PutUint32(codes[j*64:], words[j]&0x0f0f0f0f|words[4+j]&0x0f0f0f0f<<4)
	}
	switch codeBytes {
	case 320:
		var bits uint32
		for j, w := range words {
			bits |= w >> 4 & 0x01010101 << j
		}
		binary.LittleEndian.PutUint32(codes[256:], bits)
	case 384:
		var first, second uint32
		for j := range 4 {
			first |= words[j] >> 4 & 0x03030303 << (2 * j)
			second |= words[4+j] >> 4 & 0x03030303 << (2 * j)
		}
		binary.LittleEndian.PutUint32(codes[256:], first)
		binary.LittleEndian.PutUint32(codes[320:], second)
	}
}
