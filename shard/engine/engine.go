package engine

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/model"
)

// maxWaiting is how many steps of one session may wait; more are refused with
// code Invalid. A driver keeps a handful of prompt chunks in flight.
const maxWaiting = 256

// Config holds the settings of an [Engine]. Only Model must be set.
type Config struct {
	// Model computes the span. The engine is its only user until Close returns.
	Model *model.Model

	// KVBytes is the memory for KV cache. Default: what two sessions of the
	// model's context need, at most 1 GiB. Raise it on a peer that refuses
	// sessions with code NoCapacity.
	KVBytes int64

	// MaxBatchTokens bounds the rows of one batch. Default: 256.
	MaxBatchTokens int

	Logger zerolog.Logger
}

// defaultKVBytes bounds the default of Config.KVBytes.
const defaultKVBytes = 1 << 30

func (c Config) withDefaults() (Config, error) {
	if c.Model == nil {
		return c, errors.New("engine: Model is not set")
	}
	if c.KVBytes < 0 {
		return c, fmt.Errorf("engine: KVBytes is %d, want 0 or more", c.KVBytes)
	}
	if c.MaxBatchTokens < 0 || c.MaxBatchTokens > 1<<16 {
		return c, fmt.Errorf("engine: MaxBatchTokens is %d, want 1 to %d", c.MaxBatchTokens, 1<<16)
	}
	kv := c.Model.KVConfig()
	two := 2 * int64(c.Model.Config().Context+64) * kv.TokenBytes()
	c.KVBytes = cmp.Or(c.KVBytes, min(two, defaultKVBytes))
	c.MaxBatchTokens = cmp.Or(c.MaxBatchTokens, 256)
	return c, nil
}

// An Engine runs steps of many sessions on one span. Make it with [New].
type Engine struct {
	cfg   Config
	model *model.Model
	span  shard.Span
	store *kvcache.Store
	wake  chan struct{} // capacity 1: something was queued, or Close was called
	loop  sync.WaitGroup

	// Used by the loop alone.
	batch batch

	mu       sync.Mutex // guards what follows
	sessions map[shard.SessionID]*session
	queue    []*job // in order of arrival
	spare    []*job // at most keptJobs that are over
	stats    Stats
	head     time.Duration // that the head takes for a row, as it was measured
	closed   bool
}

// A session is one timeline of tokens on this stage.
type session struct {
	id      shard.SessionID
	span    shard.Span // the layers it runs through, all those of the engine or some
	kv      *kvcache.Session
	since   int64 // number of batches when it last ran in one
	waiting int   // its jobs in the queue or running
	rhythm  rhythm
	running bool     // the loop works on it now: kv and last are the loop's
	closed  bool     // CloseSession was called while it ran: the loop frees it
	last    []uint16 // hidden state after the last row of its last step, before the head; nil until then
}

// New starts an engine. Close ends it.
func New(cfg Config) (*Engine, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	kv := cfg.Model.KVConfig()
	kv.BudgetBytes = cfg.KVBytes
	store, err := kvcache.New(kv)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		cfg: cfg, model: cfg.Model, span: cfg.Model.Span(), store: store,
		wake: make(chan struct{}, 1), sessions: map[shard.SessionID]*session{},
	}
	e.batch.timer = time.NewTimer(0)
	cfg.Logger.Debug().Stringer("span", e.span).Int64("bytes", cfg.KVBytes).Msg("engine started")
	e.loop.Go(e.runLoop)
	return e, nil
}

// Span returns the layers that e runs.
func (e *Engine) Span() shard.Span { return e.span }

// Open admits a session of at most maxTokens positions that runs through the
// layers of span, which must be among those of [Engine.Span]. It takes memory
// from the budget now, so that no later step can fail for lack of it, or returns
// code NoCapacity having taken nothing. A session longer than the model's
// context is TooLong, one that is open already is Invalid, one of other layers
// NotServing. A session of some layers counts against the budget as one of all.
func (e *Engine) Open(id shard.SessionID, span shard.Span, maxTokens int) error {
	_, err := e.OpenShared(id, span, maxTokens, nil)
	return err
}

// OpenShared is [Engine.Open] of a session that begins with the longest prefix
// that the engine has of the positions that keys name, one key for each
// [kvcache.KeyTokens] of them. It returns how many positions those are. Equal
// keys must mean equal tokens, spans and inputs.
func (e *Engine) OpenShared(id shard.SessionID, span shard.Span, maxTokens int, keys []kvcache.Key) (shard.Pos, error) {
	if span.Len() == 0 || !e.span.Covers(span) {
		return 0, e.fail(shard.NotServing, "layers %v: the engine runs %v", span, e.span)
	}
	if limit := e.model.Config().Context; maxTokens > limit {
		return 0, e.fail(shard.TooLong, "session of %d tokens: the model's context is %d", maxTokens, limit)
	}
	if maxTokens < 1 {
		return 0, e.fail(shard.Invalid, "session of %d tokens: want 1 or more", maxTokens)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return 0, e.fail(shard.NotServing, "the engine is closed")
	}
	if e.sessions[id] != nil {
		return 0, e.fail(shard.Invalid, "session %v is open already", id)
	}
	kv, err := e.store.ReserveShared(maxTokens, keys)
	if err != nil {
		return 0, e.wrap(err)
	}
	e.sessions[id] = &session{id: id, span: span, kv: kv}
	return kv.Len(), nil
}

// CloseSession frees what a session holds; its steps that wait fail with code
// Stale. It does nothing if the session is not open.
func (e *Engine) CloseSession(id shard.SessionID) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.sessions[id]
	if s == nil {
		return
	}
	delete(e.sessions, id)
	e.failWaiting(s, e.fail(shard.Stale, "session %v was closed", id))
	if s.running {
		s.closed = true // the loop frees it
		return
	}
	s.kv.Close()
}

// failWaiting ends the jobs of s, or of all sessions if s is nil, that are in
// the queue and not running. e.mu is held.
func (e *Engine) failWaiting(s *session, err error) {
	kept := e.queue[:0]
	for _, j := range e.queue {
		if j.running || s != nil && j.session != s {
			kept = append(kept, j)
			continue
		}
		j.finish(err)
	}
	clear(e.queue[len(kept):])
	e.queue = kept
}

// Close ends the loop, fails the steps that wait with code NotServing, and
// frees all memory but the model's. It returns when nothing runs any more, and
// may be called twice.
func (e *Engine) Close() {
	e.mu.Lock()
	first := !e.closed
	e.closed = true
	e.failWaiting(nil, e.fail(shard.NotServing, "the engine is closed"))
	e.mu.Unlock()
	e.signal()
	e.loop.Wait()
	if !first {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failWaiting(nil, e.fail(shard.NotServing, "the engine is closed"))
	for id, s := range e.sessions {
		s.kv.Close()
		delete(e.sessions, id)
	}
	e.store.Close()
}

// signal wakes the loop.
func (e *Engine) signal() {
	select {
	case e.wake <- struct{}{}:
	default: // it has been woken already
	}
}

// fail returns an error of this stage.
func (e *Engine) fail(code shard.Code, format string, args ...any) error {
	return &shard.StageError{Span: e.span, Code: code, Text: fmt.Sprintf(format, args...)}
}

// wrap returns err as an error of this stage, with the code that fits it.
func (e *Engine) wrap(err error) error {
	code := shard.Internal
	switch {
	case errors.Is(err, kvcache.ErrNoCapacity):
		code = shard.NoCapacity
	case errors.Is(err, kvcache.ErrTooLong):
		code = shard.TooLong
	case errors.Is(err, model.ErrInput):
		code = shard.Invalid
	}
	return e.fail(code, "%v", err)
}

// Stats counts what an [Engine] has done and holds.
type Stats struct {
	KV       kvcache.Stats
	Waiting  int           // steps in the queue
	Batches  int64         // batches run
	Rows     int64         // rows computed in them
	Decoded  int64         // of these, rows of decode steps
	Busy     time.Duration // time in batches
	PerRow   time.Duration // what a row of a prompt takes now, over the whole span; 0 if none has run
	PerToken time.Duration // what a batch of one row takes now; 0 if none has run

	// Decode and Prefill are what a layer takes now, of a batch of one row and
	// for a row of a prompt, without the head; 0 if none has run.
	Decode, Prefill time.Duration
}

// Stats returns counts of e.
func (e *Engine) Stats() Stats {
	kv := e.store.Stats()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.KV, s.Waiting = kv, len(e.queue)
	return s
}
