package member

import (
	"context"

	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
)

// Pause lets go of the layers, after the sessions on them were handed over or
// have had their time, and holds none until [Member.Resume]: the machine is
// needed for something else. The member goes on using the swarm. why is for
// people. Pause does not wait.
func (m *Member) Pause(why string) { m.set(func() { m.paused = why }) }

// Resume ends a pause.
func (m *Member) Resume() { m.set(func() { m.paused = "" }) }

// rests reports whether m is paused, after it has let go of what it held.
func (m *Member) rests(ctx context.Context) bool {
	m.mu.Lock()
	why, old := m.paused, m.loaded
	m.mu.Unlock()
	if why == "" {
		return false
	}
	if old != nil {
		m.say("letting go of layers %v: %s", old.Span, why)
		m.handOver(ctx)
		m.node.Hold(nil)
		m.retire(ctx, old)
		m.set(func() {
			m.loaded, m.target = nil, shard.Span{}
			if m.state != gossip.Draining {
				m.state = gossip.Joining
			}
		})
	}
	m.say("pausing, holding no layers: %s", why)
	return true
}

// lent changes what a says while m is paused: it offers no memory, takes no
// sessions, and what it still holds is not to be counted on.
func (m *Member) lent(a *gossip.Advert) {
	if m.paused == "" {
		return
	}
	a.MemoryBytes, a.FreeBytes, a.Planned = 0, 0, shard.Span{}
	switch {
	case m.state == gossip.Draining:
	case m.loaded != nil:
		a.State = gossip.Draining
	case m.about != nil:
		a.State = gossip.Client
	}
}
