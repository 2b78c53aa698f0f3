package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/shardnode/shardnode/shard/hub"
	"github.com/shardnode/shardnode/shard/nearest"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/story"
)

// A modelFile is a model that a command line named, opened.
type modelFile struct {
	*weights.File
	ref    string // "story" or a path; members are given the same
	called string // what people call it
}

// A modelPlace is where a model lies that a command line named.
type modelPlace struct {
	path   string // "" for the embedded model
	name   string // what people call it
	folder bool
}

// openModel opens what MODEL names: "story", a path, a name of the catalogue or
// a file on the hub. The last two must have been pulled; [openOrPull] pulls.
func openModel(ref string) (*modelFile, error) {
	ref, quant := cutQuant(ref)
	at, err := locateModel(ref)
	switch {
	case err != nil:
		return nil, err
	case at.folder:
		return openFolder(at, quant)
	case quant.String() != "":
		return nil, noFolder(ref, quant)
	}
	if at.path == "" {
		f, err := weights.OpenBytes(story.Name, story.Bytes())
		if err != nil {
			return nil, err
		}
		return &modelFile{File: f, ref: story.Name, called: story.Name}, nil
	}
	f, err := weights.Open(at.path)
	if err != nil {
		return nil, err
	}
	return &modelFile{File: f, ref: at.path, called: at.name}, nil
}

// openOrPull is openModel, and pulls a model that is on the hub and not here.
func openOrPull(ctx context.Context, ref string, notify func(format string, args ...any)) (*modelFile, error) {
	file, err := openModel(ref)
	missing, ok := errors.AsType[*notHereError](err)
	if !ok {
		return file, err
	}
	if _, err := pullModel(ctx, missing.ref, notify, nil); err != nil {
		return nil, err
	}
	return openModel(ref)
}

// locateModel returns where what MODEL names lies on this machine.
func locateModel(ref string) (modelPlace, error) {
	if ref == story.Name {
		return modelPlace{name: story.Name}, nil
	}
	if hub.IsRef(ref) {
		r, err := hub.ParseRef(ref)
		if err != nil {
			return modelPlace{}, hint(usage("model: %w", err), "write hf:org/repo, hf:org/repo:FILE or hf:org/repo@REVISION:FILE")
		}
		return locateInCache(ref, r)
	}
	info, err := os.Stat(ref)
	if err == nil {
		abs, err := filepath.Abs(ref)
		if err != nil {
			return modelPlace{}, fmt.Errorf("model %s: %w", ref, err)
		}
		return modelPlace{path: abs, name: pathName(abs), folder: info.IsDir()}, nil
	}
	if r, ok := lookUpName(ref); ok {
		return locateInCache(ref, r)
	}
	if looksLikePath(ref) {
		return modelPlace{}, hint(fmt.Errorf("model %s: %w", ref, unwrapPath(err)),
			"give the path of a .gguf file, hf:org/repo, a name of `shardnode models`, or `story` for the embedded model")
	}
	return modelPlace{}, unknownModel(ref)
}

// A notHereError is a model that is on the hub, as far as is known, and not on
// this machine.
type notHereError struct {
	ref   string
	where hub.Ref
}

// Error says that it is not here.
func (e *notHereError) Error() string {
	return fmt.Sprintf("model %s is not on this machine", e.ref)
}

// locateInCache returns where the cache has a model of the hub.
func locateInCache(ref string, r hub.Ref) (modelPlace, error) {
	c, err := hubClient()
	if err != nil {
		return modelPlace{}, err
	}
	missing := hint(&notHereError{ref, r}, "fetch it with `shardnode pull %s`", ref)
	names := c.CachedFiles(r.Repo)
	if len(names) == 0 {
		return modelPlace{}, missing
	}
	chosen, err := chooseFiles(names, r.File)
	if err != nil || !chosen.complete() {
		return modelPlace{}, missing
	}
	at, ok := c.Cached(r.Repo, chosen.files[0])
	if !ok {
		return modelPlace{}, missing
	}
	if chosen.folder {
		return modelPlace{path: filepath.Dir(at), name: path.Base(r.ID), folder: true}, nil
	}
	return modelPlace{path: at, name: pathName(at)}, nil
}

// hubClient returns a client of the hub that the environment names.
func hubClient() (*hub.Client, error) {
	cfg, err := hub.FromEnv(os.Getenv)
	if err != nil {
		return nil, &usageError{err}
	}
	cfg.FreeBytes = freeDisk
	c, err := hub.New(cfg)
	if err != nil {
		return nil, hint(&usageError{err}, "HF_ENDPOINT, HF_HOME and HF_HUB_CACHE say where the hub and its cache are")
	}
	return c, nil
}

// pathName returns what people call the model at path.
func pathName(path string) string { return strings.TrimSuffix(filepath.Base(path), ".gguf") }

// name returns what people call the model.
func (m *modelFile) name() string { return m.called }

// modelName returns what people call the model that ref names, as the swarm
// calls it, whether it is here or not.
func modelName(ref string) string {
	if at, err := locateModel(ref); err == nil {
		return at.name
	} else if missing, ok := errors.AsType[*notHereError](err); ok && missing.where.File != "" {
		return strings.TrimSuffix(path.Base(missing.where.File), ".gguf")
	}
	return pathName(ref)
}

func looksLikePath(ref string) bool {
	return strings.ContainsAny(ref, `/\`) || strings.HasSuffix(ref, ".gguf")
}

// unwrapPath returns the cause of a path error without the path.
func unwrapPath(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

// unknownModel is the error for a name that is neither known nor a file. It
// names the nearest of what is there and of what could be had.
func unknownModel(ref string) error {
	known := append([]string{story.Name}, catalogueNames()...)
	if files, err := filepath.Glob("*.gguf"); err == nil {
		known = append(known, files...)
	}
	return hint(fmt.Errorf("no model is called %q", ref),
		"did you mean %s? MODEL is `story` (embedded), a name of `shardnode models`, hf:org/repo, or the path of a .gguf file or a folder", nearestNames(ref, known))
}

// nearestNames returns the nearest of known for people: one, or three when
// several sizes of one model are as near.
func nearestNames(ref string, known []string) string {
	best := nearest.Of(strings.ToLower(ref), known)
	family, _, sized := strings.Cut(best, ":")
	if asked, _, ok := strings.Cut(ref, ":"); !sized || ok && asked != family || !ok && ref != family {
		return fmt.Sprintf("%q", best)
	}
	var sizes []string
	for _, name := range known {
		if strings.HasPrefix(name, family+":") {
			sizes = append(sizes, name)
		}
	}
	return strings.Join(sizes, ", ")
}
