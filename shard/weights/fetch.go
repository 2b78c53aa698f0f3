package weights

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard"
)

// A Peer is where a fetch may get pieces from.
type Peer struct {
	Name string // for errors
	// Open opens a stream to the peer's [Server]. ctx bounds the opening, not the
	// stream. A peer may be listed several times, for as many streams.
	Open func(ctx context.Context) (io.ReadWriteCloser, error)
}

// FetchOptions are the settings of a fetch. The zero FetchOptions is usable.
type FetchOptions struct {
	// Progress is called now and then, one call at a time. Default: not called.
	Progress func(Progress)

	// Stall is how long a peer may send nothing before it is dropped.
	// Default: 10 s.
	Stall time.Duration
}

// Progress says how far a fetch is.
type Progress struct {
	DoneBytes, TotalBytes int64   // what was here before counts as done
	BytesPerSec           float64 // since the fetch began
}

// FetchReport says what a fetch did.
type FetchReport struct {
	Bytes   int64 // fetched and verified
	Took    time.Duration
	Dropped []*PeerError // peers that failed or lied
}

// A PeerError says why a peer was dropped.
type PeerError struct {
	Peer string
	Err  error
}

// Error names the peer.
func (e *PeerError) Error() string { return fmt.Sprintf("peer %s: %v", e.Peer, e.Err) }

// Unwrap returns the reason.
func (e *PeerError) Unwrap() error { return e.Err }

// hedgeAfter is how long a piece may be under way at one peer before an idle
// one is asked for it too. A piece takes a third of a second at 100 Mbit/s.
const hedgeAfter = 2 * time.Second

// FetchManifest gets the manifest of model id from the first peer that has the
// right one.
func FetchManifest(ctx context.Context, id shard.ModelID, peers []Peer, opts FetchOptions) (*Manifest, error) {
	var errs []error
	for _, peer := range peers {
		m, err := fetchManifest(ctx, id, peer, cmp.Or(opts.Stall, 10*time.Second))
		if err == nil {
			return m, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		errs = append(errs, &PeerError{Peer: peer.Name, Err: err})
	}
	return nil, fmt.Errorf("manifest of model %.12s: none of %d peers gave it: %w", id, len(peers), errors.Join(errs...))
}

func fetchManifest(ctx context.Context, id shard.ModelID, peer Peer, stall time.Duration) (*Manifest, error) {
	s, err := dial(ctx, peer, stall)
	if err != nil {
		return nil, err
	}
	defer s.end()
	if err := s.ask(request{op: opManifest, model: id}); err != nil {
		return nil, err
	}
	b, err := readAnswer(s, nil, maxManifestBytes)
	if err != nil {
		return nil, s.cause(err)
	}
	m, err := ParseManifest(b)
	if err != nil {
		return nil, err
	}
	if m.id != id {
		return nil, fmt.Errorf("it sent the manifest of model %.12s, want %.12s", m.id, id)
	}
	return m, nil
}

// Fetch gets the pieces of part that p lacks from several peers at once, and
// verifies each before it is written. A peer that fails or lies is dropped and
// the others do its work. Fetch returns when part is complete and on the disk,
// when no peer is left that could help, when the disk fails, or when ctx ends;
// what was fetched is kept in each case.
func Fetch(ctx context.Context, p *Partial, part Part, peers []Peer, opts FetchOptions) (FetchReport, error) {
	start := time.Now()
	f := newFetch(p, p.missing(part), cmp.Or(opts.Stall, 10*time.Second))
	total := p.PartBytes(part)
	here := total - f.leftBytes
	work, cancel := context.WithCancel(ctx)
	defer cancel()
	f.stop = cancel
	defer context.AfterFunc(work, f.wake)()
	reports := make(chan int64, 64)
	failed := make([]error, len(peers))
	var wg sync.WaitGroup
	for i, peer := range peers {
		wg.Go(func() { failed[i] = f.from(work, peer, reports) })
	}
	go func() { // ends with the workers
		wg.Wait()
		close(reports)
	}()
	var report FetchReport
	for n := range reports {
		report.Bytes += n
		if opts.Progress != nil {
			rate := float64(report.Bytes) / max(time.Since(start).Seconds(), 1e-3)
			opts.Progress(Progress{DoneBytes: here + report.Bytes, TotalBytes: total, BytesPerSec: rate})
		}
	}
	flushErr := p.flush()
	report.Took = time.Since(start)
	for i, err := range failed {
		if err != nil {
			report.Dropped = append(report.Dropped, &PeerError{Peer: peers[i].Name, Err: err})
		}
	}
	return report, f.outcome(ctx, report.Dropped, flushErr, len(peers))
}

// outcome returns the error of the whole fetch, after all workers ended.
func (f *fetch) outcome(ctx context.Context, dropped []*PeerError, flushErr error, peers int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.disk != nil:
		return f.disk
	case flushErr != nil:
		return flushErr
	case f.left == 0:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	errs := make([]error, len(dropped))
	for i, d := range dropped {
		errs[i] = d
	}
	name := ""
	for i, s := range f.state {
		if !s.done {
			name = f.p.tensors[f.p.place(f.todo[i]).tensor].Name
			break
		}
	}
	err := fmt.Errorf("model %.12s: %d pieces are missing, tensor %q first: %d of %d peers were dropped, the others do not hold them; start again when more peers are up, what was fetched is kept",
		f.p.id, f.left, name, len(dropped), peers)
	return errors.Join(append([]error{err}, errs...)...)
}

// fetch is the work that is shared by the streams of one [Fetch].
type fetch struct {
	p     *Partial
	todo  []int // pieces, in order
	stall time.Duration
	stop  func() // ends all workers

	mu        sync.Mutex // guards what follows
	changed   sync.Cond  // of mu: something below changed, or ctx ended
	state     []pieceState
	low       int // pieces below are done
	left      int // pieces that are not done
	leftBytes int64
	disk      error // the copy cannot be written
}

// pieceState is the state of one piece of todo.
type pieceState struct {
	done   bool
	takers int       // streams that were asked for it and have not answered
	since  time.Time // when the first of them was asked
}

func newFetch(p *Partial, todo []int, stall time.Duration) *fetch {
	f := &fetch{p: p, todo: todo, stall: stall, state: make([]pieceState, len(todo)), left: len(todo)}
	f.changed.L = &f.mu
	for _, n := range todo {
		f.leftBytes += p.place(n).bytes()
	}
	return f
}

// wake makes all waiting workers look again.
func (f *fetch) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed.Broadcast()
}

// take returns the next run [lo, hi) of todo to ask a peer for, which lacks
// some. It waits while all that is left is under way elsewhere. The run is
// empty when there is nothing more for this peer to do.
func (f *fetch) take(ctx context.Context, lacks map[int]bool) (lo, hi int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for ctx.Err() == nil {
		for f.low < len(f.state) && f.state[f.low].done {
			f.low++
		}
		now := time.Now()
		lo, wait := f.next(lacks, now)
		if lo >= 0 {
			hi := f.run(lo, lacks, now)
			for j := lo; j < hi; j++ {
				if f.state[j].takers++; f.state[j].takers == 1 {
					f.state[j].since = now
				}
			}
			return lo, hi
		}
		if !wait {
			return 0, 0
		}
		again := time.AfterFunc(hedgeAfter, f.wake)
		f.changed.Wait()
		again.Stop()
	}
	return 0, 0
}

// next returns the first piece to ask a peer for, which lacks some: one that
// nobody was asked for, else one that has been under way for long. It returns
// -1 when there is none, and whether there may be one later.
func (f *fetch) next(lacks map[int]bool, now time.Time) (lo int, wait bool) {
	late := -1
	for i := f.low; i < len(f.state); i++ {
		s := &f.state[i]
		switch {
		case s.done || lacks[i]:
		case s.takers == 0:
			return i, true
		case late < 0 && s.late(now):
			late = i
		default:
			wait = true
		}
	}
	return late, wait
}

// late reports whether a piece has been under way at one peer for so long that
// another is asked too.
func (s *pieceState) late(now time.Time) bool {
	return s.takers == 1 && now.Sub(s.since) >= hedgeAfter
}

// run returns the end of the run of neighbouring pieces that starts at todo[lo].
func (f *fetch) run(lo int, lacks map[int]bool, now time.Time) int {
	bytes := f.p.place(f.todo[lo]).bytes()
	late := f.state[lo].takers > 0
	free := func(s *pieceState) bool { return !s.done && (s.takers == 0 && !late || late && s.late(now)) }
	hi := lo + 1
	for ; hi < len(f.todo) && hi-lo < maxRunPieces; hi++ {
		bytes += f.p.place(f.todo[hi]).bytes()
		if f.todo[hi] != f.todo[hi-1]+1 || bytes > maxRunBytes || lacks[hi] || !free(&f.state[hi]) {
			break
		}
	}
	return hi
}

// giveBack ends the asking for [lo, hi).
func (f *fetch) giveBack(lo, hi int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := lo; i < hi; i++ {
		f.state[i].takers--
	}
	f.changed.Broadcast()
}

// finish records that todo[i] is written, and reports whether it is news.
func (f *fetch) finish(i int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state[i].takers--
	news := !f.state[i].done
	if news {
		f.state[i].done = true
		if f.left--; f.left == 0 {
			f.stop()
		}
	}
	f.changed.Broadcast()
	return news
}

// fail ends the fetch because the copy cannot be written.
func (f *fetch) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.disk == nil {
		f.disk = err
	}
	f.stop()
}

// from fetches what it can from one peer. An error means that the peer failed
// or lied.
func (f *fetch) from(ctx context.Context, peer Peer, reports chan<- int64) error {
	var s *stream
	lacks := make(map[int]bool)
	var buf []byte
	for {
		lo, hi := f.take(ctx, lacks)
		if lo == hi {
			return nil
		}
		var err error
		if s == nil {
			if s, err = dial(ctx, peer, f.stall); err == nil {
				defer s.end()
				buf = make([]byte, PieceBytes)
			}
		}
		if err != nil {
			f.giveBack(lo, hi)
		} else {
			err = f.exchange(s, lo, hi, lacks, buf, reports)
		}
		switch {
		case ctx.Err() != nil:
			return nil // the peer was left, it did not fail
		case err != nil:
			return err
		}
	}
}

// exchange asks for the pieces [lo, hi) of todo and takes the answers.
func (f *fetch) exchange(s *stream, lo, hi int, lacks map[int]bool, buf []byte, reports chan<- int64) error {
	defer func() { f.giveBack(lo, hi) }() // those that stay without an answer
	if err := s.ask(request{op: opPieces, model: f.p.id, first: uint32(f.todo[lo]), count: uint32(hi - lo)}); err != nil {
		return err
	}
	for ; lo < hi; lo++ {
		n, err := f.piece(s, lo, buf)
		if answer, ok := errors.AsType[*answerError](err); ok && answer.status == statusLacking {
			lacks[lo] = true
			s.rest()
			f.giveBack(lo, lo+1)
			continue
		}
		if err != nil {
			return err
		}
		if f.finish(lo) {
			reports <- n
		}
	}
	return nil
}

// piece reads, verifies and writes piece todo[i], and returns its length.
func (f *fetch) piece(s *stream, i int, buf []byte) (int64, error) {
	n := f.todo[i]
	pl := f.p.place(n)
	s.await()
	data, err := readAnswer(s, buf, int(pl.bytes()))
	if err != nil {
		return 0, s.cause(err)
	}
	s.rest() // hashing and a slow disk are not the peer's fault
	if !f.p.verify(n, data) {
		return 0, fmt.Errorf("its bytes of tensor %q are not those of model %.12s", f.p.tensors[pl.tensor].Name, f.p.id)
	}
	if err := f.p.put(n, data); err != nil {
		f.fail(err)
		return 0, err
	}
	return pl.bytes(), nil
}
