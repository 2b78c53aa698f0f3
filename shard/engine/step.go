package engine

import (
	"context"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/sample"
)

// Want says which rows of a step the caller wants the logits of.
type Want uint8

// The rows whose logits a step can want.
const (
	LogitsNone Want = iota
	LogitsLast      // of the last row
	LogitsAll       // of every row
)

// A Step is new positions of one session.
//
// Working on Pos replaces everything at Pos and after. Exactly one of Tokens
// and Hidden is set: Tokens if the session's span begins with layer 0, Hidden
// otherwise. The engine owns both from the call of [Engine.Step] on: the caller
// must not change them any more.
type Step struct {
	Session shard.SessionID
	Pos     shard.Pos
	Tokens  []shard.Token
	Hidden  []uint16 // [tokens, dim], bfloat16 bits

	// Keys, unless empty, name what the session holds at the ends of the blocks
	// of [kvcache.KeyTokens] positions that end within the step, so that
	// sessions to come can begin with it ([Engine.OpenShared]).
	Keys []kvcache.Key

	// Want, on a span that ends with the last layer, asks for logits.
	Want Want
	// Summary says what of the logits goes into Result.Dists.
	Summary sample.Request
	// Full asks for Result.Logits besides.
	Full bool

	// Reuse, if not nil, is a result that nobody reads any more: the new one may
	// lie in its memory. After an error that memory is the engine's for good.
	Reuse *Result
}

// A Result is what a step gave. The caller owns its slices.
type Result struct {
	Hidden  []uint16      // [tokens, dim], bfloat16 bits; nil on a span with the last layer
	Dists   []sample.Dist // one for each wanted row
	Logits  []float32     // [wanted rows, vocab] if the step was Full
	Compute time.Duration // of the batches that the step was part of
	Queue   time.Duration // from the call to its first batch
}

// A job is a step in the queue, or a call that must run in the loop.
type job struct {
	session *session // nil for a call without one
	step    Step
	call    func() error // what to run in the loop, instead of a step
	queued  time.Time
	since   int64         // number of batches that had run when it was queued
	done    chan struct{} // capacity 1; finish sends

	// The rest is guarded by Engine.mu, and while running belongs to the loop.
	running   bool
	abandoned bool // its caller has gone
	finished  bool
	rows, ran int // of the step; 0 <= ran <= rows
	res       Result
	err       error
}

// finish hands the job's result to its caller. Engine.mu is held.
func (j *job) finish(err error) {
	if j.finished {
		return
	}
	j.finished, j.err = true, err
	if j.session != nil {
		j.session.waiting--
	}
	j.done <- struct{}{}
}

// Step runs new positions of an open session and returns what came out of the
// span. It blocks until they have run, beside other sessions' steps, in one or
// several batches. Steps of one session run in the order of the calls.
//
// Codes of errors: [shard.Stale] if the session is not open, [shard.Gap] if
// positions before the step are missing, [shard.TooLong] beyond what Open
// reserved, [shard.Invalid] if the step cannot be, [shard.NotServing] after
// Close. When ctx ends, Step returns its error at once; rows that have run by
// then stay, and a later step replaces them.
func (e *Engine) Step(ctx context.Context, step Step) (Result, error) {
	span, err := e.spanOf(step.Session)
	if err != nil {
		return Result{}, err
	}
	rows, err := e.checkStep(&step, span)
	if err != nil {
		return Result{}, err
	}
	j := e.job()
	j.step, j.rows = step, rows
	if step.Reuse != nil {
		j.res = Result{Hidden: step.Reuse.Hidden, Dists: step.Reuse.Dists, Logits: step.Reuse.Logits}
	}
	if err := e.enqueue(j); err != nil {
		return Result{}, err
	}
	if err := e.await(ctx, j); err != nil {
		return Result{}, err
	}
	res := j.res
	e.release(j)
	return res, nil
}

// keptJobs is how many jobs that are over are kept for later steps.
const keptJobs = 64

// job returns an empty job.
func (e *Engine) job() *job {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.spare); n > 0 {
		j := e.spare[n-1]
		e.spare = e.spare[:n-1]
		return j
	}
	return &job{done: make(chan struct{}, 1)}
}

// release keeps a job whose end its caller has seen, so that nobody else knows
// of it.
func (e *Engine) release(j *job) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.spare) < keptJobs {
		*j = job{done: j.done}
		e.spare = append(e.spare, j)
	}
}

// spanOf returns the layers that an open session runs through.
func (e *Engine) spanOf(id shard.SessionID) (shard.Span, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sessions[id]
	switch {
	case e.closed:
		return shard.Span{}, e.fail(shard.NotServing, "the engine is closed")
	case s == nil:
		return shard.Span{}, e.fail(shard.Stale, "session %v is not open", id)
	}
	return s.span, nil
}

// hasHead reports whether a session that runs through span gives logits.
func (e *Engine) hasHead(span shard.Span) bool { return int(span.End) == e.model.Config().Layers }

// checkStep returns the rows of a step that can be run on the given span.
func (e *Engine) checkStep(s *Step, span shard.Span) (int, error) {
	dim := e.model.Config().Dim
	rows := len(s.Tokens)
	first := span.Start == 0
	switch {
	case first && len(s.Hidden) > 0, !first && len(s.Tokens) > 0:
		return 0, e.fail(shard.Invalid, "tokens go to the first layer and hidden states to later ones, this is layer %d", span.Start)
	case !first && len(s.Hidden)%dim != 0:
		return 0, e.fail(shard.Invalid, "hidden states of %d values: want a multiple of %d", len(s.Hidden), dim)
	case s.Want != LogitsNone && !e.hasHead(span):
		return 0, e.fail(shard.Invalid, "logits come from the last layer, which is not in this span")
	case s.Pos < 0:
		return 0, e.fail(shard.Invalid, "position %d", s.Pos)
	}
	if !first {
		rows = len(s.Hidden) / dim
	}
	if rows == 0 || rows > e.model.Config().Context {
		return 0, e.fail(shard.Invalid, "a step of %d tokens: want 1 to %d", rows, e.model.Config().Context)
	}
	if n := kvcache.KeysWithin(int(s.Pos), rows); len(s.Keys) > 0 && len(s.Keys) != n {
		return 0, e.fail(shard.Invalid, "a step of %d tokens at position %d with %d keys: want none or %d", rows, s.Pos, len(s.Keys), n)
	}
	if n := int64(wanted(s.Want, rows)) * int64(e.summaryLen(s)); n > maxResult {
		return 0, e.fail(shard.Invalid, "%d logits in one result: want %d at most, ask for fewer rows at once", n, maxResult)
	}
	return rows, e.checkTokens(s.Tokens)
}

// checkTokens returns an error unless all tokens are in the vocabulary.
func (e *Engine) checkTokens(tokens []shard.Token) error {
	vocab := e.model.Config().Vocab
	for _, t := range tokens {
		if t < 0 || int(t) >= vocab {
			return e.fail(shard.Invalid, "token %d: the model has %d", t, vocab)
		}
	}
	return nil
}

// maxResult bounds the logits that one step may ask for: 64 MiB as float32.
const maxResult = 16 << 20

// wanted returns how many rows of a step of so many rows give logits.
func wanted(w Want, rows int) int {
	switch w {
	case LogitsAll:
		return rows
	case LogitsLast:
		return 1
	}
	return 0
}

// summaryLen returns how many logits of a row go into the result of s.
func (e *Engine) summaryLen(s *Step) int {
	vocab := e.model.Config().Vocab
	if s.Full || s.Summary.Full {
		return vocab
	}
	return min(max(s.Summary.K, 0), vocab) + len(s.Summary.Named)
}

// enqueue puts j at the end of the queue.
func (e *Engine) enqueue(j *job) error {
	j.queued = time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return e.fail(shard.NotServing, "the engine is closed")
	}
	if j.call == nil {
		s := e.sessions[j.step.Session]
		if s == nil {
			return e.fail(shard.Stale, "session %v is not open", j.step.Session)
		}
		if s.waiting >= maxWaiting {
			return e.fail(shard.Invalid, "%d steps of session %v wait already", s.waiting, s.id)
		}
		s.waiting++
		s.rhythm.arrive(j.queued)
		j.session = s
	}
	j.since = e.stats.Batches
	e.queue = append(e.queue, j)
	e.signal()
	return nil
}

// await blocks until j has run or ctx ends.
func (e *Engine) await(ctx context.Context, j *job) error {
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if j.finished { // it was done in the same moment
		<-j.done
		return j.err
	}
	j.abandoned = true
	e.signal()
	return ctx.Err()
}

// call runs f in the loop, between batches.
func (e *Engine) call(ctx context.Context, f func() error) error {
	j := e.job()
	j.call = f
	if err := e.enqueue(j); err != nil {
		return err
	}
	return e.await(ctx, j)
}

// More returns all logits, [vocab], of the last row that the last step of a
// session computed. It is for the rare draw that falls beyond what
// [Result.Dists] holds. The span must end with the last layer.
func (e *Engine) More(ctx context.Context, id shard.SessionID) ([]float32, error) {
	span, err := e.spanOf(id)
	if err != nil {
		return nil, err
	}
	if !e.hasHead(span) {
		return nil, e.fail(shard.Invalid, "logits come from the last layer, which is not in this span")
	}
	var logits []float32
	err = e.call(ctx, func() error {
		e.mu.Lock()
		s := e.sessions[id]
		e.mu.Unlock()
		if s == nil || s.last == nil {
			return e.fail(shard.Stale, "session %v has no last step", id)
		}
		out := make([]float32, e.model.Config().Vocab)
		copy(out, e.model.Head(s.last))
		logits = out
		return nil
	})
	if err != nil {
		return nil, err
	}
	return logits, nil
}
