package quant

import (
	"encoding/binary"
	"math"

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
	if t == tensorio.MXFP4 {
		binary.LittleEndian.PutUint16(dst[h*32+r*2:], uint16(e8m0Half(src[0])>>16))
	} else {
		copy(dst[h*32+r*2:][:2], src)
	}
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
	if l.factor == factorF32 {
		packIndexed(dst, t, l, r, src)
		return
	}
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
		copy(dst[r*2:][:2], src[80:])
		copy(dst[32+r*2:][:2], src[82:])
		for j := range 8 {
			copy(dst[superScales+j*32+r*2:][:2], src[2*j:])
		}
	}
	var words [8]uint32
	for b := range 8 {
		superWords(&words, t, src, b)
		packWords(dst[l.head+b*l.codeBytes+r*4:], l.codeBytes, &words)
	}
}

// packIndexed is packSuper for the IQ and TQ types.
func packIndexed(dst []byte, t tensorio.Type, l *layout, r int, src []byte) {
	var s indexed
	unpackIndexed(&s, t, src)
	binary.LittleEndian.PutUint32(dst[4*r:], math.Float32bits(s.d))
	switch l.scaling {
	case scalesPairs32:
		for j := range 8 {
			dst[superScales+j/2*32+2*r+j%2] = byte(s.scale[2*j])
		}
	case scalesPairs16:
		for j, v := range s.scale {
			dst[superScales+j/2*32+2*r+j%2] = byte(v)
		}
	}
	var words [8]uint32
	for b := range 8 {
		for j := range words {
			words[j] = word(s.code[:], 32*b+4*j)
		}
		packWords(dst[l.head+b*l.codeBytes+r*4:], l.codeBytes, &words)
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
	case tensorio.Q3_K:
		qs := src[32+half*32:]
		for j := range words {
			words[j] = word(qs, 4*j)>>(2*g)&0x03030303 | word(src, 4*j)>>b&0x01010101<<2
		}
	case tensorio.Q2_K:
		qs := src[16+half*32:]
		for j := range words {
			words[j] = word(qs, 4*j) >> (2 * g) & 0x03030303
		}
	}
}

// packWords writes the codes of 32 columns of a row: nibbles, then what is
// above them; or two bits of each, then what is above these.
func packWords(codes []byte, codeBytes int, words *[8]uint32) {
	low, high := 4, [2]uint32{}
	if codeBytes < 256 {
		low = 2
		var pair [2]uint32
		for j := range 4 {
			pair[0] |= words[j] & 0x03030303 << (2 * j)
			pair[1] |= words[4+j] & 0x03030303 << (2 * j)
		}
		binary.LittleEndian.PutUint32(codes, pair[0])
		binary.LittleEndian.PutUint32(codes[64:], pair[1])
	} else {
		for j := range 4 {
			binary.LittleEndian.PutUint32(codes[j*64:], words[j]&0x0f0f0f0f|words[4+j]&0x0f0f0f0f<<4)
		}
	}
	switch codeBytes {
	case 192, 320:
		for j, w := range words {
			high[0] |= w >> low & 0x01010101 << j
		}
		binary.LittleEndian.PutUint32(codes[64*low:], high[0])
	case 384:
		for j := range 4 {
			high[0] |= words[j] >> 4 & 0x03030303 << (2 * j)
			high[1] |= words[4+j] >> 4 & 0x03030303 << (2 * j)
		}
		binary.LittleEndian.PutUint32(codes[256:], high[0])
		binary.LittleEndian.PutUint32(codes[320:], high[1])
	}
}
