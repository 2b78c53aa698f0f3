package member

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/story"
	"github.com/shardnode/shardnode/transport"
)

// patience bounds every wait of a test on a machine that is busy.
const patience = time.Minute

// A peer is a member on a socket of its own on loopback.
type peer struct {
	*Member

	id   transport.Identity
	node *transport.Node
	said *said

	asks   shard.ModelID // the model that answers; zero: its own
	told   func()        // called at every token of an answer; nil: nothing is
	mended int           // losses in the last answer
	cached int           // tokens of the last answer's prompt that were there from before
}

// said collects what a member tells a person.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) notify(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(&s.text, format+"\n", args...)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// A swarm makes members of one swarm.
type swarm struct {
	t     *testing.T
	key   transport.SwarmKey
	seeds []gossip.Seed
	role  transport.Role // of members that start from now on
}

func newSwarm(t *testing.T) *swarm {
	t.Helper()
	return &swarm{t: t, key: transport.NewSwarmKey(), role: transport.RoleServe | transport.RoleClient}
}

func storyFile(t *testing.T) *weights.File {
	t.Helper()
	f, err := weights.OpenBytes(story.Name, story.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func withFile(t *testing.T) func(*Config) {
	t.Helper()
	f := storyFile(t)
	return func(c *Config) { c.File, c.ModelName = f, story.Name }
}

// start starts a member; the first one is the seed of the others.
func (s *swarm) start(name string, change ...func(*Config)) *peer {
	s.t.Helper()
	return s.startAs(transport.NewIdentity(), name, change...)
}

func (s *swarm) startAs(id transport.Identity, name string, change ...func(*Config)) *peer {
	s.t.Helper()
	membership, err := s.key.Issue(id.Public(), s.role, time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	n, err := transport.Listen(transport.Config{Identity: id, Membership: membership, ListenAddr: "127.0.0.1:0"})
	if err != nil {
		s.t.Fatal(err)
	}
	p := &peer{id: id, node: n, said: &said{}}
	cfg := Config{
		Node: n, Name: name, Seeds: s.seeds, CacheDir: s.t.TempDir(), MemoryBytes: 1 << 30, Threads: 1, Notify: p.said.notify,
	}
	for _, f := range change {
		f(&cfg)
	}
	if p.Member, err = Start(s.t.Context(), cfg); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(p.end)
	if len(s.seeds) == 0 {
		s.seeds = []gossip.Seed{{Peer: id.ID(), Addrs: []netip.AddrPort{n.Addr()}}}
	}
	return p
}

// end ends a member without a word to others.
func (p *peer) end() {
	p.Close()
	_ = p.node.Close()
}

// until waits until cond holds for what p sees.
func (p *peer) until(t *testing.T, what string, cond func(Status) bool) Status {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for {
		changed := p.Changed()
		st := p.Status()
		if cond(st) {
			return st
		}
		select {
		case <-changed:
		case <-ctx.Done():
			var b strings.Builder
			for _, m := range st.Members {
				fmt.Fprintf(&b, "\n%s alive %v left %v: %+v", m.Advert.Name, m.Alive, m.Left, m.Advert)
			}
			t.Fatalf("never came: %s; the member is %s%s\nit said:\n%s", what, st.Doing, b.String(), p.said)
		}
	}
}

// spanOf returns what st says that a member holds.
func spanOf(st Status, name string) shard.Span {
	for _, m := range st.Members {
		if m.Alive && m.Advert.Name == name && m.Advert.State == gossip.Serving {
			return m.Advert.Span
		}
	}
	return shard.Span{}
}

// serves waits until all the members named serve, and every layer is held.
func (p *peer) serves(t *testing.T, names ...string) Status {
	t.Helper()
	return p.until(t, fmt.Sprintf("%v serve all layers", names), func(st Status) bool {
		return st.MinHolders > 0 && !slices.ContainsFunc(names, func(n string) bool { return spanOf(st, n).Len() == 0 })
	})
}

// ids returns what the swarm answers, as seen from p, and the members it came
// over. A machine that is very busy looks like a dead one: then it asks again.
func (p *peer) ids(t *testing.T) (ids []shard.Token, over []string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for {
		ids, over, err := p.answer(ctx)
		if err == nil {
			return ids, over
		}
		if code := shard.CodeOf(err); ctx.Err() != nil || code != shard.Unreachable && code != shard.TimedOut {
			t.Fatalf("answer over %v: %v", over, err)
		}
	}
}

func (p *peer) answer(ctx context.Context) (ids []shard.Token, over []string, err error) {
	const tokens = 192 // the toy makes 126 of the prompt
	about, err := p.Learn(ctx, p.asks)
	if err != nil {
		return nil, nil, err
	}
	prompt := about.Text.RawPrompt(strings.Repeat("Once upon a time there was a little fox. ", 6))
	sess, route, err := p.Open(ctx, SessionConfig{Model: p.asks, Tokens: tokens, Prompt: prompt})
	if err != nil {
		return nil, nil, err
	}
	defer func() { p.mended = len(sess.Close(ctx).Recoveries) }()
	for _, s := range route.Stages {
		over = append(over, s.Name)
	}
	tl := generate.NewTimeline(about.Text, sess, tokens)
	tl.Holds(prompt[:sess.Ready()])
	ans, err := tl.Run(ctx, generate.Request{
		Prompt: prompt, MaxTokens: 20, Sampling: sample.Params{},
	}, func(generate.Token) error {
		if p.told != nil {
			p.told()
		}
		return nil
	})
	p.cached = ans.Times.CachedTokens
	return ans.IDs, over, err
}

func TestJoinerTakesAShareAndLeaves(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	a := s.start("a", withFile(t))
	a.serves(t, "a")
	alone, over := a.ids(t)
	if len(alone) != 20 || !slices.Equal(over, []string{"a"}) {
		t.Fatalf("alone: %d ids over %v, want 20 over a", len(alone), over)
	}

	b := s.start("b")
	st := a.serves(t, "a", "b")
	b.serves(t, "a", "b")
	got := spanOf(st, "b")
	layers := st.Model.Config.Layers
	if got.Len() == 0 || got.Len() >= layers || spanOf(st, "a").Len() != layers {
		t.Errorf("the joiner holds %v of %d layers, and the founder %v", got, layers, spanOf(st, "a"))
	}
	whole := weights.Part{Span: shard.Span{End: shard.Layer(layers)}, Embed: true, Head: true}
	part := weights.Part{Span: got, Embed: got.Start == 0, Head: int(got.End) == layers}
	b.mu.Lock()
	partial := b.partial
	b.mu.Unlock()
	if _, missing := partial.Missing(part); missing != 0 {
		t.Errorf("%d bytes of layers %v were not fetched", missing, got)
	}
	if _, missing := partial.Missing(whole); missing < partial.PartBytes(whole)-partial.PartBytes(part) {
		t.Errorf("only %d of %d bytes are missing: more than its layers was fetched", missing, partial.PartBytes(whole))
	}
	for _, p := range []*peer{a, b} {
		ids, over := p.ids(t)
		if !slices.Equal(ids, alone) {
			t.Errorf("over %v: ids %v, alone %v", over, ids, alone)
		}
		if len(over) != 2 {
			t.Errorf("over %v, want both members", over)
		}
		if again, over2 := p.ids(t); !slices.Equal(again, ids) || slices.Equal(over, over2) && p.cached == 0 {
			t.Errorf("the same again: ids %v over %v with %d tokens from before, want %v over %v with some", again, over2, p.cached, ids, over)
		}
	}

	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := b.Drain(ctx); err != nil {
		t.Fatalf("drain: %v", err)
	}
	b.end()
	a.until(t, "b has left, on purpose", func(st Status) bool {
		return slices.ContainsFunc(st.Members, func(m gossip.Member) bool { return m.Advert.Name == "b" && !m.Alive && m.Left })
	})
	if ids, over := a.ids(t); !slices.Equal(ids, alone) || len(over) != 1 {
		t.Errorf("after b left: ids %v over %v, alone %v", ids, over, alone)
	}
}

// halfMemory is memory for the first layers of the story model, and not for all.
func halfMemory(t *testing.T) int64 {
	t.Helper()
	f := storyFile(t)
	return f.PartBytes(weights.Part{Span: shard.Span{End: 2}, Embed: true}) + 2<<20
}

func TestFounderWithTooLittleMemoryWaitsForAnother(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	a := s.start("a", withFile(t), func(c *Config) { c.MemoryBytes = halfMemory(t) })
	st := a.until(t, "a holds some layers, and says what is missing", func(st Status) bool {
		return spanOf(st, "a").Len() > 0 && strings.Contains(st.Doing, "nobody holds layers")
	})
	if st.MinHolders != 0 {
		t.Fatalf("a holds %v, all of the model, with %d bytes", spanOf(st, "a"), halfMemory(t))
	}
	var none *NoRouteError
	if _, _, err := a.Open(t.Context(), SessionConfig{Tokens: 64}); !errors.As(err, &none) {
		t.Errorf("open gives %v, want that there is no route", err)
	}
	b := s.start("b")
	b.serves(t, "a", "b")
	a.serves(t, "a", "b")
	ids, over := b.ids(t)
	if len(ids) != 20 || len(over) != 2 {
		t.Errorf("%d ids over %v, want 20 over both", len(ids), over)
	}
}

func TestOwnFileOfOtherBytesIsNotUsed(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	a := s.start("a", withFile(t))
	about := a.serves(t, "a").Model
	other := bytes.Clone(story.Bytes())
	f, err := weights.OpenBytes("other.gguf", other)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(other) / 4; i < len(other); i += 1000 {
		other[i] ^= 1
	}
	b := s.start("b", func(c *Config) { c.File, c.Model, c.ModelName = f, about.ID, about.Name })
	a.serves(t, "a", "b")
	for _, want := range []string{"is not the swarm's model", "every piece verified"} {
		if !strings.Contains(b.said.String(), want) {
			t.Errorf("b does not say %q:\n%s", want, b.said)
		}
	}
}

func TestOwnFileOfTheModelIsUsed(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	a := s.start("a", withFile(t))
	about := a.serves(t, "a").Model
	b := s.start("b", withFile(t), func(c *Config) { c.Model = about.ID })
	a.serves(t, "a", "b")
	if strings.Contains(b.said.String(), "fetched") {
		t.Errorf("b fetches what it has:\n%s", b.said)
	}
}

func TestRestartWithItsCacheFetchesNothing(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	dir := t.TempDir()
	a := s.start("a", withFile(t))
	b := s.start("b", func(c *Config) { c.CacheDir = dir })
	a.serves(t, "a", "b")
	b.end() // like a kill: nobody is told
	again := s.startAs(b.id, "again", func(c *Config) { c.CacheDir = dir })
	again.serves(t, "a", "again")
	if strings.Contains(again.said.String(), "fetched") {
		t.Errorf("it fetches what it has:\n%s", again.said)
	}
}

func TestDiskThatIsFullIsSaidAndTriedAgain(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	a := s.start("a", withFile(t))
	a.serves(t, "a")
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/weights", nil, 0o600); err != nil { // in the way of a folder
		t.Fatal(err)
	}
	b := s.start("b", func(c *Config) { c.CacheDir = dir })
	b.until(t, "b says that it can't store the layers, and tries again", func(st Status) bool {
		return strings.Contains(st.Doing, "trying again")
	})
	if ids, over := b.ids(t); len(ids) != 20 || !slices.Equal(over, []string{"a"}) {
		t.Errorf("meanwhile: %d ids over %v, want 20 over a", len(ids), over)
	}
	if err := os.Remove(dir + "/weights"); err != nil {
		t.Fatal(err)
	}
	b.serves(t, "a", "b")
}

func TestClientHoldsNothing(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	a := s.start("a", withFile(t))
	a.serves(t, "a")
	c := s.start("c", func(c *Config) { c.Client, c.MemoryBytes = true, 0 })
	c.serves(t, "a")
	if ids, over := c.ids(t); len(ids) != 20 || !slices.Equal(over, []string{"a"}) {
		t.Errorf("%d ids over %v, want 20 over a", len(ids), over)
	}
	if got := spanOf(c.Status(), "c"); got.Len() > 0 {
		t.Errorf("a client holds %v", got)
	}
	a.until(t, "c is seen as a client", func(st Status) bool {
		return slices.ContainsFunc(st.Members, func(m gossip.Member) bool { return m.Advert.Name == "c" && m.Advert.State == gossip.Client })
	})
}

// TestAMemberInvitedAsClientHoldsNothing has a member whose membership lacks
// the role to serve, and that has memory, the model and a pin.
func TestAMemberInvitedAsClientHoldsNothing(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	a := s.start("a", withFile(t))
	a.serves(t, "a")
	s.role = transport.RoleClient
	c := s.start("c", withFile(t), func(c *Config) { c.Pinned = shard.Span{End: 2} })
	c.until(t, "it says what it does", func(st Status) bool { return strings.Contains(st.Doing, "holding no layers") })
	c.serves(t, "a")
	if ids, over := c.ids(t); len(ids) != 20 || !slices.Equal(over, []string{"a"}) {
		t.Errorf("%d ids over %v, want 20 over a", len(ids), over)
	}
	for _, p := range []*peer{a, c} {
		v, err := p.View()
		if err != nil || len(v.Peers) != 1 || v.Peers[0].Name != "a" {
			t.Errorf("%s plans with %+v, %v, want a alone", p.cfg.Name, v.Peers, err)
		}
		if got := spanOf(p.Status(), "c"); got.Len() > 0 {
			t.Errorf("%s sees the client hold %v", p.cfg.Name, got)
		}
	}
}

func TestPinnedLayersThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	a := s.start("a", withFile(t), func(c *Config) { c.Pinned = shard.Span{Start: 3, End: 99} })
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := a.WaitServing(ctx); err == nil || !strings.Contains(err.Error(), "--layers 3:99") {
		t.Errorf("got %v, want an error that names --layers", err)
	}
}

// TestCloseAtAnyMoment closes members while they find out, fetch, load and
// serve, and looks for what they leave behind.
func TestCloseAtAnyMoment(t *testing.T) {
	s := newSwarm(t)
	a := s.start("a", withFile(t))
	a.serves(t, "a")
	for i := range 6 {
		b := s.start(fmt.Sprintf("b%d", i))
		for range i { // one change further each time
			select {
			case <-b.Changed():
			case <-time.After(time.Second): // a moment as good as any
			}
		}
		closed := make(chan struct{})
		go func() {
			b.end()
			close(closed)
		}()
		select {
		case <-closed:
		case <-time.After(patience):
			t.Fatalf("Close after %d changes does not return; the member was %s", i, b.Status().Doing)
		}
	}
	a.end()
	if left := ours(); left != "" {
		t.Errorf("goroutines are left:\n%s", left)
	}
}

// ours returns the stacks of the goroutines that members and nodes run.
func ours() string {
	b := make([]byte, 1<<20)
	var out []string
	for _, g := range strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n") {
		if strings.Contains(g, "testing.tRunner") || strings.Contains(g, "TestCloseAtAnyMoment") {
			continue
		}
		for _, pkg := range []string{"/shard/member.", "/shard/node.", "/shard/engine.", "/shard/weights.", "/scheduler/gossip.", "shardnode/transport."} {
			if strings.Contains(g, "shardnode/shardnode"+pkg) {
				out = append(out, g)
				break
			}
		}
	}
	return strings.Join(out, "\n\n")
}

func TestStartRefusesNonsense(t *testing.T) {
	s := newSwarm(t)
	a := s.start("a", withFile(t))
	for want, cfg := range map[string]Config{
		"Node is not set":     {},
		"CacheDir is not set": {Node: a.node},
		"MemoryBytes is 0":    {Node: a.node, CacheDir: t.TempDir()},
	} {
		if _, err := Start(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
