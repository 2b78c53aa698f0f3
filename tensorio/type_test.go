package tensorio

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestTypesHaveTheSizesOfTheFormat(t *testing.T) {
	// Bits a weight, from the table in llama.cpp's quantize tool and ggml-common.h.
	for _, c := range []struct {
		typ  Type
		num  uint32
		name string
		bits float64
	}{
		{F32, 0, "F32", 32},
		{F16, 1, "F16", 16},
		{BF16, 30, "BF16", 16},
		{Q4_0, 2, "Q4_0", 4.5},
		{Q4_1, 3, "Q4_1", 5},
		{Q5_0, 6, "Q5_0", 5.5},
		{Q5_1, 7, "Q5_1", 6},
		{Q8_0, 8, "Q8_0", 8.5},
		{Q2_K, 10, "Q2_K", 2.625},
		{Q3_K, 11, "Q3_K", 3.4375},
		{Q4_K, 12, "Q4_K", 4.5},
		{Q5_K, 13, "Q5_K", 5.5},
		{Q6_K, 14, "Q6_K", 6.5625},
		{IQ4_NL, 20, "IQ4_NL", 4.5},
		{IQ4_XS, 23, "IQ4_XS", 4.25},
		{IQ1_S, 19, "IQ1_S", 1.5625},
		{MXFP4, 39, "MXFP4", 4.25},
	} {
		if got := float64(8*c.typ.BlockBytes()) / float64(c.typ.BlockLen()); got != c.bits {
			t.Errorf("%v has %v bits a weight, want %v", c.typ, got, c.bits)
		}
		if uint32(c.typ) != c.num || c.typ.String() != c.name {
			t.Errorf("type %d is %q, want %d, %q", uint32(c.typ), c.typ, c.num, c.name)
		}
	}
}

func TestRowBytesRefusesPartOfABlock(t *testing.T) {
	for _, c := range []struct {
		typ  Type
		n    int
		want int // -1: an error
	}{
		{F32, 172, 688},
		{F32, 0, 0},
		{Q8_0, 64, 68},
		{Q6_K, 512, 420},
		{Q8_0, 33, -1},
		{Q4_K, 128, -1},
		{F32, -1, -1},
		{F32, math.MaxInt, -1},
		{Type(99), 32, -1},
		{Type(4), 32, -1},
	} {
		got, err := c.typ.RowBytes(c.n)
		if c.want < 0 && err == nil || c.want >= 0 && (err != nil || got != c.want) {
			t.Errorf("%v.RowBytes(%d) = %d, %v, want %d", c.typ, c.n, got, err, c.want)
		}
	}
}

func TestUnsupportedTypesNameWhatWouldWork(t *testing.T) {
	for typ := range Type(64) {
		err := typ.Supported()
		if err == nil {
			continue
		}
		e, ok := errors.AsType[*UnsupportedError](err)
		if !ok || e.Type != typ {
			t.Errorf("%v: %v is no UnsupportedError of it", typ, err)
		}
		if typ.Known() && typ.info().nearest.Supported() != nil {
			t.Errorf("%v: %v does not work either", typ, typ.info().nearest)
		}
		if !strings.Contains(err.Error(), "use a file") {
			t.Errorf("%v: %q says not what to do", typ, err)
		}
	}
	if got := NVFP4.Supported().Error(); !strings.Contains(got, "NVFP4") || !strings.Contains(got, "in MXFP4") {
		t.Errorf("NVFP4: %q", got)
	}
}

func TestElementsIsTheProductOfTheShape(t *testing.T) {
	if got := (Tensor{Shape: []int{3, 4, 5}}).Elements(); got != 60 {
		t.Errorf("[3, 4, 5] has %d elements, want 60", got)
	}
	if got := (Tensor{}).Elements(); got != 1 {
		t.Errorf("a scalar has %d elements, want 1", got)
	}
}
