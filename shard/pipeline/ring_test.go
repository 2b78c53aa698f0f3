package pipeline_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/sample"
)

func TestARingGivesTheLogitsOfOneStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tokens := newRing(t, 1, 3, 2), toyTokens(100)
		want, s := truth(t, tokens), r.session()
		res, err := s.Step(t.Context(), pipeline.Step{Tokens: tokens[:90], All: true, Full: true})
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range res.Logits {
			if !slices.Equal(got, want[i]) {
				t.Fatalf("logits of position %d = %v, want %v", i, got, want[i])
			}
		}
		if len(res.Logits) != 90 || len(res.Dists) != 90 {
			t.Errorf("%d logits and %d summaries of 90 positions", len(res.Logits), len(res.Dists))
		}
		for pos := 80; pos < 100; pos++ { // back, then on
			res, err := s.Step(t.Context(), pipeline.Step{
				Pos: shard.Pos(pos), Tokens: tokens[pos:][:1], Summary: sample.Request{K: 3, Named: []shard.Token{1}, Temperature: 0.5},
			})
			if err != nil {
				t.Fatal(err)
			}
			if d := res.Dists[0]; len(d.IDs) != 3 || d.Logits[0] != slices.Max(want[pos]) || d.Named[0].Logit != want[pos][1] || d.LSETemp == 0 {
				t.Errorf("summary of position %d = %+v, logits %v", pos, d, want[pos])
			}
			more, err := s.More(t.Context(), shard.Pos(pos))
			if err != nil || !slices.Equal(more, want[pos]) {
				t.Errorf("More of position %d = %v, %v, want %v", pos, more, err, want[pos])
			}
		}
		stats := s.Close(t.Context())
		for i, h := range stats.Hops {
			if h.Steps == 0 || h.Bytes == 0 || h.P50ms < 4 || h.P50ms > 12 {
				t.Errorf("hop %d: %+v, want about 5 ms", i, h)
			}
		}
		r.wantIdle(time.Second)
		s.Close(t.Context())
	})
}

func TestAStepThatCannotBeLeavesTheSessionAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 3, 3)
		s, tokens := r.session(), toyTokens(20)
		defer s.Close(t.Context())
		for what, st := range map[string]pipeline.Step{
			"no tokens":            {},
			"gap":                  {Pos: 1, Tokens: tokens[:1]},
			"negative position":    {Pos: -1, Tokens: tokens[:1]},
			"too long":             {Tokens: make([]shard.Token, 401)},
			"unknown token":        {Tokens: []shard.Token{toyVocab}},
			"negative token":       {Tokens: []shard.Token{-1}},
			"too many named":       {Tokens: tokens[:1], Summary: sample.Request{Named: make([]shard.Token, 5000)}},
			"too many highest":     {Tokens: tokens[:1], Summary: sample.Request{K: 5000}},
			"no temperature":       {Tokens: tokens[:1], Summary: sample.Request{Temperature: nan()}},
			"infinite temperature": {Tokens: tokens[:1], Summary: sample.Request{Temperature: 1 / zero()}},
		} {
			if _, err := s.Step(t.Context(), st); err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		if _, err := s.More(t.Context(), 0); err == nil {
			t.Error("More before a step: no error")
		}
		want := truth(t, tokens)
		res, err := s.Step(t.Context(), pipeline.Step{Tokens: tokens, Full: true})
		if err != nil || !slices.Equal(res.Logits[0], want[19]) {
			t.Errorf("logits %v, %v, want %v", res.Logits, err, want[19])
		}
	})
}

func zero() float64 { return 0 }
func nan() float64  { return zero() / zero() }

func TestAStepThatIsGivenUpLeavesTheSessionUsable(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond, 300 * time.Millisecond, 2 * time.Second} {
		t.Run(fmt.Sprint(wait), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, tokens := newRing(t, 1, 3, 2), toyTokens(100)
				for _, e := range r.engines {
					e.perToken = 20 * time.Millisecond
				}
				s := r.session()
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				defer cancel()
				began := time.Now()
				if _, err := s.Step(ctx, pipeline.Step{Tokens: tokens}); err == nil || time.Since(began) > wait+time.Millisecond {
					t.Fatalf("the step ended after %v with %v, want an error after %v", time.Since(began), err, wait)
				}
				want := truth(t, tokens)
				res, err := s.Step(t.Context(), pipeline.Step{Tokens: tokens, All: true, Full: true})
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(res.Logits[99], want[99]) {
					t.Errorf("logits %v, want %v", res.Logits[99], want[99])
				}
				s.Close(t.Context())
				r.wantIdle(time.Second)
			})
		})
	}
}

// A way is how a peer stops answering.
type way struct {
	name string
	stop func(r *ring, peer int)
}

var ways = []way{
	{"killed", func(r *ring, peer int) { r.Kill(peer) }},
	{"silent", func(r *ring, peer int) { r.Endpoints[peer].Kill() }}, // as SIGSTOP does
	{"leaves", func(r *ring, peer int) { _ = r.Nodes[peer].Close() }},
	{"closes", func(r *ring, peer int) { r.nodes[peer-1].Close() }},
}

func TestAPeerThatDropsIsNamedWithinThreeSeconds(t *testing.T) {
	for _, how := range ways {
		for peer := 1; peer <= 4; peer++ {
			for _, at := range []time.Duration{0, 111 * time.Millisecond, 1500 * time.Millisecond} {
				t.Run(fmt.Sprintf("%s/peer%d/%v", how.name, peer, at), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { dropOne(t, how, peer, at) })
				})
			}
		}
	}
}

// dropOne has a peer of four drop at a time after the session opened.
func dropOne(t *testing.T, how way, peer int, at time.Duration) {
	r, tokens := newRing(t, 1, 2, 2, 1), toyTokens(300)
	for _, e := range r.engines {
		e.perToken = 3 * time.Millisecond
	}
	s := r.session()
	var dropped time.Time
	time.AfterFunc(at, func() {
		dropped = time.Now()
		how.stop(r, peer)
	})
	_, err := s.Step(t.Context(), pipeline.Step{Tokens: tokens[:30]})
	for pos := 30; err == nil && pos < 300; pos++ {
		_, err = s.Step(t.Context(), pipeline.Step{Pos: shard.Pos(pos), Tokens: tokens[pos:][:1]})
	}
	if took := time.Since(dropped); took > 3*time.Second {
		t.Errorf("the driver noticed after %v, want 3 s at most", took)
	}
	r.wantBlame(err, peer-1, shard.Unreachable, shard.NotServing)
	s.Close(t.Context())
	r.wantIdle(3*time.Second, peer)
}

func TestAPeerThatDropsWhileTheDriverIdlesIsNamedByTheNextStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 2, 2, 2)
		s := r.session()
		if _, err := s.Step(t.Context(), pipeline.Step{Tokens: toyTokens(3)}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		r.Endpoints[2].Kill()
		time.Sleep(3 * time.Second)
		began := time.Now()
		_, err := s.Step(t.Context(), pipeline.Step{Pos: 3, Tokens: toyTokens(1)})
		if took := time.Since(began); took != 0 {
			t.Errorf("the step took %v, want none", took)
		}
		r.wantBlame(err, 1, shard.Unreachable)
		s.Close(t.Context())
		r.wantIdle(3*time.Second, 2)
	})
}

func TestAPeerThatIsDeadBeforeTheSessionIsNamed(t *testing.T) {
	for peer := 1; peer <= 3; peer++ {
		synctest.Test(t, func(t *testing.T) {
			r := newRing(t, 2, 2, 2)
			r.Kill(peer)
			began := time.Now()
			_, err := pipeline.Open(t.Context(), r.config())
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("opening took %v, want 10 s at most", took)
			}
			r.wantBlame(err, peer-1, shard.Unreachable)
			r.wantIdle(time.Second, peer)
		})
	}
}

func TestTwoNeighboursWhoLoseEachOtherEndTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 2, 2, 2)
		s := r.session()
		// The driver reaches both; they do not reach each other.
		r.Net.SetLatency(cut(1, 2))
		began, pos := time.Now(), shard.Pos(0)
		var err error
		for ; err == nil; pos++ {
			_, err = s.Step(t.Context(), pipeline.Step{Pos: pos, Tokens: toyTokens(1)})
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the driver noticed after %v, want 3 s at most", took)
		}
		if shard.CodeOf(err) != shard.Unreachable {
			t.Errorf("error %v, want unreachable", err)
		}
		s.Close(t.Context())
		r.wantIdle(3 * time.Second)
	})
}
