package member

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/transport"
)

// A Model is one that members of the swarm serve. A member holds layers of one
// model at a time, and can drive sessions of all.
type Model struct {
	ID     shard.ModelID
	Name   string // no two of a [Status] have the same
	Layers int
	// MinHolders is the number of members that answer for the layer that has
	// the fewest, in sessions of this member.
	MinHolders int
	// Members is how many there are that serve it, or are about to.
	Members int
	// About is nil until this member needed to know more: see [Member.Learn].
	About *About

	promised int // MinHolders, with what is loading, for whatever sessions
}

// modelsOf returns the models that the adverts of members name, by name.
// Sessions keep keys and values as kv.
func modelsOf(members []gossip.Member, kv kvcache.Precision) []Model {
	of := map[shard.ModelID][]*gossip.Advert{}
	byID := map[shard.ModelID]*Model{}
	for i := range members {
		g, a := &members[i], &members[i].Advert
		if !offers(a) || !g.Alive && g.Left {
			continue
		}
		m := byID[a.Model]
		if m == nil {
			m = &Model{ID: a.Model, Name: a.ModelName, Layers: a.Layers}
			byID[a.Model] = m
		}
		// One who lies is to make a model neither look bare nor be called otherwise.
		m.Name, m.Layers = min(m.Name, a.ModelName), min(m.Layers, a.Layers)
		if g.Alive {
			of[a.Model] = append(of[a.Model], a)
			m.Members++
		}
	}
	var out []Model
	for id, m := range byID {
		m.MinHolders = fewest(m.Layers, of[id], func(a *gossip.Advert, l shard.Layer) bool {
			return a.State == gossip.Serving && a.KV == kv && a.Span.Has(l)
		})
		m.promised = fewest(m.Layers, of[id], func(a *gossip.Advert, l shard.Layer) bool {
			return a.State != gossip.Draining && (a.Planned.Has(l) || a.State == gossip.Serving && a.Span.Has(l))
		})
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b Model) int { return cmp.Or(cmp.Compare(a.Name, b.Name), bytes.Compare(a.ID[:], b.ID[:])) })
	return out
}

// offers reports whether a says that its member serves a model, or is about to.
func offers(a *gossip.Advert) bool {
	return !a.Model.IsZero() && a.Layers > 0 && a.Role&transport.RoleServe != 0 && a.State != gossip.Client
}

// fewest returns how many of adverts have the layer that the fewest have.
func fewest(layers int, adverts []*gossip.Advert, has func(*gossip.Advert, shard.Layer) bool) int {
	least := len(adverts)
	for l := range shard.Layer(layers) {
		n := 0
		for _, a := range adverts {
			if has(a, l) {
				n++
			}
		}
		least = min(least, n)
	}
	return least
}

// neediest returns the model that a member without one of its own should help:
// what nobody holds all of comes first, then what has the fewest holders. Who
// was invited to one helps that until it is held twice. Clients take what has
// the most holders. It is zero if no member serves a model.
func neediest(models []Model, invited shard.ModelID, client bool) Model {
	var out Model
	for _, m := range models {
		if m.ID == invited && (client || m.promised < 2) {
			return m
		}
		if m.Members == 0 {
			continue // nobody has it any more
		}
		order := cmp.Or(cmp.Compare(m.promised, out.promised), cmp.Compare(m.Members, out.Members))
		if client {
			order = -order
		}
		if out.ID.IsZero() || order < 0 || order == 0 && m.ID == invited {
			out = m
		}
	}
	return out
}

// models returns the swarm's models, the own one first. Of two with one name
// the later one gets the start of its id added.
func (m *Member) models(members []gossip.Member) []Model {
	m.mu.Lock()
	own, others := m.about, maps.Clone(m.others)
	m.mu.Unlock()
	out := modelsOf(members, m.cfg.KV)
	for i := range out {
		out[i].About = others[out[i].ID]
	}
	if own != nil {
		first := Model{ID: own.ID}
		if i := slices.IndexFunc(out, func(x Model) bool { return x.ID == own.ID }); i >= 0 {
			first = out[i]
			out = slices.Delete(out, i, i+1)
		}
		first.Name, first.Layers, first.About = own.Name, own.Config.Layers, own
		out = slices.Insert(out, 0, first)
	}
	taken := map[string]bool{}
	for i := range out {
		x := &out[i]
		if taken[x.Name] {
			x.Name = fmt.Sprintf("%s@%.8s", x.Name, x.ID)
		}
		taken[x.Name] = true
	}
	return out
}

// Models returns the models of the swarm that this member can drive sessions
// of, its own one first.
func (m *Member) Models() []Model { return m.models(m.gossip.View()) }

// Find returns the model of the swarm with a name. Names in adverts are cut
// off, so a long one may be given as it is or cut.
func (m *Member) Find(name string) (Model, error) {
	all := m.Models()
	var names []string
	for _, x := range all {
		if x.Name == name || x.Name == ClipName(name) {
			return x, nil
		}
		names = append(names, x.Name)
	}
	if len(names) == 0 {
		return Model{}, &NoRouteError{Text: "no member serves a model yet"}
	}
	return Model{}, fmt.Errorf("no member serves a model called %q; there is %s", name, strings.Join(names, ", "))
}

// Learn returns what is known of a model of the swarm; the zero id means this
// member's own, which is waited for. Of others it asks those who serve it, the
// first time.
func (m *Member) Learn(ctx context.Context, id shard.ModelID) (*About, error) {
	known := func() *About {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.about != nil && m.about.ID == id {
			return m.about
		}
		return m.others[id]
	}
	if id.IsZero() {
		return m.WaitAbout(ctx)
	}
	if about := known(); about != nil {
		return about, nil
	}
	select { // one at a time: whoever asks for the same finds it then
	case m.learning <- struct{}{}:
		defer func() { <-m.learning }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if about := known(); about != nil {
		return about, nil
	}
	name := ""
	for _, x := range m.Models() {
		if x.ID == id {
			name = x.Name
		}
	}
	manifest, err := weights.FetchManifest(ctx, id, m.weightPeers(id), weights.FetchOptions{})
	if err != nil {
		return nil, &NoRouteError{Text: fmt.Sprintf("model %s: %v", name, err)}
	}
	about, err := m.read(manifest, name)
	if err != nil {
		return nil, err
	}
	m.set(func() {
		if m.others == nil {
			m.others = map[shard.ModelID]*About{}
		}
		m.others[id] = about
	})
	return about, nil
}
