package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/shard/weights/folder"
)

type convertFlags struct {
	out   string
	quant quantFlag
	json  bool
}

func (a *app) convertCommand() *cobra.Command {
	f := &convertFlags{}
	cmd := &cobra.Command{
		Use:   "convert FOLDER -o FILE.gguf",
		Short: "one GGUF file of a folder with safetensors, for a swarm to share",
		Long: `convert writes the model in FOLDER (config.json, safetensors, tokenizer), as
Hugging Face has them, to one GGUF file, which llama.cpp and its kin read too.
Members that have the folder and members that have the file serve one model.

Matrices stay as they are, or are quantised with --quant, by the rules of
llama-quantize.`,
		Example: `  shardnode convert ./Qwen3-0.6B -o qwen3-0.6b.gguf
  shardnode convert hf:Qwen/Qwen3-0.6B -o qwen3-0.6b-q4_k.gguf --quant q4_k`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return a.convert(f, args[0]) },
	}
	cmd.Flags().StringVarP(&f.out, "output", "o", "", "the `file` to write (needed)")
	cmd.Flags().Var(&f.quant, "quant", "type of the matrices: q8_0, q4_0, q4_k, f16, bf16, f32 (default: as they are)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object")
	return cmd
}

// convertJSON is the answer of `convert --json`.
type convertJSON struct {
	File    string `json:"file"`
	Bytes   int64  `json:"bytes"`
	Tensors int    `json:"tensors"`
	Quant   string `json:"quant,omitempty"`
	TookMS  int64  `json:"took_ms"`
}

func (a *app) convert(f *convertFlags, ref string) error {
	if f.out == "" {
		return hint(usage("-o is missing: say where the file is to be written"), "shardnode convert %s -o model.gguf", ref)
	}
	at, err := locateModel(ref)
	if err != nil {
		return err
	}
	if !at.folder {
		return hint(fmt.Errorf("model %s is a file already: only folders with safetensors are converted", ref), "run it as it is")
	}
	if _, err := os.Stat(f.out); err == nil {
		return hint(fmt.Errorf("%s is there already", f.out), "remove it, or name another file")
	}
	began := time.Now()
	m, err := folder.Open(at.path, folder.Options{Map: mapFile, Quant: f.quant.Quant})
	if err != nil {
		return err
	}
	defer m.Close() //nolint:errcheck // it was only read
	size, err := a.writeModel(f.out, m)
	if err != nil {
		return fmt.Errorf("write %s: %w", f.out, err)
	}
	out := convertJSON{File: f.out, Bytes: size, Tensors: len(m.Tensors()), Quant: f.quant.String(), TookMS: time.Since(began).Milliseconds()}
	if f.json {
		return a.printJSON(out)
	}
	return write(a.stdout, fmt.Appendf(nil, "%s: %s in %s\n", out.File, mib(out.Bytes), count(out.Tensors, "tensor")))
}

// writeModel writes m to the file called name, under another name until it is
// whole: half a model looks like one.
func (a *app) writeModel(name string, m *folder.Model) (size int64, err error) {
	if !strings.HasSuffix(name, ".gguf") {
		a.notify("%s does not end in .gguf: commands take it for something else than a model", name)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".convert-*.gguf")
	if err != nil {
		return 0, err
	}
	defer os.Remove(tmp.Name()) // it is gone after the rename
	began, told := time.Now(), time.Now()
	err = folder.Write(tmp, m, inParallel, func(done, total int64) {
		if now := time.Now(); now.Sub(told) >= progressEvery {
			told = now
			rate := float64(done) / now.Sub(began).Seconds()
			left := time.Duration(float64(total-done) / max(rate, 1) * float64(time.Second)).Round(time.Second)
			a.notify("wrote %s of %s, %s/s, %v left", mib(done), mib(total), mib(int64(rate)), left)
		}
	})
	if err == nil {
		info, e := tmp.Stat()
		if e == nil {
			size = info.Size()
		}
		err = e
	}
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err != nil {
		return 0, err
	}
	return size, os.Rename(tmp.Name(), name)
}

// inParallel does jobs on all processors.
func inParallel(n int, do func(job int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	wg.Wait()
}

// progressEvery is how often a long wait says how far it is.
const progressEvery = 2 * time.Second
