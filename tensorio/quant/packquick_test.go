package quant

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
)

// quickTypes are the types whose rows are packed by loops of their own.
var quickTypes = []tensorio.Type{tensorio.Q8_0, tensorio.Q4_0, tensorio.Q4_1, tensorio.Q4_K, tensorio.Q5_K, tensorio.Q6_K}

func TestQuickPackersDoWhatPackRowDoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, typ := range quickTypes {
		l, err := layoutOf(typ)
		if err != nil {
			t.Fatal(err)
		}
		quick := quickPacker(typ)
		for blocks := 1; blocks <= 5; blocks++ {
			row := make([]byte, blocks*typ.BlockBytes())
			for i := range row {
				row[i] = byte(rng.Uint32())
			}
			for r := range PanelRows {
				got := make([]byte, l.units(blocks*typ.BlockLen())*l.unitBytes)
				want := bytes.Clone(got)
				quick(got, r, row)
				packRow(want, typ, &l, r, row)
				if !bytes.Equal(got, want) {
					t.Fatalf("%v: row %d of %d blocks is packed otherwise than by packRow", typ, r, blocks)
				}
			}
		}
	}
}

func TestHalvesAreLaidOutAsPackRowLaysThem(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, cols := range []int{4, 8, 256, 260, 300} {
		src := make([]byte, PanelRows*cols*2)
		for i := range src {
			src[i] = byte(rng.Uint32())
		}
		m := newMatrix(t, tensorio.BF16, PanelRows, cols, src)
		l, err := layoutOf(tensorio.BF16)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, len(m.buf))
		for r := range PanelRows {
			packRow(want, tensorio.BF16, &l, r, src[r*cols*2:][:cols*2])
		}
		if !bytes.Equal(m.buf, want) {
			t.Errorf("16 rows of %d columns are packed otherwise than by packRow", cols)
		}
	}
}
