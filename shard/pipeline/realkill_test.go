package pipeline_test

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/node"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/tensorio/par"
)

// A troupe is members of this process with real engines, some of which are
// killed and come back: the engines stay, as weights on a disk do.
type troupe struct {
	t    *testing.T
	held []*node.Held

	mu      sync.Mutex // guards what follows
	nodes   []*node.Node
	streams []map[net.Conn]bool // by peer
	kills   int
}

func newTroupe(t *testing.T, spans []shard.Span) *troupe {
	t.Helper()
	file := storyFile(t)
	cfg, err := model.ReadConfig(file.Meta())
	if err != nil {
		t.Fatal(err)
	}
	tr := &troupe{t: t}
	for _, span := range spans {
		pool := par.New(1)
		t.Cleanup(pool.Close)
		m, err := model.Load(t.Context(), cfg, file, span, model.Options{Pool: pool})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		e, err := engine.New(engine.Config{Model: m, KVBytes: 16 << 20})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		tr.held = append(tr.held, &node.Held{Span: span, Layers: cfg.Layers, Dim: cfg.Dim, Vocab: cfg.Vocab, Engine: e})
		tr.nodes, tr.streams = append(tr.nodes, nil), append(tr.streams, map[net.Conn]bool{})
		tr.start(len(tr.nodes) - 1)
	}
	t.Cleanup(func() {
		for i := range tr.nodes {
			tr.kill(i, false)
		}
	})
	return tr
}

func troupeID(i int) shard.PeerID { return shard.PeerID{3, byte(i)} }

// start brings member i to life.
func (tr *troupe) start(i int) {
	n, err := node.New(node.Config{Self: troupeID(i), Name: string(rune('a' + i)), Dial: tr.dialFrom(troupeID(i))})
	if err != nil {
		tr.t.Error(err)
		return
	}
	n.Hold(tr.held[i])
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.nodes[i] = n
}

// kill ends member i and all its streams, and starts it again.
func (tr *troupe) kill(i int, again bool) {
	tr.mu.Lock()
	n := tr.nodes[i]
	if n == nil { // it is being killed
		tr.mu.Unlock()
		return
	}
	tr.nodes[i] = nil
	streams := tr.streams[i]
	tr.streams[i] = map[net.Conn]bool{}
	tr.mu.Unlock()
	for c := range streams {
		_ = c.Close()
	}
	n.Close()
	if bytes := n.LogBytes(); bytes != 0 {
		tr.t.Errorf("a member that was killed has %d bytes of logs", bytes)
	}
	if again {
		tr.start(i)
	}
}

func (tr *troupe) dialFrom(self shard.PeerID) func(context.Context, hop.Neighbour) (io.ReadWriteCloser, error) {
	return func(_ context.Context, to hop.Neighbour) (io.ReadWriteCloser, error) {
		i := int(to.Peer[1])
		tr.mu.Lock()
		defer tr.mu.Unlock()
		n := tr.nodes[i]
		if n == nil {
			return nil, &shard.StageError{Peer: to.Peer, Code: shard.Unreachable, Text: "it is dead"}
		}
		ours, theirs := net.Pipe()
		tr.streams[i][theirs] = true
		if self[0] == 3 {
			tr.streams[self[1]][ours] = true
		}
		go n.Serve(context.Background(), theirs, self)
		return ours, nil
	}
}

// TestRealKillsGiveTheSameLogits kills members with real engines a hundred
// times and compares the hashes of all logits with an undisturbed run's.
func TestRealKillsGiveTheSameLogits(t *testing.T) {
	kills := 100
	if testing.Short() {
		kills = 10
	}
	start := *seed
	if start == 0 {
		start = rand.Uint64()
	}
	rng := rand.New(rand.NewPCG(start, 5))
	spans := []shard.Span{{End: 2}, {Start: 2, End: 4}, {Start: 4, End: 6}, {End: 3}, {Start: 3, End: 6}, {End: 6}}
	tr := newTroupe(t, spans)
	for tr.kills < kills && !t.Failed() {
		tr.compare(rng)
	}
	if t.Failed() {
		t.Fatalf("run again with -seed %d", start)
	}
}

// compare runs the same random tokens with and without kills.
func (tr *troupe) compare(rng *rand.Rand) {
	t := tr.t
	tokens := make([]shard.Token, 20+rng.IntN(80))
	for i := range tokens {
		tokens[i] = shard.Token(5 + rng.IntN(400))
	}
	prompt := 1 + rng.IntN(len(tokens)-12)
	pl := planner{rng: rng, holds: map[shard.PeerID]shard.Span{}, name: func(p shard.PeerID) string { return string(rune('a' + p[1])) }}
	for i, h := range tr.held {
		pl.holds[troupeID(i)] = h.Span
	}
	want := tr.logits(pl.plan(pipeline.Broken{}, nil), nil, tokens, prompt, nil)
	route := pl.plan(pipeline.Broken{}, nil)
	strikes := map[int]bool{}
	for range 1 + rng.IntN(5) {
		strikes[prompt+rng.IntN(len(tokens)-prompt)] = true
	}
	var killing sync.WaitGroup
	got := tr.logits(route, &pl, tokens, prompt, func(pos int, s *pipeline.Session) {
		if !strikes[pos] {
			return
		}
		now := s.Route()
		victim := int(now[rng.IntN(len(now))].Peer[1])
		tr.kills++
		if wait := rng.IntN(300); rng.IntN(3) > 0 { // while the step is under way
			killing.Go(func() {
				for range wait { // somewhere within the step
					runtime.Gosched()
				}
				tr.kill(victim, true)
			})
			return
		}
		tr.kill(victim, true)
	})
	killing.Wait()
	if !slices.Equal(got, want) {
		t.Errorf("the logits of %d tokens have other hashes after kills", len(tokens))
	}
}

// logits returns a hash of the logits of each position.
func (tr *troupe) logits(route []pipeline.Stage, pl *planner, tokens []shard.Token, prompt int, before func(int, *pipeline.Session)) []uint64 {
	t := tr.t
	t.Helper()
	cfg := pipeline.Config{
		Self: shard.PeerID{2}, Dial: tr.dialFrom(shard.PeerID{2}), Route: route, MaxTokens: 128, ChunkTokens: 16, KV: kvcache.Float16,
	}
	if pl != nil {
		var mu sync.Mutex
		cfg.Repair = func(ctx context.Context, b pipeline.Broken) ([]pipeline.Stage, error) {
			mu.Lock()
			defer mu.Unlock()
			for {
				out := pl.plan(b, slices.Concat(b.Lost, b.Avoid))
				if out == nil {
					out = pl.plan(b, nil)
				}
				if out != nil || ctx.Err() != nil {
					return out, ctx.Err()
				}
			}
		}
	}
	s, err := pipeline.Open(t.Context(), cfg)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer s.Close(t.Context())
	var out []uint64
	add := func(rows [][]float32) {
		for _, row := range rows {
			h := fnv.New64a()
			for _, x := range row {
				_ = binary.Write(h, binary.LittleEndian, math.Float32bits(x)) // a hash takes all
			}
			out = append(out, h.Sum64())
		}
	}
	res, err := s.Step(t.Context(), pipeline.Step{Tokens: tokens[:prompt], All: true, Full: true})
	add(res.Logits)
	for pos := prompt; err == nil && pos < len(tokens); pos++ {
		if before != nil {
			before(pos, s)
		}
		res, err = s.Step(t.Context(), pipeline.Step{Pos: shard.Pos(pos), Tokens: tokens[pos:][:1], Full: true})
		add(res.Logits)
	}
	if err != nil {
		t.Error(err)
	}
	return out
}
