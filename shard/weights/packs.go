package weights

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Packs keeps layers on the disk as they were packed for the kernels, so that
// the next start maps them. It is a cache: whatever is in it may be removed at
// any time, and what does not fit is not kept. It is safe for concurrent use,
// also by several processes with one folder.
type Packs struct {
	cfg PacksConfig
	mu  sync.Mutex // held while room is made
}

// PacksConfig says what [Packs] keeps and where.
type PacksConfig struct {
	// Dir is the folder, which is made when something is kept.
	Dir string
	// BudgetBytes bounds what is kept, of all models together. Default: nothing
	// is kept; what is there is used.
	BudgetBytes int64
	// LeastBytes is the least weights of a span that are worth keeping.
	// Default: 64 MiB, which is packed in some tens of milliseconds.
	LeastBytes int64
	// Failed hears, on another goroutine, why weights can't be kept. Default:
	// nobody.
	Failed func(error)
}

// packMagic starts a pack; its last byte is the version of the format.
const packMagic = "SNPACK\x00\x01"

const (
	// packSlab is the bytes of a pack that a checksum is of: enough for a
	// thread to be busy with, few enough for many threads.
	packSlab = 4 << 20
	// packAlign is what the data of a pack is aligned to in its file.
	packAlign = 4 << 10
	// packHead is the length of a header without checksums: the magic, the hash
	// of the key, the length of the data, and that of a slab.
	packHead = len(packMagic) + sha256.Size + 8 + 8
	// packSuffix ends the names of packs.
	packSuffix = ".pack"
	// packIdle is how long a pack is kept that nobody uses.
	packIdle = 30 * 24 * time.Hour
)

// castagnoli is the polynomial that processors compute themselves.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// leastPacked is the default of [PacksConfig.LeastBytes].
const leastPacked = 64 << 20

// OpenPacks returns the cache that c describes.
func OpenPacks(c PacksConfig) *Packs {
	c.LeastBytes = cmp.Or(c.LeastBytes, leastPacked)
	return &Packs{cfg: c}
}

// Dir returns the folder.
func (p *Packs) Dir() string { return p.cfg.Dir }

// BudgetBytes returns how much may be kept.
func (p *Packs) BudgetBytes() int64 { return p.cfg.BudgetBytes }

// Wants reports whether weights of so many bytes in so many packs are to be
// kept: not if there is little to gain, or if they would only push each other
// out.
func (p *Packs) Wants(bytes int64, packs int) bool {
	return bytes >= p.cfg.LeastBytes && bytes+int64(packs)*2*packAlign <= p.cfg.BudgetBytes
}

// Failed tells whoever wants to know that weights can't be kept.
func (p *Packs) Failed(err error) {
	if p.cfg.Failed != nil {
		p.cfg.Failed(err)
	}
}

// path returns the file of a key.
func (p *Packs) path(key string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(p.cfg.Dir, hex.EncodeToString(sum[:16])+packSuffix)
}

// A Pack is packed data in mapped memory.
type Pack struct {
	data []byte
	sums []byte // a CRC-32C for each slab, little-endian
	file string
	free func() error
}

// Data returns the data. They must not be changed, and end with Close.
func (k *Pack) Data() []byte { return k.data }

// Slabs returns the number of parts that have a checksum.
func (k *Pack) Slabs() int { return len(k.sums) / 4 }

// Check reads slab i and reports whether it is what was kept.
func (k *Pack) Check(i int) bool {
	slab := k.data[i*packSlab : min((i+1)*packSlab, len(k.data))]
	return crc32.Checksum(slab, castagnoli) == binary.LittleEndian.Uint32(k.sums[4*i:])
}

// Remove forgets the pack, which is damaged.
func (k *Pack) Remove() { _ = os.Remove(k.file) } // it is found damaged again otherwise

// Close unmaps the pack. Nobody may use its data after that.
func (k *Pack) Close() error { return k.free() }

// Map returns what was kept for key, size bytes; nil if there is nothing, or
// something else. The caller checks the slabs before it believes the data, and
// closes the pack.
func (p *Packs) Map(key string, size int64) *Pack {
	path := p.path(key)
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	head := packHeader(key, size)
	info, err := f.Stat()
	if err != nil || info.Size() != int64(head.dataAt)+size {
		return nil
	}
	all, free, err := mapMemory(f, info.Size())
	if err != nil {
		return nil
	}
	sums := all[packHead:head.sumsEnd]
	if !bytes.Equal(all[:packHead], head.bytes) ||
		crc32.Checksum(all[:head.sumsEnd], castagnoli) != binary.LittleEndian.Uint32(all[head.sumsEnd:]) {
		_ = free()
		return nil
	}
	now := time.Now()
	_ = os.Chtimes(path, now, now) // those that were not used for long go first
	return &Pack{data: all[head.dataAt:], sums: sums, file: path, free: free}
}

// header is the start of a pack.
type header struct {
	bytes   []byte // without checksums
	sumsEnd int    // where a CRC-32C of all before it is
	dataAt  int
}

func packHeader(key string, size int64) header {
	sum := sha256.Sum256([]byte(key))
	b := append([]byte(packMagic), sum[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(size))
	b = binary.LittleEndian.AppendUint64(b, packSlab)
	sumsEnd := packHead + int((size+packSlab-1)/packSlab)*4
	return header{bytes: b, sumsEnd: sumsEnd, dataAt: (sumsEnd + 4 + packAlign - 1) / packAlign * packAlign}
}

// Keep writes data for key, at a pace that leaves processor and disk to others,
// and removes what was not used for longest to make room. It stops when ctx
// ends. data must not change meanwhile.
func (p *Packs) Keep(ctx context.Context, key string, data []byte) error {
	if err := p.makeRoom(int64(len(data)) + packAlign); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(p.cfg.Dir, ".pack-*")
	if err != nil {
		return fmt.Errorf("keep packed weights: %w", diskError(err))
	}
	defer os.Remove(tmp.Name()) // it is gone after the rename
	err = writePack(ctx, tmp, key, data)
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp.Name(), p.path(key))
	}
	if err != nil {
		return fmt.Errorf("keep packed weights: %w", diskError(err))
	}
	return nil
}

// writePack writes a pack slab by slab, the header last.
func writePack(ctx context.Context, f *os.File, key string, data []byte) error {
	head := packHeader(key, int64(len(data)))
	b := make([]byte, head.dataAt)
	copy(b, head.bytes)
	for lo := 0; lo < len(data); lo += packSlab {
		began := time.Now()
		slab := data[lo:min(lo+packSlab, len(data))]
		if _, err := f.WriteAt(slab, int64(head.dataAt+lo)); err != nil {
			return err
		}
		binary.LittleEndian.PutUint32(b[packHead+lo/packSlab*4:], crc32.Checksum(slab, castagnoli))
		// Half of the time is for others.
		if !wait(ctx, time.Since(began)) {
			return context.Cause(ctx)
		}
	}
	binary.LittleEndian.PutUint32(b[head.sumsEnd:], crc32.Checksum(b[:head.sumsEnd], castagnoli))
	_, err := f.WriteAt(b, 0)
	return err
}

// wait returns after d, or false at once when ctx ends.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// errNoRoom says that something is larger than all that may be kept.
var errNoRoom = errors.New("packed weights are larger than the room for them")

// makeRoom removes packs until n bytes fit: those that were not used for long
// in any case, the others by age.
func (p *Packs) makeRoom(n int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n > p.cfg.BudgetBytes {
		return errNoRoom
	}
	if err := os.MkdirAll(p.cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("keep packed weights: %w", diskError(err))
	}
	kept, err := os.ReadDir(p.cfg.Dir)
	if err != nil {
		return fmt.Errorf("keep packed weights: %w", err)
	}
	var infos []fs.FileInfo
	for _, e := range kept {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || !strings.HasSuffix(e.Name(), packSuffix) && !strings.HasPrefix(e.Name(), ".pack-") {
			continue
		}
		infos = append(infos, info)
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int {
		return cmp.Or(b.ModTime().Compare(a.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	total := n
	for _, info := range infos {
		total += info.Size()
		// An unfinished file of a process that still writes is young.
		if age := time.Since(info.ModTime()); total > p.cfg.BudgetBytes || age > packIdle || age > time.Hour && info.Name()[0] == '.' {
			_ = os.Remove(filepath.Join(p.cfg.Dir, info.Name())) // another process may have done so
			total -= info.Size()
		}
	}
	return nil
}
