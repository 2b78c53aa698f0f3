package pipeline_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/pipeline"
)

var (
	seed = flag.Uint64("seed", 0, "seed of the random kills; 0: a new one")
	runs = flag.Int("runs", 100, "runs of random kills, ten each")
)

// killsPerRun is how many peers are killed, hang or are cut off in one run.
const killsPerRun = 10

// TestRandomKillsLoseNoSession kills a thousand times: any stage at any token,
// during replays too.
func TestRandomKillsLoseNoSession(t *testing.T) {
	first, runs := *seed, *runs
	if first == 0 {
		first = rand.Uint64N(1 << 40)
	}
	if testing.Short() {
		runs = min(runs, 10)
	}
	kills, healed := 0, 0
	for i := range runs {
		seed := first + uint64(i)
		synctest.Test(t, func(t *testing.T) {
			k, h := killRun(t, seed)
			kills, healed = kills+k, healed+h
		})
		if t.Failed() {
			t.Fatalf("the run with -seed %d failed", seed)
		}
	}
	t.Logf("seed %d: %d kills, %d stages replaced", first, kills, healed)
}

// A chaos kills the peers of a town.
type chaos struct {
	*town
	sess  *pipeline.Session
	kills int
	stop  chan struct{}
	done  chan struct{}
}

func (c *chaos) run() {
	defer close(c.done)
	for {
		select {
		case <-c.stop:
			return
		case <-time.After(time.Duration(20+c.roll(600)) * time.Millisecond):
		}
		if c.kills < killsPerRun {
			c.strike()
		}
	}
}

// strike does something to a peer.
func (c *chaos) strike() {
	c.mu.Lock()
	var ids []shard.PeerID
	for id, p := range c.peers {
		if p.alive {
			ids = append(ids, id)
		}
	}
	c.mu.Unlock()
	if len(ids) < 2 {
		return
	}
	slices.SortFunc(ids, func(a, b shard.PeerID) int { return int(a[0]) - int(b[0]) })
	id, other := ids[c.roll(len(ids))], ids[c.roll(len(ids))]
	if route := c.sess.Route(); c.roll(3) > 0 { // mostly one that has something to do
		if st := route[c.roll(len(route))]; slices.Contains(ids, st.Peer) {
			id = st.Peer
		}
	}
	notice := time.Duration(c.roll(1800)) * time.Millisecond
	back := time.Duration(200+c.roll(4000)) * time.Millisecond
	c.kills++
	switch c.roll(10) {
	case 0:
		c.hang(id, notice, notice+back)
	case 1:
		c.part(id, other, back)
	case 2:
		c.part(driverID, id, back)
	case 3:
		c.stall(id, 2*back)
	case 8, 9:
		c.leave(id, back)
	case 4: // two at once
		c.kills++
		if other != id {
			c.revive(c.crash(other, notice/2), back)
		}
		fallthrough
	default:
		c.revive(c.crash(id, notice), back)
	}
}

// leave has a peer drain for so long, and then go.
func (c *chaos) leave(id shard.PeerID, long time.Duration) {
	c.mu.Lock()
	p := c.peers[id]
	p.alive = false
	c.mu.Unlock()
	c.serving.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), long)
		defer cancel()
		_ = p.node.Drain(ctx) // whoever has not moved by then loses it
		c.mu.Lock()
		same := c.peers[id] == p
		c.mu.Unlock()
		if same {
			c.revive(c.crash(id, 0), time.Second)
		}
	})
}

// revive brings a peer back after a while.
func (c *chaos) revive(p *townsman, after time.Duration) {
	time.AfterFunc(after, func() {
		if n, open := p.node.LogBytes(), p.engine.open(); n != 0 || open != 0 {
			c.t.Errorf("a peer that was killed has %d bytes of logs and %d sessions", n, open)
		}
		c.settle(p.id, p.span)
	})
}

var driverID = shard.PeerID{200}

// killRun drives one session through a town in chaos and returns how many
// peers were struck and stages replaced.
func killRun(t *testing.T, seed uint64) (kills, healed int) {
	w := newTown(t, seed)
	rng := rand.New(rand.NewPCG(seed, 9))
	spans := []shard.Span{{Start: 0, End: 2}, {Start: 2, End: 4}, {Start: 4, End: 6}, all, all, {Start: 1, End: 5}, {Start: 0, End: 3}, {Start: 3, End: 6}}
	for i, span := range spans {
		w.settle(shard.PeerID{byte(1 + i)}, span)
	}
	pl := planner{rng: rng, holds: map[shard.PeerID]shard.Span{}, name: w.name}
	for i, span := range spans {
		pl.holds[shard.PeerID{byte(1 + i)}] = span
	}
	cfg := pipeline.Config{
		Self: driverID, Name: "driver", Dial: w.dialFrom(driverID), Model: toyModel, Route: pl.plan(pipeline.Broken{}, nil), MaxTokens: 3000,
		ChunkTokens: 16, Repair: w.repair, PeerTimeout: 5 * time.Minute, OpenTimeout: 4 * time.Second,
	}
	if rng.IntN(2) == 0 {
		cfg.Secret, cfg.Prefix = secret, randomTokens(rng, 40+rng.IntN(100))
		before, err := pipeline.Open(t.Context(), cfg) // leaves pages for the next
		if err != nil {
			t.Fatal(err)
		}
		if _, err := before.Step(t.Context(), pipeline.Step{Tokens: cfg.Prefix}); err != nil {
			t.Fatal(err)
		}
		before.Close(t.Context())
	}
	s, err := pipeline.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if want := shard.Pos(max(0, len(cfg.Prefix)-1) / hop.ChainTokens * hop.ChainTokens); s.Ready() != want {
		t.Errorf("the session begins at %d, want %d", s.Ready(), want)
	}
	c := &chaos{town: w, sess: s, stop: make(chan struct{}), done: make(chan struct{})}
	go c.run()
	err = drive(t, s, rng, cfg.Prefix, func() bool { return c.kills >= killsPerRun })
	close(c.stop)
	<-c.done
	stats := s.Close(t.Context())
	if err != nil {
		t.Errorf("-seed %d: %v; recoveries %+v", seed, err, stats.Recoveries)
	}
	w.rest(30 * time.Second)
	w.mu.Lock()
	peers := w.peers
	w.mu.Unlock()
	for _, p := range peers {
		if p.node.Sessions() != 0 || p.engine.open() != 0 || p.node.LogBytes() != 0 {
			t.Errorf("%s has %d sessions, %d in its engine, %d bytes of logs", w.name(p.id), p.node.Sessions(), p.engine.open(), p.node.LogBytes())
		}
		p.node.Close()
	}
	w.serving.Wait()
	return c.kills, len(stats.Recoveries)
}

func randomTokens(rng *rand.Rand, n int) []shard.Token {
	out := make([]shard.Token, n)
	for i := range out {
		out[i] = shard.Token(rng.IntN(toyVocab))
	}
	return out
}

// drive pushes random steps through s until enough is done and compares each
// with what one stage would give.
func drive(t *testing.T, s *pipeline.Session, rng *rand.Rand, prefix []shard.Token, enough func() bool) error {
	ref, id := newToy(), shard.NewSessionID()
	if _, err := ref.OpenShared(id, all, 3000, nil); err != nil {
		return err
	}
	pos := int(s.Ready())
	if pos > 0 {
		if _, err := ref.Step(t.Context(), engine.Step{Session: id, Tokens: prefix[:pos]}); err != nil {
			return err
		}
		time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond) // some may be lost before the first step
	}
	for step := 0; (step < 60 || !enough()) && step < 4000; step++ {
		n := 1
		switch {
		case step == 0 || rng.IntN(20) == 0:
			n = 1 + rng.IntN(120)
		case pos > 900:
			pos = rng.IntN(pos) // a prompt that was edited
		case rng.IntN(40) == 0:
			pos = max(0, pos-rng.IntN(20))
		}
		tokens := randomTokens(rng, n)
		if rng.IntN(25) == 0 { // a step that is given up
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(2000))*time.Millisecond)
			_, _ = s.Step(ctx, pipeline.Step{Pos: shard.Pos(pos), Tokens: tokens})
			cancel()
		}
		want, err := ref.Step(t.Context(), engine.Step{Session: id, Pos: shard.Pos(pos), Tokens: tokens, Want: engine.LogitsAll, Full: true})
		if err != nil {
			return err
		}
		got, err := s.Step(t.Context(), pipeline.Step{Pos: shard.Pos(pos), Tokens: tokens, All: true, Full: true})
		if err != nil {
			return fmt.Errorf("step %d at position %d: %w", step, pos, err)
		}
		if flat := slices.Concat(got.Logits...); !slices.Equal(flat, want.Logits) {
			return fmt.Errorf("step %d of %d tokens at position %d: other logits", step, n, pos)
		}
		pos += n
		if rng.IntN(10) == 0 {
			more, err := s.More(t.Context(), shard.Pos(pos-1))
			if err != nil {
				return fmt.Errorf("more at position %d: %w", pos-1, err)
			}
			if !slices.Equal(more, want.Logits[len(want.Logits)-toyVocab:]) {
				return fmt.Errorf("more at position %d: other logits", pos-1)
			}
		}
		if rng.IntN(10) == 0 {
			time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
		}
	}
	return nil
}
