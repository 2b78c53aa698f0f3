package weights

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard"
)

// TestRealModels fetches a third of each model in the folder that
// SHARDNODE_MODELS names, and says how long things take.
func TestRealModels(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(os.Getenv("SHARDNODE_MODELS"), "*.gguf"))
	if err != nil || os.Getenv("SHARDNODE_MODELS") == "" || len(paths) == 0 {
		t.Skip("SHARDNODE_MODELS names no folder with models")
	}
	for _, path := range paths {
		start := time.Now()
		took := func() time.Duration {
			d := time.Since(start)
			start = time.Now()
			return d.Round(100 * time.Microsecond)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		opened := took()
		m := manifestOf(t, f)
		hashed := took()
		dir := t.TempDir()
		if _, err := CachedManifest(t.Context(), f, dir, nil); err != nil {
			t.Fatal(err)
		}
		took()
		if _, err := CachedManifest(t.Context(), f, dir, nil); err != nil {
			t.Fatal(err)
		}
		cached := took()
		part := Part{Span: shard.Span{Start: 0, End: shard.Layer(f.Layers() / 3)}, Embed: true}
		p := partial(t, m)
		took()
		peers := []Peer{honest(t, "a", m, f), honest(t, "b", m, f)}
		report, err := Fetch(t.Context(), p, part, peers, FetchOptions{})
		if err != nil || report.Bytes != f.PartBytes(part) {
			t.Fatalf("%+v, %v", report, err)
		}
		fetched := took()
		if err := m.Verify(t.Context(), p, part, nil); err != nil {
			t.Error(err)
		}
		t.Logf("%s: open %v, hash %d MB %v, manifest of %d bytes from the cache %v, fetch %v of %d MB %v, verify %v", filepath.Base(path),
			opened, f.TotalBytes()>>20, hashed, len(m.Encoded()), cached, part, report.Bytes>>20, fetched, took())
	}
}
