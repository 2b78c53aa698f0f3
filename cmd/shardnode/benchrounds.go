package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/sample"
)

// benchRounds runs one test of `bench` several times: a prompt, or tokens one
// after another in several sessions at once.
type benchRounds struct {
	place            *place
	rounds, sessions int
	prompt, generate int // one of them is 0
	depth            int // positions before what is measured

	turn  uint64          // rounds so far, warming up included
	rates []float64       // tokens a second of all sessions together, a round each
	waits []time.Duration // of the steps of all rounds
}

func (r *benchRounds) name() string {
	at := ""
	if r.depth > 0 {
		at = fmt.Sprintf("@%d", r.depth)
	}
	if r.prompt > 0 {
		return fmt.Sprintf("pp%d%s", r.prompt, at)
	}
	return fmt.Sprintf("tg%d%s", r.generate, at)
}

// warmUpTokens are what a round to warm up has at most, of a prompt and of
// generated tokens.
const (
	warmUpPrompt   = 64
	warmUpGenerate = 16
)

func (r *benchRounds) run(ctx context.Context) error {
	warm := *r
	warm.prompt, warm.generate = min(r.prompt, warmUpPrompt), min(r.generate, warmUpGenerate)
	if err := warm.round(ctx); err != nil {
		return err
	}
	r.turn = warm.turn
	for range r.rounds {
		if err := r.round(ctx); err != nil {
			return err
		}
	}
	return nil
}

// round measures once.
func (r *benchRounds) round(ctx context.Context) error {
	r.turn++
	sessions := make([]*pipeline.Session, r.sessions)
	defer func() {
		for _, s := range sessions {
			if s != nil {
				s.Close(context.WithoutCancel(ctx))
			}
		}
	}()
	for i := range sessions {
		var err error
		if sessions[i], err = r.open(ctx, i); err != nil {
			return err
		}
	}
	waits := make([][]time.Duration, r.sessions)
	errs := make([]error, r.sessions)
	began := time.Now()
	var wg sync.WaitGroup
	for i, s := range sessions {
		wg.Go(func() { waits[i], errs[i] = r.drive(ctx, s, i) })
	}
	wg.Wait()
	took := time.Since(began)
	if err := errors.Join(errs...); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	r.rates = append(r.rates, perSecond(r.sessions*(r.prompt+r.generate), took))
	for _, w := range waits {
		r.waits = append(r.waits, w...)
	}
	return nil
}

// benchRequest is what a greedy session asks for.
var benchRequest = sample.Request{K: 1, Temperature: sample.NoLSE}

// open opens session i and brings it to its depth. One that will generate gets
// its first token, which is not counted.
func (r *benchRounds) open(ctx context.Context, i int) (*pipeline.Session, error) {
	before := r.tokens(i, 0, r.depth) // the same in every round, so that it is computed once
	s, err := r.place.sessionAfter(ctx, before, r.depth+max(r.prompt, r.generate+1))
	if err != nil {
		return s, err
	}
	if ready := s.Ready(); r.depth > 0 {
		_, err = s.Step(ctx, pipeline.Step{Pos: ready, Tokens: before[ready:], Summary: benchRequest})
	}
	if err == nil && r.generate > 0 {
		_, err = s.Step(ctx, pipeline.Step{Pos: shard.Pos(r.depth), Tokens: r.tokens(i, r.turn, 1), Summary: benchRequest})
	}
	if err != nil {
		s.Close(context.WithoutCancel(ctx))
		return nil, err
	}
	return s, nil
}

// drive runs session i and returns what each step took.
func (r *benchRounds) drive(ctx context.Context, s *pipeline.Session, i int) ([]time.Duration, error) {
	if r.prompt > 0 {
		began := time.Now()
		_, err := s.Step(ctx, pipeline.Step{Pos: shard.Pos(r.depth), Tokens: r.tokens(i, r.turn, r.prompt), Summary: benchRequest})
		return []time.Duration{time.Since(began)}, err
	}
	tokens := r.tokens(i, r.turn, r.generate+1)
	waits := make([]time.Duration, 0, r.generate)
	for at := 1; at <= r.generate; at++ {
		began := time.Now()
		_, err := s.Step(ctx, pipeline.Step{Pos: shard.Pos(r.depth + at), Tokens: tokens[at : at+1], Summary: benchRequest})
		if err != nil {
			return waits, err
		}
		waits = append(waits, time.Since(began))
	}
	return waits, nil
}

// tokens returns n made-up tokens of session i. Those of one turn are not those
// of another, so that nothing measured was computed before.
func (r *benchRounds) tokens(i int, turn uint64, n int) []shard.Token {
	rng := rand.New(rand.NewPCG(1+turn, uint64(i)))
	out := make([]shard.Token, n)
	for j := range out {
		out[j] = shard.Token(rng.IntN(r.place.config.Vocab))
	}
	return out
}
