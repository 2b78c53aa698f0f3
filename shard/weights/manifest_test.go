package weights

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/weights/story"
	"github.com/shardnode/shardnode/tensorio"
)

func manifestOf(t testing.TB, f *File) *Manifest {
	t.Helper()
	m, err := NewManifest(t.Context(), f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// storyID pins the encoding of manifests: a change of it renames all models.
const storyID = "8ef6d8286b6af55053f687183277e98d5add5197c7c31bba679e283a5f35351a"

func TestStoryKeepsItsName(t *testing.T) {
	f, err := OpenBytes(story.Name, story.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if got := manifestOf(t, f).ID().String(); got != storyID {
		t.Errorf("story's id = %s, want %s", got, storyID)
	}
}

func TestManifestSurvivesItsEncoding(t *testing.T) {
	f := openToy(t)
	var last [2]int64
	calls := 0
	m, err := NewManifest(t.Context(), f, func(done, total int64) {
		if done <= last[0] {
			t.Errorf("progress went from %d to %d", last[0], done)
		}
		last = [2]int64{done, total}
		calls++
	})
	if err != nil {
		t.Fatal(err)
	}
	if last != [2]int64{f.TotalBytes(), f.TotalBytes()} || calls != m.Pieces() {
		t.Errorf("progress ended at %v after %d calls, want all of %d bytes after %d", last, calls, f.TotalBytes(), m.Pieces())
	}
	if want := 3 + 1 + 6 + 1; m.Pieces() != want {
		t.Errorf("%d pieces, want %d", m.Pieces(), want)
	}
	n, err := ParseManifest(m.Encoded())
	if err != nil {
		t.Fatal(err)
	}
	if n.ID() != m.ID() || n.Layers() != 3 || n.Architecture() != "llama" || n.Pieces() != m.Pieces() {
		t.Errorf("parsed manifest has id %v and %d layers, want %v and 3", n.ID(), n.Layers(), m.ID())
	}
	for p := range n.Pieces() {
		if pl := n.place(p); !n.verify(p, f.bytesOf(pl)) || pl != m.place(p) {
			t.Errorf("piece %d at %v does not match", p, pl)
		}
	}
	if n.verify(0, f.bytesOf(n.place(1))) || n.verify(0, nil) {
		t.Error("a wrong piece matches")
	}
}

func TestEveryByteIsInTheName(t *testing.T) {
	want := manifestOf(t, openToy(t)).ID()
	for i := range toy() {
		ts := toy()
		ts[i].Data[len(ts[i].Data)-1] ^= 1
		f, err := Open(write(t, filepath.Join(t.TempDir(), "x.gguf"), ts, nil))
		if err != nil {
			t.Fatal(err)
		}
		if manifestOf(t, f).ID() == want {
			t.Errorf("a changed %s has the same id", ts[i].Name)
		}
		f.Close()
	}
	f, err := Open(write(t, filepath.Join(t.TempDir(), "x.gguf"), toy(), map[string]any{"llama.rope.freq_base": float32(1)}))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if manifestOf(t, f).ID() == want {
		t.Error("changed metadata has the same id")
	}
}

func TestDamagedManifestsAreErrors(t *testing.T) {
	good := manifestOf(t, openToy(t)).Encoded()
	for n := range len(good) {
		if n > 600 && n < len(good)-600 {
			continue
		}
		if _, err := ParseManifest(good[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes give no error", n, len(good))
		}
	}
	change := func(at int, b ...byte) []byte {
		c := bytes.Clone(good)
		copy(c[at:], b)
		return c
	}
	headerLen := int(binary.LittleEndian.Uint32(good[17:]))
	grown := append(bytes.Clone(good[:21+headerLen]), 0)
	grown = append(grown, good[21+headerLen:]...)
	binary.LittleEndian.PutUint32(grown[17:], uint32(headerLen+1))
	for name, b := range map[string][]byte{
		"version": change(4, 2), "no files": change(5, 0), "many files": change(5, 255, 255, 255),
		"size": change(9, 255, 255, 255, 255, 255, 255, 255, 255), "short": change(9, 100, 0, 0, 0, 0, 0, 0, 0),
		"header": change(17, 255, 255, 255, 255), "tail": append(bytes.Clone(good), make([]byte, 32)...), "gap": grown,
	} {
		if _, err := ParseManifest(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzParseManifest(f *testing.F) {
	ts := toy()[1:3]
	file, err := Open(write(f, filepath.Join(f.TempDir(), "x.gguf"), ts, nil))
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	f.Add(manifestOf(f, file).Encoded())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseManifest(b)
		if err != nil {
			return
		}
		for p := range m.Pieces() {
			if pl := m.place(p); pl.bytes() < 1 || pl.bytes() > PieceBytes || pl.hi > m.tensors[pl.tensor].Bytes {
				t.Fatalf("piece %d lies at %v of %d bytes", p, pl, m.tensors[pl.tensor].Bytes)
			}
		}
	})
}

func TestCancelledHashingStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewManifest(ctx, openToy(t), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestVerifyNamesTheTensorThatDiffers(t *testing.T) {
	m := manifestOf(t, openToy(t))
	ts := toy()
	ts[5].Data[7] ^= 1 // blk.1.attn_q.weight
	other, err := Open(write(t, filepath.Join(t.TempDir(), "other.gguf"), ts, map[string]any{"general.name": "a copy"}))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	part := func(lo, hi shard.Layer) Part { return Part{Span: shard.Span{Start: lo, End: hi}, Head: true} }
	if err := m.Verify(t.Context(), other, part(2, 3), nil); err != nil {
		t.Errorf("equal tensors of another file: %v", err)
	}
	err = m.Verify(t.Context(), other, part(1, 3), nil)
	if err == nil || !strings.Contains(err.Error(), `"blk.1.attn_q.weight" differs`) {
		t.Errorf("error %v, want the tensor that differs", err)
	}
	short, err := Open(write(t, filepath.Join(t.TempDir(), "short.gguf"), toy()[:6], nil))
	if err != nil {
		t.Fatal(err)
	}
	defer short.Close()
	if err := m.Verify(t.Context(), short, part(2, 3), nil); err == nil {
		t.Error("a file without the tensors verifies")
	}
	same := toy()
	same[4].Type, same[4].Shape = tensorio.I32, []int{512} // the same bytes as another type
	typed, err := Open(write(t, filepath.Join(t.TempDir(), "typed.gguf"), same, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer typed.Close()
	if err := m.Verify(t.Context(), typed, part(1, 3), nil); err == nil {
		t.Error("a tensor of another type verifies")
	}
}

func TestManifestsAreCachedByFile(t *testing.T) {
	dir, path := t.TempDir(), write(t, filepath.Join(t.TempDir(), "toy.gguf"), toy(), nil)
	hashed := 0
	get := func() *Manifest {
		t.Helper()
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		hashed = 0
		m, err := CachedManifest(t.Context(), f, dir, func(int64, int64) { hashed++ })
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	first := get()
	if hashed == 0 {
		t.Error("the first time hashes nothing")
	}
	if again := get(); hashed != 0 || again.ID() != first.ID() {
		t.Errorf("the second time hashes %d pieces and gives %v, want 0 and %v", hashed, again.ID(), first.ID())
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.manifest"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d files in the cache (%v), want 1", len(files), err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if again := get(); hashed == 0 || again.ID() != first.ID() {
		t.Error("a damaged cache is believed")
	}
	if err := os.Chtimes(path, time.Time{}, time.Unix(1000, 5)); err != nil {
		t.Fatal(err)
	}
	if get(); hashed == 0 {
		t.Error("a file that was changed since is not hashed again")
	}
	dir = filepath.Join(path, "no folder")
	if get(); hashed == 0 {
		t.Error("a folder that cannot be made gives a manifest from nowhere")
	}
}

func BenchmarkNewManifest(b *testing.B) {
	f, err := OpenBytes(story.Name, story.Bytes())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(f.TotalBytes())
	for b.Loop() {
		if _, err := NewManifest(b.Context(), f, nil); err != nil {
			b.Fatal(err)
		}
	}
}
