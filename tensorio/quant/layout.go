package quant

import (
	"encoding/binary"

	"github.com/shardnode/shardnode/tensorio"
)

// PanelRows is the number of rows that are interleaved in a panel.
const PanelRows = 16

// A kind says which kernel a type needs.
type kind uint8

const (
	kindFloat kind = iota // one weight after another
	kindBlock             // blocks of 32 weights, in pairs
	kindSuper             // blocks of 256 weights
)

// A layout describes how a panel of 16 rows is stored: one unit after another,
// each of unitCols columns of the 16 rows. DESIGN.md draws the units.
type layout struct {
	kind      kind
	unitCols  int
	unitBytes int
	head      int   // kindBlock: bytes before the codes of a unit: scales, minima
	codeBytes int   // bytes of codes for 32 columns
	offset    int32 // what is subtracted from the unsigned codes
	minimum   bool  // there is a second term
}

// layoutOf returns the layout of a type that Supported accepts.
func layoutOf(t tensorio.Type) (layout, error) {
	switch t {
	case tensorio.F32:
		return layout{kind: kindFloat, unitCols: 1, unitBytes: 64}, nil
	case tensorio.F16, tensorio.BF16:
		return layout{kind: kindFloat, unitCols: 1, unitBytes: 32}, nil
	case tensorio.Q8_0:
		return layout{kind: kindBlock, unitCols: 64, head: 64, codeBytes: 512, unitBytes: 64 + 2*512}, nil
	case tensorio.Q4_0:
		return layout{kind: kindBlock, unitCols: 64, head: 64, codeBytes: 256, unitBytes: 64 + 2*256, offset: 8}, nil
	case tensorio.Q5_0:
		return layout{kind: kindBlock, unitCols: 64, head: 64, codeBytes: 320, unitBytes: 64 + 2*320, offset: 16}, nil
	case tensorio.Q4_1:
		return layout{kind: kindBlock, unitCols: 64, head: 128, codeBytes: 256, unitBytes: 128 + 2*256, minimum: true}, nil
	case tensorio.Q5_1:
		return layout{kind: kindBlock, unitCols: 64, head: 128, codeBytes: 320, unitBytes: 128 + 2*320, minimum: true}, nil
	case tensorio.Q4_K:
		return layout{kind: kindSuper, unitCols: 256, codeBytes: 256, unitBytes: superHead + 8*256, minimum: true}, nil
	case tensorio.Q5_K:
		return layout{kind: kindSuper, unitCols: 256, codeBytes: 320, unitBytes: superHead + 8*320, minimum: true}, nil
	case tensorio.Q3_K, tensorio.Q6_K:
		return layout{kind: kindSuper, unitCols: 256, codeBytes: 384, unitBytes: superHead + 8*384, offset: 32}, nil
	case tensorio.Q2_K:
		return layout{kind: kindSuper, unitCols: 256, codeBytes: 256, unitBytes: superHead2 + 8*256, minimum: true}, nil
	}
	return layout{}, &tensorio.UnsupportedError{Type: t}
}

// The head of a unit of a K-quant: 16 d, 16 dmin (half precision), then scales
// and minima as bytes.
const (
	superScales = 64                // 8 x 16 bytes (Q4_K, Q5_K), or 8 x 16 x 2 (Q2_K, Q3_K, Q6_K)
	superMins   = superScales + 128 // 4 x 16 x 2 bytes (Q4_K, Q5_K)
	superHead   = superScales + 256
	superMins2  = superScales + 256 // 8 x 16 x 2 bytes (Q2_K)
	superHead2  = superScales + 512
)

// units returns the number of units in a row of cols columns.
func (l *layout) units(cols int) int { return (cols + l.unitCols - 1) / l.unitCols }

// packUnit brings unit number u of up to 16 rows into dst, which is unitBytes
// long and zero. rows are in the file's layout.
func packUnit(dst []byte, t tensorio.Type, l *layout, rows [][]byte, u int) {
	switch l.kind {
	case kindFloat:
		size := l.unitBytes / PanelRows
		for r, row := range rows {
			copy(dst[r*size:(r+1)*size], row[u*size:])
		}
	case kindBlock:
		size := t.BlockBytes()
		for r, row := range rows {
			for h := range 2 {
				if at := (2*u + h) * size; at < len(row) {
					packBlock(dst, t, l, r, h, row[at:at+size])
				}
			}
		}
	case kindSuper:
		size := t.BlockBytes()
		for r, row := range rows {
			packSuper(dst, t, l, r, row[u*size:(u+1)*size])
		}
	}
}

// packBlock brings one 32-block of row r into half h of a unit.
func packBlock(dst []byte, t tensorio.Type, l *layout, r, h int, src []byte) {
	copy(dst[h*32+r*2:][:2], src)
	if l.minimum {
		copy(dst[64+h*32+r*2:][:2], src[2:])
	}
	codes := dst[l.head+h*l.codeBytes:][:l.codeBytes]
	if t == tensorio.Q8_0 {
		for j := range 8 {
			w := binary.LittleEndian.Uint32(src[2+4*j:]) ^ 0x80808080
			binary.LittleEndian.PutUint32(codes[j*64+r*4:], w)
		}
		return
	}
	qs := src[len(src)-16:]
	for j := range 4 {
		copy(codes[j*64+r*4:][:4], qs[4*j:])
	}
	if l.codeBytes == 320 {
		high := binary.LittleEndian.Uint32(src[len(src)-20:])
		for k := range 32 {
			codes[256+r*4+k%4] |= byte(high>>k&1) << (k / 4)
		}
	}
}

// packSuper brings one 256-block of row r into a unit.
func packSuper(dst []byte, t tensorio.Type, l *layout, r int, src []byte) {
	var s superBlock
	dAt, dminAt := 0, 2
	switch t {
	case tensorio.Q2_K:
		unpackQ2_K(&s, src)
		dAt, dminAt = 80, 82
	case tensorio.Q3_K:
		unpackQ3_K(&s, src)
		dAt, dminAt = 108, -1
	case tensorio.Q4_K, tensorio.Q5_K:
		unpackQ45_K(&s, t, src)
	case tensorio.Q6_K:
		unpackQ6_K(&s, src)
		dAt, dminAt = 208, -1
	}
	copy(dst[r*2:][:2], src[dAt:])
	if dminAt >= 0 {
		copy(dst[32+r*2:][:2], src[dminAt:])
	}
	if t == tensorio.Q4_K || t == tensorio.Q5_K {
		for j := range 8 {
			dst[superScales+j*16+r] = byte(s.scale[2*j])
			dst[superMins+j/2*32+r*2+j%2] = byte(s.min[2*j])
		}
	} else {
		for j := range 16 {
			dst[superScales+j/2*32+r*2+j%2] = byte(s.scale[j])
		}
	}
	head := superHead
	if t == tensorio.Q2_K {
		head = superHead2
		for j := range 16 {
			dst[superMins2+j/2*32+r*2+j%2] = byte(s.min[j])
		}
	}
	for b := range 8 {
		codes := dst[head+b*l.codeBytes:][:l.codeBytes]
		for k := range 32 {
			u := uint8(int32(s.q[b*32+k]) + l.offset)
			low := r*4 + k%4
			codes[k%16/4*64+low] |= u & 15 << (4 * (k / 16))
			switch l.codeBytes {
			case 320:
				codes[256+low] |= u >> 4 << (k / 4)
			case 384:
				codes[256+k/16*64+low] |= u >> 4 << (2 * (k % 16 / 4))
			}
		}
	}
}
