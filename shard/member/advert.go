package member

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/shardnode/shardnode/scheduler/gossip"
)

// set changes what others see of m, and tells the swarm.
func (m *Member) set(change func()) {
	m.telling.Lock() // adverts reach the gossip in the order in which they are made
	defer m.telling.Unlock()
	m.mu.Lock()
	change()
	close(m.changed)
	m.changed = make(chan struct{})
	a := m.advertLocked()
	m.mu.Unlock()
	if m.gossip == nil {
		return
	}
	if err := m.gossip.Update(a); err != nil {
		m.cfg.Logger.Error().Err(err).Msg("advert is refused")
	}
}

// advert returns what m says about itself.
func (m *Member) advert() gossip.Advert {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.advertLocked()
}

func (m *Member) advertLocked() gossip.Advert {
	a := gossip.Advert{
		Name: ClipName(m.cfg.Name), State: m.state, MemoryBytes: m.cfg.MemoryBytes, FreeBytes: m.cfg.MemoryBytes,
		Threads: m.cfg.Threads, API: true, Pinned: m.cfg.Pinned.Len() > 0,
	}
	if m.cfg.Client {
		a.MemoryBytes, a.FreeBytes = 0, 0 // it offers none
		if m.about != nil && m.state == gossip.Joining {
			a.State = gossip.Client // there is nothing to load that it would be joining for
		}
	}
	if m.node != nil {
		a.Sessions = m.node.Sessions()
	}
	if m.about != nil {
		a.Model, a.ModelName, a.Layers, a.KV = m.about.ID, ClipName(m.about.Name), m.about.Config.Layers, m.cfg.KV
		a.Planned, a.Ready = m.target, m.ready
	}
	if l := m.loaded; l != nil {
		a.Span, a.Decode, a.Prefill = l.Span, m.speed.DecodePerLayer, m.speed.PrefillPerLayer
		a.FreeBytes = max(0, m.cfg.MemoryBytes-l.WeightBytes-l.KVBytes)
		kv := l.Engine.Stats().KV
		a.KVFreeTokens = kvFreeTokens(kv.BudgetBytes-kv.ReservedBytes, l)
	}
	a.Observed = m.seen.slower()
	m.lent(&a)
	return a
}

// kvFreeTokens returns how many positions fit free bytes of l's cache.
func kvFreeTokens(free int64, l *Loaded) int64 {
	if l.tokenBytes <= 0 || free < 0 {
		return 0
	}
	return free / l.tokenBytes
}

// maxNameBytes is the longest name in an advert.
const maxNameBytes = 32

// ClipName returns a name as adverts have it: plain, and cut off.
func ClipName(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	if len(name) <= maxNameBytes {
		return name
	}
	end := maxNameBytes
	for !utf8.RuneStart(name[end]) {
		end--
	}
	return name[:end]
}
