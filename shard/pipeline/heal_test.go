package pipeline_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/node"
	"github.com/shardnode/shardnode/shard/pipeline"
)

func TestASessionWaitsForAHolderAndGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, tokens := newCrowd(t, 1, []int{2, 2, 2}, all), toyTokens(100)
		held := c.holds[4]
		delete(c.holds, 4) // it loads yet
		want, s := truth(t, tokens), c.session()
		decode(t, s, tokens, want, 0, 50)
		c.Kill(2)
		c.now(func() { delete(c.holds, 2) })
		time.AfterFunc(20*time.Second, func() { c.now(func() { c.holds[4] = held }) })
		began := time.Now()
		decode(t, s, tokens, want, 50, 100)
		if took := time.Since(began); took < 20*time.Second || took > 23*time.Second {
			t.Errorf("the session went on after %v, want 20 s and little more", took)
		}
		s.Close(t.Context())
		c.wantIdle(6*time.Second, 2)
	})
}

func TestASessionThatNobodyCanServeEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, tokens := newCrowd(t, 1, []int{2, 2, 2}), toyTokens(100)
		cfg := c.config()
		cfg.PeerTimeout = 10 * time.Second
		s, err := pipeline.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		decode(t, s, tokens, truth(t, tokens), 0, 50)
		c.Kill(2)
		c.now(func() { delete(c.holds, 2) })
		began := time.Now()
		_, err = s.Step(t.Context(), pipeline.Step{Pos: 50, Tokens: tokens[50:51]})
		if took := time.Since(began); took < 10*time.Second || took > 13*time.Second {
			t.Errorf("the session ended after %v, want 10 s and little more", took)
		}
		c.wantBlame(err, 1, shard.Unreachable)
		if !strings.Contains(err.Error(), "waiting for layers") || !strings.Contains(err.Error(), "10s") {
			t.Errorf("error %q does not say what was waited for", err)
		}
		if _, again := s.Step(t.Context(), pipeline.Step{Pos: 50, Tokens: tokens[50:51]}); again == nil {
			t.Error("a step after the end: no error")
		}
		s.Close(t.Context())
		c.wantIdle(6*time.Second, 2)
	})
}

func TestAStepThatIsGivenUpInARepairLeavesItToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, tokens := newCrowd(t, 1, []int{2, 2, 2}, all), toyTokens(100)
		want, s := truth(t, tokens), c.session()
		decode(t, s, tokens, want, 0, 50)
		c.Kill(2)
		held := c.holds[4]
		c.now(func() { delete(c.holds, 2); delete(c.holds, 4) })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := s.Step(ctx, pipeline.Step{Pos: 50, Tokens: tokens[50:51]}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("step: %v, want the context's error", err)
		}
		c.now(func() { c.holds[4] = held })
		decode(t, s, tokens, want, 50, 100)
		s.Close(t.Context())
		c.wantIdle(6*time.Second, 2)
	})
}

func TestASurvivorServesTwoStages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, tokens := newCrowd(t, 1, []int{2, 4}), toyTokens(100)
		c.nodes[1].Hold(&node.Held{Model: toyModel, Span: all, Layers: toyLayers, Dim: toyDim, Vocab: toyVocab, Engine: c.engines[1]})
		want, s := truth(t, tokens), c.session()
		decode(t, s, tokens, want, 0, 50)
		c.Kill(1)
		c.now(func() { delete(c.holds, 1); c.holds[2] = all })
		decode(t, s, tokens, want, 50, 100)
		route := s.Route()
		if n := c.nodes[1].Sessions(); n != len(route) || n < 2 {
			t.Errorf("the survivor serves %d stages, want all %d", n, len(route))
		}
		s.Close(t.Context())
		c.wantIdle(6*time.Second, 1)
	})
}

func TestNeighboursWhoLoseEachOtherAreParted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, tokens := newCrowd(t, 1, []int{2, 2, 2}, all), toyTokens(100)
		want, s := truth(t, tokens), c.session()
		decode(t, s, tokens, want, 0, 50)
		c.Net.SetLatency(cut(1, 2)) // the driver reaches both
		began := time.Now()
		decode(t, s, tokens, want, 50, 100)
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("it took %v, want 6 s at most", took)
		}
		route := s.Route()
		for i := range route[1:] {
			pair := []shard.PeerID{route[i].Peer, route[i+1].Peer}
			if slices.Contains(pair, c.ID(1)) && slices.Contains(pair, c.ID(2)) {
				t.Errorf("the route %v has both beside each other", route)
			}
		}
		s.Close(t.Context())
		c.wantIdle(6 * time.Second)
	})
}

func TestAPeerThatComputesForeverIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, tokens := newCrowd(t, 1, []int{2, 2, 2}, all), toyTokens(100)
		want, s := truth(t, tokens), c.session()
		decode(t, s, tokens, want, 0, 50)
		gate := make(chan struct{})
		c.engines[1].stuck(gate) // not even the end of its step's context helps
		began := time.Now()
		decode(t, s, tokens, want, 50, 60)
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("it took %v, want 15 s at most", took)
		}
		close(gate)
		decode(t, s, tokens, want, 60, 100) // while it sends what is of no use any more
		if r := s.Stats().Recoveries; len(r) != 1 || r[0].Lost.Peer != c.ID(2) {
			t.Errorf("recoveries %+v, want one of peer2", r)
		}
		s.Close(t.Context())
		c.wantIdle(6 * time.Second)
	})
}

func TestAPeerThatIsSlowIsNotReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, tokens := newCrowd(t, 1, []int{2, 2, 2}, all), toyTokens(100)
		want, s := truth(t, tokens), c.session()
		decode(t, s, tokens, want, 0, 50)
		c.engines[1].mu.Lock()
		c.engines[1].perToken = 12 * time.Second // a hundred times what it took
		c.engines[1].mu.Unlock()
		decode(t, s, tokens, want, 50, 54)
		if r := s.Stats().Recoveries; len(r) != 0 {
			t.Errorf("recoveries %+v, want none", r)
		}
		s.Close(t.Context())
		c.wantIdle(30 * time.Second)
	})
}
