package weights

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/weights/story"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// toy returns the tensors of a model of three layers with a tied head. The
// embedding has three pieces.
func toy() []tensorio.Tensor {
	rng := rand.NewChaCha8([32]byte{1})
	tensor := func(name string, typ tensorio.Type, shape ...int) tensorio.Tensor {
		row, err := typ.RowBytes(shape[len(shape)-1])
		if err != nil {
			panic(err)
		}
		n := row
		for _, d := range shape[:len(shape)-1] {
			n *= d
		}
		data := make([]byte, n)
		rng.Read(data)
		return tensorio.Tensor{Name: name, Type: typ, Shape: shape, Data: data}
	}
	ts := []tensorio.Tensor{
		tensor(EmbedName, tensorio.F16, 9000, 512),
		tensor(RopeName, tensorio.F32, 16),
	}
	for l := range 3 {
		ts = append(ts,
			tensor(fmt.Sprintf("blk.%d.attn_norm.weight", l), tensorio.F32, 512),
			tensor(fmt.Sprintf("blk.%d.attn_q.weight", l), tensorio.Q8_0, 512, 512))
	}
	return append(ts, tensor(HeadNormName, tensorio.F32, 512))
}

// write writes a model file and returns its path.
func write(t testing.TB, name string, tensors []tensorio.Tensor, meta map[string]any) string {
	t.Helper()
	m := gguf.NewMeta()
	if err := m.Set("general.architecture", "llama"); err != nil {
		t.Fatal(err)
	}
	for key, value := range meta {
		if err := m.Set(key, value); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := gguf.Write(&b, m, tensors); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// openToy writes the toy model to a folder and opens it.
func openToy(t testing.TB) *File {
	t.Helper()
	f, err := Open(write(t, filepath.Join(t.TempDir(), "toy.gguf"), toy(), nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func sameTensors(t *testing.T, src Source, want []tensorio.Tensor) {
	t.Helper()
	for _, w := range want {
		got, err := src.Tensor(w.Name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got.Name != w.Name || got.Type != w.Type || !slices.Equal(got.Shape, w.Shape) || !bytes.Equal(got.Data, w.Data) {
			t.Errorf("tensor %s %v %v with %d bytes, want %v %v with the %d bytes written", got.Name, got.Type, got.Shape,
				len(got.Data), w.Type, w.Shape, len(w.Data))
		}
	}
}

func TestStoryOpensFromTheBinary(t *testing.T) {
	f, err := OpenBytes(story.Name, story.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if f.Layers() != 6 || f.Architecture() != "llama" || !f.Tied() || f.SizeBytes() != int64(len(story.Bytes())) {
		t.Errorf("%d layers of %q, tied %v, want 6 of llama, tied", f.Layers(), f.Architecture(), f.Tied())
	}
	sum := f.EmbedBytes() + f.HeadBytes() - f.PartBytes(Part{Embed: true}) // the embedding is shared
	for l := range shard.Layer(6) {
		sum += f.LayerBytes(l)
	}
	if sum != f.TotalBytes() || f.LayerBytes(6) != 0 || f.LayerBytes(-1) != 0 {
		t.Errorf("layers and ends have %d bytes, all tensors %d", sum, f.TotalBytes())
	}
	allocs := testing.AllocsPerRun(10, func() {
		if b := story.Bytes(); b[0] != 'G' {
			t.Error("the embedded file is no GGUF file")
		}
	})
	if allocs != 0 {
		t.Errorf("story.Bytes allocates %v times, want 0", allocs)
	}
}

func TestOpenMapsWhatWasWritten(t *testing.T) {
	f := openToy(t)
	sameTensors(t, f, toy())
	if _, err := f.Tensor("blk.9.attn_q.weight"); err == nil || f.Has("blk.9.attn_q.weight") {
		t.Error("a tensor of a layer that is not there gives no error")
	}
	if info, ok := f.Info(RopeName); !ok || info.Bytes != 64 {
		t.Errorf("Info(%s) = %+v, %v", RopeName, info, ok)
	}
}

func TestNamesOfPartsOfAModel(t *testing.T) {
	f := openToy(t)
	layer := func(l int) []string {
		return []string{fmt.Sprintf("blk.%d.attn_norm.weight", l), fmt.Sprintf("blk.%d.attn_q.weight", l)}
	}
	for _, c := range []struct {
		part Part
		want []string
	}{
		{Part{}, nil},
		{Part{Embed: true}, []string{EmbedName}},
		{Part{Head: true}, []string{EmbedName, HeadNormName}},
		{Part{Span: shard.Span{Start: 1, End: 2}}, append([]string{RopeName}, layer(1)...)},
		{Part{Span: shard.Span{Start: 2, End: 9}, Head: true}, append(append([]string{EmbedName, RopeName}, layer(2)...), HeadNormName)},
		{Part{Span: shard.Span{Start: -5, End: 0}}, nil},
	} {
		if got := f.Names(c.part); !slices.Equal(got, c.want) {
			t.Errorf("Names(%v) = %v, want %v", c.part, got, c.want)
		}
	}
	if got, want := f.PartBytes(Part{Span: shard.Span{Start: 0, End: 1}}), int64(64+2048+512*544); got != want {
		t.Errorf("layer 0 needs %d bytes, want %d", got, want)
	}
	if got, want := f.LayerBytes(0), int64(2048+512*544); got != want {
		t.Errorf("layer 0 has %d bytes, want %d", got, want)
	}
}

func TestOwnHeadNeedsNoEmbedding(t *testing.T) {
	ts := append(toy(), tensorio.Tensor{Name: HeadName, Type: tensorio.F32, Shape: []int{1}, Data: make([]byte, 4)})
	f, err := Open(write(t, filepath.Join(t.TempDir(), "own.gguf"), ts, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, want := f.Names(Part{Head: true}), []string{HeadNormName, HeadName}; !slices.Equal(got, want) || f.Tied() {
		t.Errorf("the head's tensors are %v, want %v", got, want)
	}
}

// split writes the toy model as three files and returns the first.
func split(t *testing.T, dir string) string {
	t.Helper()
	ts := toy()
	path := func(no int) string { return filepath.Join(dir, fmt.Sprintf("toy-%05d-of-00003.gguf", no+1)) }
	for no, part := range [][]tensorio.Tensor{ts[:1], ts[1:4], ts[4:]} {
		write(t, path(no), part, map[string]any{
			"split.no": uint16(no), "split.count": uint16(3), "split.tensors.count": int32(len(ts)),
		})
	}
	return path(0)
}

func TestSplitFilesOpenAsOne(t *testing.T) {
	first := split(t, t.TempDir())
	f, err := Open(first)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sameTensors(t, f, toy())
	if f.Layers() != 3 {
		t.Errorf("%d layers, want 3", f.Layers())
	}
}

func TestSplitFilesThatDoNotFitAreErrors(t *testing.T) {
	ok := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		harm func(first string) string // returns what to open
		want string
	}{
		"missing part": {func(first string) string {
			os.Remove(strings.Replace(first, "00001-of", "00002-of", 1))
			return first
		}, "toy-00002-of-00003.gguf"},
		"second part": {func(first string) string {
			return strings.Replace(first, "00001-of", "00002-of", 1)
		}, "name the first part"},
		"renamed": {func(first string) string {
			to := filepath.Join(filepath.Dir(first), "model.gguf")
			ok(os.Rename(first, to))
			return to
		}, "-00001-of-00003.gguf"},
		"part twice": {func(first string) string {
			b, _ := os.ReadFile(strings.Replace(first, "00001-of", "00002-of", 1))
			ok(os.WriteFile(strings.Replace(first, "00001-of", "00003-of", 1), b, 0o600))
			return first
		}, "two parts"},
		"truncated part": {func(first string) string {
			ok(os.Truncate(strings.Replace(first, "00001-of", "00003-of", 1), 5000))
			return first
		}, "part toy-00003-of-00003.gguf: file is truncated"},
	} {
		_, err := Open(c.harm(split(t, t.TempDir())))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q in it", name, err, c.want)
		}
	}
}

func TestFilesThatAreNoModelsAreErrors(t *testing.T) {
	dir := t.TempDir()
	whole, err := os.ReadFile(write(t, filepath.Join(dir, "a.gguf"), toy(), nil))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	big := tensorio.Tensor{Name: "blk.5000.x", Type: tensorio.F32, Shape: []int{1}, Data: make([]byte, 4)}
	for path, want := range map[string]string{
		filepath.Join(dir, "none.gguf"):      "no such file",
		dir:                                  "no regular file",
		file("empty", nil):                   "empty",
		file("page", []byte("<html>")):       "web page",
		file("cut", whole[:len(whole)-3000]): "truncated",
		write(t, filepath.Join(dir, "vocab"), nil, nil):                   "no tensors",
		write(t, filepath.Join(dir, "deep"), []tensorio.Tensor{big}, nil): "at most 4096 layers",
	} {
		_, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("Open(%s): error %v, want %q and the path in it", filepath.Base(path), err, want)
		}
	}
}

func TestCloseTwiceIsHarmless(t *testing.T) {
	f := openToy(t)
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if f.Layers() != 3 || !f.Has(EmbedName) {
		t.Error("a closed file has lost its index")
	}
}
