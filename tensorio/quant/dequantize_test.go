package quant

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
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

// pinnedValues has, by type, the CRC-32 of the little-endian values that
// gguf-py's dequantize gives for the 128 blocks of pseudoBlocks, a zero's sign
// taken off.
var pinnedValues = map[tensorio.Type]uint32{
	tensorio.Q8_0:    0x8dff7b91,
	tensorio.Q4_0:    0xa2b1cecc,
	tensorio.Q4_1:    0x889f510b,
	tensorio.Q5_0:    0xc675bbc9,
	tensorio.Q5_1:    0xd5e7a283,
	tensorio.Q2_K:    0x3c836ab4,
	tensorio.Q3_K:    0xb82f8d6e,
	tensorio.Q4_K:    0x2adb0f4e,
	tensorio.Q5_K:    0xa82ddbac,
	tensorio.Q6_K:    0x902d9167,
	tensorio.IQ4_NL:  0x9477801a,
	tensorio.IQ4_XS:  0x83137f5a,
	tensorio.MXFP4:   0xa5cb3125,
	tensorio.IQ3_XXS: 0xb01efa00,
	tensorio.IQ3_S:   0x07690102,
	tensorio.IQ2_XXS: 0x05861605,
	tensorio.IQ2_XS:  0xb39e6c07,
	tensorio.IQ2_S:   0x6f5a49d5,
	tensorio.IQ1_S:   0xe5317fa3,
	tensorio.IQ1_M:   0x8e7c3b37,
	tensorio.TQ1_0:   0x41ee40b7,
	tensorio.TQ2_0:   0xddeed328,
}

// pseudoBlocks returns n blocks of bytes from Marsaglia's xorshift32, the second
// byte of each word, with finite scales.
func pseudoBlocks(typ tensorio.Type, n int) []byte {
	b := make([]byte, n*typ.BlockBytes())
	x := 2463534242 + uint32(typ)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x >> 8)
	}
	tame(typ, b)
	return b
}

func TestDequantizeGivesTheValuesOfAnyBlock(t *testing.T) {
	for _, typ := range computed() {
		want, ok := pinnedValues[typ]
		if !ok {
			if typ.BlockLen() > 1 {
				t.Errorf("%v has no pinned values", typ)
			}
			continue
		}
		values := make([]float32, 128*typ.BlockLen())
		if err := Dequantize(values, typ, pseudoBlocks(typ, 128)); err != nil {
			t.Fatal(err)
		}
		var b []byte
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v+0)) // -0 becomes 0
		}
		if got := crc32.ChecksumIEEE(b); got != want {
			t.Errorf("%v: CRC-32 of the values is %#08x, want %#08x", typ, got, want)
		}
	}
}
