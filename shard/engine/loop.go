package engine

import (
	"slices"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/model"
)

// A batch is what runs at once, and the buffers to choose it. It belongs to
// the loop.
type batch struct {
	calls   []*job
	jobs    []*job // jobs[i] runs as parts[i]
	parts   []model.Part
	rows    []int      // of each part
	span    shard.Span // of all the sessions in it
	decodes int        // rows of decode steps

	took  time.Duration // by the last batch of decode steps alone
	timer *time.Timer   // of gather

	candidates []*job // the oldest job of each session
	demands    []demand
	takes      []take
}

// runLoop runs batches until the engine is closed.
func (e *Engine) runLoop() {
	for {
		e.gather()
		more, closed := e.choose()
		if closed {
			return
		}
		if !more {
			e.model.Rest()
			<-e.wake
			continue
		}
		for _, j := range e.batch.calls {
			err := j.call()
			e.mu.Lock()
			j.finish(err)
			e.mu.Unlock()
		}
		if len(e.batch.jobs) > 0 {
			e.runBatch()
		}
	}
}

// choose fills e.batch with what is to run next. It reports whether there is
// anything, and whether the engine is closed.
func (e *Engine) choose() (more, closed bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := &e.batch
	b.calls, b.jobs, b.parts, b.rows, b.decodes = b.calls[:0], b.jobs[:0], b.parts[:0], b.rows[:0], 0
	b.candidates, b.demands, b.takes = b.candidates[:0], b.demands[:0], b.takes[:0]
	if e.closed {
		return false, true
	}
	e.dropAbandoned()
	b.span = e.nextSpan()
	kept := e.queue[:0]
	decoding := e.decoding(time.Now())
	for _, j := range e.queue {
		if j.call != nil {
			b.calls = append(b.calls, j)
			continue
		}
		kept = append(kept, j)
		if j.session.running {
			continue // an older job of the session is a candidate already
		}
		if j.session.span != b.span {
			continue // its turn comes
		}
		j.session.running = true // until all candidates are known
		d := demand{rows: j.rows - j.ran, started: j.ran > 0}
		decoding = decoding || d.decodes()
		b.candidates = append(b.candidates, j)
		b.demands = append(b.demands, d)
	}
	clear(e.queue[len(kept):])
	e.queue = kept
	for _, j := range b.candidates {
		j.session.running = false
	}
	prompt := promptRows(e.stats.PerRow, decoding, e.cfg.MaxBatchTokens)
	b.takes = pick(b.takes, b.demands, e.cfg.MaxBatchTokens, prompt)
	for _, t := range b.takes {
		e.admit(b.candidates[t.index], t.rows)
	}
	return len(b.calls) > 0 || len(b.candidates) > 0, false
}

// nextSpan returns the span that the next batch runs through: that of the
// session in the queue that has waited for the most batches. So a long prompt
// of one span keeps no session of another waiting. e.mu is held.
func (e *Engine) nextSpan() shard.Span {
	var first *job
	var least int64
	for _, j := range e.queue {
		if j.call != nil {
			continue
		}
		if since := max(j.since, j.session.since); first == nil || since < least {
			first, least = j, since
		}
	}
	if first == nil {
		return e.span
	}
	return first.session.span
}

// dropAbandoned ends the jobs whose callers have gone. e.mu is held.
func (e *Engine) dropAbandoned() {
	e.queue = slices.DeleteFunc(e.queue, func(j *job) bool {
		if j.abandoned {
			j.finish(e.fail(shard.TimedOut, "the caller has gone"))
		}
		return j.finished
	})
}

// admit makes rows of j a part of the batch, or ends j if it cannot run. e.mu
// is held.
func (e *Engine) admit(j *job, rows int) {
	s, step, dim := j.session, &j.step, e.model.Config().Dim
	at := step.Pos + shard.Pos(j.ran)
	if at > s.kv.Len() {
		e.drop(j, e.fail(shard.Gap, "step at position %d: the session holds %d, replay from there", at, s.kv.Len()))
		return
	}
	if end := int(step.Pos) + j.rows; end > s.kv.MaxTokens() {
		e.drop(j, e.fail(shard.TooLong, "step to position %d: %d are reserved", end, s.kv.MaxTokens()))
		return
	}
	if j.ran == 0 {
		j.res.Queue = time.Since(j.queued)
		e.prepare(j)
	}
	p := model.Part{KV: s.kv, Pos: at}
	if s.span.Start == 0 {
		p.Tokens = step.Tokens[j.ran:][:rows]
	} else {
		p.Hidden = step.Hidden[j.ran*dim:][:rows*dim]
	}
	last := j.ran+rows == j.rows
	switch {
	case step.Want == LogitsAll:
		p.Logits = rows
	case step.Want == LogitsLast && last:
		p.Logits = 1
	}
	switch {
	case !e.hasHead(s.span):
		p.Out = j.res.Hidden[j.ran*dim:][:rows*dim]
	case last:
		if s.last == nil {
			s.last = make([]uint16, dim)
		}
		p.Out = s.last
	}
	if (demand{rows: j.rows - j.ran, started: j.ran > 0}).decodes() {
		e.batch.decodes += rows
	}
	j.running, s.running = true, true
	e.batch.jobs = append(e.batch.jobs, j)
	e.batch.parts = append(e.batch.parts, p)
	e.batch.rows = append(e.batch.rows, rows)
}

// prepare takes the memory for the result of j, that of an earlier result if
// there is enough.
func (e *Engine) prepare(j *job) {
	old := j.res
	j.res = Result{Queue: old.Queue}
	if !e.hasHead(j.session.span) {
		j.res.Hidden = sized(old.Hidden, j.rows*e.model.Config().Dim)
	}
	n := wanted(j.step.Want, j.rows)
	if n > 0 {
		j.res.Dists = sized(old.Dists, n)
	}
	if j.step.Full {
		j.res.Logits = sized(old.Logits, n*e.model.Config().Vocab)
	}
}

// sized returns a slice of n elements, s if it has room for them.
func sized[T any](s []T, n int) []T {
	if cap(s) >= n {
		return s[:n]
	}
	return make([]T, n)
}

// drop ends j, which is not running, with err. e.mu is held.
func (e *Engine) drop(j *job, err error) {
	j.finish(err)
	if i := slices.Index(e.queue, j); i >= 0 {
		e.queue = slices.Delete(e.queue, i, i+1)
	}
}

// runBatch computes e.batch and hands out what came of it.
func (e *Engine) runBatch() {
	b := &e.batch
	start := time.Now()
	e.model.ForwardSpan(b.span, b.parts, b)
	took := time.Since(start)

	e.mu.Lock()
	defer e.mu.Unlock()
	rows := 0
	now := start.Add(took)
	for i, j := range b.jobs {
		j.session.since = e.stats.Batches + 1
		j.running, j.session.running = false, false
		rows += b.rows[i]
		if b.parts[i].Err == nil {
			j.publish(b.rows[i])
		}
		j.ran += b.rows[i]
		j.res.Compute += took
		switch {
		case b.parts[i].Err != nil:
			e.drop(j, e.wrap(b.parts[i].Err))
		case j.session.closed:
			e.drop(j, e.fail(shard.Stale, "session %v was closed", j.session.id))
		case j.ran == j.rows:
			e.drop(j, nil)
			if j.rows <= draftRows && j.session.waiting == 0 {
				j.session.rhythm.answer(now)
			}
		}
		if j.session.closed {
			j.session.kv.Close()
		}
	}
	if rows == b.decodes {
		b.took = took
	}
	e.count(rows, took)
	clear(b.jobs)
	clear(b.parts)
}

// publish names what the session holds after so many more rows of j, which have
// just run.
func (j *job) publish(rows int) {
	pos := int(j.step.Pos)
	at, skip := pos+j.ran, kvcache.KeysWithin(pos, j.ran)
	for i := range min(kvcache.KeysWithin(at, rows), len(j.step.Keys)-skip) {
		end := (at/kvcache.KeyTokens + 1 + i) * kvcache.KeyTokens
		j.session.kv.Publish(shard.Pos(end), j.step.Keys[skip+i])
	}
}

// Logits takes the logits of a row for the job that wanted them. It is called
// by several goroutines at once, for different rows.
func (b *batch) Logits(part, index int, logits []float32) {
	j := b.jobs[part]
	if j.step.Want == LogitsAll {
		index += j.ran
	}
	j.res.Dists[index].Summarize(logits, j.step.Summary)
	if j.step.Full {
		copy(j.res.Logits[index*len(logits):], logits)
	}
}

// count notes a batch. e.mu is held.
func (e *Engine) count(rows int, took time.Duration) {
	s := &e.stats
	s.Batches++
	s.Rows += int64(rows)
	s.Decoded += int64(e.batch.decodes)
	s.Busy += took
	layers, n := took, time.Duration(max(1, e.batch.span.Len()))
	if e.hasHead(e.batch.span) {
		layers = max(took/2, took-e.head)
	}
	switch {
	case rows == 1:
		s.PerToken, s.Decode = smooth(s.PerToken, took), smooth(s.Decode, layers/n)
	case rows >= minChunk:
		s.PerRow, s.Prefill = smooth(s.PerRow, took/time.Duration(rows)), smooth(s.Prefill, layers/n/time.Duration(rows))
	}
}

// smooth moves an average towards a new sample by an eighth, the gain of
// RFC 6298 for round-trip times.
func smooth(mean, sample time.Duration) time.Duration {
	if mean == 0 {
		return sample
	}
	return mean + (sample-mean)/8
}
