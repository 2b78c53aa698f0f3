package safetensors

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/tensorio"
)

// file returns a file with a header and so many bytes of data.
func file(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

func read(b []byte) (*File, error) { return Read(bytes.NewReader(b), int64(len(b))) }

const good = `{"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"c":{"dtype":"F32","shape":[],"data_offsets":[20,24]}}`

func TestTensorsComeInTheOrderOfTheirData(t *testing.T) {
	f, err := read(file(good, 24))
	if err != nil {
		t.Fatal(err)
	}
	base := int64(8 + len(good))
	if len(f.Tensors) != 3 || f.HeaderBytes != base || f.Meta["format"] != "pt" {
		t.Fatalf("file is %+v", f)
	}
	b := f.Tensors[1]
	if b.Name != "b" || b.Offset != base+8 || b.Bytes != 12 || b.Shape[0] != 2 || b.Shape[1] != 3 {
		t.Errorf("second tensor is %+v", b)
	}
	if typ, ok := b.DType.Type(); !ok || typ != tensorio.BF16 {
		t.Errorf("its type is %v", typ)
	}
}

func TestWhatIsWrongWithAFileIsSaid(t *testing.T) {
	tensor := func(text string) []byte { return file(`{"a":`+text+`}`, 8) }
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":              {nil, "only 0 bytes"},
		"short":              {[]byte{1, 2, 3}, "only 3 bytes"},
		"pointer":            {[]byte("version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"},
		"header beyond":      {append(binary.LittleEndian.AppendUint64(nil, 99), "{}"...), "99 bytes"},
		"header enormous":    {append(binary.LittleEndian.AppendUint64(nil, 1<<63), "{}"...), "no safetensors file"},
		"no JSON":            {file("nonsense", 0), "no JSON"},
		"unknown type":       {tensor(`{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}`), `"Q4" is not known`},
		"shape of more":      {tensor(`{"dtype":"F32","shape":[3],"data_offsets":[0,8]}`), "more than the 8 bytes"},
		"shape of less":      {tensor(`{"dtype":"F32","shape":[1],"data_offsets":[0,8]}`), "want 4 bytes there"},
		"shape overflows":    {tensor(`{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,8]}`), "more than"},
		"backwards":          {tensor(`{"dtype":"F32","shape":[0],"data_offsets":[8,0]}`), "bytes 8 to 0"},
		"beyond the end":     {tensor(`{"dtype":"F32","shape":[2],"data_offsets":[4,12]}`), "bytes 4 to 12 of 8"},
		"negative":           {tensor(`{"dtype":"F32","shape":[-1],"data_offsets":[0,8]}`), "cannot unmarshal"},
		"bytes at the end":   {file(good, 25), "not whole"},
		"cut":                {file(good, 23), "tensor"},
		"hole":               {file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}`, 8), "begins at byte"},
		"overlap":            {file(`{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[6],"data_offsets":[2,8]}}`, 8), "begins at byte"},
		"too many dimension": {tensor(`{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,8],"data_offsets":[0,8]}`), "dimensions"},
	} {
		if _, err := read(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want one with %q", name, err, c.want)
		}
	}
}

func TestAnIndexNamesFilesOfItsFolder(t *testing.T) {
	x, err := ReadIndex([]byte(`{"metadata":{"total_size":1},"weight_map":{"a":"2.safetensors","b":"1.safetensors","c":"2.safetensors"}}`))
	if err != nil || len(x.Files) != 2 || x.Files[0] != "1.safetensors" || x.Tensors["c"] != "2.safetensors" {
		t.Errorf("index is %+v, %v", x, err)
	}
	for _, text := range []string{
		`{}`, `{"weight_map":{"a":"../b"}}`, `{"weight_map":{"a":"/etc/passwd"}}`, `{"weight_map":{"a":""}}`, `{"weight_map":{"a":".."}}`, `[]`, `{"weight_map":{"a":1}}`,
	} {
		if x, err := ReadIndex([]byte(text)); err == nil {
			t.Errorf("%s is read as %+v", text, x)
		}
	}
}

// TestDamagedFilesAreErrorsOfBoundedSize changes bytes of real headers.
func TestDamagedFilesAreErrorsOfBoundedSize(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/data/zoo/zoo/*/model.safetensors")
	seeds := [][]byte{file(good, 24)}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, b)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	total := uint64(0)
	for i := range 400 {
		b := bytes.Clone(seeds[i%len(seeds)])
		n := min(len(b), 4096)
		for range 1 + rng.IntN(4) {
			b[rng.IntN(n)] = byte(rng.Uint32())
		}
		if rng.IntN(4) == 0 {
			b = b[:rng.IntN(len(b))]
		}
		total += uint64(len(b))
		if f, err := read(b); err == nil {
			checkWithin(t, f, len(b))
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 40*total+64<<20 {
		t.Errorf("%d bytes of files took %d bytes of memory", total, took)
	}
}

// checkWithin fails if a tensor does not lie in a file of so many bytes.
func checkWithin(t testing.TB, f *File, size int) {
	t.Helper()
	at := f.HeaderBytes
	for _, x := range f.Tensors {
		if x.Offset != at || x.Bytes < 0 {
			t.Fatalf("tensor %+v does not begin at %d", x, at)
		}
		at += x.Bytes
	}
	if at != int64(size) {
		t.Fatalf("tensors end at %d of %d", at, size)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(file(good, 24))
	f.Add(file(`{}`, 0))
	f.Add(file(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, err := read(b); err == nil {
			checkWithin(t, x, len(b))
		}
	})
}

func FuzzReadIndex(f *testing.F) {
	f.Add([]byte(`{"weight_map":{"a":"1.safetensors"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := ReadIndex(b)
		if err != nil {
			return
		}
		for _, name := range x.Files {
			if name != filepath.Base(name) {
				t.Fatalf("index names %q", name)
			}
		}
	})
}
