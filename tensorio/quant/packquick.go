package quant

import (
	"encoding/binary"

	"github.com/shardnode/shardnode/tensorio"
)

// Packing is what a start waits for, so the types that most files have get
// loops of their own. Each does what packRow does for its type; the tests
// compare them.

// A rowPacker brings one row, of whole blocks, into a panel as row r of its 16.
type rowPacker func(panel []byte, r int, row []byte)

// quickPacker returns the loop for a type, nil if it has none.
func quickPacker(t tensorio.Type) rowPacker {
	switch t {
	case tensorio.Q8_0:
		return quickQ8_0
	case tensorio.Q4_0:
		return quickQ4_0
	case tensorio.Q4_1:
		return quickQ4_1
	case tensorio.Q4_K:
		return quickQ4_K
	case tensorio.Q5_K:
		return quickQ5_K
	case tensorio.Q6_K:
		return quickQ6_K
	}
	return nil
}

var little = binary.LittleEndian

// quickHalves brings columns of all 16 rows of 16-bit numbers, rowBytes apart in
// src, into a panel: four rows and four columns at a time. n, the bytes of each
// row, is a multiple of 8.
func quickHalves(panel, src []byte, rowBytes, n int) {
	const even, low = 0x0000ffff0000ffff, 0x00000000ffffffff
	for r := 0; r < PanelRows; r += 4 {
		r0, r1 := src[r*rowBytes:][:n], src[(r+1)*rowBytes:][:n]
		r2, r3 := src[(r+2)*rowBytes:][:n], src[(r+3)*rowBytes:][:n]
		for at := 0; at+8 <= n; at += 8 {
			a, b, c, d := little.Uint64(r0[at:]), little.Uint64(r1[at:]), little.Uint64(r2[at:]), little.Uint64(r3[at:])
			// ab0 has columns 0 and 2 of both rows, ab1 columns 1 and 3.
			ab0, ab1 := a&even|b&even<<16, a>>16&even|b&^even
			cd0, cd1 := c&even|d&even<<16, c>>16&even|d&^even
			dst := (*[104]byte)(panel[at*16+r*2:])
			little.PutUint64(dst[0:], ab0&low|cd0<<32)
			little.PutUint64(dst[32:], ab1&low|cd1<<32)
			little.PutUint64(dst[64:], ab0>>32|cd0&^low)
			little.PutUint64(dst[96:], ab1>>32|cd1&^low)
		}
	}
}

// put64 writes the two words of x one row of words apart.
func put64(codes []byte, x uint64) {
	_ = codes[67]
	little.PutUint32(codes, uint32(x))
	little.PutUint32(codes[64:], uint32(x>>32))
}

func quickQ8_0(panel []byte, r int, row []byte) {
	const block, unit = 34, 64 + 2*512
	for i := 0; len(row) >= block; i++ {
		src := (*[block]byte)(row)
		dst := (*[unit]byte)(panel)
		h := i % 2
		little.PutUint16(dst[h*32+r*2:], little.Uint16(src[:]))
		codes := (*[452]byte)(dst[64+h*512+r*4:])
		put64(codes[0:], little.Uint64(src[2:])^0x8080808080808080)
		put64(codes[128:], little.Uint64(src[10:])^0x8080808080808080)
		put64(codes[256:], little.Uint64(src[18:])^0x8080808080808080)
		put64(codes[384:], little.Uint64(src[26:])^0x8080808080808080)
		row = row[block:]
		panel = panel[h*unit:]
	}
}

func quickQ4_0(panel []byte, r int, row []byte) {
	const block, unit = 18, 64 + 2*256
	for i := 0; len(row) >= block; i++ {
		src := (*[block]byte)(row)
		dst := (*[unit]byte)(panel)
		h := i % 2
		little.PutUint16(dst[h*32+r*2:], little.Uint16(src[:]))
		codes := (*[196]byte)(dst[64+h*256+r*4:])
		put64(codes[0:], little.Uint64(src[2:]))
		put64(codes[128:], little.Uint64(src[10:]))
		row = row[block:]
		panel = panel[h*unit:]
	}
}

func quickQ4_1(panel []byte, r int, row []byte) {
	const block, unit = 20, 128 + 2*256
	for i := 0; len(row) >= block; i++ {
		src := (*[block]byte)(row)
		dst := (*[unit]byte)(panel)
		h := i % 2
		little.PutUint16(dst[h*32+r*2:], little.Uint16(src[:]))
		little.PutUint16(dst[64+h*32+r*2:], little.Uint16(src[2:]))
		codes := (*[196]byte)(dst[128+h*256+r*4:])
		put64(codes[0:], little.Uint64(src[4:]))
		put64(codes[128:], little.Uint64(src[12:]))
		row = row[block:]
		panel = panel[h*unit:]
	}
}

// Masks of nibbles and of pairs of bits.
const (
	lowNibbles  = 0x0f0f0f0f0f0f0f0f
	highNibbles = 0xf0f0f0f0f0f0f0f0
	lowPairs    = 0x0303030303030303
	lowBits     = 0x0101010101010101
)

// quickScalesK writes d, dmin and the 6-bit scales and minima of a Q4_K or Q5_K
// block (scaleMinK4).
func quickScalesK(dst *[superMins + 128]byte, r int, src *[16]byte) {
	little.PutUint16(dst[r*2:], little.Uint16(src[:]))
	little.PutUint16(dst[32+r*2:], little.Uint16(src[2:]))
	a, b, c := little.Uint32(src[4:]), little.Uint32(src[8:]), little.Uint32(src[12:])
	scales := uint64(a&0x3f3f3f3f) | uint64(c&0x0f0f0f0f|a>>2&0x30303030)<<32
	mins := uint64(b&0x3f3f3f3f) | uint64(c>>4&0x0f0f0f0f|b>>2&0x30303030)<<32
	for j := range 8 {
		dst[superScales+j*16+r] = byte(scales >> (8 * j))
	}
	for j := range 4 {
		little.PutUint16(dst[superMins+j*32+r*2:], uint16(mins>>(16*j)))
	}
}

// quickNibbles writes the nibbles of two neighbouring sub-blocks of a Q4_K or
// Q5_K block, whose 32 bytes are qs, codeBytes apart.
func quickNibbles(codes []byte, codeBytes int, qs *[32]byte) {
	for k := range 2 {
		a, b := little.Uint64(qs[8*k:]), little.Uint64(qs[16+8*k:])
		put64(codes[128*k:], a&lowNibbles|b<<4&highNibbles)
		put64(codes[codeBytes+128*k:], a>>4&lowNibbles|b&highNibbles)
	}
}

func quickQ4_K(panel []byte, r int, row []byte) {
	const block, unit = 144, superMins + 128 + 8*256
	for ; len(row) >= block; row, panel = row[block:], panel[unit:] {
		src := (*[block]byte)(row)
		quickScalesK((*[superMins + 128]byte)(panel), r, (*[16]byte)(src[:]))
		codes := panel[superMins+128+r*4 : unit]
		for b := range 4 {
			quickNibbles(codes[b*512:], 256, (*[32]byte)(src[16+32*b:]))
		}
	}
}

func quickQ5_K(panel []byte, r int, row []byte) {
	const block, unit = 176, superMins + 128 + 8*320
	for ; len(row) >= block; row, panel = row[block:], panel[unit:] {
		src := (*[block]byte)(row)
		quickScalesK((*[superMins + 128]byte)(panel), r, (*[16]byte)(src[:]))
		codes := panel[superMins+128+r*4 : unit]
		for b := range 4 {
			quickNibbles(codes[b*640:], 320, (*[32]byte)(src[48+32*b:]))
		}
		h := [4]uint64{little.Uint64(src[16:]), little.Uint64(src[24:]), little.Uint64(src[32:]), little.Uint64(src[40:])}
		for b := range 8 {
			// Bit j of a byte is the fifth bit of word j, so of two words in each of h.
			x := h[0]>>b&lowBits | h[1]>>b&lowBits<<2 | h[2]>>b&lowBits<<4 | h[3]>>b&lowBits<<6
			little.PutUint32(codes[b*320+256:], uint32(x)|uint32(x>>32)<<1)
		}
	}
}

func quickQ6_K(panel []byte, r int, row []byte) {
	const block, unit, code = 210, superScales + 256 + 8*384, 384
	for ; len(row) >= block; row, panel = row[block:], panel[unit:] {
		src := (*[block]byte)(row)
		head := (*[superScales + 256]byte)(panel)
		little.PutUint16(head[r*2:], little.Uint16(src[208:]))
		for j := range 8 {
			little.PutUint16(head[superScales+j*32+r*2:], little.Uint16(src[192+2*j:]))
		}
		for half := range 2 {
			codes := panel[superScales+256+half*4*code+r*4 : unit]
			ql, qh := (*[64]byte)(src[half*64:]), (*[32]byte)(src[128+half*32:])
			for g := range 2 {
				for k := range 2 {
					a, b := little.Uint64(ql[g*32+8*k:]), little.Uint64(ql[g*32+16+8*k:])
					put64(codes[g*code+128*k:], a&lowNibbles|b<<4&highNibbles)
					put64(codes[(g+2)*code+128*k:], a>>4&lowNibbles|b&highNibbles)
				}
			}
			h := [4]uint64{little.Uint64(qh[0:]), little.Uint64(qh[8:]), little.Uint64(qh[16:]), little.Uint64(qh[24:])}
			for g := range 4 {
				// Bits 2j and 2j+1 of a byte are the upper bits of word j.
				x := h[0]>>(2*g)&lowPairs | h[1]>>(2*g)&lowPairs<<4
				y := h[2]>>(2*g)&lowPairs | h[3]>>(2*g)&lowPairs<<4
				little.PutUint32(codes[g*code+256:], uint32(x)|uint32(x>>32)<<2)
				little.PutUint32(codes[g*code+320:], uint32(y)|uint32(y>>32)<<2)
			}
		}
	}
}
