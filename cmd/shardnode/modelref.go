package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/shardnode/shardnode/shard/nearest"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/story"
)

// A modelFile is a model that a command line named, opened.
type modelFile struct {
	*weights.File
	ref string // as it was named; members are given the same
}

// openModel opens what MODEL names: "story", or the path of a GGUF file.
func openModel(ref string) (*modelFile, error) {
	if ref == story.Name {
		f, err := weights.OpenBytes(story.Name, story.Bytes())
		if err != nil {
			return nil, err
		}
		return &modelFile{File: f, ref: ref}, nil
	}
	info, err := os.Stat(ref)
	switch {
	case err != nil && namesModel(ref):
		return nil, hint(fmt.Errorf("model %s: models can't be fetched by their names yet", ref),
			"give the path of a .gguf file that is here, or `story` for the embedded model")
	case err != nil && !looksLikePath(ref):
		return nil, unknownModel(ref)
	case err != nil:
		return nil, hint(fmt.Errorf("model %s: %w", ref, unwrapPath(err)), "give the path of a .gguf file, or `story` for the embedded model")
	case info.IsDir():
		return nil, hint(fmt.Errorf("model %s is a folder", ref), "give a .gguf file: folders with safetensors can't be run yet")
	}
	abs, err := filepath.Abs(ref)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", ref, err)
	}
	f, err := weights.Open(abs)
	if err != nil {
		return nil, err
	}
	return &modelFile{File: f, ref: abs}, nil
}

// name returns what people call the model.
func (m *modelFile) name() string {
	if m.ref == story.Name {
		return story.Name
	}
	return strings.TrimSuffix(filepath.Base(m.ref), ".gguf")
}

// namesModel reports whether ref is a name to fetch a model by: of a catalogue,
// smollm2:135m, or of Hugging Face, hf:org/repo.
func namesModel(ref string) bool {
	name, rest, ok := strings.Cut(ref, ":")
	return ok && rest != "" && (name == "hf" || !looksLikePath(ref))
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
// names the nearest of what is there.
func unknownModel(ref string) error {
	known := []string{story.Name}
	if files, err := filepath.Glob("*.gguf"); err == nil {
		known = append(known, files...)
	}
	return hint(fmt.Errorf("no model is called %q", ref),
		"did you mean %q? MODEL is `story` (embedded) or the path of a .gguf file", nearest.Of(ref, known))
}
