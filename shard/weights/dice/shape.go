package dice

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/shardnode/shardnode/shard/nearest"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// A shape is a model of the Llama architecture whose head is its embedding.
type shape struct {
	name                                     string
	layers, dim, heads, kvHeads, headDim, ff int
	vocab, context                           int
	ropeBase                                 float32
}

// shapes are the models that [Named] knows.
var shapes = []shape{
	{
		name: "llama-3.2-1b", layers: 16, dim: 2048, heads: 32, kvHeads: 8, headDim: 64, ff: 8192,
		vocab: 128256, context: 131072, ropeBase: 5e5,
	},
	{
		name: "llama-3.2-3b", layers: 28, dim: 3072, heads: 24, kvHeads: 8, headDim: 128, ff: 8192,
		vocab: 128256, context: 131072, ropeBase: 5e5,
	},
}

// Names returns the names of the shapes that [Named] knows.
func Names() []string {
	names := make([]string, len(shapes))
	for i, s := range shapes {
		names[i] = s.name
	}
	return names
}

// Named returns the plan of a model with the shape of a published one, a made-up
// vocabulary as large as its own, and the named types.
func Named(name, types string) (*Plan, error) {
	m, err := mixtureOf(types)
	if err != nil {
		return nil, err
	}
	for _, s := range shapes {
		if s.name == name {
			return s.plan(m)
		}
	}
	return nil, fmt.Errorf("no shape is called %q: the nearest is %q (there are %s)", name, nearest.Of(name, Names()), strings.Join(Names(), ", "))
}

func (s shape) plan(m mixture) (*Plan, error) {
	p := &Plan{meta: gguf.NewMeta()}
	if err := s.describe(p.meta); err != nil {
		return nil, err
	}
	matrix := func(name string, rows, cols int) {
		dims := []int{rows, cols}
		p.tensors = append(p.tensors, tensorio.Tensor{Name: name, Shape: dims, Type: m.of(name, dims, s.layers)})
	}
	vector := func(name string, n int) {
		p.tensors = append(p.tensors, tensorio.Tensor{Name: name, Shape: []int{n}, Type: tensorio.F32})
	}
	matrix("token_embd.weight", s.vocab, s.dim)
	for i := range s.layers {
		blk := fmt.Sprintf("blk.%d.", i)
		vector(blk+"attn_norm.weight", s.dim)
		matrix(blk+"attn_q.weight", s.heads*s.headDim, s.dim)
		matrix(blk+"attn_k.weight", s.kvHeads*s.headDim, s.dim)
		matrix(blk+"attn_v.weight", s.kvHeads*s.headDim, s.dim)
		matrix(blk+"attn_output.weight", s.dim, s.heads*s.headDim)
		vector(blk+"ffn_norm.weight", s.dim)
		matrix(blk+"ffn_gate.weight", s.ff, s.dim)
		matrix(blk+"ffn_up.weight", s.ff, s.dim)
		matrix(blk+"ffn_down.weight", s.dim, s.ff)
	}
	vector("output_norm.weight", s.dim)
	return p, nil
}

// describe sets the metadata.
func (s shape) describe(m *gguf.Meta) error {
	type kv struct {
		key   string
		value any
	}
	tokens, types, merges := vocabulary(s.vocab)
	for _, e := range []kv{
		{"general.architecture", "llama"},
		{"general.name", "random weights in the shape of " + s.name},
		{"llama.block_count", uint32(s.layers)},
		{"llama.context_length", uint32(s.context)},
		{"llama.embedding_length", uint32(s.dim)},
		{"llama.feed_forward_length", uint32(s.ff)},
		{"llama.attention.head_count", uint32(s.heads)},
		{"llama.attention.head_count_kv", uint32(s.kvHeads)},
		{"llama.attention.key_length", uint32(s.headDim)},
		{"llama.attention.value_length", uint32(s.headDim)},
		{"llama.attention.layer_norm_rms_epsilon", float32(1e-5)},
		{"llama.rope.freq_base", s.ropeBase},
		{"llama.rope.dimension_count", uint32(s.headDim)},
		{"llama.vocab_size", uint32(s.vocab)},
		{"tokenizer.ggml.model", "gpt2"},
		{"tokenizer.ggml.pre", "llama-bpe"},
		{"tokenizer.ggml.tokens", tokens},
		{"tokenizer.ggml.token_type", types},
		{"tokenizer.ggml.merges", merges},
		{"tokenizer.ggml.bos_token_id", uint32(s.vocab - specials)},
		{"tokenizer.ggml.eos_token_id", uint32(s.vocab - specials + 1)},
		{"tokenizer.chat_template", "{% for m in messages %}{{ m['content'] }}\n{% endfor %}"},
	} {
		if err := m.Set(e.key, e.value); err != nil {
			return err
		}
	}
	return nil
}

// specials is the number of special tokens, at the end of the vocabulary.
const specials = 256

// Token types of GGUF files.
const (
	typeNormal  = 1
	typeControl = 3
)

// vocabulary makes n tokens of byte-level BPE: the bytes, pairs and triples of
// printable characters, special tokens.
func vocabulary(n int) (tokens []string, types []int32, merges []string) {
	tokens = byteTokens()
	letters := slices.Clone(tokens['!' : '~'+1])
	add := func(left, right string) {
		if len(tokens) < n-specials {
			tokens = append(tokens, left+right)
			merges = append(merges, left+" "+right)
		}
	}
	for _, x := range letters {
		for _, y := range letters {
			add(x, y)
		}
	}
	for _, x := range letters {
		for _, y := range letters {
			for _, z := range letters {
				add(x+y, z)
			}
		}
	}
	for i := range specials {
		tokens = append(tokens, "<|special_"+strconv.Itoa(i)+"|>")
	}
	types = make([]int32, len(tokens))
	for i := range types {
		types[i] = typeNormal
		if i >= len(types)-specials {
			types[i] = typeControl
		}
	}
	return tokens, types, merges
}

// byteTokens returns the characters that byte-level vocabularies write bytes
// with.
func byteTokens() []string {
	tokens := make([]string, 256)
	for b := range tokens {
		r := rune(b)
		if b < '!' || b > '~' && b < 0xa1 || b == 0xad {
			r = rune(256 + b)
		}
		tokens[b] = string(r)
	}
	return tokens
}
