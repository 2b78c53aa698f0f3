package node

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// middle opens a middle stage and returns the driver's end, the upstream
// neighbour's, and the downstream one's.
func (b *bench) middle() (d, up, down *hop.Conn) {
	b.t.Helper()
	d = hop.NewConn(b.stream(driver), self, 0)
	b.send(d, wire.KindOpen, b.open().Message(), nil)
	down = b.far(3)
	if _, err := d.Expect(wire.KindOpened, &wirepb.Opened{}); err != nil {
		b.t.Fatal(err)
	}
	up = b.link(prev)
	if _, err := up.Expect(wire.KindLinked, &wirepb.Linked{}); err != nil {
		b.t.Fatal(err)
	}
	return d, up, down
}

// far takes the hop that the node opens for an epoch to its next stage.
func (b *bench) far(epoch shard.Epoch) *hop.Conn {
	b.t.Helper()
	down := hop.NewConn(<-b.dial, self, 0)
	var m wirepb.Link
	if _, err := down.Expect(wire.KindLink, &m); err != nil || shard.Epoch(m.GetEpoch()) != epoch || shard.Layer(m.GetStart()) != b.held.Span.End {
		b.t.Fatalf("link %v, %v", &m, err)
	}
	b.send(down, wire.KindLinked, &wirepb.Linked{Version: hop.Version}, nil)
	return down
}

// step is a step of hidden states that begin with at.
func (b *bench) step(c *hop.Conn, epoch, pos uint32, at byte) {
	b.t.Helper()
	b.send(c, wire.KindStep, &wirepb.Step{Epoch: epoch, Pos: pos, Count: 1, Codec: uint32(wire.Raw)}, []byte{at, 0, 0, 0, 0, 0, 0, 0})
}

// gets fails the test unless the next frame on c is a step of so many positions
// from pos on.
func (b *bench) gets(c *hop.Conn, epoch, pos, count uint32, replay bool) {
	b.t.Helper()
	var m wirepb.Step
	if _, err := c.Expect(wire.KindStep, &m); err != nil || m.GetEpoch() != epoch || m.GetPos() != pos || m.GetCount() != count || m.GetReplay() != replay {
		b.t.Fatalf("got step %v, %v, want %d positions from %d on in epoch %d", &m, err, count, pos, epoch)
	}
}

func TestAStageOutlivesItsNeighboursAndReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, shard.Span{Start: 2, End: 4})
		d, up, down := b.middle()
		for pos := range uint32(5) {
			b.step(up, 3, pos, byte(pos))
			b.gets(down, 3, pos, 1, false)
		}
		_ = down.Close()
		b.step(up, 3, 5, 5) // computed and kept, for whoever comes
		var lost wirepb.Lost
		if _, err := d.Expect(wire.KindLost, &lost); err != nil {
			t.Fatal(err)
		}
		if _, fault, err := hop.ParseLost(&lost); err != nil || fault.Peer != next {
			t.Errorf("lost %v, %v, want the next stage", fault, err)
		}
		other := shard.PeerID{9}
		b.send(d, wire.KindReroute, hop.Reroute{Epoch: 4, Prev: prev, Next: &hop.Neighbour{Peer: other}}.Message(), nil)
		down = b.far(4)
		f, err := d.Expect(wire.KindRerouted, &wirepb.Rerouted{})
		if err != nil {
			t.Fatal(err)
		}
		if epoch, held, from, err := d.Held(f); err != nil || epoch != 4 || held != 6 || from != 0 {
			t.Errorf("epoch %d, held %d, log from %d, %v, want 4, 6, 0", epoch, held, from, err)
		}
		b.step(up, 3, 6, 6) // of the old route: dropped
		b.step(up, 4, 6, 6) // waits for the resume
		b.send(d, wire.KindResume, hop.Resume{Epoch: 4, ReplayFrom: 2, ReplayTo: 6, SendFrom: 2}.Message(), nil)
		b.gets(down, 4, 2, 4, true) // in one frame
		b.gets(down, 4, 6, 1, false)

		// The upstream neighbour goes too. Another one's link waits for the route.
		_ = up.Close()
		third := shard.PeerID{8}
		c := hop.NewConn(b.stream(third), self, 0)
		o := b.open()
		b.send(c, wire.KindLink, &wirepb.Link{Version: hop.Version, Session: o.Session[:], Epoch: 5, Start: 2}, nil)
		time.Sleep(time.Second)
		b.send(d, wire.KindReroute, hop.Reroute{Epoch: 5, Prev: third, Next: &hop.Neighbour{Peer: other}}.Message(), nil)
		if _, err := c.Expect(wire.KindLinked, &wirepb.Linked{}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Expect(wire.KindRerouted, &wirepb.Rerouted{}); err != nil {
			t.Fatal(err)
		}
		b.send(d, wire.KindResume, hop.Resume{Epoch: 5, SendFrom: 8}.Message(), nil)
		b.step(c, 5, 7, 7) // which the next stage has
		b.step(c, 5, 8, 8)
		b.gets(down, 5, 8, 1, false)
		if b.node.LogBytes() == 0 {
			t.Error("the log takes no memory")
		}
		_ = d.Close()
		b.idle()
		if n := b.node.LogBytes(); n != 0 {
			t.Errorf("%d bytes of logs are left", n)
		}
	})
}

func TestAStageIsFilledBesideTheRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, shard.Span{Start: 2, End: 4})
		d, up, down := b.middle()
		for pos := range uint32(3) {
			b.step(up, 3, pos, byte(pos))
			b.gets(down, 3, pos, 1, false)
		}
		other := shard.PeerID{9}
		b.send(d, wire.KindFill, hop.Fill{Epoch: 4, Next: hop.Neighbour{Peer: other}, From: 1}.Message(), nil)
		f, err := d.Expect(wire.KindFilled, &wirepb.Filled{})
		if err != nil {
			t.Fatal(err)
		}
		if epoch, held, from, err := d.Held(f); err != nil || epoch != 4 || held != 3 || from != 0 {
			t.Errorf("epoch %d, held %d, log from %d, %v, want 4, 3, 0", epoch, held, from, err)
		}
		to := b.far(4)
		b.gets(to, 4, 1, 2, true)
		b.step(up, 3, 3, 3) // decoding goes on, and both get it
		b.gets(down, 3, 3, 1, false)
		b.gets(to, 4, 3, 1, true)
		b.send(d, wire.KindReroute, hop.Reroute{Epoch: 5, Prev: prev, Next: &hop.Neighbour{Peer: other}, Relink: true, Filled: 4}.Message(), nil)
		if _, err := d.Expect(wire.KindRerouted, &wirepb.Rerouted{}); err != nil {
			t.Fatal(err)
		}
		b.send(d, wire.KindResume, hop.Resume{Epoch: 5, SendFrom: 4}.Message(), nil)
		b.step(up, 5, 4, 4)
		b.gets(to, 5, 4, 1, false) // on the same hop
		_ = d.Close()
		b.idle()
	})
}

func TestAPeerIsSeveralStagesOfASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, shard.Span{End: 6})
		first := b.open()
		first.Span.End, first.Next = 3, &hop.Neighbour{Peer: self}
		last := b.open()
		last.Span.Start, last.Prev = 3, self
		d1, d2 := hop.NewConn(b.stream(driver), self, 0), hop.NewConn(b.stream(driver), self, 0)
		b.node.cfg.Dial = nil
		b.send(d2, wire.KindOpen, last.Message(), nil)
		if _, err := d2.Expect(wire.KindOpened, &wirepb.Opened{}); err != nil {
			t.Fatal(err)
		}
		b.send(d1, wire.KindOpen, first.Message(), nil)
		_ = b.refused("a stage that reaches nobody", d1, shard.Invalid)
		synctest.Wait()
		if n := b.node.Sessions(); n != 1 {
			t.Errorf("%d stages, want 1", n)
		}
		up := hop.NewConn(b.stream(self), self, 0)
		b.send(up, wire.KindLink, &wirepb.Link{Version: hop.Version, Session: last.Session[:], Epoch: 3, Start: 3}, nil)
		if _, err := up.Expect(wire.KindLinked, &wirepb.Linked{}); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRoutesThatCannotBeEndTheStage(t *testing.T) {
	for what, c := range map[string]struct {
		kind wire.Kind
		m    hop.Message
	}{
		"an old epoch":     {wire.KindReroute, hop.Reroute{Epoch: 3, Prev: prev, Next: &hop.Neighbour{Peer: next}}.Message()},
		"nobody upstream":  {wire.KindReroute, hop.Reroute{Epoch: 4, Next: &hop.Neighbour{Peer: next}}.Message()},
		"the last stage":   {wire.KindReroute, hop.Reroute{Epoch: 4, Prev: prev}.Message()},
		"a short lineage":  {wire.KindReroute, &wirepb.Reroute{Epoch: 4, Prev: prev[:], Next: &wirepb.Peer{Id: next[:]}, Lineage: []byte{1}}},
		"a replay back":    {wire.KindResume, &wirepb.Resume{Epoch: 3, ReplayFrom: 2, ReplayTo: 1}},
		"a replay of more": {wire.KindResume, &wirepb.Resume{Epoch: 3, ReplayTo: 7}},
		"nobody to fill":   {wire.KindFill, &wirepb.Fill{Epoch: 4}},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, shard.Span{Start: 2, End: 4})
				d, _, _ := b.middle()
				b.send(d, c.kind, c.m, nil)
				_ = b.refused(what, d, shard.Invalid)
				b.idle()
			})
		})
	}
}
