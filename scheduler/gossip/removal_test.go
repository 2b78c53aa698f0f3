package gossip

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/transport/transporttest"
)

func TestARemovalReachesAllAndLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const peers = 12
		s := transporttest.NewSwarm(t, peers, transporttest.Link{Latency: 15 * time.Millisecond, Loss: 0.01}, nil)
		told := make(chan struct{}, 1)
		var gs []*Gossip
		for i := range peers {
			g, err := Start(t.Context(), Config{
				Node: s.Nodes[i], Seeds: []Seed{{Peer: s.ID(0), Addrs: []netip.AddrPort{transporttest.Addr(0)}}},
				Removed: func() { told <- struct{}{} },
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(g.Close)
			gs = append(gs, g)
		}
		t.Cleanup(func() { time.Sleep(time.Minute) }) // memberlist's goroutines end a while after their shutdown
		until(t, 30*time.Second, "all see all", all(gs, func(g *Gossip) bool { return alive(g) == peers }))

		const bad, cut = 5, 9
		rest := append(gs[:bad:bad], gs[bad+1:]...)
		s.Net.Partition([]netip.AddrPort{transporttest.Addr(cut)})
		r, err := s.Key.Remove(s.ID(bad), "bad")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Nodes[0].HearRemoval(r.Signed()); err != nil {
			t.Fatal(err)
		}
		gone := func(g *Gossip) bool {
			_, seen := find(g, s.ID(bad))
			return !seen && g.cfg.Node.Removed(s.ID(bad))
		}
		reached := func(g *Gossip) bool { return g == gs[cut] || gone(g) }
		took := until(t, 3*time.Second, "all refuse it", all(rest, reached))
		t.Logf("refused everywhere after %v", took)
		<-told
		if gone(gs[cut]) {
			t.Error("a member that is cut off has heard of it")
		}
		time.Sleep(30 * time.Second) // the removed one, which does not listen, tries to come back
		if !all(rest, reached)() {
			t.Error("it is seen again")
		}
		s.Net.Partition()
		took = until(t, time.Minute, "who was cut off hears of it", all(rest, gone))
		t.Logf("who was cut off refuses it %v after the partition", took)

		late := startOne(t, s, s.Add())
		until(t, 10*time.Second, "who joins later hears of it", func() bool { return late.cfg.Node.Removed(s.ID(bad)) })

		back, err := s.Key.Readmit(s.ID(bad), "bad")
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{0, bad} { // the removed one forgets it when it joins again
			if err := s.Nodes[i].HearRemoval(back.Signed()); err != nil {
				t.Fatal(err)
			}
		}
		took = until(t, 2*time.Minute, "it is back", all(rest, func(g *Gossip) bool {
			m, ok := find(g, s.ID(bad))
			return ok && m.Alive
		}))
		t.Logf("taken back everywhere after %v", took)
	})
}
