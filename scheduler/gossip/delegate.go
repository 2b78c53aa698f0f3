package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
)

// A delegate is what memberlist calls, with its locks held.
type delegate struct{ g *Gossip }

// NodeMeta returns our advert.
func (d delegate) NodeMeta(int) []byte {
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	return d.g.sealed
}

// NotifyMsg takes in a removal, the only message of our own.
func (d delegate) NotifyMsg(b []byte) {
	if err := d.g.cfg.Node.HearRemoval(b); err != nil {
		d.g.cfg.Logger.Debug().Err(err).Msg("removal is refused")
	}
}

// GetBroadcasts returns the removals to hand on: adverts travel with membership.
func (d delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.g.news.GetBroadcasts(overhead, limit)
}

// LocalState returns all removals that are known.
func (d delegate) LocalState(bool) []byte { return d.g.cfg.Node.Removals() }

// MergeRemoteState takes in the removals that another peer knows.
func (d delegate) MergeRemoteState(b []byte, _ bool) {
	if err := d.g.cfg.Node.HearRemovals(b); err != nil {
		d.g.cfg.Logger.Debug().Err(err).Msg("removals are refused")
	}
}

var errOld = errors.New("gossip: advert is older than the one known")

// NotifyAlive refuses a peer whose advert is not its own, or is a replay.
func (d delegate) NotifyAlive(n *memberlist.Node) error {
	peer, err := shard.ParsePeerID(n.Name)
	if err != nil {
		return err
	}
	if !n.Addr.Equal(memberIP(peer)) || n.Port != memberPort {
		return fmt.Errorf("gossip: address %v is not that of peer %s", n.Addr, peer.Short())
	}
	if peer == d.g.cfg.Node.ID() {
		d.g.seekTwin(n.Meta)
		return nil // memberlist refutes what is not so
	}
	return d.g.check(peer, n.Meta)
}

// seekTwin looks for another process with our identity where an advert of ours
// says that we are: it may be of such a one, or of ours before a restart.
func (g *Gossip) seekTwin(sealed []byte) {
	g.mu.Lock()
	same := bytes.Equal(sealed, g.sealed)
	g.mu.Unlock()
	if same {
		return
	}
	own := g.cfg.Node.Membership()
	a, _, err := parseAdvert(bytes.Clone(sealed), func([]byte) (transport.Member, error) { return own.Member, nil })
	if err == nil {
		g.cfg.Node.SeekTwin(a.Addrs)
	}
}

// check verifies an advert of peer and keeps it if it is new.
func (g *Gossip) check(peer shard.PeerID, sealed []byte) error {
	g.mu.Lock()
	r := g.members[peer]
	same := r != nil && r.sealed == string(sealed)
	full := r == nil && len(g.members) >= maxMembers
	g.mu.Unlock()
	if full {
		return fmt.Errorf("gossip: %d peers are known, no more are taken in", maxMembers)
	}
	a, m, err := parseKnown(same, r, sealed, g.cfg.Node.Learn)
	switch {
	case err != nil:
		return err
	case m != peer:
		return fmt.Errorf("gossip: advert of peer %s shown as that of %s", m.Short(), peer.Short())
	case same:
		return nil
	}
	g.mu.Lock()
	if r = g.members[peer]; r == nil {
		r = &record{Member: Member{Peer: peer, Since: time.Now()}}
		g.members[peer] = r
	}
	old := r.sealed != "" && a.Seq <= r.Advert.Seq
	if !old {
		r.Advert, r.sealed = a, string(sealed)
	}
	g.mu.Unlock()
	if old {
		return errOld
	}
	g.cfg.Node.SetAddrs(peer, a.Addrs)
	signal(g.changed)
	return nil
}

// parseKnown is parseAdvert without its cost for an advert that was checked
// before. A membership that has ended since is noticed by the next advert.
func parseKnown(same bool, r *record, sealed []byte, learn func([]byte) (transport.Member, error)) (Advert, shard.PeerID, error) {
	if same {
		return Advert{}, r.Peer, nil
	}
	a, m, err := parseAdvert(bytes.Clone(sealed), learn)
	return a, m.Peer, err
}

// NotifyJoin marks a peer alive.
func (d delegate) NotifyJoin(n *memberlist.Node) { d.g.mark(n, true) }

// NotifyUpdate has nothing to add to NotifyAlive.
func (d delegate) NotifyUpdate(*memberlist.Node) {}

// NotifyLeave marks a peer gone.
func (d delegate) NotifyLeave(n *memberlist.Node) { d.g.mark(n, false) }

func (g *Gossip) mark(n *memberlist.Node, alive bool) {
	peer, err := shard.ParsePeerID(n.Name)
	if err != nil || peer == g.cfg.Node.ID() {
		return
	}
	g.mu.Lock()
	r := g.members[peer]
	if r == nil {
		r = &record{Member: Member{Peer: peer}}
		g.members[peer] = r
	}
	r.shown = true
	// memberlist does not say how a peer went; one that drained went on purpose.
	r.Alive, r.Since, r.Left = alive, time.Now(), !alive && r.Advert.State == Draining
	left, name := r.Left, r.Advert.Name
	g.mu.Unlock()
	signal(g.changed)
	if g.removed(peer) {
		return // that is said already
	}
	log := g.cfg.Logger.With().Stringer("peer", peer).Str("name", name).Logger()
	switch {
	case alive:
		log.Info().Msg("peer joined")
	case left:
		log.Info().Msg("peer left")
	default:
		log.Warn().Msg("peer lost")
	}
}

// AckPayload returns none.
func (d delegate) AckPayload() []byte { return nil }

// rttGain is the weight of a new sample in the smoothed RTT (RFC 9002, section 5.3).
const rttGain = 8

// NotifyPingComplete keeps the round-trip time that a probe measured.
func (d delegate) NotifyPingComplete(n *memberlist.Node, rtt time.Duration, _ []byte) {
	peer, err := shard.ParsePeerID(n.Name)
	if err != nil {
		return
	}
	d.g.mu.Lock()
	defer d.g.mu.Unlock()
	if r := d.g.members[peer]; r != nil {
		if r.RTT == 0 {
			r.RTT = rtt
		}
		r.RTT += (rtt - r.RTT) / rttGain
	}
}
