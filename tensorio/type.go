package tensorio

import (
	"fmt"
	"math"
)

// A Type is the element type of a tensor, numbered as in GGUF files (ggml's
// enum ggml_type).
type Type uint32

// The element types of GGUF files. Numbers that are missing were withdrawn.
const (
	F32     Type = 0
	F16     Type = 1
	Q4_0    Type = 2
	Q4_1    Type = 3
	Q5_0    Type = 6
	Q5_1    Type = 7
	Q8_0    Type = 8
	Q8_1    Type = 9
	Q2_K    Type = 10
	Q3_K    Type = 11
	Q4_K    Type = 12
	Q5_K    Type = 13
	Q6_K    Type = 14
	Q8_K    Type = 15
	IQ2_XXS Type = 16
	IQ2_XS  Type = 17
	IQ3_XXS Type = 18
	IQ1_S   Type = 19
	IQ4_NL  Type = 20
	IQ3_S   Type = 21
	IQ2_S   Type = 22
	IQ4_XS  Type = 23
	I8      Type = 24
	I16     Type = 25
	I32     Type = 26
	I64     Type = 27
	F64     Type = 28
	IQ1_M   Type = 29
	BF16    Type = 30
	TQ1_0   Type = 34
	TQ2_0   Type = 35
	MXFP4   Type = 39
	NVFP4   Type = 40
)

// typeInfo describes how a type is stored.
type typeInfo struct {
	name     string
	len      int  // weights a block
	bytes    int  // bytes a block
	computes bool // tensorio/quant multiplies with it
	nearest  Type // for a type without kernels: what to convert a model to
}

// infos has the block sizes of ggml (ggml-common.h, QK_* and block_*; the
// same numbers are in gguf-py's GGML_QUANT_SIZES).
var infos = [...]typeInfo{
	F32:     {"F32", 1, 4, true, F32},
	F16:     {"F16", 1, 2, true, F16},
	Q4_0:    {"Q4_0", 32, 18, true, Q4_0},
	Q4_1:    {"Q4_1", 32, 20, true, Q4_1},
	Q5_0:    {"Q5_0", 32, 22, true, Q5_0},
	Q5_1:    {"Q5_1", 32, 24, true, Q5_1},
	Q8_0:    {"Q8_0", 32, 34, true, Q8_0},
	Q8_1:    {"Q8_1", 32, 36, false, Q8_0},
	Q2_K:    {"Q2_K", 256, 84, true, Q2_K},
	Q3_K:    {"Q3_K", 256, 110, true, Q3_K},
	Q4_K:    {"Q4_K", 256, 144, true, Q4_K},
	Q5_K:    {"Q5_K", 256, 176, true, Q5_K},
	Q6_K:    {"Q6_K", 256, 210, true, Q6_K},
	Q8_K:    {"Q8_K", 256, 292, false, Q8_0},
	IQ2_XXS: {"IQ2_XXS", 256, 66, true, IQ2_XXS},
	IQ2_XS:  {"IQ2_XS", 256, 74, true, IQ2_XS},
	IQ3_XXS: {"IQ3_XXS", 256, 98, true, IQ3_XXS},
	IQ1_S:   {"IQ1_S", 256, 50, true, IQ1_S},
	IQ4_NL:  {"IQ4_NL", 32, 18, true, IQ4_NL},
	IQ3_S:   {"IQ3_S", 256, 110, true, IQ3_S},
	IQ2_S:   {"IQ2_S", 256, 82, true, IQ2_S},
	IQ4_XS:  {"IQ4_XS", 256, 136, true, IQ4_XS},
	I8:      {"I8", 1, 1, false, F32},
	I16:     {"I16", 1, 2, false, F32},
	I32:     {"I32", 1, 4, false, F32},
	I64:     {"I64", 1, 8, false, F32},
	F64:     {"F64", 1, 8, false, F32},
	IQ1_M:   {"IQ1_M", 256, 56, true, IQ1_M},
	BF16:    {"BF16", 1, 2, true, BF16},
	TQ1_0:   {"TQ1_0", 256, 54, true, TQ1_0},
	TQ2_0:   {"TQ2_0", 256, 66, true, TQ2_0},
	MXFP4:   {"MXFP4", 32, 17, true, MXFP4},
	NVFP4:   {"NVFP4", 64, 36, false, MXFP4},
}

// info returns the description of t, all zero when t is not known.
func (t Type) info() typeInfo {
	if int(t) >= len(infos) {
		return typeInfo{}
	}
	return infos[t]
}

// String returns ggml's name of t, such as "Q4_K".
func (t Type) String() string {
	if s := t.info().name; s != "" {
		return s
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// Known reports whether t is a type whose layout this package knows.
func (t Type) Known() bool { return t.info().len > 0 }

// BlockLen returns the weights in a block of t, 1 for plain numbers, 0 for an
// unknown type.
func (t Type) BlockLen() int { return t.info().len }

// BlockBytes returns the bytes of a block of t, 0 for an unknown type.
func (t Type) BlockBytes() int { return t.info().bytes }

// RowBytes returns the bytes of a row of n weights. It is an error when t is
// unknown, n is negative or not a multiple of the block length, or the result
// does not fit an int.
func (t Type) RowBytes(n int) (int, error) {
	in := t.info()
	switch {
	case in.len == 0:
		return 0, &UnsupportedError{Type: t}
	case n < 0:
		return 0, fmt.Errorf("%v row of %d weights: want 0 or more", t, n)
	case n%in.len != 0:
		return 0, fmt.Errorf("%v row of %d weights: want a multiple of %d, as %v blocks have", t, n, in.len, t)
	case n/in.len > math.MaxInt/in.bytes:
		return 0, fmt.Errorf("%v row of %d weights: too long for this machine", t, n)
	}
	return n / in.len * in.bytes, nil
}

// Supported returns nil when tensorio/quant can compute with t, and an
// [*UnsupportedError] otherwise.
func (t Type) Supported() error {
	if t.info().computes {
		return nil
	}
	return &UnsupportedError{Type: t}
}

// An UnsupportedError says that there is nothing here to compute with a type.
type UnsupportedError struct {
	Type Type
}

// Error names the nearest type that would work.
func (e *UnsupportedError) Error() string {
	in := e.Type.info()
	if in.len == 0 {
		return fmt.Sprintf("element type %d is unknown: the file is damaged or newer than this program; use a file in Q4_K, Q8_0 or F16", uint32(e.Type))
	}
	return fmt.Sprintf("element type %v is not supported yet: use a file of this model in %v", e.Type, in.nearest)
}
