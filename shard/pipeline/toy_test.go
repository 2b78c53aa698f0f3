package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/node"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/transport"
	"github.com/shardnode/shardnode/transport/transporttest"
)

// Sizes of the toy model: a pure function of a session's history.
const (
	toyLayers = 6
	toyDim    = 4
	toyVocab  = 11
)

// A toy is an engine whose layers hash what they have seen.
type toy struct {
	perToken time.Duration // what a token takes
	room     int           // sessions that fit
	gate     chan struct{} // if set, a step waits until it is closed
	jam      chan struct{} // as gate, and its context does not help

	mu       sync.Mutex
	sessions map[shard.SessionID]*toySession
	prefixes map[kvcache.Key][][]uint64 // what sessions have seen, by layer
	computed int                        // positions
	claim    shard.Pos                  // added to what is ready
	wrong    bool                       // its results are
}

type toySession struct {
	span shard.Span
	max  int
	seen [][]uint64 // [layers, positions], what a layer has seen up to a position
	last []float32
}

func newToy() *toy {
	return &toy{room: 100, sessions: map[shard.SessionID]*toySession{}, prefixes: map[kvcache.Key][][]uint64{}}
}

// hold has steps wait until gate is closed; nil lets them pass.
func (e *toy) hold(gate chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gate = gate
}

// stuck has steps wait until jam is closed, whatever their context says.
func (e *toy) stuck(jam chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.jam = jam
}

func (e *toy) open() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.sessions)
}

func (e *toy) OpenShared(id shard.SessionID, span shard.Span, maxTokens int, keys []kvcache.Key) (shard.Pos, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.sessions) >= e.room {
		return 0, &shard.StageError{Span: span, Code: shard.NoCapacity, Text: "the toy is full"}
	}
	s := &toySession{span: span, max: maxTokens, seen: make([][]uint64, span.Len())}
	e.sessions[id] = s
	ready := e.claim
	for _, key := range keys {
		seen := e.prefixes[key]
		if seen == nil {
			break
		}
		for l := range seen {
			s.seen[l] = slices.Clone(seen[l])
		}
		ready += kvcache.KeyTokens
	}
	return ready, nil
}

func (e *toy) CloseSession(id shard.SessionID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sessions, id)
}

func (e *toy) Step(ctx context.Context, st engine.Step) (engine.Result, error) {
	rows := max(len(st.Tokens), len(st.Hidden)/toyDim)
	e.mu.Lock()
	work, jam := time.Duration(rows)*e.perToken, e.jam
	e.mu.Unlock()
	if jam != nil {
		<-jam
	}
	select {
	case <-ctx.Done():
		return engine.Result{}, ctx.Err()
	case <-time.After(work):
	}
	e.mu.Lock()
	gate := e.gate
	e.mu.Unlock()
	if gate != nil {
		select {
		case <-ctx.Done():
			return engine.Result{}, ctx.Err()
		case <-gate:
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sessions[st.Session]
	if s == nil {
		return engine.Result{}, &shard.StageError{Code: shard.Stale, Text: "not open"}
	}
	res := engine.Result{Compute: work}
	for r := range rows {
		state := []uint16{0, 0, 0, 0}
		if st.Tokens != nil {
			state[0] = uint16(st.Tokens[r])
		} else {
			copy(state, st.Hidden[r*toyDim:])
		}
		if err := s.layers(state, int(st.Pos)+r); err != nil {
			return res, err
		}
		if e.wrong {
			state[0] ^= 1
		}
		s.give(&res, st, state, r == rows-1)
	}
	e.computed += rows
	for i, key := range st.Keys {
		end := (int(st.Pos)/kvcache.KeyTokens + i + 1) * kvcache.KeyTokens
		seen := make([][]uint64, len(s.seen))
		for l := range seen {
			seen[l] = slices.Clone(s.seen[l][:end])
		}
		if e.prefixes[key] == nil { // what is there stays, as in kvcache
			e.prefixes[key] = seen
		}
	}
	return res, nil
}

// layers runs the session's layers on the state at a position.
func (s *toySession) layers(state []uint16, pos int) error {
	for l := range s.seen {
		if pos > len(s.seen[l]) {
			return &shard.StageError{Span: s.span, Code: shard.Gap, Text: "positions are missing"}
		}
		s.seen[l] = s.seen[l][:pos]
		before := uint64(0)
		if pos > 0 {
			before = s.seen[l][pos-1]
		}
		h := fnv.New64a()
		fmt.Fprint(h, before, state, int(s.span.Start)+l)
		sum := h.Sum64()
		s.seen[l] = append(s.seen[l], sum)
		for i := range state {
			state[i] = uint16(sum >> (16 * i))
		}
	}
	return nil
}

// give adds to res what the last layer of the span makes of state.
func (s *toySession) give(res *engine.Result, st engine.Step, state []uint16, last bool) {
	if s.span.End < toyLayers {
		res.Hidden = append(res.Hidden, state...)
		return
	}
	logits := make([]float32, toyVocab)
	for i := range logits {
		logits[i] = float32(state[i%toyDim]>>(i%5)) / 1024
	}
	s.last = logits
	if st.Want == engine.LogitsAll || st.Want == engine.LogitsLast && last {
		res.Dists = append(res.Dists, sample.Summarize(logits, st.Summary))
		if st.Full {
			res.Logits = append(res.Logits, logits...)
		}
	}
}

func (e *toy) More(_ context.Context, id shard.SessionID) ([]float32, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.sessions[id].last), nil
}

// truth returns the logits of every position of tokens, by one toy.
func truth(t *testing.T, tokens []shard.Token) [][]float32 {
	t.Helper()
	e, id := newToy(), shard.NewSessionID()
	if _, err := e.OpenShared(id, shard.Span{End: toyLayers}, 1000, nil); err != nil {
		t.Fatal(err)
	}
	res, err := e.Step(t.Context(), engine.Step{Session: id, Tokens: tokens, Want: engine.LogitsAll, Full: true})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(slices.Chunk(res.Logits, toyVocab))
}

// A ring is a driver (peer 0) and members (peers 1 and up) on a simulated
// network.
type ring struct {
	*transporttest.Swarm
	t       *testing.T
	nodes   []*node.Node // of peers 1 and up
	engines []*toy
	route   []pipeline.Stage
}

// toyModel names the model that rings serve.
var toyModel = shard.ModelID{1, 2, 3}

// newRing returns a ring whose members hold so many layers each.
func newRing(t *testing.T, sizes ...int) *ring { return newRingOf(t, 0, sizes...) }

func newRingOf(t *testing.T, more int, sizes ...int) *ring {
	t.Helper()
	r := &ring{t: t, Swarm: transporttest.NewSwarm(t, 1+len(sizes)+more, transporttest.Link{Latency: 5 * time.Millisecond}, nil)}
	r.Introduce()
	at := shard.Layer(0)
	for i, size := range sizes {
		span := shard.Span{Start: at, End: at + shard.Layer(size)}
		r.serve(i+1, span)
		r.route = append(r.route, pipeline.Stage{
			Neighbour: hop.Neighbour{Peer: r.ID(i + 1), Name: fmt.Sprint("peer", i+1)}, Span: span,
		})
		at = span.End
	}
	return r
}

// newRingBeside is newRing with one more peer that holds the first stage's layers.
func newRingBeside(t *testing.T, sizes ...int) *ring {
	t.Helper()
	r := newRingOf(t, 1, sizes...)
	r.serve(len(sizes)+1, r.route[0].Span)
	return r
}

func (r *ring) serve(peer int, span shard.Span) {
	e, tn := newToy(), r.Nodes[peer]
	n, err := node.New(node.Config{Self: tn.ID(), Name: fmt.Sprint("peer", peer), Dial: r.dial(peer), Logger: zerolog.Nop()})
	if err != nil {
		r.t.Fatal(err)
	}
	n.Hold(&node.Held{Model: toyModel, Span: span, Layers: toyLayers, Dim: toyDim, Vocab: toyVocab, Engine: e})
	tn.Handle(hop.Protocol, func(ctx context.Context, s *transport.Stream) { n.Serve(ctx, s, s.Peer()) })
	r.t.Cleanup(n.Close)
	r.nodes, r.engines = append(r.nodes, n), append(r.engines, e)
}

func (r *ring) dial(from int) func(context.Context, hop.Neighbour) (io.ReadWriteCloser, error) {
	return func(ctx context.Context, to hop.Neighbour) (io.ReadWriteCloser, error) {
		if from > 0 && to.Peer == r.ID(from) { // it is several stages of a session
			return r.nodes[from-1].Local(), nil
		}
		return r.Nodes[from].Open(ctx, to.Peer, hop.Protocol)
	}
}

func (r *ring) config() pipeline.Config {
	return pipeline.Config{
		Self: r.ID(0), Name: "driver", Dial: r.dial(0), Model: toyModel, Route: r.route, MaxTokens: 400, ChunkTokens: 7,
	}
}

func (r *ring) session() *pipeline.Session {
	r.t.Helper()
	s, err := pipeline.Open(r.t.Context(), r.config())
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// wantIdle fails the test unless no member has a session within a while.
func (r *ring) wantIdle(within time.Duration, but ...int) {
	r.t.Helper()
	time.Sleep(within)
	synctest.Wait()
	for i, n := range r.nodes {
		if slices.Contains(but, i+1) {
			continue
		}
		if n.Sessions() != 0 || r.engines[i].open() != 0 {
			r.t.Errorf("peer%d still has %d sessions, its engine %d, after %v", i+1, n.Sessions(), r.engines[i].open(), within)
		}
	}
}

// toyTokens returns n tokens.
func toyTokens(n int) []shard.Token {
	out := make([]shard.Token, n)
	for i := range out {
		out[i] = shard.Token(i * 7 % toyVocab)
	}
	return out
}

// wantBlame fails the test unless err names the stage with the given index.
func (r *ring) wantBlame(err error, stage int, codes ...shard.Code) {
	r.t.Helper()
	got, ok := errors.AsType[*shard.StageError](err)
	want := r.route[stage]
	if !ok || got.Peer != want.Peer || got.Name != want.Name || got.Span != want.Span {
		r.t.Errorf("error %v, want one that names %s, layers %v", err, want.Name, want.Span)
		return
	}
	if len(codes) > 0 && !slices.Contains(codes, got.Code) {
		r.t.Errorf("error %v has code %v, want one of %v", err, got.Code, codes)
	}
}

// cut delays what travels between two peers beyond all patience.
func cut(a, b int) func(from, to netip.AddrPort) time.Duration {
	return func(from, to netip.AddrPort) time.Duration {
		if from == transporttest.Addr(a) && to == transporttest.Addr(b) || from == transporttest.Addr(b) && to == transporttest.Addr(a) {
			return time.Hour
		}
		return 0
	}
}
