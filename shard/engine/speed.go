package engine

import (
	"cmp"
	"context"
	"time"
)

// Speed is what the layers of a span cost on this machine now.
type Speed struct {
	DecodePerLayer  time.Duration // one token through one layer
	PrefillPerLayer time.Duration // one token of a prompt chunk through one layer
	Head            time.Duration // embedding aside: norm and head for one row; 0 on a span without
}

// MeasureSpeed times the real layers with made-up input: decoding and prompts
// for limit each, the default 0 being some 100 ms, or one round where that
// takes longer. Steps wait meanwhile. It needs room for a short session in the
// KV cache.
func (e *Engine) MeasureSpeed(ctx context.Context, limit time.Duration) (Speed, error) {
	var speed Speed
	err := e.call(ctx, func() error {
		n := min(measureRows, e.model.Config().Context)
		kv, err := e.store.Reserve(n)
		if err != nil {
			return e.wrap(err)
		}
		defer kv.Close()
		m, err := e.model.Measure(kv, n, cmp.Or(limit, measureTime))
		if err != nil {
			return e.wrap(err)
		}
		e.mu.Lock()
		e.head = m.Head
		e.mu.Unlock()
		speed = Speed{DecodePerLayer: m.Decode, PrefillPerLayer: m.Prefill, Head: m.Head}
		return nil
	})
	return speed, err
}

// measureRows is the length of the session that is measured with, and so the
// most rows of its prompt.
const measureRows = 64

// measureTime is how long each of the two measurements goes on by default
// before it starts no further round.
const measureTime = 120 * time.Millisecond
