package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/folder"
)

// quantMark stands between a folder and the type that its weights are quantised to,
// in the references that members are given.
const quantMark = "#"

// withQuant returns ref with what --quant says.
func withQuant(ref string, q folder.Quant) string {
	if q.String() == "" {
		return ref
	}
	return ref + quantMark + q.String()
}

// cutQuant takes a reference of withQuant apart.
func cutQuant(ref string) (string, folder.Quant) {
	at := strings.LastIndex(ref, quantMark)
	if at < 0 {
		return ref, folder.Quant{}
	}
	q, err := folder.ParseQuant(ref[at+len(quantMark):])
	if err != nil {
		return ref, folder.Quant{}
	}
	return ref[:at], q
}

// openFolder opens a folder with config.json and safetensors.
func openFolder(at modelPlace, q folder.Quant) (*modelFile, error) {
	m, err := folder.Open(at.path, folder.Options{Map: mapFile, Quant: q})
	if err != nil {
		return nil, hint(err, "give a folder with %s and safetensors, as Hugging Face has them, or a .gguf file", folder.ConfigFile)
	}
	f, err := weights.OpenMade(at.path, m)
	if err != nil {
		return nil, err
	}
	name := at.name
	if q.String() != "" {
		name += "-" + q.String()
	}
	return &modelFile{File: f, ref: withQuant(at.path, q), called: name}, nil
}

// mapFile maps a file for package folder.
func mapFile(path string) ([]byte, time.Time, func() error, error) {
	m, err := weights.Map(path)
	if err != nil {
		return nil, time.Time{}, nil, unwrapPath(err)
	}
	return m.Data, m.Changed, m.Close, nil
}

// quantFlag is --quant.
type quantFlag struct{ folder.Quant }

// Set reads the flag.
func (q *quantFlag) Set(text string) (err error) {
	q.Quant, err = folder.ParseQuant(text)
	return err
}

func (q *quantFlag) add(f *pflag.FlagSet) {
	f.Var(q, "quant", "quantise a folder's weights when they are read: q8_0, q4_0 or q4_k")
}

// Type names the values in help texts.
func (q *quantFlag) Type() string { return "type" }

// noFolder is the error for a file that --quant is given for.
func noFolder(ref string, q folder.Quant) error {
	return hint(fmt.Errorf("model %s: only folders with safetensors are quantised when they are read, and it is a file", ref),
		"leave --quant %s out", q)
}
