package kvcache

import (
	"fmt"

	"github.com/shardnode/shardnode/shard"
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

// Precision returns how s keeps keys and values.
func (s *Session) Precision() Precision { return s.store.cfg.Precision }

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
