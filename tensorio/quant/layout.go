package quant

import (
	"github.com/shardnode/shardnode/tensorio"
)

// PanelRows is the number of rows that are interleaved in a panel.
const PanelRows = 16

// A kind says which kernel a type needs.
type kind uint8

const (
	kindFloat kind = iota // one weight after another
	kindBlock             // blocks of 32 weights, in pairs
	kindByte              // the same, of 8 bits
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
		return layout{kind: kindByte, unitCols: 64, head: 64, codeBytes: 512, unitBytes: 64 + 2*512}, nil
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
