package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hub"
	"github.com/shardnode/shardnode/tensorio/safetensors"
)

var (
	// layerInName finds the layer in the names that transformers gives tensors:
	// model.layers.7.mlp.up_proj.weight, transformer.h.7.attn.c_attn.weight.
	layerInName = regexp.MustCompile(`(?:^|\.)(?:layers|h|blocks|block)\.(\d{1,4})\.`)
	embedInName = regexp.MustCompile(`(?:^|\.)(?:embed_tokens|embed_in|wte|word_embeddings)\.`)
	headInName  = regexp.MustCompile(`(?:^|\.)(?:lm_head|embed_out|output)\.weight$`)
)

// A remoteTensor is a tensor of a safetensors file on the hub.
type remoteTensor struct {
	safetensors.Tensor
	file  int
	layer int // -1: of none
}

// planFolderLayers is planLayers for a model whose weights are safetensors. The
// file gets its name in a folder of its own.
func (r *remote) planFolderLayers(ctx context.Context, span shard.Span) (*layerPlan, error) {
	p := &layerPlan{span: span, name: fmt.Sprintf("%s-layers-%d-%d/model.safetensors", path.Base(r.listing.Repo.ID), span.Start, span.End)}
	var all []remoteTensor
	layers := 0
	for _, name := range r.choice.files {
		if !strings.HasSuffix(name, ".safetensors") {
			continue
		}
		f, err := r.client.Stat(ctx, r.listing, name)
		if err != nil {
			return nil, err
		}
		h, err := safetensors.Read(r.client.Open(ctx, f), f.SizeBytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		for _, t := range h.Tensors {
			x := remoteTensor{Tensor: t, file: len(p.parts), layer: -1}
			if m := layerInName.FindStringSubmatch(t.Name); m != nil {
				x.layer, _ = strconv.Atoi(m[1]) // at most four digits
				layers = max(layers, x.layer+1)
			}
			all = append(all, x)
			p.whole += t.Bytes
		}
		p.parts = append(p.parts, hub.Parts{File: f})
	}
	if int(span.End) > layers || span.Start >= span.End {
		return nil, usage("--layers %d:%d: the model has %d layers", span.Start, span.End, layers)
	}
	return p, p.take(wantedTensors(all, span, layers))
}

// wantedTensors returns the tensors of a span, the embedding with the first
// layer (and with the last one when the head is tied to it), the head and all
// else with the last.
func wantedTensors(all []remoteTensor, span shard.Span, layers int) []remoteTensor {
	first, last := span.Start == 0, int(span.End) == layers
	tied := !slices.ContainsFunc(all, func(t remoteTensor) bool { return headInName.MatchString(t.Name) })
	var out []remoteTensor
	for _, t := range all {
		switch {
		case t.layer >= 0 && t.layer >= int(span.Start) && t.layer < int(span.End),
			t.layer < 0 && embedInName.MatchString(t.Name) && (first || last && tied),
			t.layer < 0 && !embedInName.MatchString(t.Name) && last:
			out = append(out, t)
		}
	}
	return out
}

// take makes the header of a file with the tensors, and says where they come from.
func (p *layerPlan) take(tensors []remoteTensor) error {
	type entry struct {
		DType   safetensors.DType `json:"dtype"`
		Shape   []int             `json:"shape"`
		Offsets [2]int64          `json:"data_offsets"`
	}
	slices.SortFunc(tensors, func(a, b remoteTensor) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.Offset, b.Offset))
	})
	header := map[string]any{"__metadata__": map[string]string{"format": "pt"}}
	at := int64(0)
	for _, t := range tensors {
		header[t.Name] = entry{t.DType, append([]int{}, t.Shape...), [2]int64{at, at + t.Bytes}}
		at += t.Bytes
	}
	b, err := json.Marshal(header)
	if err != nil {
		return err
	}
	b = append(b, bytes.Repeat([]byte{' '}, (8-len(b)%8)%8)...)
	p.header = append(binary.LittleEndian.AppendUint64(nil, uint64(len(b))), b...)
	p.bytes = at
	at = int64(len(p.header))
	for _, t := range tensors {
		from := &p.parts[t.file]
		from.Parts = append(from.Parts, hub.Part{Start: t.Offset, End: t.Offset + t.Bytes, At: at})
		at += t.Bytes
	}
	return nil
}

// pullTexts puts the model's files besides weights into dir, but for the index,
// which is of all weights.
func (r *remote) pullTexts(ctx context.Context, dir string, m *meter) ([]pullFile, error) {
	var out []pullFile
	for _, name := range r.choice.files {
		if strings.HasSuffix(name, ".safetensors") || name == safetensorsIndex {
			continue
		}
		from, err := r.client.Pull(ctx, r.listing, name, m.report)
		if err != nil {
			return out, err
		}
		b, err := readBounded(from, maxModelTextBytes)
		if err != nil {
			return out, err
		}
		to := filepath.Join(dir, name)
		if err := os.WriteFile(to, b, 0o666); err != nil { //nolint:gosec // the cache is shared as the umask says
			return out, err
		}
		out = append(out, pullFile{Name: path.Join(filepath.Base(dir), name), Path: to, Bytes: int64(len(b))})
	}
	return out, nil
}
