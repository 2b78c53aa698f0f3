package member

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/node"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/transport/transporttest"
)

// What a layer of a town's model takes.
const (
	townLayerBytes = 100 << 20
	townKVBytes    = 1 << 10 // a token
)

// A town is a swarm in virtual time: real members and gossip on a simulated
// network, with made-up layers that take real time to fetch, load and run.
type town struct {
	t      *testing.T
	swarm  *transporttest.Swarm
	byID   []int // nodes, ascending by id: names get them in this order
	layers int
	fetch  time.Duration // a layer over the network
	load   time.Duration // a layer from the disk

	mu      sync.Mutex // guards what follows
	homes   []*home
	fetched int           // layers, since the last look
	gap     time.Time     // since when some layer has no holder; zero: all have
	outage  time.Duration // the longest one
	done    chan struct{}
	watch   sync.WaitGroup
}

// A home is a member's machine: it outlives the member.
type home struct {
	name   string
	at     int // the node's index
	memory int64
	claims time.Duration // what it says of its speed; 0: the truth
	speed  time.Duration // a layer and token
	disk   map[int]bool
	founds bool

	member *Member // nil while it does not run
	cancel context.CancelFunc
}

func newTown(t *testing.T, peers, layers int, link transporttest.Link) *town {
	t.Helper()
	w := &town{
		t: t, layers: layers, fetch: 100 * time.Millisecond, load: 20 * time.Millisecond, done: make(chan struct{}),
	}
	// memberlist's goroutines end a while after their shutdown.
	t.Cleanup(func() { time.Sleep(time.Minute) })
	w.swarm = transporttest.NewSwarm(t, peers, link, nil)
	for i := range peers {
		w.byID = append(w.byID, i)
	}
	slices.SortFunc(w.byID, func(a, b int) int { return strings.Compare(w.swarm.ID(a).String(), w.swarm.ID(b).String()) })
	w.watch.Go(w.look)
	t.Cleanup(func() {
		close(w.done)
		w.watch.Wait()
		for _, h := range w.homes {
			if h.member != nil {
				h.member.Close()
			}
		}
	})
	return w
}

// model is what placement knows of the town's model.
func (w *town) model() scheduler.Model {
	return scheduler.Model{
		Name: "toy", Layers: w.layers, LayerBytes: []int64{townLayerBytes}, EmbedBytes: 1 << 20, HeadBytes: 1 << 20,
		KVBytesPerTokenLayer: townKVBytes, HiddenBytes: 64,
	}
}

// room returns memory for so many layers and what comes with them.
func (w *town) room(layers int) int64 {
	return int64(layers)*(townLayerBytes+2*planTokens*townKVBytes) + 4<<20
}

// find returns the home with a name.
func (w *town) find(name string) *home {
	for _, h := range w.homes {
		if h.name == name {
			return h
		}
	}
	return nil
}

// start starts the member of h.
func (w *town) start(h *home) {
	w.t.Helper()
	var seeds []gossip.Seed
	for _, o := range w.homes {
		if o != h && o.member != nil && len(seeds) < 3 {
			seeds = append(seeds, gossip.Seed{Peer: w.swarm.ID(o.at), Addrs: []netip.AddrPort{transporttest.Addr(o.at)}})
		}
	}
	ctx, cancel := context.WithCancel(w.t.Context())
	m, err := Start(ctx, Config{
		Node: w.swarm.Nodes[h.at], Name: h.name, Seeds: seeds, CacheDir: "none", MemoryBytes: h.memory,
		Packs: &weights.Packs{}, // layers in two spans are in memory once
		stock: func(m *Member) stock { return &townStock{w, h, m} },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	h.member, h.cancel = m, cancel
}

// join adds a machine and starts its member.
func (w *town) join(h *home) {
	w.t.Helper()
	if len(w.homes) >= len(w.byID) {
		w.t.Fatalf("%s: the town has %d places", h.name, len(w.byID))
	}
	h.at, h.disk, h.founds = w.byID[len(w.homes)], map[int]bool{}, len(w.homes) == 0
	if h.founds {
		for l := range w.layers {
			h.disk[l] = true // it has the file
		}
	}
	w.mu.Lock()
	w.homes = append(w.homes, h)
	w.mu.Unlock()
	w.start(h)
}

// kill ends the member of h; others hear no word of it.
func (w *town) kill(h *home) {
	w.swarm.Kill(h.at)
	w.stop(h)
}

func (w *town) stop(h *home) {
	w.mu.Lock()
	m := h.member
	h.member = nil
	w.mu.Unlock()
	m.Close()
	h.cancel()
}

// leave has the member of h leave.
func (w *town) leave(h *home) {
	ctx, stop := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer stop()
	if err := h.member.Drain(ctx); err != nil {
		w.t.Errorf("%s: drain: %v", h.name, err)
	}
	w.stop(h)
	_ = w.swarm.Nodes[h.at].Close()
}

// restart starts the member of h again, with its identity and its disk.
func (w *town) restart(h *home) {
	w.t.Helper()
	w.swarm.Restart(h.at)
	w.start(h)
}

// held returns what the member of h holds now, in truth.
func (h *home) held() shard.Span {
	if h.member == nil {
		return shard.Span{}
	}
	h.member.mu.Lock()
	defer h.member.mu.Unlock()
	if h.member.loaded == nil {
		return shard.Span{}
	}
	return h.member.loaded.Span
}

// holders returns how many members hold each layer, in truth.
func (w *town) holders() []int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := make([]int, w.layers)
	for _, h := range w.homes {
		s := h.held()
		for l := s.Start; l < s.End; l++ {
			n[l]++
		}
	}
	return n
}

// look measures outages until the town ends.
func (w *town) look() {
	begun := false
	for {
		select {
		case <-w.done:
			return
		case <-time.After(50 * time.Millisecond):
		}
		n := slices.Min(w.holders())
		begun = begun || n > 0
		w.mu.Lock()
		switch {
		case n > 0:
			w.gap = time.Time{}
		case begun && w.gap.IsZero():
			w.gap = time.Now()
		case begun:
			w.outage = max(w.outage, time.Since(w.gap))
		}
		w.mu.Unlock()
	}
}

// within waits until ok holds, and returns how long that took; false if it
// took longer than limit.
func (w *town) within(limit time.Duration, ok func() bool) (time.Duration, bool) {
	began := time.Now()
	for !ok() {
		if time.Since(began) > limit {
			return time.Since(began), false
		}
		time.Sleep(50 * time.Millisecond)
		synctest.Wait() // all have done what they do at this time
	}
	return time.Since(began), true
}

// layout returns what members hold now.
func (w *town) layout() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, h := range w.homes {
		switch s := h.held(); {
		case h.member == nil:
			fmt.Fprintf(&b, "%s is gone\n", h.name)
		case s.Len() == 0:
			fmt.Fprintf(&b, "%s holds nothing\n", h.name)
		default:
			fmt.Fprintf(&b, "%s holds %v\n", h.name, s)
		}
	}
	return b.String()
}

// doings returns what members say that they do, for failures.
func (w *town) doings() string {
	var b strings.Builder
	for _, h := range w.homes {
		if h.member != nil {
			d := h.member.view().target()
			fmt.Fprintf(&b, "%s of %d MiB: %s; it should hold %v: %s\n", h.name, h.memory>>20, h.member.Status().Doing, d.span, d.why)
		}
	}
	return b.String()
}

// route returns the stages that a session of h would take.
func (w *town) route(h *home) string {
	route, err := h.member.route(h.member.Status().Model, 256, 0, nil)
	if err != nil {
		return err.Error()
	}
	var parts []string
	for _, s := range route.Stages {
		parts = append(parts, fmt.Sprintf("%s %v", s.Name, s.Span))
	}
	return strings.Join(parts, ", ")
}

// A townStock is where a member of a town gets its layers from.
type townStock struct {
	w *town
	h *home
	m *Member
}

func (s *townStock) learn(ctx context.Context) error {
	for !s.h.founds {
		changed := s.m.Changed()
		if id, _ := s.m.wanted(); !id.IsZero() {
			break
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-changed:
		}
	}
	s.m.set(func() {
		s.m.about = &About{
			Name: "toy", ID: shard.ModelID{7}, Config: model.Config{Layers: s.w.layers, Context: 4096, Dim: 4, Vocab: 8},
			Since: time.Now(), plan: s.w.model(),
		}
	})
	return nil
}

func (s *townStock) source(ctx context.Context, span shard.Span) (Source, error) {
	for l := span.Start; l < span.End; l++ {
		if s.has(s.h, int(l)) {
			continue
		}
		if !s.offered(int(l)) {
			return nil, &retryError{fmt.Errorf("no member has layer %d", l)}
		}
		if err := nap(ctx, s.w.fetch); err != nil {
			return nil, err
		}
		s.w.mu.Lock()
		s.h.disk[int(l)] = true
		s.w.fetched++
		s.w.mu.Unlock()
		s.m.progress(span, int64(l-span.Start+1), int64(span.Len()))
	}
	return nil, nil //nolint:nilnil // bring needs none
}

func (s *townStock) has(h *home, l int) bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return h.disk[l]
}

// offered reports whether a member that is alive in this one's view has layer
// l on its disk.
func (s *townStock) offered(l int) bool {
	for _, g := range s.m.gossip.View() {
		for _, h := range s.w.homes {
			if g.Alive && s.w.swarm.ID(h.at) == g.Peer && h != s.h && s.has(h, l) {
				return true
			}
		}
	}
	return false
}

func (s *townStock) bring(ctx context.Context, _ Source, span shard.Span, memoryBytes int64) (*Loaded, error) {
	if err := nap(ctx, time.Duration(span.Len())*s.w.load); err != nil {
		return nil, err
	}
	m := s.w.model()
	l := &Loaded{
		Config: s.m.about.Config, Span: span, WeightBytes: m.WeightBytes(span), tokenBytes: int64(span.Len()) * townKVBytes,
		Engine: &townEngine{w: s.w, h: s.h},
	}
	if l.WeightBytes > memoryBytes {
		return nil, &model.TooBigError{Span: span, NeedBytes: l.WeightBytes, LimitBytes: memoryBytes}
	}
	l.KVBytes = min(memoryBytes-l.WeightBytes, 2*4096*l.tokenBytes)
	l.Speed, _ = l.Engine.MeasureSpeed(ctx, 0)
	l.held = &node.Held{Model: s.m.about.ID, Span: span, Layers: s.w.layers, Dim: 4, Vocab: 8, Engine: l.Engine}
	return l, nil
}

// nap waits in virtual time.
func nap(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A townEngine runs made-up layers.
type townEngine struct {
	w *town
	h *home
}

func (e *townEngine) OpenShared(shard.SessionID, shard.Span, int, []kvcache.Key) (shard.Pos, error) {
	return 0, nil
}

func (e *townEngine) Step(context.Context, engine.Step) (engine.Result, error) {
	return engine.Result{Hidden: []uint16{1, 2, 3, 4}}, nil
}

func (e *townEngine) More(context.Context, shard.SessionID) ([]float32, error) { return nil, nil }
func (e *townEngine) CloseSession(shard.SessionID)                             {}
func (e *townEngine) Close()                                                   {}

func (e *townEngine) Stats() engine.Stats {
	return engine.Stats{KV: kvcache.Stats{BudgetBytes: 1 << 30}}
}

func (e *townEngine) MeasureSpeed(context.Context, time.Duration) (engine.Speed, error) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	d := e.h.speed
	if e.h.claims > 0 {
		d = e.h.claims
	}
	return engine.Speed{DecodePerLayer: d, PrefillPerLayer: d / 4}, nil
}
