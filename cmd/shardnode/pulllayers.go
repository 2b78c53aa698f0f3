package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hub"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// pullLayers fetches some layers of what ref names, and makes a file of them.
func pullLayers(ctx context.Context, ref, layers string, notify func(string, ...any), m *meter) (pullJSON, error) {
	began := time.Now()
	span, err := parseLayers(layers)
	if err != nil {
		return pullJSON{}, err
	}
	r, err := findRemote(ctx, ref, notify)
	if err != nil {
		return pullJSON{}, err
	}
	l := r.listing
	out := pullJSON{Model: ref, Repo: l.Repo.ID, Revision: cmp.Or(l.Repo.Revision, "main"), Commit: l.Commit, License: l.License}
	plan := r.planLayers
	if r.choice.folder {
		plan = r.planFolderLayers
	}
	p, err := plan(ctx, span)
	if err != nil {
		return out, explainHub(err, l.Repo)
	}
	notify("layers %v of %s: %s of %s", p.span, l.Repo, mib(p.bytes), mib(p.whole))
	file := filepath.Join(r.client.PartsDir(l.Repo.ID, l.Commit), filepath.FromSlash(p.name))
	if fileSize(file) == 0 {
		if err := r.client.PullParts(ctx, file, p.header, p.parts, m.report); err != nil {
			return out, explainHub(err, l.Repo)
		}
		out.Fetched = p.bytes
	}
	out.Layers, out.Path = &[2]int{int(p.span.Start), int(p.span.End)}, file
	out.Files = []pullFile{{Name: p.name, Path: file, Bytes: fileSize(file)}}
	if r.choice.folder {
		out.Path = filepath.Dir(file)
		texts, err := r.pullTexts(ctx, out.Path, m)
		if err != nil {
			return out, explainHub(err, l.Repo)
		}
		out.Files = append(out.Files, texts...)
	}
	for _, f := range out.Files {
		out.Bytes += f.Bytes
	}
	out.TookMS = millis(time.Since(began))
	return out, nil
}

// A layerPlan is a file of some layers: its header, and where the rest of it
// comes from.
type layerPlan struct {
	name         string // below the folder of such files
	span         shard.Span
	header       []byte
	parts        []hub.Parts
	bytes, whole int64 // of tensors: those wanted, and all
}

// planLayers reads the headers of a model on the hub and plans a file with the
// layers of span, the embedding with the first and the head with the last.
func (r *remote) planLayers(ctx context.Context, span shard.Span) (*layerPlan, error) {
	x, files, err := r.headers(ctx)
	if err != nil {
		return nil, err
	}
	p := &layerPlan{}
	for _, f := range files {
		p.parts = append(p.parts, hub.Parts{File: f})
	}
	if int(span.End) > x.Layers() || span.Start >= span.End {
		return nil, usage("--layers %d:%d: the model has %d layers", span.Start, span.End, x.Layers())
	}
	meta, err := partMeta(x.Meta(), span)
	if err != nil {
		return nil, err
	}
	var tensors []tensorio.Tensor
	part := weights.Part{Span: span, Embed: span.Start == 0, Head: int(span.End) == x.Layers()}
	for _, name := range x.Names(part) {
		info, _ := x.Info(name)
		tensors = append(tensors, tensorio.Tensor{Name: name, Type: info.Type, Shape: info.Shape})
	}
	var offsets []int64
	if p.header, offsets, err = gguf.Header(meta, tensors); err != nil {
		return nil, err
	}
	for i, t := range tensors {
		info, _ := x.Info(t.Name)
		from := &p.parts[x.FileOf(t.Name)]
		from.Parts = append(from.Parts, hub.Part{Start: info.Offset, End: info.End(), At: offsets[i]})
	}
	p.span, p.bytes, p.whole = span, x.PartBytes(part), x.TotalBytes()
	p.name = fmt.Sprintf("%s-layers-%d-%d.gguf", strings.TrimSuffix(path.Base(r.choice.files[0]), ".gguf"), span.Start, span.End)
	return p, nil
}

// headers reads the headers of the model's files.
func (r *remote) headers(ctx context.Context) (*weights.Index, []*hub.File, error) {
	var files []*hub.File
	var headers []*gguf.File
	for _, name := range r.choice.files {
		f, err := r.client.Stat(ctx, r.listing, name)
		if err != nil {
			return nil, nil, err
		}
		h, err := gguf.Read(r.client.Open(ctx, f), f.SizeBytes)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", f, err)
		}
		files, headers = append(files, f), append(headers, h)
	}
	x, err := weights.IndexHeaders(headers...)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", r.listing.Repo, err)
	}
	return x, files, nil
}

// partMeta returns the metadata of a file of some layers, in one piece.
func partMeta(m *gguf.Meta, span shard.Span) (*gguf.Meta, error) {
	out := gguf.NewMeta()
	for key, v := range m.All() {
		if strings.HasPrefix(key, "split.") {
			continue
		}
		if err := out.Set(key, v); err != nil {
			return nil, err
		}
	}
	return out, errors.Join(out.Set(weights.PartStartKey, uint32(span.Start)), out.Set(weights.PartEndKey, uint32(span.End))) //nolint:gosec // layers of a model
}
