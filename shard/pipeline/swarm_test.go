package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/transport/transporttest"
)

// A crowd is a ring with more peers than the route needs, and a planner that
// knows what each holds.
type crowd struct {
	*ring
	rng *rand.Rand

	mu      sync.Mutex // guards what follows
	holds   map[int]shard.Span
	changed chan struct{}
	healed  []pipeline.Recovery
	asked   []pipeline.Broken
}

// newCrowd returns a crowd whose route has stages of so many layers each; every
// peer of spares holds what it says.
func newCrowd(t *testing.T, seed uint64, sizes []int, spares ...shard.Span) *crowd {
	t.Helper()
	c := &crowd{
		ring: newRingOf(t, len(spares), sizes...), rng: rand.New(rand.NewPCG(seed, 1)),
		holds: map[int]shard.Span{}, changed: make(chan struct{}),
	}
	for i, st := range c.route {
		c.holds[i+1] = st.Span
	}
	for i, span := range spares {
		peer := len(sizes) + 1 + i
		c.serve(peer, span)
		c.holds[peer] = span
	}
	return c
}

// config is that of a session that the crowd repairs.
func (c *crowd) config() pipeline.Config {
	cfg := c.ring.config()
	cfg.Repair = c.repair
	cfg.Healed = func(r pipeline.Recovery) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.healed = append(c.healed, r)
	}
	return cfg
}

func (c *crowd) session() *pipeline.Session {
	c.t.Helper()
	s, err := pipeline.Open(c.t.Context(), c.config())
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// now calls f, and has whoever waits for a route look again.
func (c *crowd) now(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

func (c *crowd) repair(ctx context.Context, b pipeline.Broken) ([]pipeline.Stage, error) {
	for {
		c.mu.Lock()
		c.asked = append(c.asked, b)
		changed := c.changed
		out := c.plan(b, slices.Concat(b.Lost, b.Avoid))
		if out == nil {
			out = c.plan(b, b.Avoid)
		}
		c.mu.Unlock()
		if out != nil {
			return out, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for layers")
		}
	}
}

// plan covers what b does not keep.
func (c *crowd) plan(b pipeline.Broken, not []shard.PeerID) []pipeline.Stage {
	pl := planner{rng: c.rng, holds: map[shard.PeerID]shard.Span{}, name: func(p shard.PeerID) string {
		for peer := range c.holds {
			if c.ID(peer) == p {
				return fmt.Sprint("peer", peer)
			}
		}
		return ""
	}}
	for peer, span := range c.holds {
		pl.holds[c.ID(peer)] = span
	}
	return pl.plan(b, not)
}

// A planner covers gaps in routes at random.
type planner struct {
	rng   *rand.Rand
	holds map[shard.PeerID]shard.Span
	name  func(shard.PeerID) string
}

// plan returns b's route with stages that are cut at random for what is not
// kept, nil if there is none.
func (p planner) plan(b pipeline.Broken, not []shard.PeerID) []pipeline.Stage {
	var out []pipeline.Stage
	for at := shard.Layer(0); at < toyLayers; {
		gap, kept := shard.Layer(toyLayers), -1
		for i, st := range b.Route {
			if b.Kept[i] && st.Span.Start == at {
				kept = i
			}
			if b.Kept[i] && st.Span.Start > at {
				gap = min(gap, st.Span.Start)
			}
		}
		if kept >= 0 {
			out, at = append(out, b.Route[kept]), b.Route[kept].Span.End
			continue
		}
		var peers []shard.PeerID
		for peer, span := range p.holds {
			if span.Has(at) && !slices.Contains(not, peer) {
				peers = append(peers, peer)
			}
		}
		if len(peers) == 0 {
			return nil
		}
		slices.SortFunc(peers, func(a, b shard.PeerID) int { return bytes.Compare(a[:], b[:]) })
		peer := peers[p.rng.IntN(len(peers))]
		most := int(min(gap, p.holds[peer].End) - at)
		span := shard.Span{Start: at, End: at + shard.Layer(1+p.rng.IntN(most))}
		if p.rng.IntN(2) == 0 {
			span.End = at + shard.Layer(most)
		}
		out = append(out, pipeline.Stage{Neighbour: hop.Neighbour{Peer: peer, Name: p.name(peer)}, Span: span})
		at = span.End
	}
	return out
}

// decode pushes tokens from pos on one by one and compares the logits with want.
func decode(t *testing.T, s *pipeline.Session, tokens []shard.Token, want [][]float32, pos, end int) {
	t.Helper()
	for ; pos < end; pos++ {
		res, err := s.Step(t.Context(), pipeline.Step{Pos: shard.Pos(pos), Tokens: tokens[pos:][:1], Full: true})
		if err != nil {
			t.Fatalf("position %d: %v", pos, err)
		}
		if !slices.Equal(res.Logits[0], want[pos]) {
			t.Fatalf("logits of position %d = %v, want %v", pos, res.Logits[0], want[pos])
		}
	}
}

var all = shard.Span{End: toyLayers}

func TestASessionSurvivesTheLossOfAnyStage(t *testing.T) {
	for _, how := range ways {
		for peer := 1; peer <= 3; peer++ {
			t.Run(fmt.Sprintf("%s/peer%d", how.name, peer), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, tokens := newCrowd(t, 1, []int{2, 2, 2}, all, all), toyTokens(120)
					want, s := truth(t, tokens), c.session()
					if _, err := s.Step(t.Context(), pipeline.Step{Tokens: tokens[:60]}); err != nil {
						t.Fatal(err)
					}
					decode(t, s, tokens, want, 60, 80)
					how.stop(c.ring, peer)
					decode(t, s, tokens, want, 80, 120)
					stats := s.Close(t.Context())
					if len(stats.Recoveries) == 0 {
						t.Fatal("no recovery is told")
					}
					r := stats.Recoveries[0]
					if r.At != 80 || r.Lost.Peer != c.ID(peer) || r.ReplayedTokens != 80 || len(r.Replacement) == 0 || r.Pause <= 0 || r.Pause > 3*time.Second {
						t.Errorf("recovery %+v", r)
					}
					c.wantIdle(6*time.Second, peer)
				})
			})
		}
	}
}

func TestASessionSurvivesTheLossOfSeveralStagesAtOnce(t *testing.T) {
	for _, lost := range [][]int{{1, 2}, {2, 3}, {1, 3}, {1, 2, 3}} {
		for _, later := range []time.Duration{0, 30 * time.Millisecond, 1200 * time.Millisecond} {
			t.Run(fmt.Sprintf("%v/%v", lost, later), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, tokens := newCrowd(t, 2, []int{2, 2, 2}, all, all, shard.Span{Start: 0, End: 4}, shard.Span{Start: 3, End: 6}), toyTokens(300)
					for _, e := range c.engines {
						e.perToken = time.Millisecond // so that the second loss falls into the replay
					}
					c.Net.SetLatency(nil)
					for _, e := range c.Endpoints {
						e.SetLink(transporttest.Link{Latency: 5 * time.Millisecond, Jitter: 3 * time.Millisecond, Loss: 0.01})
					}
					want, s := truth(t, tokens), c.session()
					if _, err := s.Step(t.Context(), pipeline.Step{Tokens: tokens[:200]}); err != nil {
						t.Fatal(err)
					}
					decode(t, s, tokens, want, 200, 210)
					for i, peer := range lost {
						time.AfterFunc(time.Duration(i)*later, func() { c.Kill(peer) })
					}
					began := time.Now()
					decode(t, s, tokens, want, 210, 300)
					if took := time.Since(began); took > 12*time.Second {
						t.Errorf("it took %v, want 12 s at most", took)
					}
					if r := s.Close(t.Context()).Recoveries; len(r) < len(lost) {
						t.Errorf("recoveries %+v, want one for each of %v", r, lost)
					}
					c.wantIdle(6*time.Second, lost...)
				})
			})
		}
	}
}
