package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/node"
	"github.com/shardnode/shardnode/shard/pipeline"
)

// A town is peers that talk over streams in memory, whose ends and hangs it
// decides, in the virtual time of its bubble. It is much faster than QUIC on a
// simulated network, so that many kills can be tried.
type town struct {
	t   *testing.T
	dir string // for logs

	mu      sync.Mutex // guards what follows
	rng     *rand.Rand
	peers   map[shard.PeerID]*townsman
	streams map[*tube]bool
	cut     map[[2]shard.PeerID]bool
	changed chan struct{}
	serving sync.WaitGroup
}

// A townsman is one peer.
type townsman struct {
	id     shard.PeerID
	span   shard.Span
	node   *node.Node
	engine *toy
	alive  bool          // may be planned with
	hung   chan struct{} // closed when it wakes; nil if it does not hang
}

func newTown(t *testing.T, seed uint64) *town {
	return &town{
		t: t, dir: t.TempDir(), rng: rand.New(rand.NewPCG(seed, 7)), peers: map[shard.PeerID]*townsman{}, streams: map[*tube]bool{},
		cut: map[[2]shard.PeerID]bool{}, changed: make(chan struct{}),
	}
}

// roll returns a number below n.
func (w *town) roll(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

func (w *town) name(p shard.PeerID) string { return fmt.Sprint("peer", p[0]) }

// settle brings a peer to life.
func (w *town) settle(id shard.PeerID, span shard.Span) {
	e := newToy()
	e.perToken = time.Millisecond
	p := &townsman{id: id, span: span, engine: e, alive: true}
	cfg := node.Config{Self: id, Name: w.name(id), Dial: w.dialFrom(id), Logger: zerolog.Nop(), OpenTimeout: 3 * time.Second}
	switch w.roll(3) {
	case 0:
		cfg.LogBytes = 512 // the rest is dropped
	case 1:
		cfg.LogBytes, cfg.LogDir = 512, w.dir
	}
	n, err := node.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	n.Hold(&node.Held{Model: toyModel, Span: span, Layers: toyLayers, Dim: toyDim, Vocab: toyVocab, Engine: e})
	p.node = n
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peers[id] = p
	w.tell()
}

// tell has whoever waits for a change look again. w.mu is held.
func (w *town) tell() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// A tube is one end of a stream. What is written waits at the other end.
type tube struct {
	town     *town
	from, to shard.PeerID
	in       chan []byte
	far      *tube
	rest     []byte

	mu     sync.Mutex
	err    error // of reads, once broken is closed
	broken chan struct{}
	frozen chan struct{} // nothing passes until it is closed; nil: all does
}

func (w *town) stream(from, to shard.PeerID) (*tube, *tube) {
	a := &tube{town: w, from: from, to: to, in: make(chan []byte, 32), broken: make(chan struct{})}
	b := &tube{town: w, from: to, to: from, in: make(chan []byte, 32), broken: make(chan struct{})}
	a.far, b.far = b, a
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams[a], w.streams[b] = true, true
	return a, b
}

// end breaks one end; reads give err.
func (u *tube) end(err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.err == nil {
		u.err = err
		close(u.broken)
		u.town.mu.Lock()
		delete(u.town.streams, u)
		u.town.mu.Unlock()
	}
}

func (u *tube) freeze(c chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.frozen = c
}

func (u *tube) wait() {
	u.mu.Lock()
	frozen := u.frozen
	u.mu.Unlock()
	if frozen != nil {
		select {
		case <-frozen:
		case <-u.broken:
		}
	}
}

func (u *tube) Read(b []byte) (int, error) {
	for len(u.rest) == 0 {
		select {
		case u.rest = <-u.in:
			time.Sleep(time.Millisecond)
			u.wait()
		case <-u.broken:
			select {
			case u.rest = <-u.in: // it arrived before
				continue
			default:
			}
			return 0, u.err
		}
	}
	n := copy(b, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

func (u *tube) Write(b []byte) (int, error) {
	u.wait()
	select {
	case <-u.broken:
		return 0, u.err
	default:
	}
	select {
	case u.far.in <- append([]byte(nil), b...):
		return len(b), nil
	case <-u.broken:
		return 0, u.err
	case <-u.far.broken:
		return len(b), nil // nobody will read it
	}
}

// Close ends both ends: what was written still arrives.
func (u *tube) Close() error {
	u.end(io.ErrClosedPipe)
	u.far.end(io.EOF)
	return nil
}

var errSilent = errors.New("the peer fell silent")

func unreachable(p shard.PeerID, err error) error {
	return &shard.StageError{Peer: p, Code: shard.Unreachable, Text: err.Error()}
}

// dialFrom returns how a peer opens streams.
func (w *town) dialFrom(from shard.PeerID) func(context.Context, hop.Neighbour) (io.ReadWriteCloser, error) {
	return func(ctx context.Context, to hop.Neighbour) (io.ReadWriteCloser, error) {
		w.mu.Lock()
		p, cut := w.peers[to.Peer], w.cut[[2]shard.PeerID{from, to.Peer}]
		wait := time.Duration(w.rng.IntN(1500)) * time.Millisecond
		dead := p == nil || !p.alive && p.node.Sessions() < 0 || cut || p.hung != nil
		w.mu.Unlock()
		if dead {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
			return nil, unreachable(to.Peer, errSilent)
		}
		if from == to.Peer {
			return p.node.Local(), nil
		}
		a, b := w.stream(from, to.Peer)
		w.serving.Go(func() { p.node.Serve(context.Background(), b, from) })
		return a, nil
	}
}

// streamsOf returns the ends of streams of p, or between p and q if that is set.
func (w *town) streamsOf(p, q shard.PeerID) (near, far []*tube) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for u := range w.streams {
		if u.from == p && (q.IsZero() || u.to == q) {
			near = append(near, u)
		}
		if u.to == p && (q.IsZero() || u.from == q) {
			far = append(far, u)
		}
	}
	return near, far
}

// gone says that p can't be planned with or dialled.
func (w *town) gone(id shard.PeerID) *townsman {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.peers[id]
	if p != nil {
		delete(w.peers, id)
	}
	return p
}

// crash ends a peer as kill -9 does. Others notice after a while.
func (w *town) crash(id shard.PeerID, notice time.Duration) *townsman {
	p := w.gone(id)
	near, far := w.streamsOf(id, shard.PeerID{})
	for _, u := range near {
		u.end(io.ErrClosedPipe)
	}
	time.AfterFunc(notice, func() {
		for _, u := range far {
			u.end(unreachable(id, errSilent))
		}
	})
	p.node.Close()
	return p
}

// hang stops a peer for so long. Others notice after a while, it does not.
func (w *town) hang(id shard.PeerID, notice, long time.Duration) {
	w.mu.Lock()
	p := w.peers[id]
	wake := make(chan struct{})
	p.hung, p.alive = wake, false
	w.mu.Unlock()
	p.engine.hold(wake)
	near, far := w.streamsOf(id, shard.PeerID{})
	for _, u := range append(near, far...) {
		u.freeze(wake)
	}
	time.AfterFunc(notice, func() {
		for _, u := range far {
			u.end(unreachable(id, errSilent))
		}
	})
	time.AfterFunc(long, func() {
		p.engine.hold(nil)
		w.mu.Lock()
		p.hung, p.alive = nil, true
		w.tell()
		w.mu.Unlock()
		close(wake)
		time.AfterFunc(time.Second, func() { // now it notices
			for _, u := range near {
				u.end(unreachable(u.to, errSilent))
			}
		})
	})
}

// stall stops the computing of a peer for so long, and its streams stay.
func (w *town) stall(id shard.PeerID, long time.Duration) {
	w.mu.Lock()
	p := w.peers[id]
	w.mu.Unlock()
	wake := make(chan struct{})
	p.engine.hold(wake)
	time.AfterFunc(long, func() {
		p.engine.hold(nil)
		close(wake)
	})
}

// part has two peers lose sight of each other for so long.
func (w *town) part(p, q shard.PeerID, long time.Duration) {
	pair, back := [2]shard.PeerID{p, q}, [2]shard.PeerID{q, p}
	w.mu.Lock()
	w.cut[pair], w.cut[back] = true, true
	w.mu.Unlock()
	near, far := w.streamsOf(p, q)
	for _, u := range near {
		u.end(unreachable(q, errSilent))
	}
	for _, u := range far {
		u.end(unreachable(p, errSilent))
	}
	time.AfterFunc(long, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.cut, pair)
		delete(w.cut, back)
		w.tell()
	})
}

// rest lets time pass until nothing happens any more.
func (w *town) rest(long time.Duration) {
	time.Sleep(long)
	synctest.Wait()
}

// repair is Config.Repair.
func (w *town) repair(ctx context.Context, b pipeline.Broken) ([]pipeline.Stage, error) {
	began := time.Now()
	for {
		w.mu.Lock()
		pl := planner{rng: w.rng, holds: map[shard.PeerID]shard.Span{}, name: w.name}
		for id, p := range w.peers {
			if p.alive {
				pl.holds[id] = p.span
			}
		}
		out := pl.plan(b, append(append([]shard.PeerID{}, b.Lost...), b.Avoid...))
		if out == nil && time.Since(began) > time.Second && !b.Leaving {
			out = pl.plan(b, b.Avoid)
		}
		changed := w.changed
		w.mu.Unlock()
		if out != nil {
			return out, nil
		}
		select {
		case <-changed:
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, errors.New("waiting for layers")
		}
	}
}
