package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hub"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/story"
	"github.com/shardnode/shardnode/tensorio"
)

type modelsFlags struct {
	json, local bool
}

func (a *app) modelsCommand() *cobra.Command {
	f := &modelsFlags{}
	cmd := &cobra.Command{
		Use:   "models [TEXT]",
		Short: "models that are here and that could be had, and whether they fit",
		Long: `models lists the models on this machine (of the cache that pull fills) and those
of the catalogue, with the memory that each needs, whether this machine or its
swarm has that, and the tokens a second to expect of this machine alone. TEXT
keeps those with it in their name. Any other model of Hugging Face can be had as
hf:org/repo.`,
		Example: "  shardnode models\n  shardnode models qwen --json\n  shardnode models --local",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.models(cmd.Context(), f, strings.ToLower(strings.Join(args, "")))
		},
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object")
	cmd.Flags().BoolVar(&f.local, "local", false, "only those on this machine")
	return cmd
}

// modelsJSON is the answer of `models --json`.
type modelsJSON struct {
	Models  []listedJSON `json:"models"`
	Machine machineJSON  `json:"machine"`
	Swarm   *swarmJSON   `json:"swarm"` // null: no member of this home runs
	Cache   string       `json:"cache"`
}

type (
	listedJSON struct {
		Name        string `json:"name"`
		Local       bool   `json:"local"`
		Path        string `json:"path,omitempty"`
		Repo        string `json:"repo,omitempty"`
		File        string `json:"file,omitempty"`
		Bytes       int64  `json:"bytes"`
		Params      int64  `json:"params,omitempty"`
		License     string `json:"license,omitempty"`
		MemoryBytes int64  `json:"memory_bytes"` // with the KV cache of 2048 tokens
		// Fits is "machine", "swarm" or "no".
		Fits       string  `json:"fits"`
		DecodeTokS float64 `json:"predicted_decode_tok_s"` // of this machine alone, 0 if it does not fit
		Why        string  `json:"why,omitempty"`          // it does not run
	}
	machineJSON struct {
		MemoryBytes   int64   `json:"memory_bytes"`
		ReadBytesPerS float64 `json:"read_bytes_per_s"`
	}
	swarmJSON struct {
		Peers       int   `json:"peers"`
		MemoryBytes int64 `json:"memory_bytes"`
	}
)

// listedTokens is the KV cache that models are listed with.
const listedTokens = 2048

// decodeShare is which share of the rate that memory is read at a decode step
// reaches, of a model too big for caches (docs/performance.md: 23 to 30 GB/s of 30).
const decodeShare = 0.8

func (a *app) models(ctx context.Context, f *modelsFlags, text string) error {
	c, err := hubClient()
	if err != nil {
		return err
	}
	out := modelsJSON{
		Models: []listedJSON{}, Cache: c.CacheDir(), Swarm: a.swarmMemory(ctx),
		Machine: machineJSON{MemoryBytes: freeMemory(), ReadBytesPerS: readRate(member.Processors())},
	}
	local, err := localModels(c)
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, m := range local {
		for _, name := range namesOf(m.Repo, m.File) {
			have[name] = true
			m.Name = name
		}
		out.add(m, text)
	}
	for _, m := range catalogue() {
		if f.local || have[m.name] {
			continue
		}
		out.add(listedJSON{
			Name: m.name, Repo: m.repo, File: m.file, Bytes: m.bytes, Params: int64(math.Round(m.params * 1e9)), License: m.license,
			MemoryBytes: m.bytes + listedTokens*m.kvBytesPerToken(), DecodeTokS: m.active / m.params,
		}, text)
	}
	if f.json {
		return a.printJSON(out)
	}
	return a.printModels(out)
}

// add adds m, which has in DecodeTokS the share of its bytes that a token needs.
func (o *modelsJSON) add(m listedJSON, text string) {
	if !strings.Contains(strings.ToLower(m.Name+" "+m.Repo+" "+m.File), text) {
		return
	}
	share := m.DecodeTokS
	m.DecodeTokS, m.Fits = 0, "no"
	switch {
	case m.MemoryBytes <= o.Machine.MemoryBytes:
		m.Fits = "machine"
		m.DecodeTokS = decodeShare * o.Machine.ReadBytesPerS / (share * float64(m.Bytes))
	case o.Swarm != nil && m.MemoryBytes <= o.Swarm.MemoryBytes:
		m.Fits = "swarm"
	}
	o.Models = append(o.Models, m)
}

// swarmMemory returns what the members of this home's swarm have together, nil
// when none runs here.
func (a *app) swarmMemory(ctx context.Context) *swarmJSON {
	c, err := a.dialControl()
	if err != nil {
		return nil
	}
	var st statusJSON
	if c.call(ctx, "GET", "/ps", nil, &st) != nil {
		return nil // it is just starting or ending
	}
	out := &swarmJSON{}
	for _, p := range st.Peers {
		if p.Alive {
			out.Peers++
			out.MemoryBytes += p.MemoryBytes
		}
	}
	return out
}

// localModels returns the embedded model and those of the cache.
func localModels(c *hub.Client) ([]listedJSON, error) {
	file, err := openModel(story.Name)
	if err != nil {
		return nil, err
	}
	list := []listedJSON{describeLocal(file, listedJSON{Name: story.Name})}
	repos, err := c.Scan()
	if err != nil {
		return nil, fmt.Errorf("cache %s: %w", c.CacheDir(), err)
	}
	for _, r := range repos {
		for _, f := range r.Files {
			m := partOfModel.FindStringSubmatch(f.Name)
			base := strings.ToLower(path.Base(f.Name))
			if !strings.HasSuffix(base, ".gguf") || strings.HasPrefix(base, "mmproj") || m != nil && m[2] != "00001" {
				continue
			}
			if len(f.Refs) == 0 && !f.Parts && otherCommit(r, f) {
				continue // an older form of the same
			}
			list = append(list, describePath(listedJSON{
				Name: hub.RefPrefix + r.ID + ":" + f.Name, Repo: r.ID, File: f.Name, Path: f.Path, Bytes: f.SizeBytes, Local: true,
			}))
		}
		list = append(list, folderModels(r)...)
	}
	return list, nil
}

// otherCommit reports whether a branch or tag has a file of the same name.
func otherCommit(r hub.CachedRepo, f hub.CachedFile) bool {
	return slices.ContainsFunc(r.Files, func(o hub.CachedFile) bool { return o.Name == f.Name && len(o.Refs) > 0 })
}

// folderModels returns the models of a repository that are folders.
func folderModels(r hub.CachedRepo) []listedJSON {
	var list []listedJSON
	for _, f := range r.Files {
		if f.Name != folderConfig || len(f.Refs) == 0 {
			continue
		}
		m := listedJSON{Name: hub.RefPrefix + r.ID, Repo: r.ID, Path: filepath.Dir(f.Path), Local: true, DecodeTokS: 1}
		for _, o := range r.Files {
			if o.Commit == f.Commit && strings.HasSuffix(o.Name, ".safetensors") {
				m.Bytes += o.SizeBytes
			}
		}
		m.MemoryBytes = m.Bytes
		if m.Bytes > 0 {
			list = append(list, m)
		}
	}
	return list
}

// describePath is describeLocal for a file that may not open.
func describePath(m listedJSON) listedJSON {
	f, err := weights.Open(m.Path)
	if err != nil {
		m.Why, m.DecodeTokS, m.MemoryBytes = err.Error(), 1, m.Bytes
		return m
	}
	file := &modelFile{File: f, ref: m.Path, called: pathName(m.Path)}
	return describeLocal(file, m)
}

// describeLocal fills in what a file's header says, and closes it.
func describeLocal(file *modelFile, m listedJSON) listedJSON {
	defer file.Close() //nolint:errcheck // it was only read
	m.Local, m.Bytes, m.DecodeTokS = true, file.TotalBytes(), 1
	m.MemoryBytes = m.Bytes
	m.License, _ = file.Meta().Str("general.license")
	for _, t := range file.Tensors() {
		m.Params += int64(tensorio.Tensor{Shape: t.Shape}.Elements())
	}
	cfg, err := model.ReadConfig(file.Meta())
	if err == nil {
		m.MemoryBytes, err = model.MemoryBytes(cfg, file, shard.Span{End: shard.Layer(cfg.Layers)})
	}
	if err != nil {
		m.Why = err.Error()
		return m
	}
	plan := member.PlanModel(m.Name, file.Index, cfg, kvcache.Float16)
	m.MemoryBytes += plan.KVBytesPerTokenLayer * int64(cfg.Layers) * int64(min(cfg.Context, listedTokens))
	return m
}

// printModels prints the list for people.
func (a *app) printModels(o modelsJSON) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "MODEL\tHERE\tSIZE\tMEMORY\tFITS\tTOK/S\tLICENCE\n")
	for _, m := range o.Models {
		speed := "-"
		switch {
		case m.Why != "":
			speed = "does not run"
		case m.DecodeTokS >= 10:
			speed = fmt.Sprintf("%.0f", m.DecodeTokS)
		case m.DecodeTokS > 0:
			speed = fmt.Sprintf("%.1f", m.DecodeTokS)
		}
		here := ""
		if m.Local {
			here = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", m.Name, here, mib(m.Bytes), mib(m.MemoryBytes), m.Fits, speed, cmp.Or(m.License, "not said"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	swarm := "no swarm runs here"
	if o.Swarm != nil {
		swarm = fmt.Sprintf("%s of the swarm have %s", count(o.Swarm.Peers, "member"), mib(o.Swarm.MemoryBytes))
	}
	a.notify("this machine gives models %s and reads %.0f GB/s; %s. Tokens a second are an estimate for this machine alone. `shardnode pull NAME` fetches.",
		mib(o.Machine.MemoryBytes), o.Machine.ReadBytesPerS/1e9, swarm)
	return nil
}
