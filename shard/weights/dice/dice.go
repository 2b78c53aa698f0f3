package dice

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// A Plan is a model file that can be written.
type Plan struct {
	meta    *gguf.Meta
	tensors []tensorio.Tensor // without Data
}

// Types returns the names that a model's types can have in [Named] and [Like].
func Types() []string {
	names := []string{"Q4_K_M"}
	for _, r := range recipes {
		names = append(names, r.typ.String())
	}
	slices.Sort(names)
	return names
}

// Like returns the plan of a file with the metadata, the tokenizer and the
// shapes of another one. Matrices get the named types, where their rows allow
// it; vectors stay as they are.
func Like(meta *gguf.Meta, tensors []gguf.TensorInfo, types string) (*Plan, error) {
	m, err := mixtureOf(types)
	if err != nil {
		return nil, err
	}
	p := &Plan{meta: gguf.NewMeta()}
	for key, v := range meta.All() {
		if strings.HasPrefix(key, "split.") {
			continue // the new file is one
		}
		if err := p.meta.Set(key, v); err != nil {
			return nil, err
		}
	}
	layers := 0
	for _, t := range tensors {
		if l, ok := gguf.LayerOf(t.Name); ok {
			layers = max(layers, l+1)
		}
	}
	for _, t := range tensors {
		p.tensors = append(p.tensors, tensorio.Tensor{Name: t.Name, Shape: t.Shape, Type: m.of(t.Name, t.Shape, layers)})
	}
	return p, nil
}

// Write writes the file.
func (p *Plan) Write(w io.Writer) error {
	var buf []byte
	return gguf.WriteEach(w, p.meta, p.tensors, func(i int) ([]byte, error) {
		t := p.tensors[i]
		row, err := t.Type.RowBytes(t.Shape[len(t.Shape)-1])
		if err != nil {
			return nil, err
		}
		n := row
		for _, d := range t.Shape[:len(t.Shape)-1] {
			n *= d
		}
		buf = slices.Grow(buf[:0], n)[:n]
		return buf, fill(buf, t)
	})
}

// Bytes returns the length of the tensors' data.
func (p *Plan) Bytes() int64 {
	var sum int64
	for _, t := range p.tensors {
		sum += int64(t.Elements()) / int64(t.Type.BlockLen()) * int64(t.Type.BlockBytes())
	}
	return sum
}

// spread is the standard deviation of weights.
const spread = 0.02

// fill makes the data of a tensor: vectors and what is no matrix of a layer get
// ones (norms), biases nothing, matrices random weights.
func fill(buf []byte, t tensorio.Tensor) error {
	h := fnv.New64a()
	_, _ = io.WriteString(h, t.Name)
	rng := rand.NewPCG(h.Sum64(), uint64(len(buf)))
	switch {
	case len(t.Shape) == 1 && t.Type != tensorio.F32:
		return fmt.Errorf("a vector of %v: want F32", t.Type)
	case len(t.Shape) == 1:
		one := math.Float32bits(1)
		if strings.HasSuffix(t.Name, ".bias") {
			one = 0
		}
		for i := 0; i < len(buf); i += 4 {
			binary.LittleEndian.PutUint32(buf[i:], one)
		}
		return nil
	case t.Type == tensorio.F32, t.Type == tensorio.F16, t.Type == tensorio.BF16:
		fillFloats(buf, t.Type, rng)
		return nil
	}
	r, ok := recipeOf(t.Type)
	if !ok {
		return fmt.Errorf("no random weights of type %v: choose one of %s", t.Type, strings.Join(Types(), ", "))
	}
	r.fill(buf, rng)
	return nil
}

// fillFloats draws weights uniformly, with the wanted spread.
func fillFloats(buf []byte, t tensorio.Type, rng *rand.PCG) {
	const some = 1024
	var x [some]float32
	var h [some]uint16
	for len(buf) > 0 {
		for i := range x {
			x[i] = (float32(rng.Uint64()>>40)/(1<<23) - 1) * (spread * math.Sqrt2 * 1.2247449)
		}
		switch t {
		case tensorio.F32:
			n := min(some, len(buf)/4)
			for i, v := range x[:n] {
				binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(v))
			}
			buf = buf[4*n:]
			continue
		case tensorio.F16:
			vec.ToF16(h[:], x[:])
		default:
			vec.ToBF16(h[:], x[:])
		}
		n := min(some, len(buf)/2)
		for i, v := range h[:n] {
			binary.LittleEndian.PutUint16(buf[2*i:], v)
		}
		buf = buf[2*n:]
	}
}
