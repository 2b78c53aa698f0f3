package folder

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/tensorio/gguf"
)

// A memoryFolder is the files of a folder.
type memoryFolder map[string][]byte

// readFolder reads a folder of testdata, or of the zoo.
func readFolder(t testing.TB, dir string) memoryFolder {
	t.Helper()
	m := memoryFolder{}
	for _, name := range []string{ConfigFile, weightsFile, indexFile, tokenizerFile, tokConfigFile, generateFile, spmFile, vocabFile, mergesFile, templateFile} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			m[name] = b
		}
	}
	if len(m) < 2 {
		t.Fatalf("%s has %d files", dir, len(m))
	}
	return m
}

// write writes the folder to dir.
func (m memoryFolder) write(t testing.TB, dir string) {
	t.Helper()
	for name, b := range m {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// use opens a folder and reads all that can be read of it.
func use(dir string, q Quant) error {
	m, err := Open(dir, Options{Map: fromDisk, Quant: q})
	if err != nil {
		return err
	}
	defer m.Close()
	for i, x := range m.Tensors() {
		rows := x.Elements() / x.Shape[len(x.Shape)-1]
		n := len(m.Rows(i, 0, rows))
		if want, err := x.Type.RowBytes(x.Shape[len(x.Shape)-1]); err != nil || n != want*rows {
			panic(fmt.Sprintf("tensor %q of %v %v has %d bytes", x.Name, x.Type, x.Shape, n))
		}
	}
	_, err = gguf.Layout(m.Meta(), m.Tensors())
	return err
}

// TestDamagedFoldersAreErrors damages files of every kind, some bytes of each.
func TestDamagedFoldersAreErrors(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 200
	}
	var seeds []memoryFolder
	ours, _ := filepath.Glob("testdata/*/config.json")
	zoo, _ := filepath.Glob("../../../../shared/data/zoo/zoo/*/config.json")
	for _, path := range append(ours, zoo...) {
		seeds = append(seeds, readFolder(t, filepath.Dir(path)))
	}
	rng := rand.New(rand.NewPCG(4, 5))
	dir := t.TempDir()
	failed := 0
	for i := range rounds {
		base := seeds[i%len(seeds)]
		m := memoryFolder{}
		for name, b := range base {
			m[name] = b
		}
		names := []string{ConfigFile, weightsFile}
		for _, name := range []string{tokenizerFile, tokConfigFile, generateFile} {
			if base[name] != nil {
				names = append(names, name)
			}
		}
		name := names[rng.IntN(len(names))]
		m[name] = damage(rng, m[name])
		some := filepath.Join(dir, fmt.Sprint(i%8))
		_ = os.RemoveAll(some)
		if err := os.Mkdir(some, 0o700); err != nil {
			t.Fatal(err)
		}
		m.write(t, some)
		began := time.Now()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		q := Quant{}
		if i%4 == 0 {
			q = Quant{"q8_0"}
		}
		err := use(some, q)
		runtime.ReadMemStats(&after)
		if err != nil {
			failed++
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
			t.Errorf("round %d, %s: %d bytes of memory: %v", i, name, took, err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("round %d, %s: %v: %v", i, name, took, err)
		}
	}
	t.Logf("%d of %d are errors", failed, rounds)
	if failed < rounds/3 {
		t.Errorf("%d of %d damaged folders are errors, want a third at least", failed, rounds)
	}
}

// damage changes some bytes of b, cuts it, or changes numbers of its JSON.
func damage(rng *rand.Rand, b []byte) []byte {
	b = bytes.Clone(b)
	head := min(len(b), 3000)
	switch rng.IntN(4) {
	case 0:
		return b[:rng.IntN(len(b))]
	case 1:
		for range 1 + rng.IntN(8) {
			b[rng.IntN(head)] = byte(rng.Uint32())
		}
	case 2: // digits for digits: what still is JSON
		for range 1 + rng.IntN(6) {
			if at := bytes.IndexAny(b[rng.IntN(head):head], "0123456789"); at >= 0 {
				b[at] = byte('0' + rng.IntN(10))
			}
			at := rng.IntN(head)
			if n := bytes.IndexAny(b[at:head], "0123456789"); n >= 0 {
				b[at+n] = byte('0' + rng.IntN(10))
			}
		}
	default: // another number, or nothing, in place of one
		for range 1 + rng.IntN(3) {
			at := rng.IntN(head)
			if n := bytes.IndexByte(b[at:head], ':'); n >= 0 {
				at += n + 1
				end := at + bytes.IndexAny(b[at:], ",}]\n")
				if end > at {
					with := []string{" 0", " -1", " 1e30", " null", " 4294967295", ` "x"`, " []", " {}", " true"}[rng.IntN(9)]
					b = append(append(append([]byte{}, b[:at]...), with...), b[end:]...)
				}
			}
			head = min(len(b), head)
		}
	}
	return b
}

func TestWhatIsWrongWithAFolderIsSaid(t *testing.T) {
	good := readFolder(t, "testdata/deepseek3")
	replace := func(name, old, with string) func(m memoryFolder) {
		return func(m memoryFolder) {
			if !bytes.Contains(m[name], []byte(old)) {
				t.Fatalf("%s has no %q", name, old)
			}
			m[name] = bytes.Replace(m[name], []byte(old), []byte(with), 1)
		}
	}
	for _, c := range []struct {
		name string
		harm func(m memoryFolder)
		want string
	}{
		{"no config", func(m memoryFolder) { delete(m, ConfigFile) }, "it has no config.json"},
		{"no weights", func(m memoryFolder) { delete(m, weightsFile) }, "neither model.safetensors nor"},
		{"config is no JSON", func(m memoryFolder) { m[ConfigFile] = []byte("{") }, "config.json: "},
		{"unknown model", replace(ConfigFile, `"deepseek_v3"`, `"deepseek_v9"`), `"deepseek_v9" can't be read: the nearest that can, is "deepseek_v`},
		{"no layers", replace(ConfigFile, `"num_hidden_layers": 3`, `"num_hidden_layers": 0`), "num_hidden_layers is missing or 0"},
		{"half a layer", replace(ConfigFile, `"num_hidden_layers": 3`, `"num_hidden_layers": 2.5`), "want a whole number"},
		{"heads of text", replace(ConfigFile, `"num_attention_heads": 4`, `"num_attention_heads": "4"`), "num_attention_heads"},
		{"other rotation", replace(ConfigFile, `"yarn"`, `"spin"`), `rope_type "spin" can't be computed`},
		{"other quantisation", replace(ConfigFile, `"hidden_act"`, `"quantization_config": {"quant_method": "gptq"}, "hidden_act"`), `quantised with "gptq"`},
		{"an expert less", replace(weightsFile, "layers.1.mlp.experts.0.up_proj", "layers.1.mlp.experts.9.up_proj"), "expert"},
		{"a tensor too many", replace(weightsFile, "layers.1.self_attn.o_proj", "layers.1.self_attn.x_proj"), "has no place in the architecture deepseek2"},
		{"cut", func(m memoryFolder) { m[weightsFile] = m[weightsFile][:len(m[weightsFile])-9] }, "model.safetensors: "},
		{"another type", replace(weightsFile, `"dtype":"BF16",`, `"dtype":"I16" ,`), "element type I16, which can't be computed"},
		{"tokenizer is no JSON", func(m memoryFolder) { m[tokenizerFile] = []byte("nothing") }, "tokenizer.json: "},
		{"pieces are none", func(m memoryFolder) { m[spmFile] = []byte("nothing at all") }, "tokenizer.model: "},
		{"vocabulary without merges", func(m memoryFolder) { m[vocabFile] = []byte(`{"a":1}`) }, "merges.txt"},
		{"index of another file", func(m memoryFolder) {
			m[indexFile] = []byte(`{"weight_map":{"a":"../model.safetensors"}}`)
		}, "want one in the same folder"},
		{"index of more", func(m memoryFolder) {
			m[indexFile] = []byte(`{"weight_map":{"more.weight":"model.safetensors"}}`)
		}, `lists the tensor "more.weight"`},
		{"index of a missing file", func(m memoryFolder) {
			m[indexFile] = []byte(`{"weight_map":{"a":"model-00001-of-00002.safetensors"}}`)
		}, "model-00001-of-00002.safetensors"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := memoryFolder{}
			for name, b := range good {
				m[name] = b
			}
			c.harm(m)
			dir := t.TempDir()
			m.write(t, dir)
			if err := use(dir, Quant{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestShardedFoldersAreReadTogether(t *testing.T) {
	whole := readFolder(t, "testdata/olmo2")
	names, parts := splitWeights(t, whole[weightsFile])
	m := memoryFolder{ConfigFile: whole[ConfigFile]}
	var index []string
	for i, part := range parts {
		file := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(parts))
		m[file] = part
		for _, name := range names[i] {
			index = append(index, fmt.Sprintf("%q:%q", name, file))
		}
	}
	m[indexFile] = []byte(`{"metadata":{},"weight_map":{` + strings.Join(index, ",") + `}}`)
	dir := t.TempDir()
	m.write(t, dir)
	a, err := Open("testdata/olmo2", Options{Map: fromDisk})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir, Options{Map: fromDisk})
	if err != nil {
		t.Fatal(err)
	}
	var want, got bytes.Buffer
	if err := Write(&want, a, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := Write(&got, b, nil, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want.Bytes(), got.Bytes()) {
		t.Error("a folder in three parts makes another file")
	}
}

// splitWeights makes three files of one, each with a third of the tensors.
func splitWeights(t *testing.T, b []byte) (names [][]string, parts [][]byte) {
	t.Helper()
	all := map[string]*source{}
	m := &Model{}
	err := m.file("", "", func(string) ([]byte, time.Time, func() error, error) {
		return b, time.Time{}, func() error { return nil }, nil
	}, all)
	if err != nil {
		t.Fatal(err)
	}
	names = make([][]string, 3)
	for name := range all {
		i := len(name) % 3
		names[i] = append(names[i], name)
	}
	for _, some := range names {
		part := map[string]*source{}
		for _, name := range some {
			part[name] = all[name]
		}
		parts = append(parts, joined(part))
	}
	return names, parts
}

// joined makes a safetensors file of tensors.
func joined(all map[string]*source) []byte {
	var header []string
	var data []byte
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		header = append(header, fmt.Sprintf(`%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`,
			name, s.dtype, strings.ReplaceAll(fmt.Sprint(s.shape), " ", ","), len(data), len(data)+len(s.data)))
		data = append(data, s.data...)
	}
	text := "{" + strings.Join(header, ",") + "}"
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	return append(append(b, text...), data...)
}

func FuzzConfig(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*/config.json")
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	all := map[string]*source{}
	if err := (&Model{}).file("testdata/deepseek3", weightsFile, fromDisk, all); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConf(text)
		if err != nil {
			return
		}
		family, err := findFamily(c)
		if err != nil {
			return
		}
		b, err := build(c, family, all)
		if err != nil {
			return
		}
		for _, x := range b.sorted() {
			if n := len(x.make(nil, 0, 1)); x.row != nil && n != x.rowBytes() {
				t.Fatalf("a row of %s has %d bytes", x.Name, n)
			}
		}
	})
}

func FuzzPieces(f *testing.F) {
	f.Add([]byte{10, 9, 10, 2, 'h', 'i', 21, 0, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, b []byte) {
		v := &vocab{added: map[string]int{}}
		_ = v.readPieces(b, 4)
	})
}

// TestAFolderOfSomeLayersHasTheirTensors leaves layers and ends out, as `pull --layers`
// does.
func TestAFolderOfSomeLayersHasTheirTensors(t *testing.T) {
	for _, name := range []string{"olmo2", "deepseek3", "granite"} {
		for _, q := range []Quant{{}, {"q4_k"}} {
			whole, err := Open(filepath.Join("testdata", name), Options{Map: fromDisk, Quant: q})
			if err != nil {
				t.Fatal(err)
			}
			all := map[string]*source{}
			if err := (&Model{}).file(filepath.Join("testdata", name), weightsFile, fromDisk, all); err != nil {
				t.Fatal(err)
			}
			maps.DeleteFunc(all, func(name string, _ *source) bool { return !strings.Contains(name, "layers.1.") })
			dir := t.TempDir()
			m := memoryFolder{ConfigFile: readFolder(t, filepath.Join("testdata", name))[ConfigFile], weightsFile: joined(all)}
			m.write(t, dir)
			some, err := Open(dir, Options{Map: fromDisk, Quant: q})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			places := map[string]int{}
			for i, x := range whole.Tensors() {
				places[x.Name] = i
			}
			n := 0
			for i, x := range some.Tensors() {
				if l, ok := gguf.LayerOf(x.Name); ok && l == 1 {
					n++
				}
				rows := x.Elements() / x.Shape[len(x.Shape)-1]
				if j, ok := places[x.Name]; !ok || !bytes.Equal(some.Rows(i, 0, rows), whole.Rows(j, 0, rows)) {
					t.Errorf("%s %v: tensor %s differs from that of the whole folder", name, q, x.Name)
				}
			}
			if n < 9 {
				t.Errorf("%s: layer 1 has %d tensors", name, n)
			}
		}
	}
}
