package kvcache

import (
	"container/list"

	"github.com/shardnode/shardnode/shard"
)

// KeyTokens is how many positions a [Key] names beyond those of the key before
// it. Pages hold one or more times as many; a store of other pages shares none.
const KeyTokens = 32

// KeysWithin returns how many keys end within n positions from pos on.
func KeysWithin(pos, n int) int { return (pos+n)/KeyTokens - pos/KeyTokens }

// A Key names positions of sessions, from the first on: all that their keys and
// values depend on. Sessions with equal keys get each other's pages, so whoever
// makes keys sees to it that they are equal only where that is right.
type Key [32]byte

// A shared page is one that several sessions may hold, and that nobody writes.
type shared struct {
	key  Key
	page page
	refs int           // sessions that hold it
	idle *list.Element // of prefixes.idle; nil while refs > 0
}

// prefixes are the shared pages of a store, by what they hold. Its methods need
// the store's mu.
type prefixes struct {
	byKey   map[Key]*shared
	idle    list.List // of *shared that no session holds; what is let go last is in front
	adopted int64     // positions
}

// release gives up one hold on p. It reports whether that was the last, which
// makes p idle.
func (x *prefixes) release(p *shared) bool {
	p.refs--
	if p.refs > 0 {
		return false
	}
	p.idle = x.idle.PushFront(p)
	return true
}

// forget makes p a page of the one session that holds it, or of none.
func (x *prefixes) forget(p *shared) page {
	if p.idle != nil {
		x.idle.Remove(p.idle)
	}
	delete(x.byKey, p.key)
	p.page.shared = nil
	return p.page
}

// evict returns the idle page that was let go first, of which there is one.
func (x *prefixes) evict() page {
	p, _ := x.idle.Back().Value.(*shared) // it holds nothing else
	return x.forget(p)
}

// keysOfPage returns how many keys a page has, 0 if pages can't be shared.
func (s *Store) keysOfPage() int {
	if s.cfg.PageTokens%KeyTokens != 0 {
		return 0
	}
	return s.cfg.PageTokens / KeyTokens
}

// adoptLocked gives c, which is empty, the pages that keys name, up to the
// first that the store does not have.
func (s *Store) adoptLocked(c *Session, keys []Key) {
	step := s.keysOfPage()
	if step == 0 {
		return
	}
	for n := min(len(keys)/step, c.maxTokens/s.cfg.PageTokens); len(c.pages) < n; {
		p := s.prefixes.byKey[keys[(len(c.pages)+1)*step-1]]
		if p == nil {
			break
		}
		if p.refs == 0 {
			s.prefixes.idle.Remove(p.idle)
			p.idle = nil
			s.taken++
		}
		p.refs++
		held := p.page
		held.shared = p
		c.pages = append(c.pages, held)
	}
	c.length = len(c.pages) * s.cfg.PageTokens
	c.room = c.length
	s.prefixes.adopted += int64(c.length)
}

// copyOf returns a copy of a shared page for a session that holds it and will
// write it, and takes the page back. It is the page itself if the budget has no
// room for a copy: then nobody else holds it.
func (s *Store) copyOf(p page) (page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// Where others hold it too, it is reserved more than once and taken once,
	// so that there is room.
	if p.shared.refs == 1 && len(s.free) == 0 && s.prefixes.idle.Len() == 0 && s.taken >= s.maxPages {
		return s.prefixes.forget(p.shared), nil
	}
	c, err := s.takeLocked()
	if err != nil {
		return p, err
	}
	copy(c.mem, p.mem)
	s.giveLocked([]page{p})
	return c, nil
}

// Publish lets sessions to come begin with what s holds below end, which key
// names. end is a multiple of [KeyTokens] and committed. Only whole pages are
// shared, so it does nothing for an end within one.
func (s *Session) Publish(end shard.Pos, key Key) {
	store, n := s.store, s.store.cfg.PageTokens
	if store.keysOfPage() == 0 || int(end)%n != 0 || int(end) > s.length || end <= 0 {
		return
	}
	p := &s.pages[int(end)/n-1]
	store.mu.Lock()
	defer store.mu.Unlock()
	known := store.prefixes.byKey
	if p.shared != nil || store.closed || known[key] != nil {
		return // what is there has the same bits
	}
	if known == nil {
		known = map[Key]*shared{}
		store.prefixes.byKey = known
	}
	p.shared = &shared{key: key, page: *p, refs: 1}
	known[key] = p.shared
}
