package quant

import (
	"encoding/binary"
	"math"

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

// A factor says how the scale d of a block is stored.
type factor uint8

const (
	factorF16  factor = iota // half precision
	factorBF16               // bfloat16: an exponent of MXFP4, exactly
	factorF32                // float32: d of an IQ type, and the power of two that is in its formula
)

// A scaling says how the integer scales of the sub-blocks of 256 weights are
// stored, from superScales in a unit.
type scaling uint8

const (
	scalesNone    scaling = iota // all are 1
	scales32                     // a byte for 32 columns: [8, 16]
	scalesPairs32                // a signed byte for 32 columns: [4, 16, 2]
	scalesPairs16                // a signed byte for 16 columns: [8, 16, 2]
	scalesNibbles                // the same, the scale in the low nibble, the minimum in the high one
)

// bytes returns the length of the scales of a unit.
func (s scaling) bytes() int {
	return [...]int{scalesNone: 0, scales32: 128, scalesPairs32: 128, scalesPairs16: 256, scalesNibbles: 256}[s]
}

// A layout describes how a panel of 16 rows is stored: one unit after another,
// each of unitCols columns of the 16 rows. DESIGN.md draws the units.
type layout struct {
	kind      kind
	unitCols  int
	unitBytes int
	head      int       // bytes before the codes of a unit: scales, minima
	codeBytes int       // bytes of codes for 32 columns: 64 a bit
	offset    int32     // what is subtracted from the unsigned codes
	values    *[16]int8 // what the codes stand for, nil for numbers
	factor    factor
	scaling   scaling // kindSuper
	minimum   bool    // there is a second term
}

// layouts are those of the types that Supported accepts.
var layouts = map[tensorio.Type]layout{
	tensorio.F32:     {kind: kindFloat, unitCols: 1, unitBytes: 64},
	tensorio.F16:     {kind: kindFloat, unitCols: 1, unitBytes: 32},
	tensorio.BF16:    {kind: kindFloat, unitCols: 1, unitBytes: 32},
	tensorio.Q8_0:    blockLayout(8, layout{kind: kindByte}),
	tensorio.Q4_0:    blockLayout(4, layout{kind: kindBlock, offset: 8}),
	tensorio.Q5_0:    blockLayout(5, layout{kind: kindBlock, offset: 16}),
	tensorio.Q4_1:    blockLayout(4, layout{kind: kindBlock, minimum: true}),
	tensorio.Q5_1:    blockLayout(5, layout{kind: kindBlock, minimum: true}),
	tensorio.IQ4_NL:  blockLayout(4, layout{kind: kindBlock, values: &valuesIQ4}),
	tensorio.MXFP4:   blockLayout(4, layout{kind: kindBlock, values: &valuesMXFP4, factor: factorBF16}),
	tensorio.Q2_K:    superLayout(2, layout{scaling: scalesNibbles, minimum: true}),
	tensorio.Q3_K:    superLayout(3, layout{scaling: scalesPairs16, offset: 4}),
	tensorio.Q4_K:    superLayout(4, layout{scaling: scales32, minimum: true}),
	tensorio.Q5_K:    superLayout(5, layout{scaling: scales32, minimum: true}),
	tensorio.Q6_K:    superLayout(6, layout{scaling: scalesPairs16, offset: 32}),
	tensorio.IQ4_XS:  indexedLayout(4, scalesPairs32, &valuesIQ4),
	tensorio.IQ3_XXS: indexedLayout(4, scalesPairs32, &valuesIQ3XXS),
	tensorio.IQ3_S:   indexedLayout(4, scalesPairs32, &valuesIQ3S),
	tensorio.IQ2_XXS: indexedLayout(3, scalesPairs32, &valuesIQ2),
	tensorio.IQ2_XS:  indexedLayout(3, scalesPairs16, &valuesIQ2),
	tensorio.IQ2_S:   indexedLayout(3, scalesPairs16, &valuesIQ2),
	tensorio.IQ1_S:   indexedLayout(3, scalesPairs32, &valuesIQ1),
	tensorio.IQ1_M:   indexedLayout(3, scalesPairs16, &valuesIQ1),
	tensorio.TQ1_0:   superLayout(2, layout{offset: 1, factor: factorF32}),
	tensorio.TQ2_0:   superLayout(2, layout{offset: 1, factor: factorF32}),
}

// layoutOf returns the layout of a type, or an [*tensorio.UnsupportedError].
func layoutOf(t tensorio.Type) (layout, error) {
	l, ok := layouts[t]
	if !ok {
		return layout{}, &tensorio.UnsupportedError{Type: t}
	}
	return l, nil
}

// blockLayout completes the layout of a type of 32-blocks: a unit is two.
func blockLayout(bits int, l layout) layout {
	l.unitCols, l.codeBytes, l.head = 64, 64*bits, 64
	if l.minimum {
		l.head = 128
	}
	l.unitBytes = l.head + 2*l.codeBytes
	return l
}

// The head of a unit of 256-blocks: 16 d and 16 dmin in half precision, or 16 d
// in float32, then scales and minima as bytes.
const (
	superScales = 64
	superMins   = superScales + 128 // [4, 16, 2] (Q4_K, Q5_K)
)

// superLayout completes the layout of a type of 256-blocks.
func superLayout(bits int, l layout) layout {
	l.kind, l.unitCols, l.codeBytes = kindSuper, 256, 64*bits
	l.head = superScales + l.scaling.bytes()
	if l.scaling == scales32 {
		l.head = superMins + 128
	}
	l.unitBytes = l.head + 8*l.codeBytes
	return l
}

// indexedLayout is the layout of a type of 256-blocks whose codes stand for
// numbers.
func indexedLayout(bits int, s scaling, values *[16]int8) layout {
	return superLayout(bits, layout{scaling: s, values: values, factor: factorF32})
}

// units returns the number of units in a row of cols columns.
func (l *layout) units(cols int) int { return (cols + l.unitCols - 1) / l.unitCols }

// d returns the scale of row r, stored from b.
func (l *layout) d(b []byte, r int) float32 {
	switch l.factor {
	case factorBF16:
		return bf16(le16(b[2*r:]))
	case factorF32:
		return math.Float32frombits(binary.LittleEndian.Uint32(b[4*r:]))
	}
	return f16At(b[2*r:])
}

// scales returns the scales of row r for columns 32j to 32j+15 and 32j+16 to
// 32j+31 of a unit.
func (l *layout) scales(unit []byte, j, r int) (first, second int32) {
	switch l.scaling {
	case scales32:
		s := int32(unit[superScales+16*j+r])
		return s, s
	case scalesPairs32:
		s := int32(int8(unit[superScales+j/2*32+2*r+j%2]))
		return s, s
	case scalesPairs16:
		at := superScales + 32*j + 2*r
		return int32(int8(unit[at])), int32(int8(unit[at+1]))
	case scalesNibbles:
		at := superScales + 32*j + 2*r
		return int32(unit[at] & 15), int32(unit[at+1] & 15)
	}
	return 1, 1
}
