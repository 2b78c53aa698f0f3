package kvcache

import (
	"fmt"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// A Session is the keys and values of one session in the layers of one span.
//
// A step calls [Session.Extend] for the positions it computes, [Session.Put]
// for each of them in each layer, and [Session.Commit] when all layers are
// done. What is not committed is forgotten by the next Extend.
type Session struct {
	store     *Store
	maxTokens int
	reserved  int    // pages that maxTokens need
	pages     []page // len(pages) <= reserved
	length    int    // committed positions; <= maxTokens
	room      int    // positions that may be put; length <= room <= len(pages) * PageTokens
}

// Len returns the number of positions that s holds, which is the position of
// its next token.
func (s *Session) Len() shard.Pos { return shard.Pos(s.length) }

// MaxTokens returns the number of positions reserved for s.
func (s *Session) MaxTokens() int { return s.maxTokens }

// Extend forgets the positions at and after at, and makes room for n positions
// from there on. It returns an error if positions before at are missing, and
// one that wraps [ErrTooLong] beyond the reservation; s is unchanged then. When
// the system has no memory, s ends at at.
func (s *Session) Extend(at shard.Pos, n int) error {
	if at < 0 || int(at) > s.length || n < 0 {
		return fmt.Errorf("kvcache: %d positions at %d: the session holds %d", n, at, s.length)
	}
	end := int(at) + n
	if end > s.maxTokens {
		return fmt.Errorf("%w: %d positions, reserved %d", ErrTooLong, end, s.maxTokens)
	}
	s.Truncate(at)
	if err := s.own(int(at)); err != nil {
		return err
	}
	for want := s.store.pagesFor(end); len(s.pages) < want; {
		p, err := s.store.take()
		if err != nil {
			return err
		}
		s.pages = append(s.pages, p)
	}
	s.room = end
	return nil
}

// own makes the page that holds the positions before and after at one of s
// alone: what others share is not written.
func (s *Session) own(at int) error {
	i := at / s.store.cfg.PageTokens
	if at%s.store.cfg.PageTokens == 0 || s.pages[i].shared == nil {
		return nil
	}
	p, err := s.store.copyOf(s.pages[i])
	if err != nil {
		s.Truncate(shard.Pos(at - at%s.store.cfg.PageTokens))
		return err
	}
	s.pages[i] = p
	return nil
}

// Commit keeps all positions that the last [Session.Extend] made room for.
func (s *Session) Commit() { s.length = s.room }

// Truncate forgets the positions at and after at, and gives whole pages back.
// It does nothing if s is not that long.
func (s *Session) Truncate(at shard.Pos) {
	if at < 0 || int(at) > s.length {
		return
	}
	s.length, s.room = int(at), int(at)
	if keep := s.store.pagesFor(s.length); keep < len(s.pages) {
		s.store.give(s.pages[keep:])
		s.pages = s.pages[:keep]
	}
}

// Put stores the key k, [kvHeads, keyDim], and the value v, [kvHeads, valDim],
// of one position in the layer with index layer of the span. The position has
// been made room for. It returns [ErrOverflow], having stored what it could,
// if a value is beyond the range of float16 or not a number.
func (s *Session) Put(layer int, at shard.Pos, k, v []float32) error {
	c := &s.store.cfg
	if at < 0 || int(at) >= s.room {
		panic(fmt.Sprintf("kvcache: put at %d, room for %d positions", at, s.room))
	}
	p := &s.pages[int(at)/c.PageTokens]
	row := int(at) % c.PageTokens
	overflow := false
	for h := range c.KVHeads {
		key, val := k[h*c.KeyDim:][:c.KeyDim], v[h*c.ValDim:][:c.ValDim]
		if c.Precision == Float32 {
			keys, vals := part(c, p.full, layer, h)
			copy(keys[row*c.KeyDim:], key)
			copy(vals[row*c.ValDim:], val)
			continue
		}
		keys, vals := part(c, p.half, layer, h)
		overflow = vec.ToF16(keys[row*c.KeyDim:], key) || overflow
		overflow = vec.ToF16(vals[row*c.ValDim:], val) || overflow
	}
	if overflow {
		return ErrOverflow
	}
	return nil
}

// Page returns the keys, [pageTokens, keyDim], and the values,
// [pageTokens, valDim], as float16 bits, of one head of one layer at the
// positions from pageIndex * PageTokens on. The caller must not change them.
// Positions that were not put hold anything.
func (s *Session) Page(layer, head, pageIndex int) (keys, vals []uint16) {
	return part(&s.store.cfg, s.pages[pageIndex].half, layer, head)
}

// PageFloat32 is [Session.Page] for a store of precision [Float32].
func (s *Session) PageFloat32(layer, head, pageIndex int) (keys, vals []float32) {
	return part(&s.store.cfg, s.pages[pageIndex].full, layer, head)
}

// Precision returns how s keeps keys and values.
func (s *Session) Precision() Precision { return s.store.cfg.Precision }

// part returns the keys and values of one head of one layer in a page.
func part[T any](c *Config, page []T, layer, head int) (keys, vals []T) {
	nk, nv := c.PageTokens*c.KeyDim, c.PageTokens*c.ValDim
	base := layer * c.KVHeads * (nk + nv)
	keys = page[base+head*nk:][:nk:nk]
	vals = page[base+c.KVHeads*nk+head*nv:][:nv:nv]
	return keys, vals
}

// Close gives everything that s holds back to its store. It may be called
// twice; s is of no use afterwards.
func (s *Session) Close() {
	if s.reserved == 0 {
		return
	}
	s.store.leave(s)
	s.pages, s.reserved, s.maxTokens, s.length, s.room = nil, 0, 0, 0, 0
}

// PageTokens returns the number of positions of a page.
func (s *Session) PageTokens() int { return s.store.cfg.PageTokens }
