package member

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/transport"
)

// follow keeps the member's layers what the view says they should be, until
// ctx ends.
func (m *Member) follow(ctx context.Context) {
	err := m.learn(ctx)
	if err == nil {
		err = m.keepUp(ctx)
	}
	if err != nil && ctx.Err() == nil {
		m.cfg.Logger.Error().Err(err).Msg("member can't serve")
		m.set(func() { m.fatal, m.status = err, err.Error() })
	}
}

// keepUp carries out one decision after the other.
func (m *Member) keepUp(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		if !m.cfg.Client {
			if err := m.settle(ctx); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-m.gossip.Changed():
			m.set(func() {}) // whoever waits looks again
		case <-ticker.C:
			m.set(func() {})
		}
	}
}

// settle brings the layers in memory to what they should be.
func (m *Member) settle(ctx context.Context) error {
	m.mu.Lock()
	draining, loaded := m.state == gossip.Draining, m.loaded
	m.mu.Unlock()
	if draining {
		return nil
	}
	v := m.view()
	span, why := v.target()
	if loaded != nil && loaded.Span == span {
		return nil
	}
	if span.Len() == 0 {
		if loaded == nil {
			m.say("waiting: %s", why)
		}
		return nil
	}
	m.set(func() { m.target = span })
	m.cfg.Notify("layers %v: %s", span, why)
	err := m.load(ctx, span)
	if err != nil && loaded != nil {
		m.cfg.Notify("layers %v can't be loaded, layers %v stay: %v", span, loaded.Span, err)
		m.set(func() { m.target = loaded.Span })
		return nil
	}
	return err
}

// load gets the bytes of span, loads it, and serves it in place of what was
// served before.
func (m *Member) load(ctx context.Context, span shard.Span) error {
	src, err := m.source(ctx, span)
	if err != nil {
		return err
	}
	m.mu.Lock()
	old := m.loaded
	m.mu.Unlock()
	if old != nil {
		// Both spans may not fit memory together. Nobody could finish an
		// answer with a gap in the layers anyway: that is why they move.
		m.set(func() { m.loaded, m.state = nil, gossip.Joining })
		m.node.Hold(nil)
		if err := m.node.Idle(ctx); err != nil {
			return err
		}
		old.Close()
	}
	began := time.Now()
	last := time.Now()
	loaded, err := Load(ctx, LoadConfig{
		Source: src, Model: m.about.ID, Span: span, Threads: m.cfg.Threads, MemoryBytes: m.cfg.MemoryBytes,
		KVBytes: m.cfg.KVBytes, Logger: m.cfg.Logger,
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
		m.loaded, m.state = loaded, gossip.Serving
		m.status = fmt.Sprintf("serving layers %v", span)
	})
	m.cfg.Notify("serving layers %v of %s: %d MiB of weights, %d MiB for KV cache, %.2f ms a layer, loaded in %.2f s",
		span, m.about.Name, loaded.WeightBytes>>20, loaded.KVBytes>>20, msOf(loaded.Speed.DecodePerLayer), time.Since(began).Seconds())
	return nil
}

// source returns where the tensors of span come from: this member's own file
// when its bytes are the model's, else a copy that is fetched from others.
func (m *Member) source(ctx context.Context, span shard.Span) (Source, error) {
	part := weights.Part{Span: span, Embed: span.Start == 0, Head: int(span.End) == m.about.Config.Layers}
	if m.cfg.File != nil {
		err := m.about.Manifest.Verify(ctx, m.cfg.File, part, nil)
		if err == nil {
			return m.cfg.File, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		m.cfg.Notify("the file %s is not the swarm's model (%v): the layers are fetched from members instead", m.cfg.File.Path(), err)
	}
	return m.fetch(ctx, part)
}

// fetch brings what is missing of part from other members.
func (m *Member) fetch(ctx context.Context, part weights.Part) (Source, error) {
	if m.partial == nil {
		p, err := weights.OpenPartial(m.cfg.weightsDir(), m.about.Manifest)
		if err != nil {
			return nil, err
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
		return nil, fmt.Errorf("fetch layers %v: %w", part.Span, err)
	}
	m.cfg.Notify("fetched %d KiB of layers %v from other members in %.1f s, every piece verified by its hash",
		report.Bytes>>10, part, report.Took.Seconds())
	return m.partial, nil
}

// weightPeers returns the members that may have bytes of the model.
func (m *Member) weightPeers() []weights.Peer {
	var out []weights.Peer
	for _, g := range m.gossip.View() {
		if !g.Alive || g.Peer == m.cfg.Node.ID() || g.Advert.Role&transport.RoleServe == 0 {
			continue
		}
		out = append(out, weights.Peer{Name: g.Advert.Name, Open: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return m.cfg.Node.Open(ctx, g.Peer, weightsProtocol)
		}})
	}
	return out
}

// learn finds out what the model is: from the own file, or from the others.
func (m *Member) learn(ctx context.Context) error {
	if m.cfg.File != nil && m.cfg.Model.IsZero() {
		last := time.Now()
		manifest, err := weights.CachedManifest(ctx, m.cfg.File, m.cfg.manifestDir(), func(done, total int64) {
			if time.Since(last) > time.Second {
				last = time.Now()
				m.say("hashing the model: %d of %d MiB", done>>20, total>>20)
			}
		})
		if err != nil {
			return err
		}
		if err := m.server.AddFile(manifest, m.cfg.File); err != nil {
			return err
		}
		return m.know(manifest, m.cfg.ModelName)
	}
	for {
		id, name := m.wanted()
		if !id.IsZero() {
			manifest, err := m.manifest(ctx, id)
			if err == nil {
				return m.know(manifest, name)
			}
			if ctx.Err() != nil {
				return err
			}
			m.say("waiting for a member that knows the model: %v", err)
		} else {
			m.say("waiting for a member that serves a model")
		}
		retry := time.NewTimer(tick)
		select {
		case <-ctx.Done():
			retry.Stop()
			return ctx.Err()
		case <-m.gossip.Changed():
		case <-retry.C:
		}
		retry.Stop()
	}
}

// wanted returns the model that this member should serve.
func (m *Member) wanted() (shard.ModelID, string) {
	id, name := m.cfg.Model, m.cfg.ModelName
	for _, g := range m.gossip.View() {
		if g.Alive && !g.Advert.Model.IsZero() && (id.IsZero() || id == g.Advert.Model) {
			return g.Advert.Model, g.Advert.ModelName
		}
	}
	return id, name
}

// manifest returns the manifest of model id: kept from before, or from others.
func (m *Member) manifest(ctx context.Context, id shard.ModelID) (*weights.Manifest, error) {
	p, err := weights.LoadPartial(m.cfg.weightsDir(), id)
	if err == nil {
		m.mu.Lock()
		m.partial = p
		m.mu.Unlock()
		m.server.AddPartial(p)
		return p.Manifest, nil
	}
	peers := m.weightPeers()
	if len(peers) == 0 {
		return nil, errors.New("no other member is reached yet")
	}
	return weights.FetchManifest(ctx, id, peers, weights.FetchOptions{})
}

// know sets what is known of the model.
func (m *Member) know(manifest *weights.Manifest, name string) error {
	cfg, err := model.ReadConfig(manifest.Meta())
	if err != nil {
		return err
	}
	text, err := generate.ReadText(manifest.Meta())
	if err != nil {
		return err
	}
	if span := m.cfg.Pinned; int(span.End) > cfg.Layers {
		return fmt.Errorf("--layers %d:%d: the model has %d layers", span.Start, span.End, cfg.Layers)
	}
	about := &About{Name: name, ID: manifest.ID(), Manifest: manifest, Config: cfg, Text: text, Since: time.Now()}
	m.set(func() { m.about = about })
	return nil
}

// view returns what decisions are made from. The model must be known.
func (m *Member) view() *swarmView {
	m.mu.Lock()
	about := m.about
	m.mu.Unlock()
	return &swarmView{
		self: m.cfg.Node.ID(), id: about.ID, pinned: m.cfg.Pinned, members: m.gossip.View(),
		context: about.Config.Context, model: PlanModel(about.Name, about.Manifest.Index, about.Config),
	}
}
