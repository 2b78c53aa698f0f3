package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/model/modeltest"
)

// keys returns the keys of the blocks of tokens that end after pos from.
func keys(all []shard.Token, from int) []kvcache.Key {
	var out []kvcache.Key
	for end := (from/kvcache.KeyTokens + 1) * kvcache.KeyTokens; end <= len(all); end += kvcache.KeyTokens {
		out = append(out, sha256.Sum256(fmt.Append(nil, all[:end])))
	}
	return out
}

// openShared opens a session for tokens and returns where it begins.
func openShared(t *testing.T, e *Engine, maxTokens int, all []shard.Token) (shard.SessionID, int) {
	t.Helper()
	id := shard.NewSessionID()
	at, err := e.OpenShared(id, e.Span(), maxTokens, keys(all, 0))
	if err != nil {
		t.Fatal(err)
	}
	return id, int(at)
}

func TestASessionThatBeginsWithAPrefixGetsTheBitsOfOneThatDoesNot(t *testing.T) {
	prompt := tokens(150, 1)
	other := append(append([]shard.Token(nil), prompt[:100]...), tokens(50, 2)...)
	whole := start(t, 0, 4, Config{})
	fresh := func(all []shard.Token) []float32 {
		id := open(t, whole, 200)
		defer whole.CloseSession(id)
		return step(t, whole, Step{Session: id, Tokens: append([]shard.Token(nil), all...), Want: LogitsAll, Full: true}).Logits
	}
	for _, rows := range []int{7, 64, 256} {
		e, tail := start(t, 0, 2, Config{MaxBatchTokens: rows}), start(t, 2, 4, Config{MaxBatchTokens: rows})
		// run computes all from at on, at first in steps of a few tokens.
		run := func(a, b shard.SessionID, all []shard.Token, at int) []float32 {
			var out []float32
			for at < len(all) {
				n := min(len(all)-at, 45)
				h := step(t, e, Step{Session: a, Pos: shard.Pos(at), Tokens: append([]shard.Token(nil), all[at:at+n]...), Keys: keys(all[:at+n], at)})
				r := step(t, tail, Step{Session: b, Pos: shard.Pos(at), Hidden: h.Hidden, Want: LogitsAll, Full: true, Keys: keys(all[:at+n], at)})
				out = append(out, r.Logits...)
				at += n
			}
			return out
		}
		check := func(what string, got []float32, all []shard.Token, at int) {
			t.Helper()
			if want := fresh(all)[at*modeltest.Vocab:]; !equal(got, want) {
				t.Errorf("%s, batches of %d: other logits from position %d on", what, rows, at)
			}
		}
		a, at := openShared(t, e, 200, prompt)
		b, at2 := openShared(t, tail, 200, prompt)
		if at != 0 || at2 != 0 {
			t.Fatalf("the first session begins at %d and %d, want 0", at, at2)
		}
		check("first", run(a, b, prompt, 0), prompt, 0)
		c, at := openShared(t, e, 200, prompt) // beside the first
		d, at2 := openShared(t, tail, 200, prompt)
		if at != 128 || at2 != 128 {
			t.Errorf("the second session begins at %d and %d, want 128", at, at2)
		}
		check("second", run(c, d, prompt, 128), prompt, 128)
		check("second, back to the middle of a shared page", run(c, d, other, 100), other, 100)
		check("first again", run(a, b, prompt, 149), prompt, 149)
		for _, id := range []shard.SessionID{a, c} {
			e.CloseSession(id)
		}
		for _, id := range []shard.SessionID{b, d} {
			tail.CloseSession(id)
		}
		c, at = openShared(t, e, 200, other)
		d, at2 = openShared(t, tail, 200, other)
		if at != 128 || at2 != 128 {
			t.Errorf("after all are closed a session begins at %d and %d, want 128", at, at2)
		}
		check("third, one token alone", run(c, d, other, 128), other, 128)
		if kv := e.Stats().KV; kv.Sessions != 1 || kv.SharedTokens != 256 {
			t.Errorf("stats %+v, want one session and 256 shared positions", kv)
		}
	}
}

func TestKeysThatDoNotFitTheStepAreRefused(t *testing.T) {
	e := start(t, 0, 4, Config{})
	id, all := open(t, e, 200), tokens(70, 1)
	for _, n := range []int{1, 3} {
		_, err := e.Step(context.Background(), Step{Session: id, Tokens: all, Keys: make([]kvcache.Key, n)})
		want(t, fmt.Sprintf("%d keys for 70 tokens", n), err, shard.Invalid)
	}
	step(t, e, Step{Session: id, Tokens: all, Keys: keys(all, 0)})
	if _, at := openShared(t, e, 200, all[:65]); at != 64 {
		t.Errorf("a session of the same tokens begins at %d, want 64", at)
	}
}

// TestALongPromptNeverHoldsUpAToken queues seven sessions that decode beside
// prompts, and counts: each batch has a token of every one of them.
func TestALongPromptNeverHoldsUpAToken(t *testing.T) {
	e := start(t, 0, 4, Config{MaxBatchTokens: 32, KVBytes: 4 << 20})
	const decoders, each = 7, 20
	long := []shard.SessionID{open(t, e, 250), open(t, e, 250)}
	var short []shard.SessionID
	for range decoders {
		short = append(short, open(t, e, each))
	}
	gate, in := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { _ = e.call(t.Context(), func() error { close(in); <-gate; return nil }) })
	<-in
	queue := func(s Step, rows int) {
		j := e.job()
		j.step, j.rows = s, rows
		if err := e.enqueue(j); err != nil {
			t.Error(err)
			return
		}
		all.Go(func() {
			if err := e.await(t.Context(), j); err != nil {
				t.Error(err)
			}
		})
	}
	for _, id := range long {
		queue(Step{Session: id, Tokens: tokens(250, 1)}, 250)
	}
	// Decode steps that wait already are what a driver that answers at once has.
	for _, id := range short {
		for i := range each {
			queue(Step{Session: id, Pos: shard.Pos(i), Tokens: tokens(1, 3)}, 1)
		}
	}
	close(gate)
	all.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.stats; s.Decoded != decoders*each {
		t.Errorf("%d rows were decoded, want %d", s.Decoded, decoders*each)
	}
	for _, id := range short {
		if n := e.sessions[id].since; n != each { // the number of batches up to the last that it was in
			t.Errorf("a session that decodes had its %d tokens after %d batches, want one in each", each, n)
		}
	}
	// 500 rows of prompts in what 7 tokens leave of 32 rows: 20 batches beside
	// the tokens, 500 - 20*25 rows alone.
	if b := e.stats.Batches; b > each+2 {
		t.Errorf("all ran in %d batches, want about %d: the prompts used what was left", b, each)
	}
}
