// Package modeltest makes tiny random models for tests: real ones to package
// shard/model, a few kilobytes large, with no file.
//
// Start with [New]; a [Model] is the metadata and the source of tensors at
// once. Tests may change its maps before they load it. It is not safe for
// concurrent use while it is changed.
package modeltest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/shardnode/shardnode/tensorio"
)

// Sizes of the models that [New] makes.
const (
	Dim     = 32
	Heads   = 4
	KVHeads = 2
	FFNDim  = 64
	Vocab   = 97
	Context = 256
)

// A Model is metadata and tensors by the names of GGUF files.
type Model struct {
	Text    map[string]string
	Numbers map[string]uint64
	Reals   map[string]float64
	Tensors map[string]tensorio.Tensor
}

// New returns a Llama of so many layers with weights from seed, in float32.
func New(layers int, seed uint64) *Model {
	m := &Model{
		Text: map[string]string{"general.architecture": "llama"},
		Numbers: map[string]uint64{
			"llama.block_count": uint64(layers), "llama.context_length": Context,
			"llama.embedding_length": Dim, "llama.feed_forward_length": FFNDim,
			"llama.attention.head_count": Heads, "llama.attention.head_count_kv": KVHeads,
			"llama.vocab_size": Vocab,
		},
		Reals:   map[string]float64{"llama.attention.layer_norm_rms_epsilon": 1e-5},
		Tensors: map[string]tensorio.Tensor{},
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	kv := Dim / Heads * KVHeads
	m.add(rng, "token_embd.weight", Vocab, Dim)
	m.add(rng, "output.weight", Vocab, Dim)
	m.add(rng, "output_norm.weight", Dim)
	for l := range layers {
		for _, t := range []struct {
			name  string
			shape []int
		}{
			{"attn_norm", []int{Dim}},
			{"attn_q", []int{Dim, Dim}},
			{"attn_k", []int{kv, Dim}},
			{"attn_v", []int{kv, Dim}},
			{"attn_output", []int{Dim, Dim}},
			{"ffn_norm", []int{Dim}},
			{"ffn_gate", []int{FFNDim, Dim}},
			{"ffn_up", []int{FFNDim, Dim}},
			{"ffn_down", []int{Dim, FFNDim}},
		} {
			m.add(rng, fmt.Sprintf("blk.%d.%s.weight", l, t.name), t.shape...)
		}
	}
	return m
}

// add makes a random tensor: about 1 in vectors, of deviation 2/sqrt(cols) in
// matrices.
func (m *Model) add(rng *rand.Rand, name string, shape ...int) {
	t := tensorio.Tensor{Name: name, Type: tensorio.F32, Shape: shape}
	for range t.Elements() {
		x := 1 + 0.1*rng.NormFloat64()
		if len(shape) == 2 {
			x = 2 * rng.NormFloat64() / math.Sqrt(float64(shape[1]))
		}
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(float32(x)))
	}
	m.Tensors[name] = t
}

// Str returns a text of the metadata.
func (m *Model) Str(key string) (string, bool) { s, ok := m.Text[key]; return s, ok }

// Uint returns a whole number of the metadata.
func (m *Model) Uint(key string) (uint64, bool) { n, ok := m.Numbers[key]; return n, ok }

// Float returns a number of the metadata.
func (m *Model) Float(key string) (float64, bool) { x, ok := m.Reals[key]; return x, ok }

// Strs returns no list: there are none.
func (m *Model) Strs(string) ([]string, bool) { return nil, false }

// Has reports whether there is a tensor of that name.
func (m *Model) Has(name string) bool { _, ok := m.Tensors[name]; return ok }

// Tensor returns a tensor.
func (m *Model) Tensor(name string) (tensorio.Tensor, error) {
	t, ok := m.Tensors[name]
	if !ok {
		return t, fmt.Errorf("there is no tensor %q", name)
	}
	return t, nil
}
