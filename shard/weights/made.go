package weights

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// A Made model lies in files of another form, such as a folder of safetensors. It
// looks like the GGUF file that a converter would write, whose tensors are made
// when they are read.
type Made interface {
	// Meta returns the metadata of the file.
	Meta() *gguf.Meta
	// Tensors returns the file's tensors in order. Those whose Data are set lie in
	// memory as the file has them, the others are made.
	Tensors() []tensorio.Tensor
	// Rows returns the bytes of rows [lo, lo+n) of tensor i; a row is as long as
	// the tensor's innermost dimension. It may be called by several goroutines, and
	// what can go wrong did so before.
	Rows(i, lo, n int) []byte
	// Sources returns the mapped memory that rows are made of, or more.
	Sources(i, lo, n int) [][]byte
	// Mapped returns the mapped memory that data lie in.
	Mapped() [][]byte
	// Changed returns when one of its files was last changed, and How a name for
	// what is made of them.
	Changed() time.Time
	How() string
	// Close gives its memory back.
	Close() error
}

// maxMadeBytes bounds the tensors that are made as a whole: norms, biases and
// routers, which are vectors or few.
const maxMadeBytes = 8 << 20

// OpenMade returns a file of a made model, which it closes. Its header, and so its
// model id, are those of the GGUF file that it looks like.
func OpenMade(path string, m Made) (*File, error) {
	tensors := m.Tensors()
	h, err := gguf.Layout(m.Meta(), tensors)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), m.Close())
	}
	f := &File{path: path, made: &madeFile{Made: m, data: make([][]byte, len(tensors))}}
	f.parts = []part{{File: h, path: filepath.Join(path, m.How()), changed: m.Changed(), free: m.Close}}
	for i, t := range tensors {
		f.made.data[i] = t.Data
	}
	if f.Index, err = newIndex([]*gguf.File{h}); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), m.Close())
	}
	return f, nil
}

// madeFile is the tensors of a made model.
type madeFile struct {
	Made
	data [][]byte // of tensors that lie in memory; nil for the others
}

// tensor returns tensor i. Its Data are nil if it is to be read by rows: a matrix
// that has to be made.
func (m *madeFile) tensor(t location, i int) tensorio.Tensor {
	out := tensorio.Tensor{Name: t.Name, Type: t.Type, Shape: t.Shape, Data: m.data[i]}
	if out.Data == nil && t.Type == tensorio.F32 && t.Bytes <= maxMadeBytes && t.Name != EmbedName {
		out.Data = m.Rows(i, 0, rowsOf(t))
	}
	return out
}

// rowsOf returns how many rows a tensor has.
func rowsOf(t location) int {
	n := 1
	for _, d := range t.Shape[:max(0, len(t.Shape)-1)] {
		n *= d
	}
	return n
}

// bytes returns the bytes of a piece of a tensor that is made.
func (m *madeFile) bytes(t location, pl place) []byte {
	row := t.Bytes / int64(max(1, rowsOf(t)))
	first, last := pl.lo/row, (pl.hi+row-1)/row
	return m.Rows(pl.tensor, int(first), int(last-first))[pl.lo-first*row : pl.hi-first*row]
}

// Makes reports whether a tensor has to be read by [File.Rows].
func (f *File) Makes(name string) bool {
	i, ok := f.byName[name]
	return ok && f.made != nil && f.made.data[i] == nil
}

// Rows returns rows [lo, lo+n) of a tensor that is made; a row is as long as its
// innermost dimension.
func (f *File) Rows(name string, lo, n int) ([]byte, error) {
	i, ok := f.byName[name]
	if !ok {
		return nil, fmt.Errorf("model has no tensor %q", name)
	}
	if all := rowsOf(f.tensors[i]); f.made == nil || lo < 0 || n < 0 || lo+n > all {
		return nil, fmt.Errorf("tensor %q: rows %d to %d of %d", name, lo, lo+n, all)
	}
	return f.made.Rows(i, lo, n), nil
}

// ReleaseRows is [File.Release] for what rows [lo, lo+n) of a tensor are made of.
func (f *File) ReleaseRows(name string, lo, n int) {
	i, ok := f.byName[name]
	if !ok || f.made == nil {
		return
	}
	for _, data := range f.made.Sources(i, lo, n) {
		f.Release(data)
	}
}

// A Mapping is a file in mapped memory.
type Mapping struct {
	Data    []byte
	Changed time.Time
	free    func() error
}

// Map maps a file. Close the mapping after the last use of its data.
func Map(path string) (*Mapping, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is no regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, err
	}
	m := &Mapping{Changed: info.ModTime()}
	if info.Size() == 0 {
		return nil, gguf.ErrEmpty
	}
	if m.Data, m.free, err = mapMemory(file, info.Size()); err != nil {
		m.free = nil
		if m.Data, err = readAll(file, info.Size()); err != nil { // some network file systems do not map
			return nil, fmt.Errorf("map %d bytes: %w", info.Size(), err)
		}
	}
	return m, nil
}

// Close unmaps the file. It may be called twice.
func (m *Mapping) Close() error {
	free := m.free
	m.Data, m.free = nil, nil
	if free == nil {
		return nil
	}
	return free()
}
