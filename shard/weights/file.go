package weights

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// maxParts bounds the files of a split model.
const maxParts = 1 << 10

// A File is a model file, or all parts of a split one, mapped to memory.
type File struct {
	*Index
	path  string
	parts []part
	made  *madeFile // nil unless it is made from other files

	close sync.Once
}

// part is one mapped file.
type part struct {
	*gguf.File
	path    string
	changed time.Time // zero for a file that is in memory only
	data    []byte
	mapped  bool // data is mapped, not in the Go heap
	free    func() error
}

// Open maps the GGUF file at path. Of a model that is split
// ("x-00001-of-00003.gguf") path is the first part, and the others lie beside
// it. Sizes are checked now: whoever cuts the file later while it is mapped
// ends the process with a bus error when the missing bytes are touched, which
// no program can prevent for a mapped file.
func Open(path string) (*File, error) {
	f, err := open(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return f, nil
}

// OpenBytes is [Open] for a file that is in memory already, such as an
// embedded one. The caller must not change data any more.
func OpenBytes(name string, data []byte) (*File, error) {
	h, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	f := &File{path: name, parts: []part{{File: h, path: name, data: data}}}
	if f.Index, err = newIndex([]*gguf.File{h}); err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return f, nil
}

func open(path string) (_ *File, err error) {
	f := &File{path: path}
	defer func() {
		if err != nil {
			_ = f.Close() // the first error counts
		}
	}()
	first, err := openPart(path)
	if err != nil {
		return nil, err
	}
	f.parts = append(f.parts, first)
	rest, err := otherParts(path, first.File)
	if err != nil {
		return nil, err
	}
	for _, name := range rest {
		p, err := openPart(name)
		if err != nil {
			return nil, fmt.Errorf("part %s: %w", filepath.Base(name), err)
		}
		f.parts = append(f.parts, p)
	}
	headers := make([]*gguf.File, len(f.parts))
	for i, p := range f.parts {
		headers[i] = p.File
	}
	if f.Index, err = newIndex(headers); err != nil {
		return nil, err
	}
	if want, ok := first.Meta.Uint("split.tensors.count"); ok && len(rest) > 0 && want != uint64(len(f.tensors)) {
		return nil, fmt.Errorf("parts have %d tensors together, want %d: download them again", len(f.tensors), want)
	}
	return f, nil
}

// openPart maps one file. The descriptor is not kept.
func openPart(path string) (part, error) {
	info, err := os.Stat(path)
	if err != nil {
		return part{}, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its writer
		return part{}, fmt.Errorf("it is no regular file: name a model file, which ends in .gguf")
	}
	file, err := os.Open(path)
	if err != nil {
		return part{}, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return part{}, err
	}
	h, err := gguf.Read(file, info.Size())
	if err != nil {
		return part{}, err
	}
	p := part{File: h, path: path, changed: info.ModTime(), mapped: true}
	if p.data, p.free, err = mapMemory(file, info.Size()); err != nil {
		// Some network file systems do not map.
		p.mapped = false
		if p.data, err = readAll(file, info.Size()); err != nil {
			return part{}, fmt.Errorf("map %d bytes: %w", info.Size(), err)
		}
	}
	return p, nil
}

// splitName is the end of the names that llama-gguf-split gives
// (llama_split_path).
var splitName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// otherParts returns the paths of the parts of a split model besides the first.
func otherParts(path string, first *gguf.File) ([]string, error) {
	count, split := first.Meta.Uint("split.count")
	if !split || count <= 1 {
		return nil, nil
	}
	if no, ok := first.Meta.Uint("split.no"); ok && no != 0 {
		return nil, fmt.Errorf("it is part %d of %d of a split model: name the first part", no+1, count)
	}
	m := splitName.FindStringSubmatch(filepath.Base(path))
	if m == nil {
		return nil, fmt.Errorf("it is the first of %d parts, so its name must end in -00001-of-%05d.gguf for the others to be found", count, count)
	}
	if n, err := strconv.Atoi(m[3]); err != nil || uint64(n) != count || count > maxParts {
		return nil, fmt.Errorf("its name says %s parts, its metadata %d (at most %d): download it again", m[3], count, maxParts)
	}
	var paths, missing []string
	for i := 2; i <= int(count); i++ {
		name := fmt.Sprintf("%s-%05d-of-%s.gguf", m[1], i, m[3])
		p := filepath.Join(filepath.Dir(path), name)
		if _, err := os.Stat(p); err != nil {
			missing = append(missing, name)
		}
		paths = append(paths, p)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%d of %d parts are missing: put %s beside it", len(missing), count, list(missing))
	}
	return paths, nil
}

// list joins names for people, at most three of them.
func list(names []string) string {
	s := ""
	for i, name := range names {
		switch {
		case i == 3:
			return fmt.Sprintf("%s and %d more", s, len(names)-i)
		case i > 0:
			s += ", "
		}
		s += name
	}
	return s
}

// Path returns the path that f was opened with.
func (f *File) Path() string { return f.path }

// SizeBytes returns the length of the file, or of all parts together.
func (f *File) SizeBytes() int64 {
	n := int64(0)
	for _, p := range f.parts {
		n += p.SizeBytes
	}
	return n
}

// Tensor returns a tensor whose Data is the file's mapped memory: read-only,
// valid until Close. Its pages are read from the disk when they are touched.
func (f *File) Tensor(name string) (tensorio.Tensor, error) {
	i, ok := f.byName[name]
	if !ok {
		return tensorio.Tensor{}, fmt.Errorf("model has no tensor %q: %s is not of the architecture it names, or damaged", name, f.path)
	}
	return f.tensor(i), nil
}

func (f *File) tensor(i int) tensorio.Tensor {
	t := f.tensors[i]
	if f.made != nil {
		return f.made.tensor(t, i)
	}
	return tensorio.Tensor{Name: t.Name, Type: t.Type, Shape: t.Shape, Data: f.parts[t.part].data[t.Offset:t.End():t.End()]}
}

// bytesOf returns a piece.
func (f *File) bytesOf(pl place) []byte {
	if f.made != nil && f.made.data[pl.tensor] == nil {
		return f.made.bytes(f.tensors[pl.tensor], pl)
	}
	return f.tensor(pl.tensor).Data[pl.lo:pl.hi]
}

// Close unmaps the file. It may be called twice, and must come after the last
// use of any tensor's Data: touching it later ends the process. Metadata,
// names and sizes stay valid.
func (f *File) Close() error {
	var err error
	f.close.Do(func() {
		for i := range f.parts {
			p := &f.parts[i]
			if p.free == nil {
				continue
			}
			if e := p.free(); e != nil && err == nil {
				err = fmt.Errorf("unmap %s: %w", p.path, e)
			}
			p.data = nil
		}
	})
	return err
}

// readAll reads the first size bytes of file to memory.
func readAll(file *os.File, size int64) ([]byte, error) {
	if int64(int(size)) != size {
		return nil, fmt.Errorf("file is too large for the memory of this machine: use a 64-bit system")
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(file, 0, size), b); err != nil {
		return nil, err
	}
	return b, nil
}
