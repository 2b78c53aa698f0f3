package engine

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/model/modeltest"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/tensorio/par"
)

// load loads some layers of a tiny model of four.
func load(t testing.TB, start, end shard.Layer) *model.Model {
	t.Helper()
	src := modeltest.New(4, 1)
	cfg, err := model.ReadConfig(src)
	if err != nil {
		t.Fatal(err)
	}
	pool := par.New(2)
	t.Cleanup(pool.Close)
	m, err := model.Load(context.Background(), cfg, src, shard.Span{Start: start, End: end}, model.Options{Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// start runs an engine for some layers.
func start(t testing.TB, from, to shard.Layer, cfg Config) *Engine {
	t.Helper()
	cfg.Model = load(t, from, to)
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// open opens a new session.
func open(t testing.TB, e *Engine, maxTokens int) shard.SessionID {
	t.Helper()
	id := shard.NewSessionID()
	if err := e.Open(id, e.Span(), maxTokens); err != nil {
		t.Fatal(err)
	}
	return id
}

// tokens returns made-up tokens.
func tokens(n int, seed uint64) []shard.Token {
	rng := rand.New(rand.NewPCG(seed, 2))
	out := make([]shard.Token, n)
	for i := range out {
		out[i] = shard.Token(rng.IntN(modeltest.Vocab))
	}
	return out
}

// step runs a step that must succeed.
func step(t testing.TB, e *Engine, s Step) Result {
	t.Helper()
	r, err := e.Step(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// want fails the test unless err has the code.
func want(t *testing.T, what string, err error, code shard.Code) {
	t.Helper()
	if shard.CodeOf(err) != code {
		t.Errorf("%s: %v, want code %v", what, err, code)
	}
}

func equal(a, b []float32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}

func TestStagesOneAfterTheOtherGiveTheLogitsOfOne(t *testing.T) {
	whole, a, b := start(t, 0, 4, Config{}), start(t, 0, 1, Config{MaxBatchTokens: 7}), start(t, 1, 4, Config{})
	prompt := tokens(40, 1)
	w := step(t, whole, Step{Session: open(t, whole, 64), Tokens: append([]shard.Token(nil), prompt...), Want: LogitsAll, Full: true})
	if len(w.Logits) != 40*modeltest.Vocab || len(w.Dists) != 40 || w.Hidden != nil {
		t.Fatalf("got %d logits, %d dists, %d hidden values", len(w.Logits), len(w.Dists), len(w.Hidden))
	}
	idA, idB := open(t, a, 64), open(t, b, 64)
	var logits []float32
	for at := 0; at < 40; at += 10 {
		h := step(t, a, Step{Session: idA, Pos: shard.Pos(at), Tokens: append([]shard.Token(nil), prompt[at:at+10]...)})
		if len(h.Hidden) != 10*modeltest.Dim {
			t.Fatalf("got %d hidden values, want %d", len(h.Hidden), 10*modeltest.Dim)
		}
		r := step(t, b, Step{Session: idB, Pos: shard.Pos(at), Hidden: h.Hidden, Want: LogitsAll, Full: true})
		logits = append(logits, r.Logits...)
	}
	if !equal(logits, w.Logits) {
		t.Error("two stages give other logits than one")
	}
}

func TestSessionsTogetherGetWhatEachGetsAlone(t *testing.T) {
	e := start(t, 0, 4, Config{MaxBatchTokens: 16})
	alone := make([][]float32, 8)
	for i := range alone {
		id := open(t, e, 60)
		alone[i] = step(t, e, Step{Session: id, Tokens: tokens(50, uint64(i)), Want: LogitsAll, Full: true}).Logits
		e.CloseSession(id)
	}
	var wg sync.WaitGroup
	for i := range alone {
		id := open(t, e, 60)
		wg.Go(func() {
			all, ids := []float32(nil), tokens(50, uint64(i))
			for at, n := 0, 20; at < len(ids); at, n = at+n, 1 {
				r, err := e.Step(context.Background(), Step{Session: id, Pos: shard.Pos(at), Tokens: ids[at : at+n], Want: LogitsAll, Full: true})
				if err != nil {
					t.Error(err)
					return
				}
				all = append(all, r.Logits...)
			}
			if !equal(all, alone[i]) {
				t.Errorf("session %d gets other logits in company", i)
			}
		})
	}
	wg.Wait()
	if s := e.Stats(); s.Rows != 800 {
		t.Errorf("%d rows were computed, want 800", s.Rows)
	}
}

func TestStepsThatWaitTogetherRunTogether(t *testing.T) {
	e := start(t, 0, 4, Config{})
	held, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := e.call(context.Background(), func() error { close(held); <-release; return nil }); err != nil {
			t.Error(err)
		}
	})
	<-held // the loop is busy
	for i := range 8 {
		id := open(t, e, 4)
		wg.Go(func() {
			if _, err := e.Step(context.Background(), Step{Session: id, Tokens: tokens(1, uint64(i))}); err != nil {
				t.Error(err)
			}
		})
	}
	for e.Stats().Waiting < 8 {
		runtime.Gosched()
	}
	close(release)
	wg.Wait()
	if s := e.Stats(); s.Batches != 1 || s.Rows != 8 || s.Decoded != 8 {
		t.Errorf("8 steps that waited ran as %d batches of %d rows, want one of 8", s.Batches, s.Rows)
	}
}

func TestSummaryAndMoreTellTheSameLogits(t *testing.T) {
	e := start(t, 0, 4, Config{})
	id := open(t, e, 20)
	r := step(t, e, Step{Session: id, Tokens: tokens(9, 3), Want: LogitsLast, Full: true, Summary: sample.Request{K: 5, Temperature: 1}})
	if len(r.Dists) != 1 || len(r.Dists[0].IDs) != 5 || r.Dists[0].Logits[0] != r.Logits[r.Dists[0].IDs[0]] {
		t.Fatalf("got dists %+v", r.Dists)
	}
	more, err := e.More(context.Background(), id)
	if err != nil || !equal(more, r.Logits) {
		t.Errorf("More gives other logits than the step: %v", err)
	}
	_, err = e.More(context.Background(), shard.NewSessionID())
	want(t, "More of an unknown session", err, shard.Stale)
}

func TestARollbackReplacesWhatFollows(t *testing.T) {
	e := start(t, 0, 4, Config{})
	id, ids := open(t, e, 40), tokens(30, 4)
	first := step(t, e, Step{Session: id, Tokens: append([]shard.Token(nil), ids...), Want: LogitsLast, Full: true})
	step(t, e, Step{Session: id, Pos: 12, Tokens: tokens(5, 5)})
	again := step(t, e, Step{Session: id, Pos: 12, Tokens: ids[12:], Want: LogitsLast, Full: true})
	if !equal(first.Logits, again.Logits) {
		t.Error("after a rollback the same tokens give other logits")
	}
}

func TestWhatCannotRunHasACode(t *testing.T) {
	e, tail := start(t, 0, 2, Config{}), start(t, 2, 4, Config{})
	id, tailID := open(t, e, 10), open(t, tail, 10)
	run := func(e *Engine, s Step) error {
		_, err := e.Step(context.Background(), s)
		return err
	}
	want(t, "unknown session", run(e, Step{Session: shard.NewSessionID(), Tokens: tokens(1, 1)}), shard.Stale)
	want(t, "gap", run(e, Step{Session: id, Pos: 1, Tokens: tokens(1, 1)}), shard.Gap)
	want(t, "beyond the reservation", run(e, Step{Session: id, Tokens: tokens(11, 1)}), shard.TooLong)
	want(t, "nothing", run(e, Step{Session: id}), shard.Invalid)
	want(t, "hidden states for layer 0", run(e, Step{Session: id, Hidden: make([]uint16, modeltest.Dim)}), shard.Invalid)
	want(t, "tokens for layer 2", run(tail, Step{Session: tailID, Tokens: tokens(1, 1)}), shard.Invalid)
	want(t, "half a row", run(tail, Step{Session: tailID, Hidden: make([]uint16, 5)}), shard.Invalid)
	want(t, "unknown token", run(e, Step{Session: id, Tokens: []shard.Token{modeltest.Vocab}}), shard.Invalid)
	want(t, "logits of layer 1", run(e, Step{Session: id, Tokens: tokens(1, 1), Want: LogitsLast}), shard.Invalid)
	want(t, "negative position", run(e, Step{Session: id, Pos: -1, Tokens: tokens(1, 1)}), shard.Invalid)
	nan := make([]uint16, modeltest.Dim)
	nan[3] = 0x7fc0
	want(t, "not a number", run(tail, Step{Session: tailID, Hidden: nan}), shard.Internal)
	_, err := tail.Step(context.Background(), Step{Session: tailID, Hidden: make([]uint16, 9*modeltest.Dim), Want: LogitsAll, Summary: sample.Request{Named: make([]shard.Token, maxResult/8)}})
	want(t, "more logits than memory", err, shard.Invalid)
	want(t, "open twice", e.Open(id, e.Span(), 5), shard.Invalid)
	want(t, "longer than the context", e.Open(shard.NewSessionID(), e.Span(), modeltest.Context+1), shard.TooLong)
	if err := run(e, Step{Session: id, Tokens: tokens(3, 1)}); err != nil {
		t.Errorf("a good step after bad ones: %v", err)
	}
	err = run(e, Step{Session: id, Pos: 5, Tokens: tokens(1, 1)})
	if stage, ok := errors.AsType[*shard.StageError](err); !ok || !strings.Contains(stage.Text, "holds 3") || stage.Span != e.Span() {
		t.Errorf("gap error is %v, want one that says where to replay from", err)
	}
}

func TestASessionThatDoesNotFitIsRefusedAndTakesNothing(t *testing.T) {
	m := load(t, 0, 4)
	e, err := New(Config{Model: m, KVBytes: 96 * m.KVConfig().TokenBytes()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	a := open(t, e, 64)
	before := e.Stats()
	want(t, "too large", e.Open(shard.NewSessionID(), e.Span(), 33), shard.NoCapacity)
	if e.Stats() != before {
		t.Errorf("a refused session changed %+v to %+v", before, e.Stats())
	}
	b := open(t, e, 32)
	e.CloseSession(a)
	e.CloseSession(b)
	e.CloseSession(b)
	if kv := e.Stats().KV; kv.ReservedBytes != 0 || kv.Sessions != 0 {
		t.Errorf("all sessions closed, but %+v", kv)
	}
}

func TestStepEndsWithItsContext(t *testing.T) {
	e := start(t, 0, 4, Config{})
	id := open(t, e, 250)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Step(ctx, Step{Session: id, Tokens: tokens(250, 1)}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("step with a cancelled context: %v", err)
	}
	step(t, e, Step{Session: id, Tokens: tokens(4, 1)}) // the session still works
}

func TestClosingFailsWhatWaitsAndLeavesNothing(t *testing.T) {
	m := load(t, 0, 4)
	before := runtime.NumGoroutine()
	e, err := New(Config{Model: m, MaxBatchTokens: 4, KVBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 6 {
		id := open(t, e, 200)
		wg.Go(func() {
			for {
				_, err := e.Step(context.Background(), Step{Session: id, Tokens: tokens(200, uint64(i))})
				if err == nil {
					continue
				}
				if code := shard.CodeOf(err); code != shard.NotServing && code != shard.Stale {
					t.Errorf("a step that waited for a closing engine: %v", err)
				}
				return
			}
		})
		if i == 5 {
			e.CloseSession(id)
		}
	}
	for e.Stats().Batches < 3 {
		runtime.Gosched()
	}
	e.Close()
	e.Close()
	wg.Wait()
	want(t, "Open after Close", e.Open(shard.NewSessionID(), e.Span(), 1), shard.NotServing)
	if kv := e.Stats().KV; kv.UsedBytes != 0 || kv.ReservedBytes != 0 {
		t.Errorf("closed, but %+v", kv)
	}
	for i := 0; runtime.NumGoroutine() > before && i < 1e6; i++ {
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

func TestMeasuredSpeedIsPlausible(t *testing.T) {
	for _, span := range []shard.Span{{Start: 0, End: 4}, {Start: 2, End: 4}, {Start: 0, End: 1}} {
		e := start(t, span.Start, span.End, Config{})
		s, err := e.MeasureSpeed(context.Background(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if s.DecodePerLayer <= 0 || s.PrefillPerLayer <= 0 || s.DecodePerLayer > time.Second || (s.Head > 0) != (span.End == 4) {
			t.Errorf("%v: %+v", span, s)
		}
		if kv := e.Stats().KV; kv.Sessions != 0 {
			t.Errorf("measuring left %+v", kv)
		}
	}
}

func TestSessionsOfSomeLayersGiveTheBitsOfAllBesideOthers(t *testing.T) {
	e, prompt := start(t, 0, 4, Config{MaxBatchTokens: 16}), tokens(40, 3)
	whole := open(t, e, 64)
	want40 := step(t, e, Step{Session: whole, Tokens: append([]shard.Token(nil), prompt...), Want: LogitsAll, Full: true}).Logits
	var all sync.WaitGroup
	for cut := range shard.Layer(3) {
		all.Go(func() {
			a, b := shard.NewSessionID(), shard.NewSessionID()
			if err := errors.Join(e.Open(a, shard.Span{Start: 0, End: cut + 1}, 64), e.Open(b, shard.Span{Start: cut + 1, End: 4}, 64)); err != nil {
				t.Error(err)
				return
			}
			var got []float32
			for at := 0; at < 40; at += 20 {
				h, err := e.Step(t.Context(), Step{Session: a, Pos: shard.Pos(at), Tokens: append([]shard.Token(nil), prompt[at:at+20]...)})
				if err != nil {
					t.Error(err)
					return
				}
				r, err := e.Step(t.Context(), Step{Session: b, Pos: shard.Pos(at), Hidden: h.Hidden, Want: LogitsAll, Full: true})
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, r.Logits...)
			}
			if !equal(got, want40) {
				t.Errorf("layers cut at %d within one engine give other logits", cut+1)
			}
			if _, err := e.More(t.Context(), a); shard.CodeOf(err) != shard.Invalid {
				t.Errorf("More of a session without the last layer: %v, want invalid", err)
			}
		})
	}
	all.Wait()
	for _, span := range []shard.Span{{Start: 0, End: 5}, {Start: 2, End: 2}, {Start: -1, End: 2}} {
		want(t, "span "+span.String(), e.Open(shard.NewSessionID(), span, 8), shard.NotServing)
	}
}

func TestALongPromptOfOneSpanDoesNotHoldUpAnother(t *testing.T) {
	e := start(t, 0, 4, Config{MaxBatchTokens: 1})
	long, short := shard.NewSessionID(), shard.NewSessionID()
	if err := errors.Join(e.Open(long, shard.Span{Start: 0, End: 2}, 64), e.Open(short, e.Span(), 64)); err != nil {
		t.Fatal(err)
	}
	// Both are queued while the loop is busy, so that it sees both at once.
	gate, in := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { _ = e.call(t.Context(), func() error { close(in); <-gate; return nil }) })
	<-in
	queue := func(id shard.SessionID, rows int) {
		j := e.job()
		j.step, j.rows = Step{Session: id, Tokens: tokens(rows, 1)}, rows
		if err := e.enqueue(j); err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			if err := e.await(t.Context(), j); err != nil {
				t.Error(err)
			}
		})
	}
	queue(long, 60)
	queue(short, 1)
	close(gate)
	all.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	// since counts the batches up to the last that a session was in.
	if s, l := e.sessions[short].since, e.sessions[long].since; s >= l {
		t.Errorf("the short prompt ran in batch %d, the long one of the other span until %d, want the short one before", s, l)
	}
}
