package transporttest

import (
	"net/netip"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
)

// A Swarm is a number of admitted nodes on one [Network].
type Swarm struct {
	Net       *Network
	Key       transport.SwarmKey
	Nodes     []*transport.Node
	Endpoints []*Endpoint // by node

	t    testing.TB
	tune func(peer int, cfg *transport.Config)
}

// NewSwarm returns a swarm of the given size whose nodes know no addresses yet;
// see [Swarm.Introduce]. tune may change a node's settings, or be nil. The
// nodes and the network close when t ends.
func NewSwarm(t testing.TB, peers int, link Link, tune func(peer int, cfg *transport.Config)) *Swarm {
	t.Helper()
	s := &Swarm{Net: NewNetwork(1, link), Key: transport.NewSwarmKey(), t: t, tune: tune}
	t.Cleanup(s.Net.Close) // after the nodes, which Add closes
	for range peers {
		s.Add()
	}
	return s
}

// Addr returns the address of the node with the given index.
func Addr(peer int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(peer >> 16), byte(peer >> 8), byte(peer)}), 7000)
}

// Add puts one more node in the swarm and returns its index.
func (s *Swarm) Add() int {
	s.t.Helper()
	peer := len(s.Nodes)
	id := transport.NewIdentity()
	m, err := s.Key.Issue(id.Public(), transport.RoleServe|transport.RoleClient, 30*24*time.Hour)
	if err != nil {
		s.t.Fatal(err)
	}
	e, n := s.listen(peer, transport.Config{Identity: id, Membership: m})
	s.Nodes, s.Endpoints = append(s.Nodes, n), append(s.Endpoints, e)
	return peer
}

func (s *Swarm) listen(peer int, cfg transport.Config) (*Endpoint, *transport.Node) {
	s.t.Helper()
	e, err := s.Net.Listen(Addr(peer))
	if err != nil {
		s.t.Fatal(err)
	}
	cfg.PacketConn = e
	if s.tune != nil {
		s.tune(peer, &cfg)
	}
	n, err := transport.Listen(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = n.Close() })
	return e, n
}

// Introduce tells every node the addresses of all.
func (s *Swarm) Introduce() {
	for _, a := range s.Nodes {
		for i, b := range s.Nodes {
			if a != b {
				a.SetAddrs(b.ID(), []netip.AddrPort{Addr(i)})
			}
		}
	}
}

// ID returns the name of a node.
func (s *Swarm) ID(peer int) shard.PeerID { return s.Nodes[peer].ID() }

// Kill ends a node as kill -9 does: the others hear no word of it.
func (s *Swarm) Kill(peer int) {
	s.Endpoints[peer].Kill()
	_ = s.Nodes[peer].Close()
}

// Restart puts a node with the same identity and address where one was killed
// or closed.
func (s *Swarm) Restart(peer int) {
	s.t.Helper()
	old := s.Nodes[peer]
	_ = old.Close()
	s.Endpoints[peer], s.Nodes[peer] = s.listen(peer, transport.Config{Identity: old.Identity(), Membership: old.Membership()})
}
