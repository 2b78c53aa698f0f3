package model

import (
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/model/modeltest"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/folder"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
	"github.com/shardnode/shardnode/tensorio/par"
)

// openFolder opens a folder of safetensors for the length of the test.
func openFolder(t testing.TB, dir string, quant string) (*weights.File, Config) {
	t.Helper()
	q, err := folder.ParseQuant(quant)
	if err != nil {
		t.Fatal(err)
	}
	m, err := folder.Open(dir, folder.Options{Quant: q, Map: func(path string) ([]byte, time.Time, func() error, error) {
		x, err := weights.Map(path)
		if err != nil {
			return nil, time.Time{}, nil, err
		}
		return x.Data, x.Changed, x.Close, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	f, err := weights.OpenMade(dir, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	cfg, err := ReadConfig(f.Meta())
	if err != nil {
		t.Fatal(err)
	}
	return f, cfg
}

// within brings tokens into a model's vocabulary.
func within(ids []shard.Token, c Config) []shard.Token {
	for i := range ids {
		ids[i] %= shard.Token(c.Vocab)
	}
	return ids
}

// families returns the folders of tiny models that have reference logits: ours, and
// those beside the project.
func families(t testing.TB) []string {
	t.Helper()
	ours, _ := filepath.Glob("../weights/folder/testdata/*/golden.json")
	if len(ours) < 22 {
		t.Fatalf("%d families, want 22 or more", len(ours))
	}
	more, _ := filepath.Glob("../../../shared/data/zoo/zoo/*/golden.json")
	if root := os.Getenv("SHARDNODE_FAMILIES"); root != "" { // to try others
		extra, _ := filepath.Glob(filepath.Join(root, "*/golden.json"))
		more = append(more, extra...)
	}
	var dirs []string
	for _, path := range append(ours, more...) {
		dirs = append(dirs, filepath.Dir(path))
	}
	return dirs
}

func TestFoldersGiveTheReferenceLogits(t *testing.T) {
	for _, dir := range families(t) {
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			limit := 1e-3
			if name == "gpt-oss-mxfp4" {
				limit = 0.6 // activations of 8 bits
			}
			var want zooGolden
			readJSON(t, filepath.Join(dir, "golden.json"), &want)
			f, cfg := openFolder(t, dir, "")
			c := newChainOf(t, f, cfg, how{rounding: RoundNone, threads: 2})
			rows := c.run(t, 0, want.Prompt, len(want.Prompt))
			worst := 0.0
			for _, p := range want.Positions {
				worst = max(worst, furthest(rows[p], floats(t, want.Logits[strconv.Itoa(p)])))
			}
			t.Logf("largest difference %.2g", worst)
			if !(worst <= limit) {
				t.Errorf("logits differ by %g, want %g at most", worst, limit)
			}
			c.reset(t)
			for i, got := range c.greedy(t, want.Prompt, max(1, len(want.Greedy))) {
				if i >= len(want.Greedy) || want.Margins[i] < max(limit, 5e-3) {
					break
				}
				if got != want.Greedy[i] {
					t.Fatalf("greedy token %d is %d, want %d (margin %g)", i, got, want.Greedy[i], want.Margins[i])
				}
			}
		})
	}
}

// TestFamiliesAreAlikeHoweverTheyRun splits, chunks and shares the work of each.
func TestFamiliesAreAlikeHoweverTheyRun(t *testing.T) {
	for _, dir := range families(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			f, cfg := openFolder(t, dir, "")
			prompt := within(ids(40), cfg)
			want := newChainOf(t, f, cfg, how{}).run(t, 0, prompt, len(prompt))
			for name, h := range map[string]how{
				"two spans": {cuts: []int{1}}, "three threads": {threads: 3}, "chunks of 7": {chunk: 7, threads: 2},
				"one by one": {chunk: 1, threads: 2}, "two by two over two spans": {chunk: 2, threads: 2, cuts: []int{cfg.Layers - 1}},
			} {
				got := newChainOf(t, f, cfg, h).run(t, 0, prompt, len(prompt))
				for i := range want {
					if !same(got[i], want[i]) {
						t.Fatalf("%s: logits at position %d differ by %g", name, i, furthest(got[i], want[i]))
					}
				}
			}
		})
	}
}

// TestAFolderComputesWhatItsFileDoes writes the file that a folder looks like, also
// quantised, and compares.
func TestAFolderComputesWhatItsFileDoes(t *testing.T) {
	for _, quant := range []string{"", "q8_0", "q4_0", "q4_k", "f16"} {
		t.Run("to "+quant, func(t *testing.T) {
			f, cfg := openFolder(t, "../weights/folder/testdata/deepseek3", quant)
			q, _ := folder.ParseQuant(quant)
			m, err := folder.Open("../weights/folder/testdata/deepseek3", folder.Options{Quant: q, Map: func(path string) ([]byte, time.Time, func() error, error) {
				b, err := os.ReadFile(path)
				return b, time.Time{}, func() error { return nil }, err
			}})
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(t.TempDir(), "model.gguf")
			out, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := folder.Write(out, m, nil, nil); err != nil {
				t.Fatal(err)
			}
			if err := out.Close(); err != nil {
				t.Fatal(err)
			}
			prompt := within(ids(20), cfg)
			want := newChain(t, path, how{}).run(t, 0, prompt, 3)
			got := newChainOf(t, f, cfg, how{threads: 2, cuts: []int{1}}).run(t, 0, prompt, 3)
			for i := range want {
				if !same(got[i], want[i]) {
					t.Errorf("logits at position %d differ by %g", i, furthest(got[i], want[i]))
				}
			}
			// Members that have either hold one model.
			file, err := weights.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			a, err := weights.NewManifest(t.Context(), f, nil)
			if err != nil {
				t.Fatal(err)
			}
			b, err := weights.NewManifest(t.Context(), file, nil)
			if err != nil {
				t.Fatal(err)
			}
			if a.ID() != b.ID() {
				t.Errorf("the folder's model id is %v, the file's %v", a.ID(), b.ID())
			}
		})
	}
}

// joinedHeads has the matrices of latent attention's heads in one tensor, as files
// of before April 2025 have them, and the metadata of these.
type joinedHeads struct {
	*weights.File
	own, value int // of a head's key without rotation, and of its value
}

func (j joinedHeads) Has(name string) bool {
	switch {
	case strings.Contains(name, "attn_k_b"), strings.Contains(name, "attn_v_b"):
		return false
	case strings.Contains(name, "attn_kv_b"):
		return true
	}
	return j.File.Has(name)
}

func (j joinedHeads) Makes(name string) bool {
	return !strings.Contains(name, "attn_kv_b") && j.File.Makes(name)
}

func (j joinedHeads) Tensor(name string) (tensorio.Tensor, error) {
	if !strings.Contains(name, "attn_kv_b") {
		return j.File.Tensor(name)
	}
	keys, err1 := j.whole(strings.Replace(name, "kv_b", "k_b", 1))
	vals, err2 := j.whole(strings.Replace(name, "kv_b", "v_b", 1))
	if err := errors.Join(err1, err2); err != nil {
		return tensorio.Tensor{}, err
	}
	heads, rank := keys.Shape[0], keys.Shape[1]
	out := tensorio.Tensor{Name: name, Type: keys.Type, Shape: []int{heads * (j.own + j.value), rank}}
	for h := range heads {
		for k := range j.own {
			for r := range rank {
				out.Data = append(out.Data, keys.Data[((h*rank+r)*j.own+k)*2:][:2]...)
			}
		}
		out.Data = append(out.Data, vals.Data[h*j.value*rank*2:][:j.value*rank*2]...)
	}
	return out, nil
}

// whole returns a tensor with its data.
func (j joinedHeads) whole(name string) (tensorio.Tensor, error) {
	t, err := j.File.Tensor(name)
	if err == nil && t.Data == nil {
		t.Data, err = j.Rows(name, 0, t.Shape[0]*t.Shape[1])
	}
	return t, err
}

func TestOldFilesOfLatentAttentionGiveTheSameLogits(t *testing.T) {
	f, cfg := openFolder(t, "../weights/folder/testdata/deepseek2-lite", "")
	prompt := within(ids(20), cfg)
	want := newChainOf(t, f, cfg, how{rounding: RoundNone}).run(t, 0, prompt, len(prompt))
	old := joinedHeads{f, cfg.latent.keyDim - cfg.RopeDim, cfg.latent.valDim}
	got := newChainOf(t, old, cfg, how{rounding: RoundNone, threads: 2}).run(t, 0, prompt, len(prompt))
	for i := range want {
		if d := furthest(got[i], want[i]); !(d <= 1e-5) { // float32 in place of bfloat16 products
			t.Errorf("logits at position %d differ by %g", i, d)
		}
	}
}

func TestLatentSizesOfOldFilesAreThoseOfTheHeads(t *testing.T) {
	meta := modeltest.New(2, 1)
	meta.Text["general.architecture"] = "deepseek2"
	for key, n := range meta.Numbers {
		delete(meta.Numbers, key)
		meta.Numbers[strings.Replace(key, "llama.", "deepseek2.", 1)] = n
	}
	for key, n := range map[string]uint64{
		"attention.head_count_kv": 4, "attention.key_length": 24, "attention.value_length": 16, "attention.kv_lora_rank": 32, "rope.dimension_count": 8,
	} {
		meta.Numbers["deepseek2."+key] = n
	}
	c, err := ReadConfig(meta)
	if err != nil {
		t.Fatal(err)
	}
	if c.latent.keyDim != 24 || c.latent.valDim != 16 || c.HeadDim != 40 || c.ValDim != 32 || c.KVHeads != 1 || c.RopeDim != 8 {
		t.Errorf("config is %+v", c)
	}
}

// A lying is metadata with other numbers.
type lying struct {
	*gguf.Meta
	numbers map[string]uint64
	reals   map[string]float64
}

func (l lying) Uint(key string) (uint64, bool) {
	if n, ok := l.numbers[key]; ok {
		return n, true
	}
	return l.Meta.Uint(key)
}

func (l lying) Float(key string) (float64, bool) {
	if x, ok := l.reals[key]; ok {
		return x, true
	}
	return l.Meta.Float(key)
}

// TestLyingMetadataOfFamiliesNeverPanic changes numbers of each family's metadata.
// What can be loaded is run.
func TestLyingMetadataOfFamiliesNeverPanic(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 8))
	for _, dir := range families(t)[:22] {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			f, _ := openFolder(t, dir, "")
			var numbers, reals []string
			for _, key := range f.Meta().Keys() {
				if _, ok := f.Meta().Uint(key); ok {
					numbers = append(numbers, key)
				} else if _, ok := f.Meta().Float(key); ok {
					reals = append(reals, key)
				}
			}
			ran := 0
			for range 150 {
				meta := lying{f.Meta(), map[string]uint64{}, map[string]float64{}}
				for range 1 + rng.IntN(2) {
					n, _ := f.Meta().Uint(numbers[rng.IntN(len(numbers))])
					meta.numbers[numbers[rng.IntN(len(numbers))]] = []uint64{0, 1, 2, 3, n, n + 1, 2 * n, rng.Uint64() >> rng.IntN(64)}[rng.IntN(8)]
				}
				if len(reals) > 0 && rng.IntN(4) == 0 {
					meta.reals[reals[rng.IntN(len(reals))]] = []float64{0, -1, math.NaN(), math.Inf(1), 1e30, 1e-30, 0.5}[rng.IntN(7)]
				}
				cfg, err := ReadConfig(meta)
				if err != nil {
					continue
				}
				pool := par.New(1)
				m, err := Load(t.Context(), cfg, f, shard.Span{End: shard.Layer(cfg.Layers)}, Options{Pool: pool})
				if err == nil && cfg.Context < 1<<16 {
					ran++
					kv := m.KVConfig()
					kv.BudgetBytes = 64 * kv.TokenBytes()
					store, err := kvcache.New(kv)
					if err != nil {
						t.Fatal(err)
					}
					session, err := store.Reserve(16)
					if err == nil {
						m.Forward([]Part{{KV: session, Tokens: within(ids(min(9, cfg.Context)), cfg), Logits: 1}}, discard{})
						session.Close()
					}
					store.Close()
				}
				if err == nil {
					m.Close()
				}
				pool.Close()
			}
			t.Logf("%d of 150 ran", ran)
		})
	}
}
