package hop

import (
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// sampleOpen is a middle stage.
var sampleOpen = Open{
	Session: shard.SessionID{1}, Epoch: 2, Model: shard.ModelID{3}, Span: shard.Span{Start: 4, End: 6}, MaxTokens: 7,
	Prev: shard.PeerID{8}, Next: &Neighbour{Peer: shard.PeerID{9}, Name: "next", Addrs: []string{"127.0.0.1:1"}}, Codec: wire.Planes,
	Prefix: &Prefix{Chain: []Hash{{1}, {2}}, Lineage: Hash{3}},
}

func TestOpenSurvivesTheWire(t *testing.T) {
	got, err := ParseOpen(sampleOpen.Message())
	if err != nil || !reflect.DeepEqual(got, sampleOpen) {
		t.Errorf("got %+v, %v, want %+v", got, err, sampleOpen)
	}
}

func TestDistSurvivesTheWire(t *testing.T) {
	want := sample.Summarize([]float32{1, 5, 3, 4}, sample.Request{K: 2, Named: []shard.Token{0}, Temperature: 0.5})
	got, err := ParseDist(DistMessage(want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestASummaryOfSummaryRowsFitsAHeader(t *testing.T) {
	logits := make([]float32, 5000)
	for _, r := range []sample.Request{{}, {K: 1}, {K: 40, Named: make([]shard.Token, 100)}, {K: MaxTopK}, {Named: make([]shard.Token, MaxNamed)}} {
		m := &wirepb.Result{}
		rows := SummaryRows(r)
		if rows == 0 {
			t.Errorf("%d highest and %d named: not even one row fits", r.K, len(r.Named))
		}
		d := sample.Summarize(logits, r)
		for i := range d.IDs {
			d.IDs[i] = math.MaxInt32 // the longest on the wire
		}
		for i := range d.Named {
			d.Named[i].ID = math.MaxInt32
		}
		for range min(rows, MaxStepTokens) {
			m.Dists = append(m.Dists, DistMessage(d))
		}
		for range MaxStages {
			m.Times = append(m.Times, &wirepb.StageTime{ComputeUs: math.MaxUint32, QueueUs: math.MaxUint32})
		}
		if n := proto.Size(m); n > wire.MaxHeaderBytes {
			t.Errorf("%d rows of %d highest and %d named take %d bytes, want %d at most", rows, r.K, len(r.Named), n, wire.MaxHeaderBytes)
		}
	}
}

func TestErrorsKeepTheirPeerAndCode(t *testing.T) {
	ours, theirs := net.Pipe()
	far, near := NewConn(ours, shard.PeerID{1}, 0), NewConn(theirs, shard.PeerID{2}, 0)
	self := shard.PeerID{2}
	for _, c := range []struct {
		err  error
		peer shard.PeerID
		name string
		code shard.Code
	}{
		{errors.New("odd"), self, "self", shard.Internal},
		{&shard.StageError{Code: shard.NoCapacity}, self, "self", shard.NoCapacity},
		{&shard.StageError{Peer: shard.PeerID{7}, Code: shard.Unreachable, Text: strings.Repeat("x", 1<<16)}, shard.PeerID{7}, "", shard.Unreachable},
	} {
		go func() { _, _ = far.Send(wire.KindError, ErrorMessage(c.err, self, "self"), nil) }()
		_, err := near.Recv()
		stage, ok := errors.AsType[*shard.StageError](err)
		if !ok || stage.Peer != c.peer || stage.Code != c.code || stage.Name != c.name || len(stage.Text) > maxText {
			t.Errorf("%v arrives as %v", c.err, err)
		}
	}
	_ = ours.Close()
	if _, err := near.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v, want io.EOF", err)
	}
}

// far is a stream with an address and a round trip.
type far struct{ addr string }

func (far) RTT() time.Duration           { return 40 * time.Millisecond }
func (f far) RemoteAddr() netip.AddrPort { return netip.MustParseAddrPort(f.addr) }

func TestAMeterKnowsWhoseClockItReads(t *testing.T) {
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		path     Path
		p50, p99 float64
	}{
		{PathOf(struct{}{}), 3, 4},                  // one process: the times themselves
		{PathOf(far{"127.0.0.1:1"}), 3, 4},          // one machine as well
		{PathOf(far{"[::ffff:127.0.0.1]:1"}), 3, 4}, // the same
		{PathOf(far{"192.0.2.1:1"}), 21, 22},        // the fastest took half the round trip
	} {
		var m Meter
		for i := range 5 {
			m.Add(10, wire.Raw, now.Add(-time.Duration(i+1)*time.Millisecond).UnixMicro(), now)
		}
		got := m.Message(c.path)
		if c.path.SameClock != (c.p50 == 3) || got.GetSteps() != 5 || got.GetBytes() != 50 {
			t.Errorf("%+v: %v", c.path, got)
		}
		if want := c.p50; got.GetP50Ms() != want && got.GetP50Ms() != want+1 || got.GetP99Ms() < got.GetP50Ms() || got.GetP99Ms() > c.p99+1 {
			t.Errorf("%+v: p50 %v, p99 %v, want about %v and %v", c.path, got.GetP50Ms(), got.GetP99Ms(), c.p50, c.p99)
		}
	}
	if got := (&Meter{}).Message(Path{}); got.GetP50Ms() != 0 {
		t.Errorf("without frames: %v", got)
	}
}

// fuzzMessage seeds f with the bytes of m.
func fuzzMessage(f *testing.F, m proto.Message) {
	b, err := proto.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
}

func FuzzParseOpen(f *testing.F) {
	fuzzMessage(f, sampleOpen.Message())
	nobody := sampleOpen.Message()
	nobody.Prev = make([]byte, len(shard.PeerID{}))
	fuzzMessage(f, nobody)
	alone := sampleOpen
	alone.Prefix = nil
	fuzzMessage(f, alone.Message())
	fuzzMessage(f, &wirepb.Open{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m wirepb.Open
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		o, err := ParseOpen(&m)
		if err != nil {
			if shard.CodeOf(err) == shard.Internal {
				t.Errorf("error without a code: %v", err)
			}
			return
		}
		again, err := ParseOpen(o.Message())
		if err != nil || len(o.Next.addrs()) != len(again.Next.addrs()) || o.Span != again.Span || o.Span.Len() < 1 || o.MaxTokens < 1 ||
			!reflect.DeepEqual(o.Prefix, again.Prefix) || o.Prefix != nil && len(o.Prefix.Chain) > MaxChain {
			t.Errorf("%+v parses again as %+v, %v", o, again, err)
		}
	})
}

func (n *Neighbour) addrs() []string {
	if n == nil {
		return nil
	}
	return n.Addrs
}

func FuzzCheckStep(f *testing.F) {
	fuzzMessage(f, &wirepb.Step{Epoch: 1, Count: 3, TopK: 4, Named: []uint32{1}, Want: 2, Temperature: 1, Times: []*wirepb.StageTime{{}}})
	fuzzMessage(f, &wirepb.Step{Epoch: 1, Pos: 30, Count: 3, Chain: make([]byte, HashBytes)})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m wirepb.Step
		if proto.Unmarshal(b, &m) != nil || CheckStep(&m) != nil {
			return
		}
		r := Request(&m)
		if m.GetCount() < 1 || m.GetCount() > MaxStepTokens || r.K < 0 || r.K > MaxTopK || len(r.Named) > MaxNamed || r.Temperature != r.Temperature ||
			len(m.GetChain()) > HashBytes*(MaxStepTokens/ChainTokens) {
			t.Errorf("%v passes", &m)
		}
	})
}

func FuzzParseDist(f *testing.F) {
	fuzzMessage(f, DistMessage(sample.Summarize([]float32{1, 5, 3}, sample.Request{K: 2, Named: []shard.Token{0}})))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m wirepb.Dist
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		d, err := ParseDist(&m)
		if err == nil && (len(d.IDs) != len(d.Logits) || d.Full && len(d.IDs) != d.Vocab) {
			t.Errorf("%+v passes", d)
		}
	})
}
