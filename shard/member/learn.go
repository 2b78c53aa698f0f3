package member

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/model"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/transport"
)

// learn finds out what the model is: from the own file, or from the others.
func (m *Member) learn(ctx context.Context) error {
	if m.founds() {
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
		m.founded = true
		return m.know(manifest, m.cfg.ModelName)
	}
	for {
		changed := m.Changed()
		id, name := m.wanted()
		if !id.IsZero() {
			manifest, err := m.manifest(ctx, id)
			if err == nil {
				return m.know(manifest, name)
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			m.say("waiting for a member that knows the model: %v", err)
		} else {
			m.say("waiting for a member that serves a model")
		}
		retry := time.NewTimer(tick)
		select {
		case <-ctx.Done():
			retry.Stop()
			return context.Cause(ctx)
		case <-changed:
		case <-retry.C:
		}
		retry.Stop()
	}
}

// founds reports whether the own file says what the model is. One with some
// layers only does not.
func (m *Member) founds() bool {
	if m.cfg.File == nil || !m.cfg.Model.IsZero() {
		return false
	}
	_, part := m.cfg.File.IsPart()
	return !part
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
	about := &About{
		Name: name, ID: manifest.ID(), Manifest: manifest, Config: cfg, Text: text, Since: time.Now(),
		plan: PlanModel(name, manifest.Index, cfg, m.cfg.KV),
	}
	m.set(func() { m.about = about })
	return nil
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
