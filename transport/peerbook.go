package transport

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard"
)

// A peerBook keeps where peers are and their keys. It holds at most
// maxKnownPeers; then an arbitrary one makes room.
type peerBook struct {
	mu    sync.Mutex // guards what follows
	peers map[shard.PeerID]*known
}

// known is what a node knows of a peer.
type known struct {
	address
	member Member    // zero until its membership was seen
	heard  time.Time // when its last sealed packet came
}

func newPeerBook() *peerBook { return &peerBook{peers: map[shard.PeerID]*known{}} }

func (b *peerBook) entryLocked(peer shard.PeerID) *known {
	k := b.peers[peer]
	if k == nil {
		if len(b.peers) >= maxKnownPeers {
			for old := range b.peers {
				delete(b.peers, old)
				break
			}
		}
		k = &known{}
		b.peers[peer] = k
	}
	return k
}

func (b *peerBook) setAddrs(peer shard.PeerID, addrs []netip.AddrPort) {
	var said []netip.AddrPort
	for _, a := range addrs {
		a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		if a.IsValid() && a.Port() != 0 && !slices.Contains(said, a) && len(said) < maxPeerAddrs {
			said = append(said, a)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entryLocked(peer).said = said
}

func (b *peerBook) addrs(peer shard.PeerID) []netip.AddrPort {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.peers[peer]; k != nil {
		return k.order()
	}
	return nil
}

// learn keeps a member whose membership was checked, and where it was seen.
func (b *peerBook) learn(m Member, seen netip.AddrPort) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entryLocked(m.Peer)
	k.member = m
	if seen.IsValid() {
		k.seen = seen
	}
}

// hear notes that a sealed packet of a member came from seen.
func (b *peerBook) hear(m Member, seen netip.AddrPort, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.entryLocked(m.Peer)
	k.member, k.seen, k.heard = m, seen, at
}

// Heard returns when the last packet of peer came, by [Node.SendPacket] of its
// side; the zero time if none has.
func (n *Node) Heard(peer shard.PeerID) time.Time {
	n.book.mu.Lock()
	defer n.book.mu.Unlock()
	if k := n.book.peers[peer]; k != nil {
		return k.heard
	}
	return time.Time{}
}

// packetTarget returns the member and the address that packets to peer go to.
func (b *peerBook) packetTarget(peer shard.PeerID) (Member, netip.AddrPort, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.peers[peer]
	switch {
	case k == nil || k.member.Peer.IsZero():
		return Member{}, netip.AddrPort{}, fmt.Errorf("peer %s has shown no membership yet", peer.Short())
	case k.seen.IsValid():
		return k.member, k.seen, nil
	case len(k.said) > 0:
		return k.member, k.said[0], nil
	}
	return Member{}, netip.AddrPort{}, fmt.Errorf("peer %s: no address is known", peer.Short())
}

// Learn checks the signed membership of a peer that was heard of, keeps its
// key so that packets can be sent to it, and returns what it says.
func (n *Node) Learn(signed []byte) (Member, error) {
	m, err := parseMember(n.cfg.Membership.swarm, signed)
	if err != nil {
		return Member{}, err
	}
	if err := m.current(time.Now()); err != nil {
		return Member{}, err
	}
	if n.Removed(m.Peer) {
		return Member{}, fmt.Errorf("peer %s is no longer a member", m.Peer.Short())
	}
	n.book.learn(m, netip.AddrPort{})
	return m, nil
}
