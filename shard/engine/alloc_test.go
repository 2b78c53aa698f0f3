package engine

import (
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/sample"
)

func TestADecodeStepDoesNotAllocate(t *testing.T) {
	for _, c := range []struct {
		name  string
		start int
		end   int
		step  Step
	}{
		{"greedy", 0, 4, Step{Tokens: []shard.Token{5}, Want: LogitsLast, Summary: sample.Request{K: 1, Temperature: sample.NoLSE}}},
		{"sampled", 0, 4, Step{Tokens: []shard.Token{5}, Want: LogitsLast, Summary: sample.Request{K: 40, Named: []shard.Token{1, 7}, Temperature: 0.8}}},
		{"first stage", 0, 2, Step{Tokens: []shard.Token{5}}},
		{"two tokens", 0, 4, Step{Tokens: []shard.Token{5, 6}, Want: LogitsAll, Summary: sample.Request{K: 4}}},
	} {
		e := start(t, shard.Layer(c.start), shard.Layer(c.end), Config{})
		c.step.Session = open(t, e, 64)
		step(t, e, Step{Session: c.step.Session, Tokens: tokens(8, 1)})
		c.step.Pos = 8
		ctx := t.Context()
		var res Result
		c.step.Reuse = &res
		n := testing.AllocsPerRun(200, func() {
			var err error
			if res, err = e.Step(ctx, c.step); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: a step allocates %v times, want 0", c.name, n)
		}
	}
}

func TestAReusedResultIsAsGoodAsNew(t *testing.T) {
	e := start(t, 0, 4, Config{})
	id := open(t, e, 64)
	var old Result
	for _, s := range []Step{
		{Tokens: tokens(20, 1), Want: LogitsAll, Full: true, Summary: sample.Request{K: 9, Named: []shard.Token{3}, Temperature: 1}},
		{Tokens: tokens(3, 2), Want: LogitsAll, Summary: sample.Request{K: 2, Temperature: sample.NoLSE}},
		{Tokens: tokens(2, 3)},
		{Tokens: tokens(30, 4), Want: LogitsAll, Full: true, Summary: sample.Request{K: 200}},
	} {
		s.Session = id
		fresh := step(t, e, s)
		s.Reuse = &old
		again := step(t, e, s)
		if !equal(again.Logits, fresh.Logits) || len(again.Dists) != len(fresh.Dists) || (again.Hidden == nil) != (fresh.Hidden == nil) {
			t.Fatalf("%d rows: other results in memory that was used before", len(s.Tokens))
		}
		for i, d := range again.Dists {
			f := fresh.Dists[i]
			if !equal(d.Logits, f.Logits) || len(d.Named) != len(f.Named) || d.LSE != f.LSE || d.LSETemp != f.LSETemp || d.Vocab != f.Vocab || d.Full != f.Full {
				t.Fatalf("row %d: %+v in memory that was used before, want %+v", i, d, f)
			}
		}
		old = again
	}
}
