package gguf

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/shardnode/shardnode/tensorio"
)

// Bounds of a header. Real files have below 100 keys and 3,000 tensors.
const (
	maxKeys    = 1 << 14
	maxTensors = 1 << 16
	maxName    = 1<<16 - 1 // the specification's bound of a key
	maxDims    = 4         // GGML_MAX_DIMS
	maxDepth   = 4         // arrays in arrays; ggml itself reads none
	// maxHeader bounds a header's bytes; a vocabulary of 262,144 tokens takes 15 MB.
	maxHeader = 128 << 20
)

// maxAlignment keeps sums of offsets in range. Real files have 32.
const maxAlignment = 1 << 30

// defaultAlignment is what files without general.alignment have.
const defaultAlignment = 32

// alignmentKey is the metadata key of the alignment of tensor data.
const alignmentKey = "general.alignment"

// A File is the header of a GGUF file.
type File struct {
	Version uint32
	Meta    *Meta
	Tensors []TensorInfo // in the file's order
	// Alignment is what the tensors' offsets are multiples of, counted from
	// the start of the data; a power of two.
	Alignment int64
	// HeaderBytes is the length of the header without the padding behind it.
	HeaderBytes int64
	// DataOffset is where tensor data starts.
	//
	// Invariant: HeaderBytes <= DataOffset <= every Tensors[i].Offset.
	DataOffset int64
	// SizeBytes is the length of the whole file.
	SizeBytes int64

	header []byte
}

// Header returns the bytes of the header, HeaderBytes long. [ReadHeader]
// gives an equal File for them. The caller must not change them.
func (f *File) Header() []byte { return f.header }

// A TensorInfo says where a tensor lies in its file.
type TensorInfo struct {
	Name   string
	Type   tensorio.Type
	Shape  []int // [outermost, ..., innermost]
	Offset int64 // from the start of the file
	Bytes  int64
}

// End returns the offset behind the tensor's last byte.
func (t TensorInfo) End() int64 { return t.Offset + t.Bytes }

// Read reads the header of the GGUF file r, which is size bytes long. All
// tensors of the result lie inside the file and do not overlap.
//
// Memory is taken for the header and for the list of keys and tensors, and
// only after their bytes were seen. Read keeps no reference to r.
func Read(r io.ReaderAt, size int64) (*File, error) {
	return read(r, size, size)
}

// ReadHeader is [Read] for a header alone, as [File.Header] gives it, of a
// file of size bytes whose data is elsewhere.
func ReadHeader(header []byte, size int64) (*File, error) {
	return read(bytes.NewReader(header), int64(len(header)), size)
}

// read reads a header of at most limit bytes, of a file of size bytes.
func read(r io.ReaderAt, limit, size int64) (*File, error) {
	if err := sniff(r, limit); err != nil {
		return nil, err
	}
	d := newDecoder(r, limit)
	if d.walk(); d.err != nil {
		return nil, d.err
	}
	if d.at > maxHeader {
		return nil, fmt.Errorf("header has %d bytes, at most %d are allowed: the file is damaged; download it again", d.at, maxHeader)
	}
	f := &File{HeaderBytes: d.at, SizeBytes: size, header: make([]byte, d.at)}
	if n, err := r.ReadAt(f.header, 0); n < len(f.header) {
		return nil, fmt.Errorf("read %d bytes of header: %w", d.at, err)
	}
	// The length is known and the header whole. What counts is read from our own copy, since
	// the file may be changed by others meanwhile.
	d = newDecoder(bytes.NewReader(f.header), f.HeaderBytes)
	d.header = f.header
	h := d.walk()
	if d.err != nil {
		return nil, d.err
	}
	f.Version = h.version
	var err error
	if f.Meta, err = h.meta(f.header); err != nil {
		return nil, err
	}
	if f.Alignment, err = f.Meta.alignment(); err != nil {
		return nil, err
	}
	f.DataOffset = padded(f.HeaderBytes, f.Alignment)
	f.Tensors = h.tensors
	return f, f.place()
}

// place makes the tensors' offsets absolute, and returns an error unless the
// tensors lie in the file and apart.
func (f *File) place() error {
	order := make([]int32, len(f.Tensors))
	for i := range f.Tensors {
		t := &f.Tensors[i]
		if t.Offset%f.Alignment != 0 {
			return fmt.Errorf("tensor %q starts at byte %d of the data, which is no multiple of %d: the file is damaged; download it again",
				t.Name, t.Offset, f.Alignment)
		}
		t.Offset += f.DataOffset
		order[i] = int32(i)
		if t.End() > f.SizeBytes {
			return fmt.Errorf("file is truncated: tensor %q ends at byte %d, the file has %d: download it again",
				t.Name, t.End(), f.SizeBytes)
		}
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(f.Tensors[a].Name, f.Tensors[b].Name) })
	for i := 1; i < len(order); i++ {
		if name := f.Tensors[order[i]].Name; name == f.Tensors[order[i-1]].Name {
			return fmt.Errorf("tensor %q is there twice: the file is damaged; download it again", name)
		}
	}
	slices.SortFunc(order, func(a, b int32) int { return cmp.Compare(f.Tensors[a].Offset, f.Tensors[b].Offset) })
	for i := 1; i < len(order); i++ {
		a, b := f.Tensors[order[i-1]], f.Tensors[order[i]]
		if a.End() > b.Offset {
			return fmt.Errorf("tensors %q and %q overlap at byte %d: the file is damaged; download it again",
				a.Name, b.Name, b.Offset)
		}
	}
	return nil
}
