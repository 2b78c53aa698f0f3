package weights

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// PieceBytes is the length of a piece of a tensor; its last one may be
// shorter. A piece is hashed, sent and verified as a whole: long enough that
// hashes are nothing beside it, short enough to give to several neighbours and
// to lose one.
const PieceBytes = 4 << 20

// Bounds of a manifest.
const (
	maxManifestBytes = 192 << 20 // the longest header of gguf, and hashes of 8 TB
	maxFileBytes     = 1 << 50   // of all files together
)

// manifestMagic starts an encoded manifest; its last byte is the version.
const manifestMagic = "SNWM\x01"

// hashBytes is the length of a piece's hash, a SHA-256.
const hashBytes = sha256.Size

// A Manifest names the bytes of a model: the headers of its files and the
// hash of every piece of every tensor. Its encoding is canonical, so that the
// hash of it is the model's name. Bytes between tensors are not part of it.
type Manifest struct {
	*Index
	files []*gguf.File

	// starts has, for each tensor, the number of pieces before it, and at its
	// end the number of all pieces.
	starts []int
	// encoded is the encoding; its last 32*starts[len] bytes are the hashes.
	encoded []byte
	id      shard.ModelID
}

// A Source has tensors of a model. [*File] and [*Partial] are sources.
type Source interface {
	// Tensor returns a tensor whose Data is only read.
	Tensor(name string) (tensorio.Tensor, error)
}

// NewManifest hashes all tensors of f, on all processors. The callback may be
// nil; it gets the bytes hashed so far and those of all tensors, one call at a
// time.
func NewManifest(ctx context.Context, f *File, progress func(done, total int64)) (*Manifest, error) {
	files := make([]*gguf.File, len(f.parts))
	b := binary.LittleEndian.AppendUint32([]byte(manifestMagic), uint32(len(f.parts)))
	for i, p := range f.parts {
		files[i] = p.File
		b = binary.LittleEndian.AppendUint64(b, uint64(p.SizeBytes))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p.Header())))
		b = append(b, p.Header()...)
	}
	m := &Manifest{Index: f.Index, files: files}
	m.countPieces()
	at := len(b)
	m.encoded = append(b, make([]byte, m.Pieces()*hashBytes)...)
	err := eachPiece(ctx, m, seq(m.Pieces()), progress, func(p int) error {
		sum := sha256.Sum256(f.bytesOf(m.place(p)))
		copy(m.encoded[at+p*hashBytes:], sum[:])
		f.releasePiece(m.place(p))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(m.encoded) > maxManifestBytes {
		return nil, fmt.Errorf("manifest has %d bytes, at most %d are allowed", len(m.encoded), maxManifestBytes)
	}
	m.id = sha256.Sum256(m.encoded)
	return m, nil
}

// ParseManifest reads an encoded manifest, which it keeps. The caller compares
// its ID with the one it wants.
func ParseManifest(b []byte) (*Manifest, error) {
	if len(b) > maxManifestBytes {
		return nil, fmt.Errorf("manifest has %d bytes, at most %d are allowed", len(b), maxManifestBytes)
	}
	rest, ok := bytes.CutPrefix(b, []byte(manifestMagic))
	if !ok || len(rest) < 4 {
		return nil, errors.New("manifest has another version or is damaged: update both members")
	}
	count := binary.LittleEndian.Uint32(rest)
	if rest = rest[4:]; count == 0 || count > maxParts {
		return nil, fmt.Errorf("manifest lists %d files, want 1 to %d", count, maxParts)
	}
	m := &Manifest{encoded: b, id: sha256.Sum256(b)}
	total := uint64(0)
	for i := range count {
		if len(rest) < 12 {
			return nil, fmt.Errorf("manifest ends before file %d", i)
		}
		size, n := binary.LittleEndian.Uint64(rest), binary.LittleEndian.Uint32(rest[8:])
		if rest = rest[12:]; size > maxFileBytes-total || uint64(n) > uint64(len(rest)) {
			return nil, fmt.Errorf("manifest's file %d has %d bytes with a header of %d, %d are left", i, size, n, len(rest))
		}
		total += size
		f, err := gguf.ReadHeader(rest[:n], int64(size))
		if err != nil {
			return nil, fmt.Errorf("manifest's file %d: %w", i, err)
		}
		if f.HeaderBytes != int64(n) {
			return nil, fmt.Errorf("manifest's file %d has %d bytes behind its header", i, int64(n)-f.HeaderBytes)
		}
		m.files, rest = append(m.files, f), rest[n:]
	}
	var err error
	if m.Index, err = newIndex(m.files); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	m.countPieces()
	if len(rest)%hashBytes != 0 || len(rest)/hashBytes != m.Pieces() {
		return nil, fmt.Errorf("manifest has %d bytes of hashes, want %d for each of %d pieces", len(rest), hashBytes, m.Pieces())
	}
	return m, nil
}

// countPieces fills starts.
func (m *Manifest) countPieces() {
	m.starts = make([]int, len(m.tensors)+1)
	for i, t := range m.tensors {
		m.starts[i+1] = m.starts[i] + int((t.Bytes+PieceBytes-1)/PieceBytes)
	}
}

// Encoded returns the canonical encoding. The caller must not change it.
func (m *Manifest) Encoded() []byte { return m.encoded }

// ID returns the model's name, the SHA-256 of the encoding.
func (m *Manifest) ID() shard.ModelID { return m.id }

// Pieces returns the number of pieces of all tensors.
func (m *Manifest) Pieces() int { return m.starts[len(m.tensors)] }

// place is where a piece lies.
type place struct {
	tensor int
	lo, hi int64 // [lo, hi) of the tensor's data
}

func (pl place) bytes() int64 { return pl.hi - pl.lo }

// place returns the place of piece p.
func (m *Manifest) place(p int) place {
	lo, hi := 0, len(m.tensors)
	for lo+1 < hi { // starts[lo] <= p < starts[hi]
		if mid := (lo + hi) / 2; m.starts[mid] <= p {
			lo = mid
		} else {
			hi = mid
		}
	}
	at := int64(p-m.starts[lo]) * PieceBytes
	return place{tensor: lo, lo: at, hi: min(at+PieceBytes, m.tensors[lo].Bytes)}
}

// verify reports whether data is piece p.
func (m *Manifest) verify(p int, data []byte) bool {
	at := len(m.encoded) - (m.Pieces()-p)*hashBytes
	sum := sha256.Sum256(data)
	return int64(len(data)) == m.place(p).bytes() && bytes.Equal(sum[:], m.encoded[at:at+hashBytes])
}

// piecesOf returns the pieces of the tensors that part needs, in order.
func (m *Manifest) piecesOf(part Part) []int {
	var out []int
	for _, i := range m.pick(part) {
		for p := m.starts[i]; p < m.starts[i+1]; p++ {
			out = append(out, p)
		}
	}
	return out
}

// Verify hashes the tensors that part needs in src, which may be another file
// than the manifest was made from, and returns an error that names the first
// one that differs. The callback is as in [NewManifest].
func (m *Manifest) Verify(ctx context.Context, src Source, part Part, progress func(done, total int64)) error {
	return eachPiece(ctx, m, m.piecesOf(part), progress, func(p int) error {
		pl := m.place(p)
		want := m.tensors[pl.tensor]
		t, err := src.Tensor(want.Name)
		if err != nil {
			return err
		}
		same := t.Type == want.Type && slices.Equal(t.Shape, want.Shape) && int64(len(t.Data)) == want.Bytes
		if !same || !m.verify(p, t.Data[pl.lo:pl.hi]) {
			return fmt.Errorf("tensor %q differs from that of model %.12s: it is another file, or damaged", want.Name, m.id)
		}
		return nil
	})
}

// seq returns 0 to n-1.
func seq(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// eachPiece calls do for the pieces on all processors, until one fails or ctx
// ends, and returns when all calls have ended.
func eachPiece(ctx context.Context, m *Manifest, pieces []int, progress func(done, total int64), do func(p int) error) error {
	total := int64(0)
	for _, p := range pieces {
		total += m.place(p).bytes()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	reports := make(chan int64, 64)
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(pieces)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(pieces)) && ctx.Err() == nil; i = next.Add(1) - 1 {
				if err := do(pieces[i]); err != nil {
					cancel(err)
					return
				}
				reports <- m.place(pieces[i]).bytes()
			}
		})
	}
	go func() { // ends with the workers
		wg.Wait()
		close(reports)
	}()
	done := int64(0)
	for n := range reports {
		done += n
		if progress != nil {
			progress(done, total)
		}
	}
	return context.Cause(ctx)
}
