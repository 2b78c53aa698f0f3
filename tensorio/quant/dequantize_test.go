package quant

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
)

// zoo is the folder of reference blocks, beside the repository.
const zoo = "../../../shared/data/zoo/quant/"

// typeByName finds a type by ggml's name of it.
func typeByName(name string) (tensorio.Type, bool) {
	for t := range tensorio.Type(64) {
		if t.Known() && t.String() == name {
			return t, true
		}
	}
	return 0, false
}

// same reports whether two floats are the same number, any NaN being one.
func same(a, b float32) bool { return a == b || a != a && b != b }

func TestDequantizeGivesTheReferenceValues(t *testing.T) {
	index, err := os.ReadFile(zoo + "blocks.json")
	if err != nil {
		t.Skip("no reference blocks: ", err)
	}
	raw, err := os.ReadFile(zoo + "blocks.raw")
	if err != nil {
		t.Fatal(err)
	}
	values, err := os.ReadFile(zoo + "blocks.f32")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Types []struct {
			Type         string
			Blocks       int
			BlockBytes   int `json:"block_bytes"`
			BlockValues  int `json:"block_values"`
			RawOffset    int `json:"raw_offset"`
			ValuesOffset int `json:"values_offset"`
		}
	}
	if err := json.Unmarshal(index, &doc); err != nil {
		t.Fatal(err)
	}
	tested := 0
	for _, e := range doc.Types {
		typ, ok := typeByName(e.Type)
		if !ok {
			t.Errorf("type %s is not known", e.Type)
			continue
		}
		if typ.BlockLen() != e.BlockValues || typ.BlockBytes() != e.BlockBytes {
			t.Errorf("%v blocks have %d weights in %d bytes, want %d in %d",
				typ, typ.BlockLen(), typ.BlockBytes(), e.BlockValues, e.BlockBytes)
		}
		if typ.Supported() != nil {
			continue
		}
		tested++
		got := make([]float32, e.Blocks*e.BlockValues)
		if err := Dequantize(got, typ, raw[e.RawOffset:][:e.Blocks*e.BlockBytes]); err != nil {
			t.Fatal(err)
		}
		for i, v := range got {
			want := math.Float32frombits(binary.LittleEndian.Uint32(values[e.ValuesOffset+4*i:]))
			if !same(v, want) {
				t.Errorf("%v block %d weight %d = %g, want %g", typ, i/e.BlockValues, i%e.BlockValues, v, want)
				break
			}
		}
	}
	if tested < 8 {
		t.Errorf("%d types compared, want 8 or more", tested)
	}
}

func TestDequantizeRefusesWrongLengths(t *testing.T) {
	for typ := range tensorio.Type(64) {
		if typ.Supported() != nil {
			if err := Dequantize(make([]float32, 256), typ, nil); err == nil {
				t.Errorf("%v: no error for a type without a decoder", typ)
			}
			continue
		}
		n, size := typ.BlockLen(), typ.BlockBytes()
		for _, c := range []struct{ values, bytes int }{{n, size - 1}, {n, size + 1}, {n, 0}, {0, size}, {2 * n, size}} {
			if err := Dequantize(make([]float32, c.values), typ, make([]byte, c.bytes)); err == nil {
				t.Errorf("%v: %d values of %d bytes: no error", typ, c.values, c.bytes)
			}
		}
		if err := Dequantize(nil, typ, nil); err != nil {
			t.Errorf("%v: nothing: %v", typ, err)
		}
	}
}
