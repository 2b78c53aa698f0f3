package gossip

import (
	"github.com/hashicorp/memberlist"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
)

// removalSpread is how often a member hands a removal on: so many times the
// decimal logarithm of the members (memberlist's RetransmitMult). Who misses
// all of them hears of it in the next exchange of whole views.
const removalSpread = 4

// removalDirect is how many members each tells at once, so that nobody waits
// for the next round of gossip.
const removalDirect = 8

// A removalNews is a removal on its way through the swarm.
type removalNews struct{ r transport.Removal }

// Invalidates drops older news of the same peer.
func (n removalNews) Invalidates(b memberlist.Broadcast) bool {
	old, ok := b.(removalNews)
	return ok && old.r.Peer == n.r.Peer
}

// Message returns what is sent.
func (n removalNews) Message() []byte { return n.r.Signed() }

// Finished has nothing to do.
func (removalNews) Finished() {}

// spread hands a removal on that the node has heard of, whoever told it. The
// view leaves the peer out from now on. memberlist may hold its locks.
func (g *Gossip) spread(r transport.Removal) {
	self := g.cfg.Node.ID()
	g.news.QueueBroadcast(removalNews{r})
	tell := g.some(removalDirect)
	if !r.Back && r.Peer != self {
		tell = append(tell, r.Peer) // an honest member leaves when it hears of it
	}
	for _, peer := range tell {
		_ = g.cfg.Node.SendPacket(peer, append([]byte{msgUser}, r.Signed()...)) // who is not reached hears it from others
	}
	if !r.Back && r.Peer == self && g.cfg.Removed != nil {
		g.cfg.Removed()
	}
	signal(g.changed)
}

// some returns up to n members that are alive, at random.
func (g *Gossip) some(n int) []shard.PeerID {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []shard.PeerID
	for peer, r := range g.members { // in no order
		if r.Alive && peer != g.cfg.Node.ID() && len(out) < n && !g.removed(peer) {
			out = append(out, peer)
		}
	}
	return out
}

// others returns the number of members that are alive.
func (g *Gossip) others() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := 0
	for _, r := range g.members {
		if r.Alive {
			n++
		}
	}
	return n
}

// removed reports whether the swarm has removed peer.
func (g *Gossip) removed(peer shard.PeerID) bool { return g.cfg.Node.Removed(peer) }
