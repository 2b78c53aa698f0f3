package pipeline_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/shard/pipeline"
)

func TestASessionMovesOffPeersThatLeave(t *testing.T) {
	for _, leave := range [][]int{{1}, {2}, {3}, {1, 2}, {2, 3}, {1, 3}, {1, 2, 3}} {
		t.Run(fmt.Sprint(leave), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { leaveSome(t, leave) })
		})
	}
}

// leaveSome has peers of three drain in mid-answer.
func leaveSome(t *testing.T, leave []int) {
	c, tokens := newCrowd(t, 3, []int{2, 2, 2}, all, all, all), toyTokens(300)
	for _, e := range c.engines {
		e.perToken = time.Millisecond
	}
	want, s := truth(t, tokens), c.session()
	if _, err := s.Step(t.Context(), pipeline.Step{Tokens: tokens[:150]}); err != nil {
		t.Fatal(err)
	}
	decode(t, s, tokens, want, 150, 160)
	left := make(chan error)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, peer := range leave {
		c.now(func() { delete(c.holds, peer) })
		go func() { left <- c.nodes[peer-1].Drain(ctx) }()
	}
	longest := time.Duration(0)
	for pos := 160; pos < 300; pos++ {
		began := time.Now()
		decode(t, s, tokens, want, pos, pos+1)
		longest = max(longest, time.Since(began))
	}
	for range leave {
		if err := <-left; err != nil {
			t.Error(err)
		}
	}
	stats := s.Close(t.Context())
	if len(stats.Recoveries) != len(leave) {
		t.Errorf("recoveries %+v, want one for each of %d", stats.Recoveries, len(leave))
	}
	for _, r := range stats.Recoveries {
		if !r.Planned || r.ReplayedTokens > 20 || r.Pause > 150*time.Millisecond {
			t.Errorf("recovery %+v, want a planned one without a pause", r)
		}
	}
	if longest > 200*time.Millisecond { // one-way latency is 10 ms
		t.Errorf("a token took %v, want less than 200 ms", longest)
	}
	c.wantIdle(6 * time.Second)
}

func TestASessionThatHasJustBegunMovesOffAPeerThatLeaves(t *testing.T) {
	for tokens := range 20 {
		synctest.Test(t, func(t *testing.T) {
			c, all := newCrowd(t, 3, []int{2, 2, 2}, all), toyTokens(60)
			want, s := truth(t, all), c.session()
			decode(t, s, all, want, 0, tokens)
			c.now(func() { delete(c.holds, 2) })
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			left := make(chan error, 1)
			go func() { left <- c.nodes[1].Drain(ctx) }()
			decode(t, s, all, want, tokens, 60)
			if err := <-left; err != nil {
				t.Error(err)
			}
			if r := s.Close(t.Context()).Recoveries; len(r) != 1 || !r[0].Planned || r[0].Pause > 150*time.Millisecond {
				t.Errorf("after %d tokens: recoveries %+v, want a planned one without a pause", tokens, r)
			}
		})
	}
}

func TestASessionThatIsIdleMovesOffAPeerThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, tokens := newCrowd(t, 3, []int{3, 3}, all), toyTokens(100)
		want, s := truth(t, tokens), c.session()
		decode(t, s, tokens, want, 0, 50)
		c.now(func() { delete(c.holds, 1) })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := c.nodes[0].Drain(ctx); err != nil {
			t.Error(err)
		}
		decode(t, s, tokens, want, 50, 100)
		s.Close(t.Context())
		c.wantIdle(6 * time.Second)
	})
}

func TestASessionMovesWhileALongPromptIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, tokens := newCrowd(t, 3, []int{2, 2, 2}, all, all), toyTokens(390)
		for _, e := range c.engines {
			e.perToken = 20 * time.Millisecond
		}
		want, s := truth(t, tokens), c.session()
		left := make(chan error, 1)
		time.AfterFunc(time.Second, func() {
			c.now(func() { delete(c.holds, 2) })
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			left <- c.nodes[1].Drain(ctx)
		})
		res, err := s.Step(t.Context(), pipeline.Step{Tokens: tokens[:380], All: true, Full: true})
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range res.Logits {
			if fmt.Sprint(got) != fmt.Sprint(want[i]) {
				t.Fatalf("logits of position %d = %v, want %v", i, got, want[i])
			}
		}
		if err := <-left; err != nil {
			t.Error(err)
		}
		if stats := s.Close(t.Context()); len(stats.Recoveries) != 1 || !stats.Recoveries[0].Planned {
			t.Errorf("recoveries %+v, want a planned one", stats.Recoveries)
		}
		c.wantIdle(6 * time.Second)
	})
}

func TestASessionThatBeganWithAnEarliersPagesMoves(t *testing.T) {
	for _, leave := range []int{1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			c, tokens := newCrowd(t, 3, []int{2, 2, 2}, all, all), toyTokens(300)
			want, cfg := truth(t, tokens), c.config()
			cfg.Secret = secret
			before := sharing(t, cfg, tokens[:200])
			finish(t, before, tokens[:200], want)
			before.Close(t.Context())
			s := sharing(t, cfg, tokens[:200])
			if s.Ready() != 192 {
				t.Fatalf("the session begins at %d, want 192", s.Ready())
			}
			computed := c.engines[0].computed
			finish(t, s, tokens[:200], want)
			c.now(func() { delete(c.holds, leave) })
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			left := make(chan error, 1)
			go func() { left <- c.nodes[leave-1].Drain(ctx) }()
			decode(t, s, tokens, want, 200, 300)
			if err := <-left; err != nil {
				t.Error(err)
			}
			if r := s.Close(t.Context()).Recoveries; len(r) != 1 || !r[0].Planned || r[0].ReplayedTokens > 20 {
				t.Errorf("peer%d leaves: recoveries %+v, want a planned one", leave, r)
			}
			if n := c.engines[0].computed - computed; leave > 1 && n > 110 {
				t.Errorf("peer%d leaves: peer1 computed %d positions again, which it had sent before", leave, n-108)
			}
		})
	}
}
