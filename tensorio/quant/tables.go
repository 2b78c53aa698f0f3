package quant

import "github.com/shardnode/shardnode/tensorio"

// What the codes of a packed weight stand for, by type. ggml has the numbers in
// kvalues_iq4nl and kvalues_fp4, and in its grids of magnitudes; codes of IQ1 are
// 8*(grid value) +- 1, in units of an eighth. A code's highest bit is the sign.
var (
	valuesIQ4    = [16]int8{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}
	valuesMXFP4  = [16]int8{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}
	valuesIQ3XXS = [16]int8{4, 12, 20, 28, 36, 44, 52, 62, -4, -12, -20, -28, -36, -44, -52, -62}
	valuesIQ3S   = [16]int8{1, 3, 5, 7, 9, 11, 13, 15, -1, -3, -5, -7, -9, -11, -13, -15}
	valuesIQ2    = [16]int8{8, 25, 43, 0, -8, -25, -43}
	valuesIQ1    = [16]int8{-7, 1, 9, 0, -9, -1, 7}
	valuesTQ     = [16]int8{-1, 0, 1, 2}
)

// valuesOf returns what the codes of a type stand for, nil for numbers.
func valuesOf(t tensorio.Type) *[16]int8 {
	switch t {
	case tensorio.IQ4_NL, tensorio.IQ4_XS:
		return &valuesIQ4
	case tensorio.MXFP4:
		return &valuesMXFP4
	case tensorio.IQ3_XXS:
		return &valuesIQ3XXS
	case tensorio.IQ3_S:
		return &valuesIQ3S
	case tensorio.IQ2_XXS, tensorio.IQ2_XS, tensorio.IQ2_S:
		return &valuesIQ2
	case tensorio.IQ1_S, tensorio.IQ1_M:
		return &valuesIQ1
	case tensorio.TQ1_0, tensorio.TQ2_0:
		return &valuesTQ
	}
	return nil
}

// lookup replaces the four codes of w, bytes below 16, by what they stand for.
func lookup(values *[16]int8, w uint32) uint32 {
	return uint32(uint8(values[w&15])) | uint32(uint8(values[w>>8&15]))<<8 |
		uint32(uint8(values[w>>16&15]))<<16 | uint32(uint8(values[w>>24&15]))<<24
}
