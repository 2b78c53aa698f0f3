package weights

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio"
)

// Names of the files of a partial copy, in a folder named after the model.
const (
	manifestFile = "manifest"
	dataFile     = "data.gguf"
	haveFile     = "have"
)

// haveMagic starts a have file; its last byte is the version. The model's id
// and the bitmap of pieces follow.
const haveMagic = "SNWH\x01"

// fileAlign is what the files of a split model are aligned to in the data file.
const fileAlign = 64 << 10

// flushBytes is how much may be written before it is made durable and marked:
// what a crash costs at most.
const flushBytes = 64 << 20

// A Partial is a copy of a model that holds some of its pieces: a sparse file
// laid out as the model's own, so that a whole copy of a single file is that
// file but for the padding, and a bitmap of the pieces that are there. A piece
// is marked in the bitmap only after its bytes are on the disk.
//
// One process at a time may have it open.
type Partial struct {
	*Manifest
	dir  string
	data *os.File
	have *os.File
	// bases has the offset of each of the model's files in data.
	bases []int64
	// mapped is data in memory, nil where mapping does not work.
	mapped []byte
	free   func() error
	close  sync.Once

	// flushing holds a token while a flush runs: one at a time.
	flushing chan struct{}

	mu sync.Mutex // guards what follows
	// held has a bit for each piece that is written.
	held bitmap
	// marked has a bit for each piece that is on the disk for good.
	//
	// Invariant: marked is a subset of held, and of what have says.
	marked  bitmap
	pending int64 // bytes held and not marked
}

// A MissingError says that a [Partial] lacks some of a tensor.
type MissingError struct {
	Tensor string
	Model  shard.ModelID
	Pieces int // how many are missing
}

// Error names the tensor and what to do.
func (e *MissingError) Error() string {
	return fmt.Sprintf("tensor %q of model %.12s is not here: fetch it first (%d pieces are missing)", e.Tensor, e.Model, e.Pieces)
}

// LoadPartial opens the copy of a model in the folder dir that [OpenPartial]
// made earlier; the error is [os.ErrNotExist] if there is none.
func LoadPartial(dir string, id shard.ModelID) (*Partial, error) {
	m, err := loadManifest(filepath.Join(dir, id.String(), manifestFile))
	if err != nil {
		return nil, err
	}
	if m.id != id {
		return nil, fmt.Errorf("%s holds model %.12s, want %.12s: remove it", filepath.Join(dir, id.String()), m.id, id)
	}
	return OpenPartial(dir, m)
}

// OpenPartial opens the copy of m's model below the folder dir, and makes an
// empty one if there is none. What earlier fetches brought is there again.
func OpenPartial(dir string, m *Manifest) (*Partial, error) {
	p := &Partial{Manifest: m, dir: filepath.Join(dir, m.id.String()), flushing: make(chan struct{}, 1)}
	if err := p.open(); err != nil {
		_ = p.Close() // the first error counts
		return nil, fmt.Errorf("copy of model %.12s in %s: %w", m.id, p.dir, diskError(err))
	}
	return p, nil
}

func (p *Partial) open() error {
	size := int64(0)
	for _, f := range p.files {
		p.bases = append(p.bases, size)
		size = (size + f.SizeBytes + fileAlign - 1) / fileAlign * fileAlign
	}
	last := len(p.files) - 1
	size = p.bases[last] + p.files[last].SizeBytes
	manifest := filepath.Join(p.dir, manifestFile)
	if _, err := os.Stat(manifest); err != nil {
		if err := saveManifest(manifest, p.Manifest); err != nil {
			return err
		}
	}
	var err error
	if p.data, err = os.OpenFile(filepath.Join(p.dir, dataFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if p.have, err = os.OpenFile(filepath.Join(p.dir, haveFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	info, err := p.data.Stat()
	if err != nil {
		return err
	}
	if p.held = p.readHave(); p.held == nil || info.Size() != size {
		if err := p.reset(size); err != nil {
			return err
		}
	}
	p.marked = bytes.Clone(p.held)
	if p.mapped, p.free, err = mapMemory(p.data, size); err != nil {
		p.mapped, p.free = nil, nil // Tensor reads the file then
	}
	return nil
}

// readHave returns the bitmap of the have file, nil if it is none of ours.
func (p *Partial) readHave() bitmap {
	head := append([]byte(haveMagic), p.id[:]...)
	want := len(head) + len(newBitmap(p.Pieces()))
	b := make([]byte, want+1)
	if n, err := p.have.ReadAt(b, 0); n != want || !errors.Is(err, io.EOF) || !bytes.HasPrefix(b, head) {
		return nil
	}
	return bitmap(b[len(head):want])
}

// reset makes p an empty copy. The bitmap is emptied before the data file is
// touched, so that a crash in between leaves no bit without its data.
func (p *Partial) reset(size int64) error {
	p.held = newBitmap(p.Pieces())
	if err := p.have.Truncate(0); err != nil {
		return err
	}
	if _, err := p.have.WriteAt(append(append([]byte(haveMagic), p.id[:]...), p.held...), 0); err != nil {
		return err
	}
	if err := p.have.Sync(); err != nil {
		return err
	}
	if err := p.data.Truncate(size); err != nil {
		return err
	}
	for i, f := range p.files {
		if _, err := p.data.WriteAt(f.Header(), p.bases[i]); err != nil {
			return err
		}
	}
	return p.data.Sync()
}

// Dir returns the folder of the copy. Removing it is the way to forget it.
func (p *Partial) Dir() string { return p.dir }

// Holds reports whether all of a tensor is here.
func (p *Partial) Holds(name string) bool {
	i, ok := p.byName[name]
	return ok && p.lacking(i) == 0
}

// lacking returns how many pieces of tensor i are missing.
func (p *Partial) lacking(i int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for piece := p.starts[i]; piece < p.starts[i+1]; piece++ {
		if !p.held.has(piece) {
			n++
		}
	}
	return n
}

// Missing returns the tensors that part needs and p does not hold in full, and
// the bytes of their missing pieces.
func (p *Partial) Missing(part Part) (names []string, bytes int64) {
	last := -1
	for _, piece := range p.missing(part) {
		pl := p.place(piece)
		if pl.tensor != last {
			names = append(names, p.tensors[pl.tensor].Name)
			last = pl.tensor
		}
		bytes += pl.bytes()
	}
	return names, bytes
}

// missing returns the pieces that part needs and p lacks, in order.
func (p *Partial) missing(part Part) []int {
	all := p.piecesOf(part)
	p.mu.Lock()
	defer p.mu.Unlock()
	out := all[:0]
	for _, piece := range all {
		if !p.held.has(piece) {
			out = append(out, piece)
		}
	}
	return out
}

// Tensor returns a tensor whose Data is the copy's mapped memory: read-only,
// valid until Close. It returns a [*MissingError] if some of it is not here.
// Where files cannot be mapped, each call reads the tensor to memory.
func (p *Partial) Tensor(name string) (tensorio.Tensor, error) {
	i, ok := p.byName[name]
	if !ok {
		return tensorio.Tensor{}, fmt.Errorf("model %.12s has no tensor %q: it is not of the architecture it names, or damaged", p.id, name)
	}
	if n := p.lacking(i); n > 0 {
		return tensorio.Tensor{}, &MissingError{Tensor: name, Model: p.id, Pieces: n}
	}
	t := p.tensors[i]
	data, err := p.read(place{tensor: i, hi: t.Bytes})
	if err != nil {
		return tensorio.Tensor{}, fmt.Errorf("tensor %q in %s: %w", name, p.dir, err)
	}
	return tensorio.Tensor{Name: t.Name, Type: t.Type, Shape: t.Shape, Data: data}, nil
}

// read returns the bytes at pl, which are held.
func (p *Partial) read(pl place) ([]byte, error) {
	t := p.tensors[pl.tensor]
	lo := p.bases[t.part] + t.Offset + pl.lo
	if p.mapped != nil {
		return p.mapped[lo : lo+pl.bytes() : lo+pl.bytes()], nil
	}
	b := make([]byte, pl.bytes())
	_, err := p.data.ReadAt(b, lo)
	return b, err
}

// piece returns a piece for a [Server]; ok is false if it is not here.
func (p *Partial) piece(n int) (data []byte, ok bool) {
	p.mu.Lock()
	held := p.held.has(n)
	p.mu.Unlock()
	if !held {
		return nil, false
	}
	data, err := p.read(p.place(n))
	return data, err == nil
}

// put writes piece n, whose hash the caller has checked.
func (p *Partial) put(n int, data []byte) error {
	pl := p.place(n)
	t := p.tensors[pl.tensor]
	if _, err := p.data.WriteAt(data, p.bases[t.part]+t.Offset+pl.lo); err != nil {
		return fmt.Errorf("copy of model %.12s in %s: %w", p.id, p.dir, diskError(err))
	}
	p.mu.Lock()
	if !p.held.has(n) {
		p.held.set(n)
		p.pending += int64(len(data))
	}
	full := p.pending >= flushBytes
	p.mu.Unlock()
	if full {
		return p.flush()
	}
	return nil
}

// flush makes what is held durable, then marks it.
func (p *Partial) flush() error {
	p.flushing <- struct{}{}
	defer func() { <-p.flushing }()
	p.mu.Lock()
	held, n := bytes.Clone(p.held), p.pending
	same := bytes.Equal(held, p.marked)
	p.mu.Unlock()
	if same {
		return nil
	}
	err := p.data.Sync()
	if err == nil {
		_, err = p.have.WriteAt(held, int64(len(haveMagic)+len(p.id)))
	}
	if err == nil {
		err = p.have.Sync()
	}
	if err != nil {
		return fmt.Errorf("copy of model %.12s in %s: %w", p.id, p.dir, diskError(err))
	}
	p.mu.Lock()
	p.marked = held
	p.pending -= n
	p.mu.Unlock()
	return nil
}

// Close makes what was fetched durable and unmaps the copy. It may be called
// twice, and must come after the last use of any tensor's Data and the end of
// every fetch and server that uses p.
func (p *Partial) Close() error {
	var errs []error
	p.close.Do(func() {
		if p.data != nil && p.have != nil && p.marked != nil {
			errs = append(errs, p.flush())
		}
		if p.free != nil {
			errs = append(errs, p.free())
		}
		for _, f := range []*os.File{p.data, p.have} {
			if f != nil {
				errs = append(errs, f.Close())
			}
		}
	})
	return errors.Join(errs...)
}

// diskError says what to do about a full disk.
func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("disk is full: make room and start again, what was fetched is kept: %w", err)
	}
	return err
}

// bitmap has a bit for each piece.
type bitmap []byte

func newBitmap(n int) bitmap    { return make(bitmap, (n+7)/8) }
func (b bitmap) has(i int) bool { return b[i/8]>>(i%8)&1 != 0 }
func (b bitmap) set(i int)      { b[i/8] |= 1 << (i % 8) }
