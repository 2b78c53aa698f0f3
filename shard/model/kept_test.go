package model

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/tensorio/par"
)

// loadKept loads all layers with a cache, and returns the logits of a prompt and
// how many bytes were not in the cache.
func loadKept(t *testing.T, path string, packs *weights.Packs) (logits []float32, kept int64) {
	t.Helper()
	f, cfg := openFile(t, path)
	pool := par.New(2)
	defer pool.Close()
	m, err := Load(context.Background(), cfg, f, shard.Span{End: shard.Layer(cfg.Layers)}, Options{Pool: pool, Packs: packs})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	kv := m.KVConfig()
	kv.BudgetBytes = 64 * kv.TokenBytes()
	store, err := kvcache.New(kv)
	if err != nil {
		t.Fatal(err)
	}
	session, err := store.Reserve(32)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	sink := &company{keep: make([][]float32, 1)}
	parts := []Part{{KV: session, Tokens: ids(20), Logits: 1}}
	m.Forward(parts, sink)
	if parts[0].Err != nil {
		t.Fatal(parts[0].Err)
	}
	return sink.keep[0], m.KeptBytes()
}

// packFiles returns the files of a cache.
func packFiles(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.pack"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestASecondStartMapsWhatTheFirstOnePacked(t *testing.T) {
	src, err := os.ReadFile(shared(t, "kit/storymodel/story-q4_k.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	path, dir := filepath.Join(t.TempDir(), "m.gguf"), filepath.Join(t.TempDir(), "packed")
	if err := os.WriteFile(path, src, 0o600); err != nil {
		t.Fatal(err)
	}
	packs := weights.OpenPacks(weights.PacksConfig{Dir: dir, BudgetBytes: 1 << 30, LeastBytes: 1, Failed: func(err error) { t.Error(err) }})
	want, kept := loadKept(t, path, packs)
	files := packFiles(t, dir)
	if kept == 0 || len(files) < 2 {
		t.Fatalf("the first start kept %d bytes in %d files", kept, len(files))
	}
	check := func(what string, fresh bool) {
		t.Helper()
		got, kept := loadKept(t, path, packs)
		if !same(got, want) {
			t.Errorf("%s: logits differ by %g", what, furthest(got, want))
		}
		if (kept > 0) != fresh {
			t.Errorf("%s: %d bytes were packed, want some: %t", what, kept, fresh)
		}
	}
	check("second start", false)

	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	check("start with a damaged pack", true)
	check("start after that", false)

	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	check("start with a changed file", true)
}

func TestNothingIsKeptWithoutRoomOrGain(t *testing.T) {
	path := shared(t, "kit/storymodel/story-q8_0.gguf")
	for name, c := range map[string]weights.PacksConfig{
		"no budget":     {LeastBytes: 1},
		"little budget": {BudgetBytes: 1 << 20, LeastBytes: 1},
		"little to win": {BudgetBytes: 1 << 30},
	} {
		c.Dir = filepath.Join(t.TempDir(), "packed")
		if _, kept := loadKept(t, path, weights.OpenPacks(c)); kept != 0 || len(packFiles(t, c.Dir)) > 0 {
			t.Errorf("%s: %d bytes were kept", name, kept)
		}
	}
}

func TestADiskThatCannotBeWrittenIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 9)
	packs := weights.OpenPacks(weights.PacksConfig{Dir: dir, BudgetBytes: 1 << 30, LeastBytes: 1, Failed: func(err error) { told <- err }})
	loadKept(t, shared(t, "kit/storymodel/story-q8_0.gguf"), packs)
	if len(told) != 1 {
		t.Errorf("%d errors were told, want 1", len(told))
	}
}
