package member

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/node"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/tensorio/gguf"
	"github.com/shardnode/shardnode/tensorio/par"
)

// A Source has a model's metadata and (some of) its tensors.
type Source interface {
	model.Source
	Meta() *gguf.Meta
}

// LoadConfig says what to load. Source must be set.
type LoadConfig struct {
	Source Source
	Model  shard.ModelID
	// Span is what to load. Default: all layers.
	Span shard.Span
	// Threads compute. Default: one for each processor that the process may use.
	Threads int
	// Linger is how long workers stay awake after a step (package par,
	// NewLingering). Default: not at all. Set it for members that take turns
	// on one machine.
	Linger time.Duration
	// MemoryBytes bounds weights and KV cache together. Default: no bound.
	MemoryBytes int64
	// KVBytes is the memory for KV cache. Default: the engine's, within what
	// MemoryBytes leaves.
	KVBytes int64
	// Packs keeps packed weights for the next start. Default: nothing is kept.
	Packs *weights.Packs
	// Settled makes Load wait for what it else does while the weights are used
	// (package model).
	Settled bool
	// KV is how keys and values are kept. Default: [kvcache.Float16].
	KV kvcache.Precision
	// MeasureTime is how long decoding and prompts are each timed. Default: the
	// engine's, which plans rely on. Make it short where somebody waits for an
	// answer.
	MeasureTime time.Duration
	// Progress is called with packed bytes so far and in all.
	Progress func(done, total int64)
	Logger   zerolog.Logger
}

// A runner is the engine of a span. Package engine's is one.
type runner interface {
	node.Engine
	Stats() engine.Stats
	MeasureSpeed(ctx context.Context, limit time.Duration) (engine.Speed, error)
	Close()
}

// A Loaded is a span in memory, with the engine that runs it.
type Loaded struct {
	Config model.Config
	Span   shard.Span
	Engine runner
	Speed  engine.Speed
	// WeightBytes are the packed weights, KVBytes the budget of the cache.
	WeightBytes, KVBytes int64
	Took                 time.Duration

	id         shard.ModelID
	tokenBytes int64 // of KV cache for one position
	model      *model.Model
	pool       *par.Pool
	held       *node.Held
}

// minKVTokens is the least KV cache that a span is loaded with, in tokens.
const minKVTokens = 256

// processors is how many processors the process could use when it started. A
// program may raise GOMAXPROCS above it later, so that goroutines that wait for
// the network need not wait for those that compute.
var processors = runtime.GOMAXPROCS(0)

// Processors returns the default of [LoadConfig.Threads].
func Processors() int { return processors }

// Load reads a span into memory, starts its engine and measures its speed.
// Close frees it.
func Load(ctx context.Context, c LoadConfig) (*Loaded, error) {
	began := time.Now()
	cfg, err := model.ReadConfig(c.Source.Meta())
	if err != nil {
		return nil, err
	}
	if c.Span.Len() == 0 {
		c.Span = shard.Span{End: shard.Layer(cfg.Layers)}
	}
	l := &Loaded{Config: cfg, Span: c.Span, id: c.Model}
	l.pool = par.NewLingering(cmp.Or(c.Threads, processors), c.Linger)
	if err := l.load(ctx, c); err != nil {
		l.Close()
		return nil, err
	}
	l.Took = time.Since(began)
	l.held = &node.Held{
		Model: l.id, Span: l.Span, Layers: cfg.Layers, Dim: cfg.Dim, Vocab: cfg.Vocab, Engine: l.Engine, KV: c.KV,
	}
	return l, nil
}

func (l *Loaded) load(ctx context.Context, c LoadConfig) error {
	var err error
	l.model, err = model.Load(ctx, l.Config, c.Source, c.Span, model.Options{
		Pool: l.pool, MemoryBytes: c.MemoryBytes, Progress: c.Progress, Packs: c.Packs, Settled: c.Settled, KV: c.KV,
	})
	if err != nil {
		return err
	}
	l.WeightBytes = l.model.PackedBytes()
	if l.KVBytes, err = kvBudget(c, l.model); err != nil {
		return err
	}
	l.tokenBytes = l.model.KVConfig().TokenBytes()
	e, err := engine.New(engine.Config{Model: l.model, KVBytes: l.KVBytes, Logger: c.Logger})
	if err != nil {
		return err
	}
	l.Engine = e
	l.Speed, err = l.Engine.MeasureSpeed(ctx, c.MeasureTime)
	return err
}

// kvBudget returns the memory for KV cache: what was asked for, else the
// engine's default within what the weights leave.
func kvBudget(c LoadConfig, m *model.Model) (int64, error) {
	token := m.KVConfig().TokenBytes()
	budget := c.KVBytes
	if budget == 0 {
		budget = wantedKV(m.Config().Context, token)
	}
	if c.MemoryBytes > 0 {
		budget = min(budget, c.MemoryBytes-m.PackedBytes())
	}
	if least := minKVTokens * token; budget < least {
		return 0, &model.TooBigError{Span: m.Span(), NeedBytes: m.PackedBytes() + least, LimitBytes: c.MemoryBytes}
	}
	return budget, nil
}

// wantedKV is the memory for KV cache of two sessions of the model's context,
// within reason, where a position takes tokenBytes.
func wantedKV(context int, tokenBytes int64) int64 {
	return min(2*int64(context+64)*tokenBytes, 1<<30)
}

// KeptBytes returns how much is being written to the cache of packed weights.
func (l *Loaded) KeptBytes() int64 { return l.model.KeptBytes() }

// Held returns l as a node serves it: the same each time.
func (l *Loaded) Held() *node.Held { return l.held }

// Close ends the engine and frees the weights. No session may run any more.
func (l *Loaded) Close() {
	if l.Engine != nil {
		l.Engine.Close()
	}
	if l.model != nil {
		l.model.Close()
	}
	if l.pool != nil {
		l.pool.Close()
	}
}

// stageError returns the [shard.StageError] in the chain of err, nil if there is none.
func stageError(err error) *shard.StageError {
	stage, _ := errors.AsType[*shard.StageError](err)
	return stage
}

// IsTooBig returns the [model.TooBigError] in err's chain, if any.
func IsTooBig(err error) (*model.TooBigError, bool) {
	return errors.AsType[*model.TooBigError](err)
}

// prove has l compute a token before anybody relies on it, and compares with
// what old gives where both have the layers; old may be nil. Bits are the same
// everywhere, so whatever differs is damaged.
func (l *Loaded) prove(ctx context.Context, old *Loaded) error {
	span := l.Span
	if old != nil && old.Span.Overlap(span).Len() > 0 {
		span = span.Overlap(old.Span)
	} else {
		old = nil
	}
	got, err := l.trial(ctx, span)
	if err != nil {
		return fmt.Errorf("layers %v do not compute: %w", l.Span, err)
	}
	if old == nil {
		return nil
	}
	want, err := old.trial(ctx, span)
	if err != nil {
		return nil //nolint:nilerr // the old one is full or going: it proves nothing
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("layers %v compute other values than before: the weights are damaged", span)
	}
	return nil
}

// trial returns what the layers of span make of one made-up token.
func (l *Loaded) trial(ctx context.Context, span shard.Span) (engine.Result, error) {
	var id shard.SessionID
	rand.Read(id[:])
	if _, err := l.Engine.OpenShared(id, span, 1, nil); err != nil {
		return engine.Result{}, err
	}
	defer l.Engine.CloseSession(id)
	step := engine.Step{Session: id, Tokens: []shard.Token{1}}
	if span.Start > 0 {
		step.Tokens, step.Hidden = nil, make([]uint16, l.Config.Dim)
		for i := range step.Hidden {
			step.Hidden[i] = uint16(0x3f80 + i%97 | i&1<<15) // 1 to 2, both signs, as bfloat16
		}
	}
	if int(span.End) == l.Config.Layers {
		step.Want, step.Full = engine.LogitsLast, true
	}
	res, err := l.Engine.Step(ctx, step)
	return engine.Result{Hidden: slices.Clone(res.Hidden), Logits: slices.Clone(res.Logits)}, err
}
