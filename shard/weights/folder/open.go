package folder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
	"github.com/shardnode/shardnode/tensorio/safetensors"
)

// The files of a folder.
const (
	ConfigFile    = "config.json"
	weightsFile   = "model.safetensors"
	indexFile     = "model.safetensors.index.json"
	tokenizerFile = "tokenizer.json"
	spmFile       = "tokenizer.model"
	vocabFile     = "vocab.json"
	mergesFile    = "merges.txt"
	tokConfigFile = "tokenizer_config.json"
	generateFile  = "generation_config.json"
	templateFile  = "chat_template.jinja"
	specialsFile  = "special_tokens_map.json"
)

// Bounds of files that are read whole. The largest tokenizer.json known has 35 MB.
const (
	maxConfigBytes = 1 << 20
	maxIndexBytes  = 32 << 20
	maxTextBytes   = 64 << 20
)

// A Mapper maps a file: it returns its bytes, when it was last changed, and what
// gives the memory back.
type Mapper func(path string) (data []byte, changed time.Time, free func() error, err error)

// Options say how a folder is opened.
type Options struct {
	// Map maps the safetensors files.
	Map Mapper
	// Quant is the type that matrices are quantised to when they are read. Default:
	// they stay as they are.
	Quant Quant
}

// A Model is the folder as a model of shard/weights.OpenMade. It is safe for
// concurrent use until it is closed.
type Model struct {
	meta    *gguf.Meta
	tensors []made
	how     string
	mapped  [][]byte
	frees   []func() error
	changed time.Time
}

// Open reads the folder at dir. Weights are mapped; what is wrong with their
// headers, the config or the tokenizer is an error now, and not later.
func Open(dir string, o Options) (*Model, error) {
	m := &Model{how: o.Quant.String()}
	if err := m.open(dir, o); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", dir, err), m.Close())
	}
	return m, nil
}

func (m *Model) open(dir string, o Options) error {
	text, err := readFile(dir, ConfigFile, maxConfigBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it has no %s: name a folder of a model, or a .gguf file", ConfigFile)
	}
	if err != nil {
		return err
	}
	c, err := parseConf(text)
	if err != nil {
		return fmt.Errorf("%s: %w", ConfigFile, err)
	}
	f, err := findFamily(c)
	if err != nil {
		return err
	}
	if err := checkQuantized(c); err != nil {
		return err
	}
	sources, err := m.sources(dir, o.Map)
	if err != nil {
		return err
	}
	b, err := build(c, f, sources)
	if err != nil {
		return err
	}
	m.tensors = b.sorted()
	if err := b.vocabulary(dir, m.tensors); err != nil {
		return err
	}
	if c.err != nil {
		return c.err
	}
	m.meta = b.meta
	return o.Quant.apply(b, m.tensors)
}

// build makes the tensors and the metadata of a config, but for the tokenizer's.
func build(c *conf, f family, sources map[string]*source) (*builder, error) {
	b := newBuilder(c, f, sources)
	if c.err == nil {
		b.common()
		f.more(b)
		b.tensors()
	}
	if c.err != nil {
		return nil, c.err
	}
	return b, checkAll(b.sorted())
}

// checkQuantized refuses weights that are quantised in ways that are not known.
func checkQuantized(c *conf) error {
	var q struct {
		Method string `json:"quant_method"`
	}
	if !c.read(&q, "quantization_config") || q.Method == "mxfp4" {
		return c.err
	}
	return fmt.Errorf("config.json: weights are quantised with %q, which can't be computed: use the model's folder in BF16, or a GGUF file of it", q.Method)
}

// sources maps the safetensors files and lists their tensors.
func (m *Model) sources(dir string, mapFile Mapper) (map[string]*source, error) {
	files, index := []string{weightsFile}, (*safetensors.Index)(nil)
	text, err := readFile(dir, indexFile, maxIndexBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		if index, err = safetensors.ReadIndex(text); err != nil {
			return nil, fmt.Errorf("%s: %w", indexFile, err)
		}
		files = index.Files
	}
	all := map[string]*source{}
	for _, file := range files {
		if err := m.file(dir, file, mapFile, all); err != nil {
			if errors.Is(err, fs.ErrNotExist) && index == nil {
				return nil, fmt.Errorf("it has neither %s nor %s: weights in other forms can't be read", weightsFile, indexFile)
			}
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if index != nil {
		for name := range index.Tensors {
			if all[name] == nil {
				return nil, fmt.Errorf("%s lists the tensor %q, which its files lack: download them again", indexFile, name)
			}
		}
	}
	return all, nil
}

// file maps one file and adds its tensors to all.
func (m *Model) file(dir, name string, mapFile Mapper, all map[string]*source) error {
	data, changed, free, err := mapFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	m.mapped, m.frees = append(m.mapped, data), append(m.frees, free)
	if changed.After(m.changed) {
		m.changed = changed
	}
	f, err := safetensors.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return err
	}
	for _, t := range f.Tensors {
		if all[t.Name] != nil {
			return fmt.Errorf("tensor %q is in two files: download them again", t.Name)
		}
		s := &source{name: t.Name, dtype: t.DType, shape: t.Shape, data: data[t.Offset:][:t.Bytes:t.Bytes]}
		s.typ, _ = t.DType.Type()
		if ignored(t) {
			continue
		}
		if err := s.check(); err != nil {
			return err
		}
		all[t.Name] = s
	}
	return nil
}

// ignored reports whether nobody needs a tensor: numbers that training left there.
func ignored(t safetensors.Tensor) bool {
	return len(t.Shape) == 0 || t.DType == "I64" || t.DType == "BOOL"
}

// Meta returns the metadata of the GGUF file.
func (m *Model) Meta() *gguf.Meta { return m.meta }

// Tensors returns its tensors, without the data of those that have to be made.
func (m *Model) Tensors() []tensorio.Tensor {
	out := make([]tensorio.Tensor, len(m.tensors))
	for i := range m.tensors {
		out[i] = m.tensors[i].Tensor
	}
	return out
}

// Rows returns the bytes of rows [lo, lo+n) of tensor i.
func (m *Model) Rows(i, lo, n int) []byte {
	t := &m.tensors[i]
	if t.Data != nil {
		return t.Data[lo*t.rowBytes() : (lo+n)*t.rowBytes()]
	}
	return t.make(make([]byte, 0, n*t.rowBytes()), lo, n)
}

// Sources returns the parts of the mapped files that rows [lo, lo+n) of tensor i are
// made of, or more.
func (m *Model) Sources(i, lo, n int) [][]byte { return m.tensors[i].sources(lo, n) }

// Mapped returns the mapped files.
func (m *Model) Mapped() [][]byte { return m.mapped }

// Changed returns when one of the weights' files was last changed.
func (m *Model) Changed() time.Time { return m.changed }

// How returns the type that matrices are quantised to, "" if none.
func (m *Model) How() string { return m.how }

// Close unmaps the files. It may be called twice.
func (m *Model) Close() error {
	var errs []error
	for _, free := range m.frees {
		errs = append(errs, free())
	}
	m.frees, m.mapped = nil, nil
	return errors.Join(errs...)
}

// Each does the jobs 0 to n-1, in any order, and returns when all are done.
type Each func(n int, do func(job int))

// oneByOne does jobs in order.
func oneByOne(n int, do func(job int)) {
	for i := range n {
		do(i)
	}
}

// writeRows is about how many bytes of a tensor are one job of Write.
const writeRows = 1 << 20

// Write writes the GGUF file that m looks like. each makes the rows of a tensor;
// nil makes them one by one. The callback may be nil; it gets the bytes of tensors
// written so far and of all.
func Write(w io.Writer, m *Model, each Each, progress func(done, total int64)) error {
	if each == nil {
		each = oneByOne
	}
	tensors := m.Tensors()
	done, total := int64(0), int64(0)
	rows := make([]int, len(tensors))
	for i, t := range tensors {
		rows[i] = t.Elements() / t.Shape[len(t.Shape)-1]
		total += int64(rows[i]) * int64(m.tensors[i].rowBytes())
	}
	return gguf.WriteEach(w, m.meta, tensors, func(i int) ([]byte, error) {
		b := m.all(i, rows[i], each)
		if done += int64(len(b)); progress != nil {
			progress(done, total)
		}
		return b, nil
	})
}

// all returns tensor i, of so many rows.
func (m *Model) all(i, rows int, each Each) []byte {
	t := &m.tensors[i]
	if t.Data != nil {
		return t.Data
	}
	size := t.rowBytes()
	step := max(1, writeRows/max(1, size))
	b := make([]byte, rows*size)
	each((rows+step-1)/step, func(job int) {
		lo := job * step
		n := min(step, rows-lo)
		t.make(b[lo*size:lo*size:(lo+n)*size], lo, n)
	})
	return b
}

// readFile reads a file of the folder that is at most limit bytes long.
func readFile(dir, name string, limit int64) ([]byte, error) {
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return b, nil
}
