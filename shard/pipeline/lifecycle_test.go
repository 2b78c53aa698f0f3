package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/pipeline"
)

func TestAStageWithoutRoomLeavesNothingOpen(t *testing.T) {
	for full := 1; full <= 3; full++ {
		t.Run(fmt.Sprint("peer", full), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRing(t, 2, 2, 2)
				r.engines[full-1].room = 0
				began := time.Now()
				_, err := pipeline.Open(t.Context(), r.config())
				r.wantBlame(err, full-1, shard.NoCapacity)
				if took := time.Since(began); took > time.Second {
					t.Errorf("the refusal took %v, want a second at most", took)
				}
				r.wantIdle(200 * time.Millisecond)
				r.engines[full-1].room = 1
				r.session().Close(t.Context())
			})
		})
	}
}

func TestRefusalsNameThePeerAndTheReason(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *ring, c *pipeline.Config)
		stage  int
		code   shard.Code
	}{
		"other model":   {func(_ *ring, c *pipeline.Config) { c.Model[0]++ }, -1, shard.WrongModel},
		"other layers":  {func(_ *ring, c *pipeline.Config) { c.Route[0].Span.End, c.Route[1].Span.Start = 3, 3 }, 0, shard.NotServing},
		"too few":       {func(_ *ring, c *pipeline.Config) { c.Route = c.Route[:2] }, 1, shard.Invalid},
		"leaving":       {func(r *ring, _ *pipeline.Config) { go r.nodes[1].Drain(context.Background()); synctest.Wait() }, 1, shard.NotServing}, //nolint:errcheck // ends at once
		"holds nothing": {func(r *ring, _ *pipeline.Config) { r.nodes[2].Hold(nil) }, 2, shard.NotServing},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRing(t, 2, 2, 2)
				cfg := r.config()
				cfg.Route = append([]pipeline.Stage(nil), r.route...)
				c.change(r, &cfg)
				_, err := pipeline.Open(t.Context(), cfg)
				if shard.CodeOf(err) != c.code || !strings.Contains(err.Error(), "peer") {
					t.Errorf("error %v, want code %v and a peer", err, c.code)
				}
				if got, ok := errors.AsType[*shard.StageError](err); c.stage >= 0 && (!ok || got.Peer != r.ID(c.stage+1)) {
					t.Errorf("error %v, want one of peer%d", err, c.stage+1)
				}
				r.wantIdle(time.Second)
			})
		})
	}
}

func TestADrainingPeerFinishesItsSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 2, 2, 2)
		s := r.session()
		drained := make(chan error, 1)
		go func() { drained <- r.nodes[1].Drain(t.Context()) }()
		synctest.Wait()
		_, err := pipeline.Open(t.Context(), r.config())
		r.wantBlame(err, 1, shard.NotServing)
		for pos := range shard.Pos(20) {
			if _, err := s.Step(t.Context(), pipeline.Step{Pos: pos, Tokens: toyTokens(1)}); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case err := <-drained:
			t.Fatalf("Drain returned %v while a session ran", err)
		default:
		}
		s.Close(t.Context())
		if err := <-drained; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.nodes[0].Drain(ctx); err != nil {
			t.Errorf("Drain of a peer without sessions: %v", err)
		}
	})
}

func TestADriverThatDiesFreesItsSessionsEverywhere(t *testing.T) {
	for _, how := range ways[:3] {
		for _, at := range []time.Duration{0, 8 * time.Millisecond, 500 * time.Millisecond, time.Minute} {
			t.Run(fmt.Sprintf("%s/%v", how.name, at), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRing(t, 2, 2, 2)
					for _, e := range r.engines {
						e.perToken = 10 * time.Millisecond
					}
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					ended := make(chan struct{})
					go func() {
						defer close(ended)
						s, err := pipeline.Open(ctx, r.config())
						if err != nil {
							return
						}
						_, _ = s.Step(ctx, pipeline.Step{Tokens: toyTokens(300)})
						<-ctx.Done()
						s.Close(ctx)
					}()
					time.Sleep(at)
					how.stop(r, 0)
					// Who accepted a connection notices silence after 5 s:
					// quic-go takes no less from whoever made it.
					r.wantIdle(6 * time.Second)
					cancel()
					<-ended
				})
			})
		}
	}
}

func TestOpeningCanBeGivenUp(t *testing.T) {
	for _, at := range []time.Duration{0, 3 * time.Millisecond, 11 * time.Millisecond, 21 * time.Millisecond, 31 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			r := newRing(t, 2, 2, 2)
			ctx, cancel := context.WithTimeout(t.Context(), at)
			defer cancel()
			s, err := pipeline.Open(ctx, r.config())
			if err == nil {
				s.Close(t.Context())
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after %v: %v, want the context's error", at, err)
			}
			r.wantIdle(time.Second)
		})
	}
}

func TestASessionEndsWithItsStepsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 2, 2, 2)
		r.engines[1].gate = make(chan struct{}) // this peer lives and computes forever
		s := r.session()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Step(ctx, pipeline.Step{Tokens: toyTokens(100)}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("step: %v, want the context's error", err)
		}
		began := time.Now()
		s.Close(t.Context())
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("Close took %v, want 2 s at most", took)
		}
		r.wantIdle(time.Second)
		if _, err := s.Step(t.Context(), pipeline.Step{Tokens: toyTokens(1)}); err == nil {
			t.Error("a step after Close succeeded")
		}
	})
}

func TestARouteThatIsSilentThoughConnectedTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 2, 2, 2)
		r.engines[1].gate = make(chan struct{})
		cfg := r.config()
		cfg.StepTimeout = 30 * time.Second
		s, err := pipeline.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, err = s.Step(t.Context(), pipeline.Step{Tokens: toyTokens(5)})
		if took := time.Since(began); shard.CodeOf(err) != shard.TimedOut || took > 31*time.Second {
			t.Errorf("error %v after %v, want timed out after 30 s", err, took)
		}
		s.Close(t.Context())
		r.wantIdle(time.Second)
	})
}

func TestManySessionsShareARing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRing(t, 2, 2, 2)
		done := make(chan error)
		for range 20 {
			go func() {
				s, err := pipeline.Open(t.Context(), r.config())
				for pos := shard.Pos(0); err == nil && pos < 50; pos += 10 {
					_, err = s.Step(t.Context(), pipeline.Step{Pos: pos, Tokens: toyTokens(10)})
				}
				if err == nil {
					s.Close(t.Context())
				}
				done <- err
			}()
		}
		for range 20 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		r.wantIdle(time.Second)
	})
}
