package model

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/shardnode/shardnode/shard/kvcache/offheap"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/par"
	"github.com/shardnode/shardnode/tensorio/quant"
)

// memory is packed weights off the Go heap: our own, or a mapped pack.
type memory struct {
	data []byte
	pack *weights.Pack // nil if data is our own
}

// free gives the memory back.
func (m memory) free() {
	err := error(nil)
	if m.pack != nil {
		err = m.pack.Close()
	} else {
		err = offheap.Free(m.data)
	}
	if err != nil {
		panic("model: " + err.Error()) // the memory is ours
	}
}

// known is a [Source] that has a name for what it holds.
type known interface {
	// ContentKey returns a name that other tensors will not have; ok is false if
	// there is none.
	ContentKey() (key string, ok bool)
}

// packKey returns the name under which a plan's packed form is kept, "" if
// nobody knows it. It covers the source, what is packed to where, and how: the
// layout of a type is known by the packed form of a sample.
func (l *loader) packKey(p *plan) string {
	src, ok := l.src.(known)
	if !ok || len(p.mats) == 0 {
		return ""
	}
	key, ok := src.ContentKey()
	if !ok {
		return ""
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%d\n", key, p.bytes)
	for i := range p.mats {
		mp := &p.mats[i]
		fmt.Fprintf(h, "%s %d %v %d %d %d %s\n", mp.name, mp.row, mp.typ, mp.rows, mp.cols, mp.at, l.layoutOf(mp.typ))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// layoutOf returns a hash of how a type is packed.
func (l *loader) layoutOf(t tensorio.Type) string {
	if id, ok := l.layouts[t]; ok {
		return id
	}
	const rows, cols = quant.PanelRows + 1, 512
	id := "none"
	rowBytes, err := t.RowBytes(cols)
	n, e := quant.PackedBytes(t, rows, cols)
	if err == nil && e == nil {
		src := make([]byte, rows*rowBytes)
		for i := range src {
			src[i] = byte(i*167 + i>>8*29)
		}
		buf := make([]byte, n)
		if m, err := quant.NewMatrix(t, rows, cols, buf); err == nil && m.PackPanels(src, 0, m.Panels()) == nil {
			sum := sha256.Sum256(buf)
			id = hex.EncodeToString(sum[:8])
		}
	}
	if l.layouts == nil {
		l.layouts = make(map[tensorio.Type]string)
	}
	l.layouts[t] = id
	return id
}

// mapped gives the matrices of a plan the memory that was kept of them, and
// reports whether there is any.
func (l *loader) mapped(p *plan, packs *weights.Packs) bool {
	if p.key == "" {
		return false
	}
	pack := packs.Map(p.key, p.bytes)
	if pack == nil {
		return false
	}
	if !intact(l.pool, pack) || p.matrices(pack.Data()) != nil {
		pack.Remove()
		_ = pack.Close() // it was only read
		return false
	}
	p.mem = memory{data: pack.Data(), pack: pack}
	return true
}

// intact reads a pack, which brings it to memory, and reports whether it is
// what was written.
func intact(pool *par.Pool, pack *weights.Pack) bool {
	c := &checking{pack: pack}
	pool.Run(pack.Slabs(), c)
	return !c.bad.Load()
}

// checking checks a pack slab by slab.
type checking struct {
	pack *weights.Pack
	bad  atomic.Bool
}

// Tile checks one slab.
func (c *checking) Tile(_, tile int) {
	if !c.pack.Check(tile) {
		c.bad.Store(true)
	}
}

// settling is a goroutine that looks after weights that were packed, while they are
// used: it writes them to the cache, and moves them to huge pages. It ends when
// that is done, or with stop.
type settling struct {
	stop context.CancelCauseFunc
	done sync.WaitGroup
	kept sync.WaitGroup // the first part
	// bytes is how much it writes in all.
	bytes int64
}

// KeptBytes returns how much of the packed weights is being written to
// [Options.Packs], or was, since they were not there.
func (m *Model) KeptBytes() int64 {
	if m.settling == nil {
		return 0
	}
	return m.settling.bytes
}

// errFreed ends the settling when its time is over.
var errFreed = errors.New("the weights are freed")

// settle starts to look after plans that were packed, of all those of m. It reads
// weights until it ends.
func (m *Model) settle(packs *weights.Packs, plans []*plan, all int) {
	if len(plans) == 0 {
		return
	}
	ctx, stop := context.WithCancelCause(context.Background())
	s := &settling{stop: stop}
	keeps := packs != nil && plans[0].key != "" && packs.Wants(m.bytes, all)
	if keeps {
		for _, p := range plans {
			s.bytes += p.bytes
		}
	}
	s.kept.Add(1)
	s.done.Go(func() {
		offheap.Yield()
		if keeps {
			keep(ctx, packs, plans)
		}
		s.kept.Done()
		enlarge(ctx, plans)
	})
	m.settling = s
}

// keep writes plans to the cache.
func keep(ctx context.Context, packs *weights.Packs, plans []*plan) {
	for _, p := range plans {
		if err := packs.Keep(ctx, p.key, p.mem.data); err != nil {
			if !errors.Is(err, errFreed) {
				packs.Failed(err)
			}
			return
		}
	}
}

// hugePages is how much is moved to huge pages at a time: one or two of them.
const hugePages = 4 << 20

// enlarge moves plans to huge pages.
func enlarge(ctx context.Context, plans []*plan) {
	for _, p := range plans {
		data := p.mem.data
		for len(data) > 0 {
			// Up to a border of pages: those that lie across would be left out.
			n := min(len(data), hugePages-int(uintptr(unsafe.Pointer(unsafe.SliceData(data)))%hugePages))
			if ctx.Err() != nil || !offheap.Collapse(data[:n]) {
				return
			}
			data = data[n:]
		}
	}
}

// keepGrace is how long a model that is closed may still write to the cache: a
// start that loads hundreds of MB takes that much longer without.
const keepGrace = 1500 * time.Millisecond

// end ends the settling, after a moment for the rest of the writing.
func (s *settling) end() {
	if s == nil {
		return
	}
	late := time.AfterFunc(keepGrace, func() { s.stop(errFreed) })
	s.kept.Wait()
	late.Stop()
	s.stop(errFreed)
	s.done.Wait()
}
