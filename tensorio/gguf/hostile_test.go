package gguf

import (
	"bytes"
	"encoding/binary"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "seed of the random tests; 0 takes the time")

// realFiles returns the embedded model and those of shared/ when it is there.
func realFiles(t testing.TB) map[string][]byte {
	t.Helper()
	files := make(map[string][]byte)
	for _, pattern := range []string{"../../shard/weights/story/*.gguf", "../../../shared/data/models/*.gguf"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files[filepath.Base(path)] = b
		}
	}
	if len(files) == 0 {
		t.Fatal("not even the embedded model is there")
	}
	return files
}

// touch reads everything of f, as a user of it would, and reports whether all
// tensors lie in the file and behind its header.
func touch(f *File) bool {
	for key, v := range f.Meta.All() {
		_ = v.String()
		f.Meta.Str(key)
		f.Meta.Uint(key)
		f.Meta.Int(key)
		f.Meta.Float(key)
		f.Meta.Bool(key)
		f.Meta.Strs(key)
		f.Meta.Floats(key)
		f.Meta.Ints(key)
	}
	for _, t := range f.Tensors {
		row, err := t.Type.RowBytes(t.Shape[len(t.Shape)-1])
		n := int64(row)
		for _, d := range t.Shape[:len(t.Shape)-1] {
			n *= int64(d)
		}
		if err != nil || n != t.Bytes || t.Offset < f.DataOffset || t.End() > f.SizeBytes || t.Offset%f.Alignment != 0 {
			return false
		}
	}
	return f.HeaderBytes <= f.DataOffset
}

// corrupt damages b, whose header is n bytes long, somewhere in the header,
// and returns it, perhaps shorter.
func corrupt(rng *rand.Rand, b []byte, n int) []byte {
	extremes := []uint64{0, 1, 0xff, 0xffff, 1 << 31, math.MaxUint32, 1 << 40, 1<<62 + 1, math.MaxInt64, math.MaxUint64}
	at := rng.IntN(n - 8)
	switch rng.IntN(6) {
	case 0:
		b[at] ^= 1 << rng.IntN(8)
	case 1:
		binary.LittleEndian.PutUint32(b[at:], uint32(extremes[rng.IntN(len(extremes))]))
	case 2:
		binary.LittleEndian.PutUint64(b[at:], extremes[rng.IntN(len(extremes))])
	case 3:
		for i := range rng.IntN(16) + 1 {
			b[min(at+i, n-1)] = byte(rng.Uint32())
		}
	case 4:
		return b[:rng.IntN(len(b))]
	case 5: // bytes that are missing in the middle
		gap := rng.IntN(64) + 1
		return append(b[:at], b[min(at+gap, len(b)):]...)
	}
	return b
}

func TestCorruptedHeadersGiveAnErrorOrACorrectFile(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	files := realFiles(t)
	each := (1500 + len(files) - 1) / len(files)
	bad, good := 0, 0
	for name, whole := range files {
		n := int(mustRead(t, whole).HeaderBytes)
		scratch := make([]byte, len(whole))
		for range each {
			copy(scratch, whole[:n]) // only the header is ever damaged
			b := corrupt(rng, scratch, n)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			f, err := Read(bytes.NewReader(b), int64(len(b)))
			runtime.ReadMemStats(&after)
			// All that was ever taken, garbage too. Two windows, the error's text and
			// the list of tensors of a header without data come on top.
			if took := int64(after.TotalAlloc-before.TotalAlloc) - 2*windowBytes - 8192 - int64(n); took > int64(len(b)) {
				t.Fatalf("%s: %d bytes allocated for a file of %d (error %v)", name, took, len(b), err)
			}
			if err != nil {
				bad++
				continue
			}
			good++
			if !touch(f) {
				t.Fatalf("%s: a damaged file was accepted with a tensor outside of it", name)
			}
		}
	}
	t.Logf("%d files: %d errors, %d still correct", len(files), bad, good)
	if bad < 500 {
		t.Errorf("only %d of %d damaged headers gave an error", bad, bad+good)
	}
}

func TestMillionsOfEmptyStringsTakeNoMemory(t *testing.T) {
	const n = 1 << 20
	b := []byte(magic + le(4, 3) + le(8, 0) + le(8, 1) + le(8, 1) + "x" + le(4, 9) + le(4, 8) + le(8, n))
	b = append(b, make([]byte, 8*n)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f := mustRead(t, b)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > uint64(len(b))+128<<10 {
		t.Errorf("%d bytes allocated for a file of %d", took, len(b))
	}
	if s, ok := f.Meta.Strs("x"); !ok || len(s) != n {
		t.Errorf("%d strings, want %d", len(s), n)
	}
}

func FuzzRead(f *testing.F) {
	b := small(f)
	f.Add(b)
	f.Add(b[:len(b)/2])
	f.Add([]byte(magic + le(4, 2) + le(8, 0) + le(8, 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Read(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if len(file.Tensors) == 0 || len(file.Tensors[0].Shape) > 0 {
			touch(file)
		}
		again, err := ReadHeader(file.Header(), file.SizeBytes)
		if err != nil || len(again.Tensors) != len(file.Tensors) {
			t.Fatalf("the header alone gives %v", err)
		}
	})
}

// BenchmarkRead reads the largest header that is around: set SHARDNODE_MODELS
// to a folder of models for one with a large vocabulary.
func BenchmarkRead(b *testing.B) {
	paths, err := filepath.Glob(filepath.Join(os.Getenv("SHARDNODE_MODELS"), "*.gguf"))
	if err != nil || os.Getenv("SHARDNODE_MODELS") == "" {
		paths = []string{"../../shard/weights/story/story-f16.gguf"}
	}
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			b.Fatal(err)
		}
		b.Run(filepath.Base(path), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Read(file, info.Size()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
