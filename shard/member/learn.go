package member

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
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
		return m.found(ctx)
	}
	for {
		changed := m.Changed()
		id, name := m.wanted()
		if !id.IsZero() {
			manifest, err := m.manifest(ctx, id)
			if err == nil && m.hasAnother(manifest) {
				m.cfg.Notify("%s is another model than %s: this member serves it", m.cfg.FileName, name)
				return m.found(ctx)
			}
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

// found makes the own file the model.
func (m *Member) found(ctx context.Context) error {
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
	return m.know(manifest, m.cfg.FileName)
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

// hasAnother reports whether the own file is another model than manifest's, and
// not a damaged copy of it.
func (m *Member) hasAnother(manifest *weights.Manifest) bool {
	if m.cfg.File == nil {
		return false
	}
	_, part := m.cfg.File.IsPart()
	return !part && !manifest.Describes(m.cfg.File)
}

// wanted returns the model that this member should serve.
func (m *Member) wanted() (shard.ModelID, string) {
	id, name := m.cfg.Model, m.cfg.ModelName
	models := modelsOf(m.gossip.View(), m.cfg.KV)
	seen := slices.ContainsFunc(models, func(x Model) bool { return x.ID == id })
	if !id.IsZero() && (!seen || m.cfg.File != nil) {
		models = slices.DeleteFunc(models, func(x Model) bool { return x.ID != id })
	}
	if best := neediest(models, id, m.cfg.Client); !best.ID.IsZero() {
		return best.ID, best.Name
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
	peers := m.weightPeers(id)
	if len(peers) == 0 {
		return nil, errors.New("no other member is reached yet")
	}
	return weights.FetchManifest(ctx, id, peers, weights.FetchOptions{})
}

// know sets what is known of the model.
func (m *Member) know(manifest *weights.Manifest, name string) error {
	about, err := m.read(manifest, name)
	if err != nil {
		return err
	}
	if span := m.cfg.Pinned; int(span.End) > about.Config.Layers {
		return fmt.Errorf("--layers %d:%d: the model has %d layers", span.Start, span.End, about.Config.Layers)
	}
	m.set(func() { m.about = about })
	return nil
}

// read returns what a manifest says of its model.
func (m *Member) read(manifest *weights.Manifest, name string) (*About, error) {
	cfg, err := model.ReadConfig(manifest.Meta())
	if err != nil {
		return nil, err
	}
	text, err := generate.ReadText(manifest.Meta())
	if err != nil {
		return nil, err
	}
	return &About{
		Name: name, ID: manifest.ID(), Manifest: manifest, Config: cfg, Text: text, Since: time.Now(),
		plan: PlanModel(name, manifest.Index, cfg, m.cfg.KV),
	}, nil
}

// weightPeers returns the members that may have bytes of model id.
func (m *Member) weightPeers(id shard.ModelID) []weights.Peer {
	var out []weights.Peer
	for _, g := range m.gossip.View() {
		if !g.Alive || g.Peer == m.cfg.Node.ID() || g.Advert.Model != id || g.Advert.Role&transport.RoleServe == 0 {
			continue
		}
		out = append(out, weights.Peer{Name: g.Advert.Name, Open: func(ctx context.Context) (io.ReadWriteCloser, error) {
			return m.cfg.Node.Open(ctx, g.Peer, weightsProtocol)
		}})
	}
	return out
}
