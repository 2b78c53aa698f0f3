package kvcache

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// defaultPageTokens is the number of positions of a page. 32 positions of
// Llama-3.2-1B are 1 MiB: coarse enough for long reads, and a session wastes
// half of that on average.
const defaultPageTokens = 32

// keptPages is how many freed pages a Store keeps for the next session instead
// of giving them back to the system.
const keptPages = 16

// Config describes the pages of a [Store].
type Config struct {
	Layers  int // layers of the span, 1 or more
	KVHeads int // key/value heads of a layer
	KeyDim  int // values of a key of one head
	ValDim  int // values of a value of one head

	// Precision is how keys and values are kept. Default: [Float16].
	Precision Precision

	// PageTokens is the number of positions of a page, a multiple of 16, or a power
	// of two below. Default: 32.
	PageTokens int

	// BudgetBytes bounds the memory of all pages together. A session that does
	// not fit is refused with [ErrNoCapacity].
	BudgetBytes int64
}

func (c Config) withDefaults() (Config, error) {
	c.PageTokens = cmp.Or(c.PageTokens, defaultPageTokens)
	for _, f := range []struct {
		name string
		n    int
	}{{"Layers", c.Layers}, {"KVHeads", c.KVHeads}, {"KeyDim", c.KeyDim}, {"ValDim", c.ValDim}, {"PageTokens", c.PageTokens}} {
		if f.n < 1 || f.n > 1<<20 {
			return c, fmt.Errorf("kvcache: %s is %d, want 1 or more", f.name, f.n)
		}
	}
	if c.PageTokens%width != 0 && width%c.PageTokens != 0 {
		return c, fmt.Errorf("kvcache: PageTokens is %d, want a multiple of %d", c.PageTokens, width)
	}
	if c.BudgetBytes < 0 {
		return c, fmt.Errorf("kvcache: BudgetBytes is %d, want 0 or more", c.BudgetBytes)
	}
	return c, nil
}

// ErrNoCapacity says that a session does not fit what is left of the budget.
var ErrNoCapacity = errors.New("no room for the keys and values of the session")

// ErrTooLong says that a session grew beyond what was reserved for it.
var ErrTooLong = errors.New("the session is longer than what was reserved for it")

// ErrOverflow says that a key or value is beyond what the cache can hold: the
// range of float16, or of float32 in a store of another precision.
var ErrOverflow = errors.New("a key or value is beyond the range of the KV cache")

// A page holds the keys and values of pageTokens positions; see layout.
type page struct {
	mem    []byte
	shared *shared // nil if one session alone holds the page, and may write it
}

// A Store holds the pages of the sessions of one span.
type Store struct {
	cfg       Config
	layout    layout
	pageBytes int64
	maxPages  int // that the budget allows

	mu       sync.Mutex // guards what follows
	reserved int        // pages promised to sessions; <= maxPages
	taken    int        // pages in the hands of sessions, a shared one once; <= reserved
	free     []page     // at most keptPages; taken + idle + free <= maxPages
	arena    arena
	prefixes prefixes
	sessions int
	closed   bool
}

// New returns an empty Store. It takes no memory for pages yet.
func New(cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: cfg, layout: cfg.layout(), pageBytes: cfg.pageBytes()}
	s.arena = newArena(s.pageBytes)
	s.maxPages = int(min(cfg.BudgetBytes/s.pageBytes, 1<<31-1))
	return s, nil
}

// pagesFor returns how many pages hold the given number of positions.
func (s *Store) pagesFor(tokens int) int {
	return (tokens + s.cfg.PageTokens - 1) / s.cfg.PageTokens
}

// Reserve returns an empty session that may grow to maxTokens positions. If
// that does not fit what is left of the budget it takes nothing and returns an
// error that wraps [ErrNoCapacity]. Idle prefixes count as free: they go when
// their memory is wanted.
func (s *Store) Reserve(maxTokens int) (*Session, error) { return s.ReserveShared(maxTokens, nil) }

// ReserveShared is [Store.Reserve] of a session that begins with the longest
// prefix that the store has of the positions that keys name, one key for each
// [KeyTokens] of them. [Session.Len] says how long that is.
func (s *Store) ReserveShared(maxTokens int, keys []Key) (*Session, error) {
	if maxTokens < 1 {
		return nil, fmt.Errorf("kvcache: reserve %d positions: want 1 or more", maxTokens)
	}
	want := s.pagesFor(maxTokens)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("kvcache: reserve %d positions: the store is closed", maxTokens)
	}
	if free := s.maxPages - s.reserved; want > free {
		return nil, fmt.Errorf("%w: %d positions need %d KiB of KV cache, %d KiB are free",
			ErrNoCapacity, maxTokens, int64(want)*s.pageBytes>>10, int64(free)*s.pageBytes>>10)
	}
	s.reserved += want
	s.sessions++
	c := &Session{store: s, maxTokens: maxTokens, reserved: want, pages: make([]page, 0, want)}
	s.adoptLocked(c, keys)
	return c, nil
}

// take hands out one page that was reserved before.
func (s *Store) take() (page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takeLocked()
}

func (s *Store) takeLocked() (page, error) {
	if n := len(s.free); n > 0 {
		p := s.free[n-1]
		s.free = s.free[:n-1]
		s.taken++
		return p, nil
	}
	if s.taken+s.prefixes.idle.Len() >= s.maxPages {
		// What is reserved fits the budget, so some page is idle.
		p := s.prefixes.evict()
		s.taken++
		return p, nil
	}
	p, err := s.arena.cut(s.pageBytes, int64(s.maxPages))
	if err != nil {
		return page{}, err
	}
	s.taken++
	return p, nil
}

// leave takes back all that a session holds.
func (s *Store) leave(session *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveLocked(session.pages)
	s.reserved -= session.reserved
	s.sessions--
}

// give takes pages back that stay reserved.
func (s *Store) give(pages []page) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveLocked(pages)
}

// giveLocked takes pages of one session back, the last first: the end of a
// prefix becomes idle before its beginning, and goes before it.
func (s *Store) giveLocked(pages []page) {
	for _, p := range slices.Backward(pages) {
		if p.shared != nil && !s.prefixes.release(p.shared) {
			continue // others hold it
		}
		s.taken--
		switch {
		case p.shared != nil && s.closed:
			s.arena.release(s.prefixes.evict())
		case p.shared != nil: // idle
		case len(s.free) < keptPages && !s.closed:
			s.free = append(s.free, p)
		default:
			s.arena.release(p)
		}
	}
	if s.closed {
		s.arena.close()
	}
}

// Stats says how full a [Store] is.
type Stats struct {
	Sessions      int
	BudgetBytes   int64 // whole pages that the budget allows
	ReservedBytes int64 // promised to sessions
	UsedBytes     int64 // in the hands of sessions, what they share once; <= ReservedBytes
	IdleBytes     int64 // kept for sessions to come that begin alike; used and idle fit the budget
	SharedTokens  int64 // positions that sessions did not compute because others had
	TokenBytes    int64 // what one position costs
	PageTokens    int
}

// Stats returns how full s is.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Sessions: s.sessions, BudgetBytes: int64(s.maxPages) * s.pageBytes,
		ReservedBytes: int64(s.reserved) * s.pageBytes, UsedBytes: int64(s.taken) * s.pageBytes,
		IdleBytes: int64(s.prefixes.idle.Len()) * s.pageBytes, SharedTokens: s.prefixes.adopted,
		TokenBytes: s.cfg.TokenBytes(), PageTokens: s.cfg.PageTokens,
	}
}

// Close gives kept pages and idle prefixes back and refuses new sessions.
// Pages that sessions still hold are given back when those are closed.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for s.prefixes.idle.Len() > 0 {
		s.arena.release(s.prefixes.evict())
	}
	for _, p := range s.free {
		s.arena.release(p)
	}
	s.free = nil
	s.arena.close()
}
