package member

import (
	"context"
	"fmt"
	"time"

	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// moveTime is how long sessions on layers that move may take to end by
// themselves.
const moveTime = 30 * time.Second

// move gets the bytes of span, loads it, and serves it in place of what was
// served before, which goes on meanwhile if memory allows. After an error m
// holds what it held, unless that can't be loaded again either.
func (m *Member) move(ctx context.Context, span shard.Span) error {
	src, err := m.source(ctx, span)
	if err != nil {
		return err
	}
	m.mu.Lock()
	old := m.loaded
	m.mu.Unlock()
	if old == nil {
		return m.load(ctx, src, span, m.cfg.MemoryBytes)
	}
	if room := m.cfg.MemoryBytes - old.WeightBytes - old.KVBytes; m.need(src, span) <= room {
		if err := m.load(ctx, src, span, room); err != nil {
			return err
		}
		m.retire(ctx, old)
		return nil
	}
	// Nobody could finish an answer with a gap in the layers anyway, and one
	// who holds what others hold too leaves no gap.
	m.set(func() {
		m.loaded = nil
		if m.state != gossip.Draining {
			m.state = gossip.Joining
		}
	})
	m.node.Hold(nil)
	m.retire(ctx, old)
	if err = m.load(ctx, src, span, m.cfg.MemoryBytes); err == nil || ctx.Err() != nil {
		return err
	}
	if src, again := m.source(ctx, old.Span); again == nil {
		if again = m.load(ctx, src, old.Span, m.cfg.MemoryBytes); again != nil {
			m.cfg.Logger.Error().Stringer("span", old.Span).Err(again).Msg("span can't be loaded again")
		}
	}
	return err
}

// retire frees a span that is not served any more, when the sessions on it
// have ended.
func (m *Member) retire(ctx context.Context, old *Loaded) {
	bounded, stop := context.WithTimeout(ctx, moveTime)
	defer stop()
	if cut := m.node.Retire(bounded, old.Held()); cut > 0 {
		m.cfg.Notify("%d sessions on layers %v were ended: they had not finished in %v", cut, old.Span, moveTime)
	}
	old.Close()
}

// need returns the memory that span takes with the KV cache it is given.
func (m *Member) need(src Source, span shard.Span) int64 {
	cfg := m.about.Config
	n, err := model.MemoryBytes(cfg, src, span)
	if err != nil {
		return 0 // loading says why
	}
	if m.cfg.KVBytes > 0 {
		return n + m.cfg.KVBytes
	}
	return n + wantedKV(cfg.Context, int64(span.Len())*kvTokenLayerBytes(cfg, m.cfg.KV))
}

// load reads span into memory and serves it from now on.
func (m *Member) load(ctx context.Context, src Source, span shard.Span, memoryBytes int64) error {
	last := time.Now()
	loaded, err := Load(ctx, LoadConfig{
		Source: src, Model: m.about.ID, Span: span, Threads: m.cfg.Threads, MemoryBytes: memoryBytes,
		KVBytes: m.cfg.KVBytes, KV: m.cfg.KV, Packs: m.cfg.Packs, Logger: m.cfg.Logger,
		Progress: func(done, total int64) {
			if time.Since(last) > time.Second && total > 0 {
				last = time.Now()
				m.say("loading layers %v: %d of %d MiB", span, done>>20, total>>20)
			}
		},
	})
	if err != nil {
		return err
	}
	m.node.Hold(loaded.Held())
	m.set(func() {
		m.loaded, m.target = loaded, span
		if m.state != gossip.Draining {
			m.state = gossip.Serving
		}
		m.status = fmt.Sprintf("serving layers %v", span)
	})
	m.cfg.Notify("serving layers %v of %s: %d MiB of weights, %d MiB for KV cache (%v), %.2f ms a layer, loaded in %.2f s",
		span, m.about.Name, loaded.WeightBytes>>20, loaded.KVBytes>>20, m.cfg.KV, msOf(loaded.Speed.DecodePerLayer), loaded.Took.Seconds())
	return nil
}

// An ownFile has the tensors of this member's file, which were verified, and
// the swarm's metadata, which decide how they are computed with.
type ownFile struct {
	*weights.File
	meta *gguf.Meta
}

// Meta returns the metadata of the swarm's model.
func (f ownFile) Meta() *gguf.Meta { return f.meta }

// source returns where the tensors of span come from: this member's own file
// when its bytes are the model's, else a copy that is fetched from others.
func (m *Member) source(ctx context.Context, span shard.Span) (Source, error) {
	part := weights.Part{Span: span, Embed: span.Start == 0, Head: int(span.End) == m.about.Config.Layers}
	if m.cfg.File == nil || m.otherFile {
		return m.fetch(ctx, part)
	}
	own := ownFile{m.cfg.File, m.about.Manifest.Meta()}
	if m.founded {
		return own, nil // the manifest was made from it
	}
	m.say("checking layers %v of %s", span, m.cfg.File.Path())
	err := m.about.Manifest.Verify(ctx, m.cfg.File, part, nil)
	switch {
	case err == nil:
		return own, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	m.otherFile = true
	m.cfg.Notify("the file %s is not the swarm's model (%v): the layers are fetched from members instead", m.cfg.File.Path(), err)
	return m.fetch(ctx, part)
}

// fetch brings what is missing of part from other members.
func (m *Member) fetch(ctx context.Context, part weights.Part) (Source, error) {
	if m.partial == nil {
		p, err := weights.OpenPartial(m.cfg.weightsDir(), m.about.Manifest)
		if err != nil {
			return nil, &retryError{err}
		}
		m.mu.Lock()
		m.partial = p
		m.mu.Unlock()
		m.server.AddPartial(p)
	}
	if _, missing := m.partial.Missing(part); missing == 0 {
		return m.partial, nil
	}
	last := time.Time{}
	report, err := weights.Fetch(ctx, m.partial, part, m.weightPeers(), weights.FetchOptions{Progress: func(p weights.Progress) {
		if time.Since(last) < time.Second {
			return
		}
		last = time.Now()
		m.say("fetching layers %v: %d of %d MiB, %.0f MiB/s", part.Span, p.DoneBytes>>20, p.TotalBytes>>20, p.BytesPerSec/(1<<20))
	}})
	if err != nil {
		return nil, &retryError{fmt.Errorf("fetch layers %v: %w", part.Span, err)}
	}
	m.cfg.Notify("fetched %d KiB of layers %v from other members in %.1f s, every piece verified by its hash",
		report.Bytes>>10, part, report.Took.Seconds())
	return m.partial, nil
}
