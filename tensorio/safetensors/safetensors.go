// Package safetensors reads the headers of safetensors files, in which Hugging
// Face keeps weights (its README, "Format").
//
// Start with [Read]; [ReadIndex] reads the list of the files of a sharded model.
// What tensors mean is left to shard/weights/folder. Everything here is safe for
// concurrent use.
package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/tensorio"
)

// Bounds of a header. The largest real ones have some 20,000 tensors and 3 MB;
// the format's own bound is 100 MB.
const (
	maxHeader  = 32 << 20
	maxTensors = 1 << 18
	maxDims    = 8
	maxName    = 1 << 10
)

// lengthBytes is the length of the number that a file begins with.
const lengthBytes = 8

// A DType is the element type of a tensor, by its name in the file.
type DType string

// The types that models are made of.
const (
	F32  DType = "F32"
	F16  DType = "F16"
	BF16 DType = "BF16"
	U8   DType = "U8"
)

// sizes has the bytes of an element of every type (safetensors, enum Dtype) that
// is a whole number of bytes.
var sizes = map[DType]int{
	"BOOL": 1, U8: 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1,
	"I16": 2, "U16": 2, F16: 2, BF16: 2, "I32": 4, "U32": 4, F32: 4, "C64": 8, "F64": 8, "I64": 8, "U64": 8,
}

// Type returns the element type that computes alike; ok is false if none does.
func (d DType) Type() (t tensorio.Type, ok bool) {
	switch d {
	case F32:
		return tensorio.F32, true
	case F16:
		return tensorio.F16, true
	case BF16:
		return tensorio.BF16, true
	}
	return 0, false
}

// A Tensor says where a tensor lies in its file.
type Tensor struct {
	Name   string
	DType  DType
	Shape  []int // [outermost, ..., innermost]
	Offset int64 // from the start of the file
	Bytes  int64
}

// A File is the header of a safetensors file.
type File struct {
	// Tensors are in the order of their data, which has no holes.
	Tensors []Tensor
	// Meta are the file's own remarks, as a rule {"format": "pt"}.
	Meta map[string]string
	// HeaderBytes is where the data begin.
	HeaderBytes int64
}

// Read reads the header of the file r, which is size bytes long. All tensors lie
// inside the file, one behind the other. Memory is taken for the header only,
// after its length was seen to be in the file. Read keeps no reference to r.
func Read(r io.ReaderAt, size int64) (*File, error) {
	if size < lengthBytes+2 {
		return nil, fmt.Errorf("file has only %d bytes: download it again", max(size, 0))
	}
	var first [lengthBytes]byte
	if _, err := r.ReadAt(first[:], 0); err != nil {
		return nil, fmt.Errorf("read the length of the header: %w", err)
	}
	n := binary.LittleEndian.Uint64(first[:])
	switch {
	case strings.HasPrefix(string(first[:]), "version "):
		return nil, errors.New("it is a Git LFS pointer: run `git lfs pull`, or download the file itself")
	case n > uint64(size-lengthBytes):
		return nil, fmt.Errorf("header has %d bytes, the file has %d: it is no safetensors file, or not whole; download it again", n, size)
	case n > maxHeader:
		return nil, fmt.Errorf("header has %d bytes, at most %d are allowed: the file is damaged; download it again", n, maxHeader)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(r, lengthBytes, int64(n)), b); err != nil {
		return nil, fmt.Errorf("read %d bytes of header: %w", n, err)
	}
	f := &File{HeaderBytes: lengthBytes + int64(n)}
	if err := f.parse(b, size); err != nil {
		return nil, err
	}
	return f, nil
}

// parse reads the header b of a file of size bytes.
func (f *File) parse(b []byte, size int64) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return fmt.Errorf("header is no JSON object: the file is damaged; download it again: %w", err)
	}
	if len(raw) > maxTensors {
		return fmt.Errorf("header lists %d tensors, at most %d are allowed", len(raw), maxTensors)
	}
	for name, value := range raw {
		if name == "__metadata__" {
			if err := json.Unmarshal(value, &f.Meta); err != nil {
				return fmt.Errorf("__metadata__: %w", err)
			}
			continue
		}
		t, err := tensorOf(name, value, size-f.HeaderBytes)
		if err != nil {
			return fmt.Errorf("tensor %q: %w", clip(name), err)
		}
		t.Offset += f.HeaderBytes
		f.Tensors = append(f.Tensors, t)
	}
	slices.SortFunc(f.Tensors, func(a, b Tensor) int {
		if a.Offset != b.Offset {
			return int(max(-1, min(1, a.Offset-b.Offset)))
		}
		if a.Bytes != b.Bytes {
			return int(max(-1, min(1, a.Bytes-b.Bytes)))
		}
		return strings.Compare(a.Name, b.Name)
	})
	at := f.HeaderBytes
	for _, t := range f.Tensors {
		if t.Offset != at {
			return fmt.Errorf("tensor %q begins at byte %d, want %d: the file is damaged; download it again", clip(t.Name), t.Offset, at)
		}
		at += t.Bytes
	}
	if at != size {
		return fmt.Errorf("tensors end at byte %d, the file at %d: it is not whole, or damaged; download it again", at, size)
	}
	return nil
}

// tensorOf reads the description of one tensor, whose data lie in limit bytes.
func tensorOf(name string, value json.RawMessage, limit int64) (Tensor, error) {
	var raw struct {
		DType   DType     `json:"dtype"`
		Shape   []uint64  `json:"shape"`
		Offsets [2]uint64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(value, &raw); err != nil {
		return Tensor{}, err
	}
	if len(name) == 0 || len(name) > maxName || len(raw.Shape) > maxDims {
		return Tensor{}, fmt.Errorf("its name has %d bytes and its shape %d dimensions, want 1 to %d and at most %d", len(name), len(raw.Shape), maxName, maxDims)
	}
	n, ok := sizes[raw.DType]
	if !ok {
		return Tensor{}, fmt.Errorf("element type %q is not known", clip(string(raw.DType)))
	}
	t := Tensor{Name: name, DType: raw.DType, Shape: make([]int, len(raw.Shape))}
	bytes := uint64(n)
	for i, d := range raw.Shape {
		hi, lo := bits.Mul64(bytes, d)
		if hi != 0 || lo > uint64(limit) {
			return Tensor{}, fmt.Errorf("shape %v takes more than the %d bytes that the file has", raw.Shape, limit)
		}
		bytes, t.Shape[i] = lo, int(min(d, uint64(limit))) //nolint:gosec // at most limit, or beside a 0
	}
	lo, hi := raw.Offsets[0], raw.Offsets[1]
	if hi > uint64(limit) || lo > hi || hi-lo != bytes {
		return Tensor{}, fmt.Errorf("its data are bytes %d to %d of %d, want %d bytes there: the file is not whole, or damaged; download it again", lo, hi, limit, bytes)
	}
	t.Offset, t.Bytes = int64(lo), int64(bytes) //nolint:gosec // at most limit
	return t, nil
}

// An Index says which file of a sharded model has which tensor
// (model.safetensors.index.json).
type Index struct {
	Files   []string          // in order, without folders
	Tensors map[string]string // file by tensor
}

// maxFiles bounds the files of a model.
const maxFiles = 1 << 12

// ReadIndex reads an index. Files are names without a folder: whoever wrote the
// index does not choose what else is read.
func ReadIndex(b []byte) (*Index, error) {
	var raw struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, err
	}
	if len(raw.WeightMap) == 0 || len(raw.WeightMap) > maxTensors {
		return nil, fmt.Errorf("weight_map lists %d tensors, want 1 to %d", len(raw.WeightMap), maxTensors)
	}
	x := &Index{Tensors: raw.WeightMap}
	for _, file := range raw.WeightMap {
		if file == "" || file == "." || file == ".." || strings.ContainsAny(file, "/\\\x00") {
			return nil, fmt.Errorf("weight_map names the file %q: want one in the same folder", clip(file))
		}
		x.Files = append(x.Files, file)
	}
	slices.Sort(x.Files)
	if x.Files = slices.Compact(x.Files); len(x.Files) > maxFiles {
		return nil, fmt.Errorf("weight_map names %d files, at most %d are allowed", len(x.Files), maxFiles)
	}
	return x, nil
}

// clip shortens s, which comes from a file.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}
