package folder

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/shardnode/shardnode/tensorio/gguf"
	"github.com/shardnode/shardnode/tensorio/safetensors"
)

// Bounds on what a config may say. They are far above any model that exists.
const (
	maxLayers  = 1 << 12
	maxDim     = 1 << 18
	maxHeads   = 1 << 12
	maxExperts = 1 << 12
)

// A builder makes the tensors and the metadata of a model from those of a folder.
type builder struct {
	conf    *conf
	family  family
	r       rope
	meta    *gguf.Meta
	sources map[string]*source
	out     map[string]made

	layers, dim, heads, kvHeads, headDim int
}

// newBuilder reads the shape of the model.
func newBuilder(c *conf, f family, sources map[string]*source) *builder {
	c.defaults(f.defaults)
	b := &builder{conf: c, family: f, r: c.rope(), meta: gguf.NewMeta(), sources: sources, out: map[string]made{}}
	b.layers = c.need("num_hidden_layers", "n_layer", "num_layers")
	b.dim = c.need("hidden_size", "n_embd")
	b.heads = c.need("num_attention_heads", "n_head")
	b.kvHeads = c.def(b.heads, "num_key_value_heads", "n_kv_heads")
	b.headDim = c.def(b.dim/b.heads, "head_dim")
	if b.headDim == 0 {
		b.headDim = b.dim / b.heads
	}
	for _, n := range []struct {
		name    string
		x, most int
	}{
		{"num_hidden_layers", b.layers, maxLayers},
		{"hidden_size", b.dim, maxDim},
		{"num_attention_heads", b.heads, maxHeads},
		{"num_key_value_heads", b.kvHeads, maxHeads},
		{"head_dim", b.headDim, maxDim},
	} {
		if n.x < 1 || n.x > n.most {
			c.fail(fmt.Errorf("config.json: %s is %d, want 1 to %d", n.name, n.x, n.most))
		}
	}
	return b
}

// tensorName takes names of tensors apart: what may stand in front, then a layer.
var tensorName = regexp.MustCompile(`^(?:model\.)?(?:language_model\.)?(?:model\.|gpt_neox\.|transformer\.)?layers\.(\d{1,5})\.(.+)$`)

// expertName takes the rest of an expert's name apart.
var expertName = regexp.MustCompile(`^(?:mlp|block_sparse_moe)\.experts\.(\d{1,5})\.(gate_proj|up_proj|down_proj|w1|w2|w3)\.weight$`)

// ends are the tensors that belong to no layer.
var ends = map[string]string{
	"embed_tokens.weight": "token_embd.weight", "embed_in.weight": "token_embd.weight",
	"norm.weight": "output_norm.weight", "norm.bias": "output_norm.bias",
	"final_layer_norm.weight": "output_norm.weight", "final_layer_norm.bias": "output_norm.bias",
	"lm_head.weight": "output.weight", "embed_out.weight": "output.weight",
}

// others are parts of models that are more than a language model.
var others = []string{"vision_tower.", "visual.", "multi_modal_projector.", "vision_model.", "audio_tower.", "mtp."}

// expertParts are the tensors of experts.
var expertParts = map[string]string{
	"gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps",
	"w1": "ffn_gate_exps", "w3": "ffn_up_exps", "w2": "ffn_down_exps",
}

// tensors makes all tensors.
func (b *builder) tensors() {
	experts := map[string]map[int]*source{} // by the name that they get together
	for _, name := range slices.Sorted(maps.Keys(b.sources)) {
		if b.conf.err != nil {
			return
		}
		b.tensor(b.sources[name], experts)
	}
	for name, all := range experts {
		b.stack(name, all)
	}
}

// tensor makes what one of the folder's tensors is for.
func (b *builder) tensor(s *source, experts map[string]map[int]*source) {
	m := tensorName.FindStringSubmatch(s.name)
	if m == nil {
		b.end(s)
		return
	}
	layer, _ := strconv.Atoi(m[1])
	rest := m[2]
	if layer >= b.layers || strings.HasSuffix(rest, "rotary_emb.inv_freq") {
		return // layers that guess further tokens, and what can be computed
	}
	if b.family.take != nil && b.family.take(b, layer, rest, s) {
		return
	}
	if e := expertName.FindStringSubmatch(rest); e != nil {
		name := fmt.Sprintf("blk.%d.%s.weight", layer, expertParts[e[2]])
		if experts[name] == nil {
			experts[name] = map[int]*source{}
		}
		i, _ := strconv.Atoi(e[1])
		experts[name][i] = s
		return
	}
	if b.fused(layer, rest, s) {
		return
	}
	b.layerTensor(layer, rest, s)
}

// layerTensor makes a tensor of a layer that is one of the folder's.
func (b *builder) layerTensor(layer int, rest string, s *source) {
	at := strings.LastIndexByte(rest, '.')
	base, suffix := rest, ".weight"
	if at >= 0 && (rest[at:] == ".weight" || rest[at:] == ".bias") {
		base, suffix = rest[:at], rest[at:]
	}
	name, ok := b.family.names[rest]
	if !ok {
		name, ok = b.family.names[base]
	}
	if !ok {
		name, ok = layerNames[base]
	}
	if !ok {
		b.conf.fail(fmt.Errorf("tensor %q has no place in the architecture %s: this version can't compute it; use a model without it, or report the model",
			s.name, b.family.arch))
		return
	}
	if name == "" {
		return
	}
	x := as(s)
	switch {
	case b.family.permute && name == "attn_q":
		x = b.permute(s, b.heads)
	case b.family.permute && name == "attn_k":
		x = b.permute(s, b.kvHeads)
	case b.family.plusOne && strings.HasSuffix(name, "_norm") && suffix == ".weight":
		x.add = 1
	}
	b.put(layer, name+suffix, x)
}

// permute is permuted, checked.
func (b *builder) permute(s *source, heads int) made {
	if heads < 1 || s.shape[0]%(2*heads) != 0 {
		b.conf.fail(fmt.Errorf("tensor %q has shape %v, which %d heads do not divide into pairs", s.name, s.shape, heads))
		return as(s)
	}
	return permuted(s, heads)
}

// fused makes tensors of the experts of a layer that lie together (transformers 5).
func (b *builder) fused(layer int, rest string, s *source) bool {
	switch strings.TrimSuffix(rest, ".weight") {
	case "mlp.experts.down_proj":
		b.put(layer, "ffn_down_exps.weight", as(s))
	case "mlp.experts.gate_up_proj":
		b.halves(layer, s, "ffn_gate_exps.weight", "ffn_up_exps.weight")
	default:
		return false
	}
	return true
}

// halves makes two tensors of the upper and the lower rows of each block.
func (b *builder) halves(layer int, s *source, upper, lower string) {
	if len(s.shape) < 2 || s.shape[len(s.shape)-2]%2 != 0 {
		b.conf.fail(fmt.Errorf("tensor %q has shape %v: want an even number of rows", s.name, s.shape))
		return
	}
	rows := s.shape[len(s.shape)-2]
	b.put(layer, upper, part(s, rows, 0, rows/2))
	b.put(layer, lower, part(s, rows, rows/2, rows/2))
}

// stack makes one tensor of those of all experts of a layer.
func (b *builder) stack(name string, all map[int]*source) {
	n := b.conf.need("num_local_experts", "num_experts", "n_routed_experts")
	if n > maxExperts || len(all) != n {
		b.conf.fail(fmt.Errorf("%s: %d of %d experts are there: the folder is not whole; download it again", name, len(all), n))
		return
	}
	list := make([]*source, n)
	for i := range list {
		s := all[i]
		if s == nil || !slices.Equal(s.shape, all[0].shape) || s.dtype != all[0].dtype || len(s.shape) != 2 {
			b.conf.fail(fmt.Errorf("%s: expert %d is missing or of another shape or type than expert 0: the folder is damaged; download it again", name, i))
			return
		}
		list[i] = s
	}
	b.add(stacked(list).finish(name))
}

// end makes a tensor that belongs to no layer.
func (b *builder) end(s *source) {
	short := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(s.name, "model."), "language_model."), "model.")
	short = strings.TrimPrefix(short, "gpt_neox.")
	name, ok := ends[short]
	if !ok {
		if slices.ContainsFunc(others, func(p string) bool { return strings.HasPrefix(short, p) }) || strings.HasSuffix(short, "inv_freq") {
			return
		}
		b.conf.fail(fmt.Errorf("tensor %q has no place in the architecture %s: this version can't compute it", s.name, b.family.arch))
		return
	}
	if name == "output.weight" && b.conf.flag(b.family.tied, "tie_word_embeddings") {
		return
	}
	x := as(s)
	if b.family.plusOne && name == "output_norm.weight" {
		x.add = 1
	}
	b.add(x.finish(name))
}

// put adds a tensor of a layer.
func (b *builder) put(layer int, name string, x made) {
	b.add(x.finish(fmt.Sprintf("blk.%d.%s", layer, name)))
}

// add adds a tensor.
func (b *builder) add(x made) {
	if _, twice := b.out[x.Name]; twice {
		b.conf.fail(fmt.Errorf("tensor %q comes from two of the folder's tensors: the folder is damaged", x.Name))
		return
	}
	if x.from == 0 && x.row == nil && x.Data == nil {
		b.conf.fail(fmt.Errorf("tensor %q can't be made", x.Name))
		return
	}
	b.out[x.Name] = x
}

// sorted returns the tensors in the order of a file: the embedding, the layers, the
// head, and what all layers need first of all.
func (b *builder) sorted() []made {
	rank := func(name string) (int, string) {
		if l, ok := gguf.LayerOf(name); ok {
			return 2 + l, name
		}
		switch {
		case strings.HasPrefix(name, "rope_"):
			return 0, name
		case strings.HasPrefix(name, "token_embd"):
			return 1, name
		}
		return 3 + maxLayers, name
	}
	return slices.SortedFunc(maps.Values(b.out), func(x, y made) int {
		i, m := rank(x.Name)
		j, n := rank(y.Name)
		return cmp.Or(cmp.Compare(i, j), cmp.Compare(m, n))
	})
}

// isBytes reports whether a tensor is of bytes, of so many dimensions.
func isBytes(s *source, dims int) bool {
	return s != nil && s.dtype == safetensors.U8 && len(s.shape) == dims
}

// isMatrix reports whether a tensor is of numbers, of so many dimensions.
func isMatrix(s *source, dims int) bool {
	_, ok := s.dtype.Type()
	return ok && len(s.shape) == dims
}

// shapeError says that a tensor can't be taken apart.
func (b *builder) shapeError(s *source, want string) {
	b.conf.fail(fmt.Errorf("tensor %q has shape %v of %s: want %s", s.name, s.shape, s.dtype, want))
}

// checkAll checks that every tensor can be made.
func checkAll(all []made) error {
	for i := range all {
		x := &all[i]
		if len(x.Shape) == 0 || slices.Min(x.Shape) < 1 {
			return fmt.Errorf("tensor %q has shape %v: want one without 0", x.Name, x.Shape)
		}
		if _, err := x.Type.RowBytes(x.Shape[len(x.Shape)-1]); err != nil {
			return fmt.Errorf("tensor %q: %w", x.Name, err)
		}
		if err := x.from.Supported(); err != nil && x.row != nil {
			return fmt.Errorf("tensor %q: %w", x.Name, err)
		}
	}
	if len(all) == 0 {
		return errors.New("the safetensors files have no tensors")
	}
	return nil
}
