package weights

import (
	"fmt"
	"slices"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// Names of tensors that belong to no layer (gguf-py's MODEL_TENSOR names).
const (
	EmbedName    = "token_embd.weight"
	HeadNormName = "output_norm.weight"
	HeadName     = "output.weight"
	RopeName     = "rope_freqs.weight"
)

// ropeNames are the tensors of rotary factors, which all layers need.
var ropeNames = []string{RopeName, "rope_factors_long.weight", "rope_factors_short.weight"}

// maxLayers bounds the layers of a model. The largest known has 126.
const maxLayers = 1 << 12

// A Part is a choice of a model's tensors: those of some layers, and those at
// the two ends.
type Part struct {
	Span  shard.Span
	Embed bool // the embedding, which the first stage needs
	Head  bool // the last norm and the head, which the last stage needs
}

// String returns "[0,12)+embed+head" and the like.
func (p Part) String() string {
	s := p.Span.String()
	if p.Embed {
		s += "+embed"
	}
	if p.Head {
		s += "+head"
	}
	return s
}

// location says where a tensor lies.
type location struct {
	gguf.TensorInfo
	part int // which file of a split model
}

// An Index knows the names, sizes and places of a model's tensors, be they
// here or elsewhere.
type Index struct {
	meta    *gguf.Meta
	tensors []location // in the files' order
	byName  map[string]int

	layers [][]int // tensors of each layer
	ends   []int   // tensors that belong to no layer, without those named above
}

// newIndex lists the tensors of the files of one model, which must not be empty.
func newIndex(files []*gguf.File) (*Index, error) {
	x := &Index{meta: files[0].Meta, byName: make(map[string]int)}
	for part, f := range files {
		for _, t := range f.Tensors {
			if _, twice := x.byName[t.Name]; twice {
				return nil, fmt.Errorf("tensor %q is in two parts of the model: download them again", t.Name)
			}
			x.byName[t.Name] = len(x.tensors)
			x.tensors = append(x.tensors, location{t, part})
		}
	}
	if len(x.tensors) == 0 {
		return nil, fmt.Errorf("file has no tensors, only a vocabulary: name a file with weights")
	}
	for i, t := range x.tensors {
		l, ok := gguf.LayerOf(t.Name)
		switch {
		case ok && l >= maxLayers:
			return nil, fmt.Errorf("tensor %q: at most %d layers are allowed", t.Name, maxLayers)
		case ok:
			if need := l + 1 - len(x.layers); need > 0 {
				x.layers = append(x.layers, make([][]int, need)...)
			}
			x.layers[l] = append(x.layers[l], i)
		case !slices.Contains([]string{EmbedName, HeadNormName, HeadName}, t.Name) && !slices.Contains(ropeNames, t.Name):
			x.ends = append(x.ends, i)
		}
	}
	return x, nil
}

// Meta returns the metadata of the model, that of the first part of a split one.
func (x *Index) Meta() *gguf.Meta { return x.meta }

// Architecture returns general.architecture, "" if the file has none.
func (x *Index) Architecture() string {
	s, _ := x.meta.Str("general.architecture")
	return s
}

// Layers returns the number of layers that have tensors.
func (x *Index) Layers() int { return len(x.layers) }

// Tied reports whether the head shares the embedding's weights.
func (x *Index) Tied() bool { return !x.Has(HeadName) }

// Has reports whether the model has the tensor, be it here or elsewhere.
func (x *Index) Has(name string) bool {
	_, ok := x.byName[name]
	return ok
}

// Info returns what is known of a tensor. Its Offset is in its own file.
func (x *Index) Info(name string) (gguf.TensorInfo, bool) {
	i, ok := x.byName[name]
	if !ok {
		return gguf.TensorInfo{}, false
	}
	return x.tensors[i].TensorInfo, true
}

// Tensors returns all tensors in the file's order.
func (x *Index) Tensors() []gguf.TensorInfo {
	out := make([]gguf.TensorInfo, len(x.tensors))
	for i, t := range x.tensors {
		out[i] = t.TensorInfo
	}
	return out
}

// Names returns the tensors that part needs, in the files' order: those of its
// layers, the rotary factors if there are any, the embedding for the first
// stage (and for the last one when the head is tied to it). Tensors that are
// of no known use, such as a projector's, go with both ends.
func (x *Index) Names(part Part) []string {
	picked := x.pick(part)
	names := make([]string, len(picked))
	for i, t := range picked {
		names[i] = x.tensors[t].Name
	}
	return names
}

// pick is Names by index.
func (x *Index) pick(part Part) []int {
	var out []int
	add := func(names ...string) {
		for _, name := range names {
			if i, ok := x.byName[name]; ok {
				out = append(out, i)
			}
		}
	}
	for l := max(part.Span.Start, 0); l < part.Span.End && int(l) < len(x.layers); l++ {
		out = append(out, x.layers[l]...)
	}
	if len(out) > 0 {
		add(ropeNames...)
	}
	if part.Embed {
		add(EmbedName)
	}
	if part.Head {
		add(HeadNormName, HeadName)
		if x.Tied() {
			add(EmbedName)
		}
	}
	if part.Embed || part.Head {
		out = append(out, x.ends...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// PartBytes returns the bytes of the tensors that part needs. Shared ones
// (rotary factors, a tied embedding) count once.
func (x *Index) PartBytes(part Part) int64 {
	n := int64(0)
	for _, i := range x.pick(part) {
		n += x.tensors[i].Bytes
	}
	return n
}

// LayerBytes returns the bytes of the tensors of layer l alone, 0 if there is
// no such layer.
func (x *Index) LayerBytes(l shard.Layer) int64 {
	if l < 0 || int(l) >= len(x.layers) {
		return 0
	}
	n := int64(0)
	for _, i := range x.layers[l] {
		n += x.tensors[i].Bytes
	}
	return n
}

// EmbedBytes returns the bytes that a first stage needs besides its layers.
func (x *Index) EmbedBytes() int64 { return x.PartBytes(Part{Embed: true}) }

// HeadBytes returns the bytes that a last stage needs besides its layers; with
// a tied head that includes the embedding.
func (x *Index) HeadBytes() int64 { return x.PartBytes(Part{Head: true}) }

// TotalBytes returns the bytes of all tensors.
func (x *Index) TotalBytes() int64 {
	n := int64(0)
	for _, t := range x.tensors {
		n += t.Bytes
	}
	return n
}
