package gossip

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
	"github.com/shardnode/shardnode/transport/transporttest"
)

// start joins every node of the swarm through node 0.
func start(t *testing.T, s *transporttest.Swarm) []*Gossip {
	t.Helper()
	var out []*Gossip
	for i := range s.Nodes {
		out = append(out, startOne(t, s, i))
	}
	// memberlist's goroutines end a while after their shutdown.
	t.Cleanup(func() { time.Sleep(time.Minute) })
	return out
}

func startOne(t *testing.T, s *transporttest.Swarm, peer int) *Gossip {
	t.Helper()
	g, err := Start(t.Context(), Config{
		Node: s.Nodes[peer], Seeds: []Seed{{Peer: s.ID(0), Addrs: []netip.AddrPort{transporttest.Addr(0)}}},
		Advert: Advert{Name: fmt.Sprintf("peer%d", peer), Layers: 30},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Close)
	return g
}

// alive counts the living of a view.
func alive(g *Gossip) int {
	count := 0
	for _, m := range g.View() {
		if m.Alive {
			count++
		}
	}
	return count
}

func find(g *Gossip, peer shard.PeerID) (Member, bool) {
	for _, m := range g.View() {
		if m.Peer == peer {
			return m, true
		}
	}
	return Member{}, false
}

// until waits in virtual time for a condition and returns how long it took.
func until(t *testing.T, limit time.Duration, what string, cond func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !cond() {
		if time.Since(began) > limit {
			t.Fatalf("not within %v: %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return time.Since(began)
}

func all(gs []*Gossip, cond func(g *Gossip) bool) func() bool {
	return func() bool {
		for _, g := range gs {
			if !cond(g) {
				return false
			}
		}
		return true
	}
}

func TestTwentyPeersSeeEachOtherAndADeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const peers = 20
		s := transporttest.NewSwarm(t, peers, transporttest.Link{Latency: 15 * time.Millisecond, Loss: 0.005}, nil)
		gs := start(t, s)
		took := until(t, 30*time.Second, "all see all", all(gs, func(g *Gossip) bool { return alive(g) == peers }))
		t.Logf("all see all after %v", took)

		a := gs[3].advert
		a.State, a.Span = Serving, shard.Span{Start: 5, End: 10}
		if err := gs[3].Update(a); err != nil {
			t.Fatal(err)
		}
		took = until(t, 10*time.Second, "update reaches all", all(gs, func(g *Gossip) bool {
			m, ok := find(g, s.ID(3))
			return ok && m.Advert.State == Serving && m.Advert.Span == a.Span && m.Advert.Name == "peer3"
		}))
		t.Logf("update reached all after %v", took)

		time.Sleep(time.Minute)
		if got := alive(gs[0]); got != peers {
			t.Fatalf("%d peers alive after a quiet minute, want %d", got, peers)
		}
		if m, _ := find(gs[0], s.ID(5)); m.RTT < 25*time.Millisecond || m.RTT > 80*time.Millisecond {
			t.Errorf("RTT of peer 5 = %v, want about 30 ms", m.RTT)
		}

		s.Kill(7)
		gs[7].Close()
		rest := append(gs[:7:7], gs[8:]...)
		first := until(t, 15*time.Second, "first notices", func() bool { return alive(gs[0]) == peers-1 })
		took = first + until(t, 15*time.Second, "all notice", all(rest, func(g *Gossip) bool { return alive(g) == peers-1 }))
		t.Logf("death noticed by peer 0 after %v, by all after %v", first, took)
		if took < 3*time.Second || took > 12*time.Second {
			t.Errorf("death noticed after %v, want 5 to 10 s", took)
		}

		s.Restart(7)
		gs[7] = startOne(t, s, 7)
		took = until(t, 20*time.Second, "restarted peer is back", all(gs, func(g *Gossip) bool { return alive(g) == peers }))
		t.Logf("restarted peer back after %v", took)
	})
}

func TestPeerThatLeavesIsMarkedSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := transporttest.NewSwarm(t, 3, transporttest.Link{Latency: 5 * time.Millisecond}, nil)
		gs := start(t, s)
		until(t, 20*time.Second, "all see all", all(gs, func(g *Gossip) bool { return alive(g) == 3 }))
		if err := gs[2].Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		gs[2].Close()
		took := until(t, 3*time.Second, "others know", all(gs[:2], func(g *Gossip) bool {
			m, ok := find(g, s.ID(2))
			return ok && !m.Alive && m.Left
		}))
		t.Logf("leave known after %v", took)
	})
}

func TestPartitionHealsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := transporttest.NewSwarm(t, 6, transporttest.Link{Latency: 5 * time.Millisecond}, nil)
		gs := start(t, s)
		until(t, 20*time.Second, "all see all", all(gs, func(g *Gossip) bool { return alive(g) == 6 }))
		s.Net.Partition([]netip.AddrPort{transporttest.Addr(3), transporttest.Addr(4), transporttest.Addr(5)})
		until(t, 60*time.Second, "sides see themselves", all(gs, func(g *Gossip) bool { return alive(g) == 3 }))
		time.Sleep(2 * time.Minute) // longer than memberlist itself tries
		s.Net.Partition()
		took := until(t, 60*time.Second, "sides see each other", all(gs, func(g *Gossip) bool { return alive(g) == 6 }))
		t.Logf("healed after %v", took)
	})
}

func TestForgedAndReplayedAdvertsAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := transporttest.NewSwarm(t, 3, transporttest.Link{}, nil)
		g := startOne(t, s, 0)
		t.Cleanup(func() { time.Sleep(time.Minute) })
		member := func(n *transport.Node, a Advert, seq uint64) []byte {
			a.Seq, a.State = seq, Serving
			b, err := a.seal(n.Identity(), n.Membership().Signed())
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		show := func(as *transport.Node, meta []byte) error {
			return delegate{g}.NotifyAlive(&memberlist.Node{Name: as.ID().String(), Addr: memberIP(as.ID()), Port: memberPort, Meta: meta})
		}
		one, two := s.Nodes[1], s.Nodes[2]
		old, now := member(one, Advert{Name: "one"}, 5), member(one, Advert{Name: "uno"}, 6)
		if err := show(one, now); err != nil {
			t.Fatalf("good advert: %v", err)
		}
		if err := show(one, now); err != nil {
			t.Errorf("same advert again: %v", err)
		}
		if err := show(one, old); err == nil {
			t.Error("a replayed older advert was taken")
		}
		if err := show(two, now); err == nil {
			t.Error("an advert of one was taken as that of two")
		}
		forged, err := Advert{Name: "one", State: Serving, Seq: 9}.seal(two.Identity(), one.Membership().Signed())
		if err != nil {
			t.Fatal(err)
		}
		if err := show(one, forged); err == nil {
			t.Error("an advert signed by two was taken as that of one")
		}
		id := transport.NewIdentity()
		m, err := transport.NewSwarmKey().Issue(id.Public(), transport.RoleServe, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		foreign, err := Advert{State: Serving, Seq: 1}.seal(id, m.Signed())
		if err != nil {
			t.Fatal(err)
		}
		if err := (delegate{g}).NotifyAlive(&memberlist.Node{Name: id.ID().String(), Addr: memberIP(id.ID()), Port: memberPort, Meta: foreign}); err == nil {
			t.Error("an advert of another swarm's member was taken")
		}
		if got, _ := find(g, one.ID()); got.Alive {
			t.Error("a peer that memberlist did not take counts as alive")
		}
		removed, err := s.Key.Remove(one.ID(), "one")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Nodes[0].HearRemoval(removed.Signed()); err != nil {
			t.Fatal(err)
		}
		if err := show(one, member(one, Advert{}, 10)); err == nil {
			t.Error("an advert of a removed member was taken")
		}
	})
}

// TestThreePeersOnLoopback runs over real sockets: it waits for real time, but
// only for what it waits for.
func TestThreePeersOnLoopback(t *testing.T) {
	key := transport.NewSwarmKey()
	var gs []*Gossip
	var seed []Seed
	for range 3 {
		id := transport.NewIdentity()
		m, err := key.Issue(id.Public(), transport.RoleServe, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		n, err := transport.Listen(transport.Config{Identity: id, Membership: m})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		g, err := Start(t.Context(), Config{Node: n, Seeds: seed})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.Close)
		gs = append(gs, g)
		seed = []Seed{{Peer: id.ID(), Addrs: []netip.AddrPort{n.Addr()}}}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for _, g := range gs {
		for alive(g) < 3 {
			select {
			case <-g.Changed():
			case <-ctx.Done():
				t.Fatalf("sees %d peers after 20 s, want 3", alive(g))
			}
		}
	}
}
