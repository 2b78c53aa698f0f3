package kvcache

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/shardnode/shardnode/shard/kvcache/offheap"
)

const (
	// hugeBytes is the size of a huge page: attention reads pages of a few KiB
	// that lie far from each other, and finds them a fifth quicker there.
	hugeBytes = 2 << 20
	// regionBytes is about how much address space an arena takes at once.
	regionBytes = 64 << 20
	// systemPage is what the memory of a page is a multiple of.
	systemPage = 4096
)

// An arena cuts pages out of large regions, so that they lie in huge pages of
// the system. What it has cut it never unmaps before close; [arena.release]
// gives the memory of a page back all the same. It needs the store's mu.
type arena struct {
	stride  int64    // from one page to the next
	regions [][]byte // as they were taken
	fresh   []byte   // of the last region: what no page has been cut from
	vacant  []page   // released
	pages   int64    // that the regions have room for
	out     int64    // that were cut and are not vacant

	// A page that is touched first while somebody waits for its token costs a
	// millisecond, or many where the system must clear a huge page. So the memory
	// behind the last page is asked for in time.
	ready  []byte // a part of fresh, its beginning: asked for already
	asking sync.WaitGroup
}

func newArena(pageBytes int64) arena {
	return arena{stride: (pageBytes + systemPage - 1) / systemPage * systemPage}
}

// cut returns a page of the given size. limit is how many pages the store may
// have at all.
func (a *arena) cut(pageBytes, limit int64) (page, error) {
	if n := len(a.vacant); n > 0 {
		p := a.vacant[n-1]
		a.vacant = a.vacant[:n-1]
		a.out++
		return p, nil
	}
	if int64(len(a.fresh)) < a.stride {
		if err := a.extend(limit); err != nil {
			return page{}, err
		}
	}
	p := page{mem: a.fresh[:pageBytes:pageBytes]}
	a.fresh = a.fresh[a.stride:]
	a.ready = a.ready[min(a.stride, int64(len(a.ready))):]
	a.out++
	a.ask()
	return p, nil
}

// extend takes another region.
func (a *arena) extend(limit int64) error {
	n := max(1, min(regionBytes/a.stride, limit-a.pages))
	size := n * a.stride
	mem, err := offheap.Alloc(size + hugeBytes)
	if err != nil { // there may be room for one page
		n, size = 1, a.stride
		if mem, err = offheap.Alloc(size + hugeBytes); err != nil {
			return fmt.Errorf("page of KV cache: %w", err)
		}
	}
	a.regions = append(a.regions, mem)
	a.pages += n
	skip := -uintptr(unsafe.Pointer(&mem[0])) % hugeBytes
	a.fresh, a.ready = mem[skip:][:size], nil
	if size >= hugeBytes {
		offheap.Huge(mem[skip:])
	}
	return nil
}

// ask asks for memory for the next page, if that has not been done.
func (a *arena) ask() {
	if int64(len(a.ready)) >= a.stride || len(a.fresh) <= len(a.ready) {
		return
	}
	from := len(a.ready)
	// Up to the end of a huge page, or of the region.
	end := from + int(a.stride)
	end += int(-(uintptr(unsafe.Pointer(&a.fresh[0])) + uintptr(end)) % hugeBytes)
	end = min(end, len(a.fresh))
	a.ready = a.fresh[:end]
	more := a.fresh[from:end]
	a.asking.Go(func() {
		offheap.Yield()
		offheap.Populate(more)
	})
}

// release gives the memory of p back to the system.
func (a *arena) release(p page) {
	a.out--
	offheap.Release(p.mem)
	a.vacant = append(a.vacant, page{mem: p.mem})
}

// close gives everything back, when no page is out.
func (a *arena) close() {
	if a.out > 0 {
		return
	}
	a.asking.Wait()
	for _, r := range a.regions {
		if err := offheap.Free(r); err != nil { // the system only refuses memory that it did not give
			panic("kvcache: " + err.Error())
		}
	}
	*a = arena{stride: a.stride}
}
