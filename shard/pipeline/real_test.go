package pipeline_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/node"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/story"
	"github.com/shardnode/shardnode/tensorio/par"
	"github.com/shardnode/shardnode/tensorio/wire"
)

// A crew is members of this process, joined by pipes, that hold real layers.
type crew struct {
	t     *testing.T
	route []pipeline.Stage
	nodes map[shard.PeerID]*node.Node
}

// newCrew returns members that hold the spans, each alone in its engine.
func newCrew(t *testing.T, file *weights.File, spans []shard.Span) *crew {
	t.Helper()
	c := &crew{t: t, nodes: map[shard.PeerID]*node.Node{}}
	for i, span := range spans {
		c.add(i, file, span, span)
	}
	return c
}

// add adds a member that holds layers and is the next stage, of span.
func (c *crew) add(i int, file *weights.File, holds, span shard.Span) {
	t := c.t
	t.Helper()
	cfg, err := model.ReadConfig(file.Meta())
	if err != nil {
		t.Fatal(err)
	}
	pool := par.New(1)
	t.Cleanup(pool.Close)
	m, err := model.Load(t.Context(), cfg, file, holds, model.Options{Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	e, err := engine.New(engine.Config{Model: m, KVBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	self := shard.PeerID{1, byte(i)}
	n, err := node.New(node.Config{Self: self, Name: fmt.Sprint("member", i), Dial: c.dialFrom(self)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	n.Hold(&node.Held{Span: holds, Layers: cfg.Layers, Dim: cfg.Dim, Vocab: cfg.Vocab, Engine: e})
	c.nodes[self] = n
	c.route = append(c.route, pipeline.Stage{Neighbour: hop.Neighbour{Peer: self, Name: fmt.Sprint("member", i)}, Span: span})
}

func (c *crew) dialFrom(self shard.PeerID) func(context.Context, hop.Neighbour) (io.ReadWriteCloser, error) {
	return func(_ context.Context, to hop.Neighbour) (io.ReadWriteCloser, error) {
		ours, theirs := net.Pipe()
		go c.nodes[to.Peer].Serve(context.Background(), theirs, self)
		return ours, nil
	}
}

func (c *crew) open(codec wire.Codec, chunk int) *pipeline.Session {
	c.t.Helper()
	s, err := pipeline.Open(c.t.Context(), pipeline.Config{
		Self: shard.PeerID{2}, Dial: c.dialFrom(shard.PeerID{2}), Route: c.route, MaxTokens: 128, ChunkTokens: chunk, Codec: codec,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// logits returns all logits of tokens: of a prompt at once, then one by one.
func (c *crew) logits(codec wire.Codec, chunk int, tokens []shard.Token) [][]float32 {
	c.t.Helper()
	s := c.open(codec, chunk)
	defer s.Close(c.t.Context())
	prompt := len(tokens) - 8
	res, err := s.Step(c.t.Context(), pipeline.Step{Tokens: tokens[:prompt], All: true, Full: true})
	if err != nil {
		c.t.Fatal(err)
	}
	out := res.Logits
	for pos := prompt; pos < len(tokens); pos++ {
		res, err := s.Step(c.t.Context(), pipeline.Step{Pos: shard.Pos(pos), Tokens: tokens[pos:][:1], Full: true})
		if err != nil {
			c.t.Fatal(err)
		}
		out = append(out, res.Logits...)
	}
	return out
}

// storyFile opens the embedded model.
func storyFile(t *testing.T) *weights.File {
	t.Helper()
	f, err := weights.OpenBytes(story.Name, story.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// split returns spans of so many layers each.
func split(sizes ...int) []shard.Span {
	var out []shard.Span
	at := shard.Layer(0)
	for _, n := range sizes {
		out = append(out, shard.Span{Start: at, End: at + shard.Layer(n)})
		at += shard.Layer(n)
	}
	return out
}

func TestEverySplitGivesTheSameBits(t *testing.T) {
	file := storyFile(t)
	tokens := make([]shard.Token, 45)
	for i := range tokens {
		tokens[i] = shard.Token(5 + i*37%400)
	}
	want := newCrew(t, file, split(6)).logits(wire.Raw, 512, tokens)
	if len(want) != 45 || slices.Equal(want[3], want[4]) {
		t.Fatalf("%d logits, or the same for two positions", len(want))
	}
	check := func(what string, got [][]float32) {
		t.Helper()
		for i := range want {
			for j := range want[i] {
				if math.Float32bits(got[i][j]) != math.Float32bits(want[i][j]) {
					t.Fatalf("%s: logit %d of position %d is %v, want %v", what, j, i, got[i][j], want[i][j])
				}
			}
		}
	}
	for _, sizes := range [][]int{{6}, {1, 5}, {2, 2, 2}, {1, 2, 1, 2}, {1, 1, 1, 1, 2}, {1, 1, 1, 1, 1, 1}} {
		c := newCrew(t, file, split(sizes...))
		for i, chunk := range []int{1, 7, 64} {
			codec := []wire.Codec{wire.Raw, wire.Planes, wire.Planes}[i]
			check(fmt.Sprintf("split %v, chunks of %d, %v", sizes, chunk, codec), c.logits(codec, chunk, tokens))
		}
	}
	whole := &crew{t: t, nodes: map[shard.PeerID]*node.Node{}} // members that hold more than they serve
	for i, span := range split(2, 3, 1) {
		whole.add(i, file, shard.Span{End: 6}, span)
	}
	check("parts of whole models", whole.logits(wire.Raw, 16, tokens))
}

func TestAMemberOfRealLayersThatClosesIsNamed(t *testing.T) {
	c := newCrew(t, storyFile(t), split(2, 2, 2))
	s := c.open(wire.Raw, 16)
	time.AfterFunc(5*time.Millisecond, func() { c.nodes[c.route[1].Peer].Close() })
	var err error
	began := time.Now()
	for pos := 0; err == nil; pos = (pos + 1) % 100 {
		_, err = s.Step(t.Context(), pipeline.Step{Pos: shard.Pos(pos), Tokens: []shard.Token{7}})
	}
	(&ring{t: t, route: c.route}).wantBlame(err, 1, shard.NotServing, shard.Unreachable)
	s.Close(t.Context())
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v, want 3 s at most", took)
	}
}
