package hop

import (
	"net"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

func TestWhatChangesARouteSurvivesTheWire(t *testing.T) {
	open := sampleOpen
	open.Wait, open.Unlinked = true, true
	if got, err := ParseOpen(open.Message()); err != nil || !reflect.DeepEqual(got, open) {
		t.Errorf("got %+v, %v, want %+v", got, err, open)
	}
	reroute := Reroute{Epoch: 3, Prev: shard.PeerID{1}, Next: sampleOpen.Next, Relink: true, Filled: 2, Lineage: &Hash{4}}
	if got, err := ParseReroute(reroute.Message(), &sampleOpen); err != nil || !reflect.DeepEqual(got, reroute) {
		t.Errorf("got %+v, %v, want %+v", got, err, reroute)
	}
	resume := Resume{Epoch: 3, ReplayFrom: 4, ReplayTo: 5, SendFrom: SendNothing}
	if got, err := ParseResume(resume.Message()); err != nil || got != resume {
		t.Errorf("got %+v, %v, want %+v", got, err, resume)
	}
	fill := Fill{Epoch: 3, Next: *sampleOpen.Next, From: 9}
	if got, err := ParseFill(fill.Message()); err != nil || !reflect.DeepEqual(got, fill) {
		t.Errorf("got %+v, %v, want %+v", got, err, fill)
	}
	fault := &shard.StageError{Code: shard.TimedOut, Text: "it was silent"}
	epoch, got, err := ParseLost(LostMessage(3, shard.PeerID{7}, fault))
	if err != nil || epoch != 3 || got.Peer != (shard.PeerID{7}) || got.Code != fault.Code || got.Text != fault.Text {
		t.Errorf("got epoch %d, %+v, %v", epoch, got, err)
	}
}

func TestAStandingThatCannotBeIsRefused(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := NewConn(a, shard.PeerID{1}, 0)
	for _, m := range []*wirepb.Rerouted{{Held: 5, LogFrom: 6}, {Held: 1 << 30}} {
		header, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := c.Held(wire.Frame{Kind: wire.KindRerouted, Header: header}); shard.CodeOf(err) != shard.Invalid {
			t.Errorf("%v: %v, want invalid", m, err)
		}
	}
}

func TestAChainGivesTheHashesOfItsBeginning(t *testing.T) {
	c := NewChain(Secret{1}, shard.ModelID{2})
	hashes := c.Put(0, make([]shard.Token, 100))
	for n, want := range map[int]int{-1: 0, 0: 0, 31: 0, 32: 1, 64: 2, 100: 3, 1000: 3} {
		if got := c.Upto(n); len(got) != want || want > 0 && !reflect.DeepEqual(got, hashes[:want]) {
			t.Errorf("%d hashes of the first %d tokens, want %d", len(got), n, want)
		}
	}
}

func FuzzRouteMessages(f *testing.F) {
	for _, m := range []proto.Message{
		Reroute{Epoch: 3, Prev: shard.PeerID{1}, Next: sampleOpen.Next, Lineage: &Hash{}}.Message(), Resume{ReplayTo: 3}.Message(),
		Fill{Next: *sampleOpen.Next}.Message(), LostMessage(1, shard.PeerID{2}, &shard.StageError{}),
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		var reroute wirepb.Reroute
		if proto.Unmarshal(b, &reroute) == nil {
			_, _ = ParseReroute(&reroute, &sampleOpen)
		}
		var resume wirepb.Resume
		if proto.Unmarshal(b, &resume) == nil {
			_, _ = ParseResume(&resume)
		}
		var fill wirepb.Fill
		if proto.Unmarshal(b, &fill) == nil {
			_, _ = ParseFill(&fill)
		}
		var lost wirepb.Lost
		if proto.Unmarshal(b, &lost) == nil {
			_, _, _ = ParseLost(&lost)
		}
	})
}
