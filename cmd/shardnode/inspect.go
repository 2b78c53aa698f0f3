package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/tokenizer"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/dice"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
	"github.com/shardnode/shardnode/tensorio/quant"
	"github.com/shardnode/shardnode/tensorio/vec"
)

type inspectFlags struct {
	json, metadata     bool
	writeRandom, types string
	quant              quantFlag
}

func (a *app) inspectCommand() *cobra.Command {
	f := &inspectFlags{}
	cmd := &cobra.Command{
		Use:   "inspect MODEL",
		Short: "architecture, layers, bytes a layer, element types, metadata",
		Long: `inspect says what a model file holds, also of a model that this version can't
run, and what it takes to run it here. Nothing is loaded.

With --write-random it writes a file of the same shape and tokenizer with random
weights of the types asked for: something to measure with. MODEL may then also
be the name of a shape: ` + strings.Join(dice.Names(), ", ") + `.`,
		Example: `  shardnode inspect story
  shardnode inspect model.gguf --metadata
  shardnode inspect model.gguf --json
  shardnode inspect llama-3.2-1b --write-random 1b.gguf --types Q4_K_M`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.writeRandom != "" {
				return a.writeRandom(f, args[0])
			}
			return a.inspect(cmd.Context(), f, args[0])
		},
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object")
	f.quant.add(cmd.Flags())
	cmd.Flags().BoolVar(&f.metadata, "metadata", false, "add every key of the file's metadata")
	cmd.Flags().StringVar(&f.writeRandom, "write-random", "", "write a file like MODEL with random weights")
	cmd.Flags().StringVar(&f.types, "types", "Q4_0", "element types of --write-random: "+strings.Join(dice.Types(), ", "))
	return cmd
}

// inspectJSON is the answer of `inspect --json` (CLI.md §3).
type inspectJSON struct {
	Name         string `json:"name"`
	Title        string `json:"title,omitempty"` // general.name
	Architecture string `json:"architecture"`
	Layers       int    `json:"layers"`
	Params       int64  `json:"params"`
	// Bytes are those of all tensors, LayerBytes those of each layer's.
	Bytes      int64   `json:"bytes"`
	LayerBytes []int64 `json:"layer_bytes"`
	EmbedBytes int64   `json:"embed_bytes"`
	HeadBytes  int64   `json:"head_bytes"`
	Tied       bool    `json:"tied"` // the head shares the embedding's weights
	// Types are the numbers of tensors by element type, TypeBytes their bytes,
	// TypePackedBytes those of the matrices as they are laid out for computing.
	Types           map[string]int   `json:"types"`
	TypeBytes       map[string]int64 `json:"type_bytes"`
	TypePackedBytes map[string]int64 `json:"type_packed_bytes"`
	Context         int              `json:"context"`
	Vocab           int              `json:"vocab"`

	Shape        *shapeJSON        `json:"shape,omitempty"` // of an architecture that is known
	Tokenizer    tokenizerJSON     `json:"tokenizer"`
	ChatTemplate bool              `json:"chat_template"`
	Template     *templateJSON     `json:"template,omitempty"`
	License      string            `json:"license,omitempty"`
	LicenseLink  string            `json:"license_link,omitempty"`
	Memory       *memoryJSON       `json:"memory,omitempty"`   // of a model that can be run
	PerPeer      []peerNeedJSON    `json:"per_peer,omitempty"` // the same, shared evenly
	Runs         bool              `json:"runs"`
	Why          string            `json:"why,omitempty"` // it does not run
	Kernels      string            `json:"kernels"`
	Metadata     map[string]string `json:"metadata,omitempty"`
}

type (
	shapeJSON struct {
		Dim     int `json:"dim"`
		Heads   int `json:"heads"`
		KVHeads int `json:"kv_heads"`
		HeadDim int `json:"head_dim"`
		FFNDim  int `json:"ffn_dim"`
	}
	tokenizerJSON struct {
		Model   string   `json:"model,omitempty"`
		Pre     string   `json:"pre,omitempty"`
		Family  string   `json:"family,omitempty"`
		AddBOS  bool     `json:"add_bos"`
		Ends    []string `json:"ends,omitempty"` // tokens that end an answer
		Warning string   `json:"warning,omitempty"`
		Error   string   `json:"error,omitempty"`
	}
	// memoryJSON is what one process needs to run the whole model.
	memoryJSON struct {
		WeightBytes     int64 `json:"weight_bytes"`
		KVBytesPerToken int64 `json:"kv_bytes_per_token"`
		ContextKVBytes  int64 `json:"context_kv_bytes"`
	}
)

func (a *app) inspect(ctx context.Context, f *inspectFlags, ref string) error {
	file, err := openModel(withQuant(ref, f.quant.Quant))
	if missing, ok := errors.AsType[*notHereError](err); ok {
		return a.inspectRemote(ctx, f, missing)
	}
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it was only read
	return a.printInspected(f, inspectModel(file.name(), file.Index, file), file.Meta())
}

func (a *app) printInspected(f *inspectFlags, out inspectJSON, meta *gguf.Meta) error {
	if f.metadata {
		out.Metadata = map[string]string{}
		for key, v := range meta.All() {
			out.Metadata[key] = v.String()
		}
	}
	if f.json {
		return a.printJSON(out)
	}
	return out.print(a.stdout, meta.Keys())
}

// inspectModel returns what is to be said about a model, whose tensors src
// describes.
func inspectModel(name string, file *weights.Index, src model.Source) inspectJSON {
	meta := file.Meta()
	out := inspectJSON{
		Name: name, Architecture: file.Architecture(), Layers: file.Layers(),
		Bytes: file.TotalBytes(), EmbedBytes: file.EmbedBytes(), HeadBytes: file.HeadBytes(), Tied: file.Tied() && file.Has(weights.EmbedName),
		LayerBytes: []int64{}, Types: map[string]int{}, TypeBytes: map[string]int64{}, TypePackedBytes: map[string]int64{},
	}
	for l := range shard.Layer(file.Layers()) {
		out.LayerBytes = append(out.LayerBytes, file.LayerBytes(l))
	}
	for _, t := range file.Tensors() {
		out.Params += int64(tensorio.Tensor{Shape: t.Shape}.Elements())
		out.Types[t.Type.String()]++
		out.TypeBytes[t.Type.String()] += t.Bytes
		if n, ok := weights.PackedBytes(t); ok {
			out.TypePackedBytes[t.Type.String()] += n
		}
	}
	out.Title, _ = meta.Str("general.name")
	out.License, out.LicenseLink = licenseOf(meta)
	context, _ := meta.Uint(out.Architecture + ".context_length")
	out.Context = int(min(context, 1<<31)) //nolint:gosec // bounded
	if t, ok := file.Info(weights.EmbedName); ok && len(t.Shape) == 2 {
		out.Vocab = t.Shape[0]
	}
	out.readText(meta)
	out.readModel(file, src)
	form, err := vec.Form()
	if err != nil {
		form = err.Error()
	}
	out.Kernels = fmt.Sprintf("matrices %s, vectors %s", quant.Form(), form)
	return out
}

// readText fills in what concerns text.
func (i *inspectJSON) readText(meta *gguf.Meta) {
	i.Tokenizer.Model, _ = meta.Str("tokenizer.ggml.model")
	i.Tokenizer.Pre, _ = meta.Str("tokenizer.ggml.pre")
	i.Template = templateFacts(meta)
	i.ChatTemplate = i.Template != nil
	tok, err := tokenizer.FromMetadata(meta)
	if err != nil {
		i.Tokenizer.Error = err.Error()
		return
	}
	i.Tokenizer.Warning, i.Tokenizer.Family = tok.Warning(), tok.Family()
	i.Tokenizer.AddBOS = tok.AddBOS()
	for _, id := range tok.Ends() {
		i.Tokenizer.Ends = append(i.Tokenizer.Ends, tok.Piece(id))
	}
}

// readModel fills in what concerns running the model.
func (i *inspectJSON) readModel(file *weights.Index, src model.Source) {
	cfg, err := model.ReadConfig(file.Meta())
	if err != nil {
		i.Why = err.Error()
		return
	}
	i.Context, i.Vocab = cfg.Context, cfg.Vocab
	i.Shape = &shapeJSON{Dim: cfg.Dim, Heads: cfg.Heads, KVHeads: cfg.KVHeads, HeadDim: cfg.HeadDim, FFNDim: cfg.FFNDim}
	packed, err := model.MemoryBytes(cfg, src, shard.Span{End: shard.Layer(cfg.Layers)})
	if err != nil {
		i.Why = err.Error()
		return
	}
	plan := member.PlanModel(i.Name, file, cfg, kvcache.Float16)
	token := plan.KVBytesPerTokenLayer * int64(cfg.Layers)
	i.Memory = &memoryJSON{WeightBytes: packed, KVBytesPerToken: token, ContextKVBytes: token * int64(cfg.Context)}
	i.PerPeer = perPeer(plan, min(cfg.Context, listedTokens))
	if i.Why = i.Tokenizer.Error; i.Why == "" {
		i.Runs = true
	}
}

// print prints i for people; keys is the order of the metadata.
func (i *inspectJSON) print(w io.Writer, keys []string) error {
	var b []byte
	line := func(label, format string, args ...any) {
		b = fmt.Appendf(b, "%-14s %s\n", label, fmt.Sprintf(format, args...))
	}
	line("model", "%s", i.Name)
	if i.Title != "" {
		line("name", "%s", i.Title)
	}
	line("architecture", "%s", cmp.Or(i.Architecture, "not said"))
	line("parameters", "%s", paramText(i.Params))
	line("layers", "%d%s", i.Layers, i.layerText())
	shared := ""
	if i.Tied {
		shared = ", of which they share the embedding"
	}
	line("weights", "%s: embedding %s, head %s%s", mib(i.Bytes), mib(i.EmbedBytes), mib(i.HeadBytes), shared)
	line("types", "%s", i.typeText())
	if s := i.Shape; s != nil {
		line("shape", "dim %d, %d heads of %d, %d for keys and values, feed-forward %d", s.Dim, s.Heads, s.HeadDim, s.KVHeads, s.FFNDim)
	}
	line("context", "%d tokens", i.Context)
	line("vocabulary", "%d tokens", i.Vocab)
	line("tokenizer", "%s", i.Tokenizer.text())
	line("chat template", "%s", i.Template.text())
	line("licence", "%s", strings.TrimSpace(cmp.Or(i.License, "not said")+" "+i.LicenseLink))
	if m := i.Memory; m != nil {
		line("memory alone", "%s for weights, %s for the KV cache of %d tokens (%s a token)",
			mib(m.WeightBytes), mib(m.ContextKVBytes), i.Context, mib(m.KVBytesPerToken))
	}
	if text := perPeerText(i.PerPeer); text != "" {
		line("memory shared", "%s", text)
	}
	line("kernels", "%s", i.Kernels)
	if i.Runs {
		line("runs here", "yes")
	} else {
		line("runs here", "no: %s", i.Why)
	}
	if i.Metadata != nil {
		b = append(b, "metadata\n"...)
		for _, key := range keys {
			b = fmt.Appendf(b, "  %s = %s\n", key, i.Metadata[key])
		}
	}
	return write(w, b)
}

// layerText says how large layers are.
func (i *inspectJSON) layerText() string {
	if len(i.LayerBytes) == 0 {
		return ""
	}
	lo, hi := slices.Min(i.LayerBytes), slices.Max(i.LayerBytes)
	if lo == hi {
		return " of " + mib(lo)
	}
	return fmt.Sprintf(" of %s to %s", mib(lo), mib(hi))
}

// typeText lists the element types, the one with most bytes first, and says
// which of them take notably more memory than bytes of the file.
func (i *inspectJSON) typeText() string {
	names := make([]string, 0, len(i.Types))
	for name := range i.Types {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int {
		return cmp.Or(cmp.Compare(i.TypeBytes[y], i.TypeBytes[x]), cmp.Compare(x, y))
	})
	for n, name := range names {
		names[n] = fmt.Sprintf("%s %s in %s", name, mib(i.TypeBytes[name]), count(i.Types[name], "tensor"))
		if packed := i.TypePackedBytes[name]; packed > i.TypeBytes[name]/10*11 {
			names[n] += fmt.Sprintf(" (%s in memory)", mib(packed))
		}
	}
	return strings.Join(names, ", ")
}

func (t tokenizerJSON) text() string {
	text := cmp.Or(t.Family, t.Model, "none")
	if t.Pre != "" {
		text += ", splits as " + t.Pre
	}
	if t.Warning != "" {
		text += "; warning: " + t.Warning
	}
	if t.Error != "" {
		text += "; can't be used: " + t.Error
	}
	return text
}

// paramText returns a number of parameters for people.
func paramText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f billion", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f million", float64(n)/1e6)
	}
	return fmt.Sprint(n)
}

// count returns "1 tensor", "2 tensors".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
