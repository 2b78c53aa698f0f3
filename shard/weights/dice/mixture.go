package dice

import (
	"fmt"
	"strings"

	"github.com/shardnode/shardnode/shard/nearest"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// A mixture says which matrix gets which type.
type mixture struct {
	typ     tensorio.Type
	better  tensorio.Type // of the embedding, where it is the head too
	careful bool          // some matrices of some layers get better as well
}

// mixtureOf returns the mixture of a name: that of a type, or Q4_K_M. They are
// those of llama.cpp's llama-quantize, which gives an embedding that is the head
// Q6_K in files of few bits.
func mixtureOf(name string) (mixture, error) {
	upper := strings.ToUpper(name)
	if upper == "Q4_K_M" {
		return mixture{typ: tensorio.Q4_K, better: tensorio.Q6_K, careful: true}, nil
	}
	for _, r := range recipes {
		if r.typ.String() != upper {
			continue
		}
		m := mixture{typ: r.typ, better: r.typ}
		if r.typ.BlockLen() > 1 && r.typ != tensorio.Q8_0 {
			m.better = tensorio.Q6_K
		}
		return m, nil
	}
	return mixture{}, fmt.Errorf("no random weights of type %q: the nearest is %q (there are %s)", name, nearest.Of(upper, Types()), strings.Join(Types(), ", "))
}

// of returns the type of a tensor of a model with so many layers.
func (m mixture) of(name string, dims []int, layers int) tensorio.Type {
	if len(dims) == 1 {
		return tensorio.F32
	}
	t := m.typ
	switch {
	case name == "token_embd.weight", name == "output.weight":
		t = m.better
	case m.careful && (strings.HasSuffix(name, "attn_v.weight") || strings.HasSuffix(name, "ffn_down.weight")):
		// The first and the last eighth, and every third between (use_more_bits).
		i, _ := gguf.LayerOf(name) // these are of layers
		if n := layers; i < n/8 || i >= 7*n/8 || (i-n/8)%3 == 2 {
			t = m.better
		}
	}
	if dims[len(dims)-1]%t.BlockLen() != 0 {
		return tensorio.F16 // rows too short for blocks
	}
	return t
}
