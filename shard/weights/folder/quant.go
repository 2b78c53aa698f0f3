package folder

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard/nearest"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// A Quant is how matrices are quantised: as llama-quantize does it for a file type.
// The zero Quant leaves them as they are.
type Quant struct{ name string }

// quants are the types that matrices can be quantised to. The number is that of
// general.file_type (llama.h, enum llama_ftype).
var quants = map[string]struct {
	main     tensorio.Type
	fileType uint32
}{
	"f32":  {tensorio.F32, 0},
	"f16":  {tensorio.F16, 1},
	"bf16": {tensorio.BF16, 32},
	"q4_0": {tensorio.Q4_0, 2},
	"q8_0": {tensorio.Q8_0, 7},
	"q4_k": {tensorio.Q4_K, 15}, // Q4_K_M
}

// ParseQuant reads the name of a Quant; "" is the zero one.
func ParseQuant(name string) (Quant, error) {
	low := strings.TrimSuffix(strings.ToLower(name), "_m")
	if _, ok := quants[low]; !ok && name != "" {
		names := slices.Sorted(maps.Keys(quants))
		return Quant{}, fmt.Errorf("weights can't be quantised to %q: the nearest type is %s (all: %s)",
			name[:min(len(name), 40)], nearest.Of(low, names), strings.Join(names, ", "))
	}
	return Quant{low}, nil
}

// String returns the name.
func (q Quant) String() string { return q.name }

// apply decides the type of each tensor, and says so in the metadata.
func (q Quant) apply(b *builder, all []made) error {
	fileType := uint32(1024) // LLAMA_FTYPE_GUESSED
	if x, ok := quants[q.name]; ok {
		fileType = x.fileType
		m := &mixture{b: b, main: x.main, tied: b.conf.flag(b.out["output.weight"].Name == "", "tie_word_embeddings")}
		for i := range all {
			if t := m.typeOf(&all[i]); t != all[i].Type {
				all[i].convert(t)
			}
		}
	} else {
		for i := range all {
			if all[i].Name == "token_embd.weight" {
				for _, x := range quants {
					if x.main == all[i].Type {
						fileType = x.fileType
					}
				}
			}
		}
	}
	b.setKey("general.file_type", fileType)
	b.setKey("general.quantization_version", uint32(2))
	return b.conf.err
}

// A mixture decides the types of a file's tensors (llama-quant.cpp,
// llama_tensor_get_type).
type mixture struct {
	b    *builder
	main tensorio.Type
	tied bool // the head is the embedding
}

// typeOf returns the type of a tensor.
func (m *mixture) typeOf(x *made) tensorio.Type {
	if !m.quantizes(x) {
		return x.Type
	}
	t := m.main
	if t.BlockLen() > 1 {
		t = m.mixed(x, t)
	}
	cols := x.Shape[len(x.Shape)-1]
	if cols%t.BlockLen() != 0 { // tensor_type_fallback
		switch t {
		case tensorio.Q4_K:
			t = tensorio.Q5_0
		case tensorio.Q5_K:
			t = tensorio.Q5_1
		case tensorio.Q6_K:
			t = tensorio.Q8_0
		}
		if cols%t.BlockLen() != 0 {
			t = tensorio.F16
		}
	}
	return t
}

// quantizes reports whether a tensor's type may be changed: matrices that are no
// norms and no routers, and not quantised yet.
func (m *mixture) quantizes(x *made) bool {
	dims := 0
	for i, n := range x.Shape {
		if n > 1 || i == len(x.Shape)-1 {
			dims = len(x.Shape) - i
			break
		}
	}
	if dims < 2 || x.from.BlockLen() > 1 || strings.HasSuffix(x.Name, "_norm.weight") || !strings.HasSuffix(x.Name, "weight") {
		return false
	}
	return !strings.HasSuffix(x.Name, "ffn_gate_inp.weight")
}

// mixed returns the type of a tensor of a file of type t. Some tensors get more bits.
func (m *mixture) mixed(x *made, t tensorio.Type) tensorio.Type {
	has := func(part string) bool { return strings.Contains(x.Name, part) }
	layer, _ := gguf.LayerOf(x.Name)
	k := t == tensorio.Q4_K
	eight := m.b.conf.def(0, "num_local_experts", "num_experts", "n_routed_experts") == 8
	switch {
	case x.Name == "output.weight" || m.tied && x.Name == "token_embd.weight":
		return headType(x, t)
	case has("attn_v.weight") || has("attn_qkv.weight"):
		return m.valueType(t, layer, eight)
	case has("attn_k.weight") && eight:
		return tensorio.Q8_0
	case has("attn_output.weight") && eight && k:
		return tensorio.Q5_K
	case has("ffn_down") && k && moreBits(layer, m.b.layers):
		return tensorio.Q6_K
	}
	return t
}

// headType returns the type of the head, also where it is the embedding.
func headType(x *made, t tensorio.Type) tensorio.Type {
	if t == tensorio.Q8_0 || x.Shape[len(x.Shape)-1]%t.BlockLen() != 0 {
		return tensorio.Q8_0
	}
	return tensorio.Q6_K
}

// valueType returns the type of a layer's matrix of values; eight says that the model
// has so many experts. Every layer has such a matrix, or none has.
func (m *mixture) valueType(t tensorio.Type, layer int, eight bool) tensorio.Type {
	switch {
	case eight:
		return tensorio.Q8_0
	case t != tensorio.Q4_K:
	case moreBits(layer, m.b.layers):
		return tensorio.Q6_K
	case m.seventy():
		return tensorio.Q5_K
	}
	return t
}

// moreBits reports whether a layer is one of those that get more bits (use_more_bits).
func moreBits(layer, layers int) bool {
	return layer < layers/8 || layer >= 7*layers/8 || (layer-layers/8)%3 == 2
}

// seventy reports whether the model is one of those that llama.cpp takes for a 70B one.
func (m *mixture) seventy() bool {
	arch := m.b.family.arch
	return m.b.layers == 80 && (arch == "qwen2" || arch == "llama" && m.b.heads != m.b.kvHeads)
}
