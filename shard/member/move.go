package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// moveTime is how long sessions on layers that move may take to end by
// themselves.
const moveTime = 30 * time.Second

// intentTime is how long others are given to hear of an intent before it is
// carried out: twice what gossip takes to reach 50 members.
const intentTime = 2 * time.Second

// restTime is how long a member waits for others to take over what rests on
// it, before it gives up a move.
const restTime = 20 * time.Second

// move gets the bytes of d's span, loads it, and serves it in place of what was
// served before, which goes on until the new span has computed a token and
// nobody needs the old one any more. After an error m holds what it held,
// unless that can't be loaded again either.
func (m *Member) move(ctx context.Context, d decision) error {
	said := time.Now()
	src, err := m.stock.source(ctx, d.span)
	if err != nil {
		return err
	}
	m.mu.Lock()
	old := m.loaded
	m.mu.Unlock()
	if old == nil {
		return m.load(ctx, src, d.span)
	}
	if !m.fitsBeside(old, d.span) {
		return m.swap(ctx, src, d, old, said)
	}
	fresh, err := m.stock.bring(ctx, src, d.span, m.cfg.MemoryBytes)
	if err != nil {
		return err
	}
	if err = fresh.prove(ctx, old); err == nil {
		err = m.untilFree(ctx, d.span, said)
	}
	if err != nil {
		fresh.Close()
		return err
	}
	m.serve(fresh)
	m.retire(ctx, old)
	return nil
}

// swap lets go of old before it loads, when memory does not hold both. That is
// for gaps, in which nobody could finish an answer anyway, and for those who
// hold what others hold too.
func (m *Member) swap(ctx context.Context, src Source, d decision, old *Loaded, said time.Time) error {
	if d.cause != scheduler.Gap {
		if err := m.untilFree(ctx, shard.Span{}, said); err != nil {
			return err
		}
	} else if now := m.view().target(); now.cause != scheduler.Gap {
		return errOvertaken // others close it
	}
	m.set(func() {
		m.loaded = nil
		if m.state != gossip.Draining {
			m.state = gossip.Joining
		}
	})
	m.node.Hold(nil)
	m.retire(ctx, old)
	err := m.load(ctx, src, d.span)
	if err == nil || ctx.Err() != nil && !errors.Is(context.Cause(ctx), errOvertaken) {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if src, again := m.stock.source(ctx, old.Span); again == nil {
		if again = m.load(ctx, src, old.Span); again != nil {
			m.cfg.Logger.Error().Stringer("span", old.Span).Err(again).Msg("span can't be loaded again")
		}
	}
	return err
}

// untilFree returns when m may let go of what it holds beside next, which it
// has said at a time, or why it may not.
func (m *Member) untilFree(ctx context.Context, next shard.Span, said time.Time) error {
	m.mu.Lock()
	held := m.loaded.Span
	m.mu.Unlock()
	if next.Covers(held) {
		return nil
	}
	for {
		ok, keep := m.view().mayDrop(next)
		if ok && time.Since(said) >= intentTime {
			return nil
		}
		if time.Since(said) > restTime {
			return &retryError{fmt.Errorf("layer %d rests on this member", keep)}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(intentTime / 10):
		}
	}
}

// handTime bounds how long a member that leaves waits for others to take over
// what it holds.
const handTime = 30 * time.Second

// handOver returns when others hold all that m does, after m has said that it
// leaves, or when it is clear that nobody will.
func (m *Member) handOver(ctx context.Context) {
	m.mu.Lock()
	old, known := m.loaded, m.about != nil
	m.mu.Unlock()
	if old == nil || !known {
		return
	}
	said := time.Now()
	for time.Since(said) < handTime {
		v := m.view()
		v.without(m.cfg.Node.ID())
		if rest := v.missing(v.held); !overlap(rest, old.Span) {
			return
		}
		out, err := v.settled()
		if err != nil || len(out.Gaps) > 0 {
			return // the others are too small, or there are none
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(intentTime / 10):
		}
	}
}

// overlap reports whether some of spans have a layer of s.
func overlap(spans []shard.Span, s shard.Span) bool {
	return slices.ContainsFunc(spans, func(x shard.Span) bool { return x.Overlap(s).Len() > 0 })
}

// fitsBeside reports whether memory holds the weights of span beside those of
// old and the sessions on them. Kept packs are in memory once for both.
func (m *Member) fitsBeside(old *Loaded, span shard.Span) bool {
	model := m.about.plan
	need := model.WeightBytes(span) + int64(span.Len())*model.KVBytesPerTokenLayer*minKVTokens
	if m.cfg.Packs != nil {
		need -= model.WeightBytes(span.Overlap(old.Span))
	}
	return need+old.WeightBytes+old.Engine.Stats().KV.ReservedBytes <= m.cfg.MemoryBytes
}

// stuck says why m can't do what was decided without a gap in what is served;
// "" if it can.
func (m *Member) stuck(v *swarmView, old *Loaded, d decision) string {
	if d.cause == scheduler.Gap || m.fitsBeside(old, d.span) {
		return ""
	}
	if ok, keep := v.mayDrop(shard.Span{}); !ok {
		return fmt.Sprintf("layers %v would be better, but layer %d rests on this member, and its memory does not hold both", d.span, keep)
	}
	return ""
}

// retire frees a span that is not served any more, when the sessions on it
// have moved to other members or ended.
func (m *Member) retire(ctx context.Context, old *Loaded) {
	bounded, stop := context.WithTimeout(ctx, moveTime)
	defer stop()
	if cut := m.node.Retire(bounded, old.Held()); cut > 0 {
		m.cfg.Notify("%d sessions on layers %v had found nobody else in %v: they wait for a new route", cut, old.Span, moveTime)
	}
	old.Close()
}

// load reads span into memory and serves it from now on.
func (m *Member) load(ctx context.Context, src Source, span shard.Span) error {
	fresh, err := m.stock.bring(ctx, src, span, m.cfg.MemoryBytes)
	if err != nil {
		return err
	}
	if err := fresh.prove(ctx, nil); err != nil {
		fresh.Close()
		return err
	}
	m.serve(fresh)
	return nil
}

// bring reads span into memory.
func (m *Member) bring(ctx context.Context, src Source, span shard.Span, memoryBytes int64) (*Loaded, error) {
	last := time.Now()
	return Load(ctx, LoadConfig{
		Source: src, Model: m.about.ID, Span: span, Threads: m.cfg.Threads, MemoryBytes: memoryBytes,
		KVBytes: m.cfg.KVBytes, KV: m.cfg.KV, Packs: m.cfg.Packs, Logger: m.cfg.Logger,
		Progress: func(done, total int64) {
			if time.Since(last) > time.Second && total > 0 {
				last = time.Now()
				m.progress(span, done, total)
				m.say("loading layers %v: %d of %d MiB", span, done>>20, total>>20)
			}
		},
	})
}

// progress renews the promise of span: so much of it has come.
func (m *Member) progress(span shard.Span, done, total int64) {
	percent := int(100 * done / max(1, total))
	m.set(func() {
		if m.target == span {
			m.ready = min(100, percent)
		}
	})
}

// serve has new sessions served from l.
func (m *Member) serve(l *Loaded) {
	m.node.Hold(l.Held())
	m.set(func() {
		m.loaded, m.target, m.ready, m.speed = l, l.Span, 100, l.Speed
		if m.state != gossip.Draining {
			m.state = gossip.Serving
		}
		m.status = fmt.Sprintf("serving layers %v", l.Span)
	})
	m.cfg.Notify("serving layers %v of %s: %d MiB of weights, %d MiB for KV cache (%v), %.2f ms a layer, loaded in %.2f s",
		l.Span, m.about.Name, l.WeightBytes>>20, l.KVBytes>>20, m.cfg.KV, msOf(l.Speed.DecodePerLayer), l.Took.Seconds())
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
	report, err := weights.Fetch(ctx, m.partial, part, m.weightPeers(m.about.ID), weights.FetchOptions{Progress: func(p weights.Progress) {
		if time.Since(last) < time.Second {
			return
		}
		last = time.Now()
		m.progress(part.Span, p.DoneBytes, p.TotalBytes)
		m.say("fetching layers %v: %d of %d MiB, %.0f MiB/s", part.Span, p.DoneBytes>>20, p.TotalBytes>>20, p.BytesPerSec/(1<<20))
	}})
	if err != nil {
		return nil, &retryError{fmt.Errorf("fetch layers %v: %w", part.Span, err)}
	}
	m.cfg.Notify("fetched %d KiB of layers %v from other members in %.1f s, every piece verified by its hash",
		report.Bytes>>10, part, report.Took.Seconds())
	return m.partial, nil
}
