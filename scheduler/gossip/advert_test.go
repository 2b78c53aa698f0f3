package gossip

import (
	"math"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
	"github.com/shardnode/shardnode/transport/wirepb"
)

func newMember(t testing.TB) (transport.Identity, transport.Membership) {
	t.Helper()
	id := transport.NewIdentity()
	m, err := transport.NewSwarmKey().Issue(id.Public(), transport.RoleServe|transport.RoleClient, 365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return id, m
}

// largest is an advert with every field at its longest.
func largest() Advert {
	a := Advert{
		Name: strings.Repeat("n", maxNameBytes), ModelName: strings.Repeat("m", maxNameBytes), State: Draining, Layers: maxLayers,
		Span: shard.Span{Start: maxLayers - 1, End: maxLayers}, Planned: shard.Span{Start: maxLayers - 1, End: maxLayers},
		MemoryBytes: 1 << 45, FreeBytes: 1 << 45, KVFreeTokens: 1 << 40, Decode: math.MaxUint32, Prefill: math.MaxUint32,
		Threads: 1 << 16, Sessions: 1 << 20, API: true, Seq: 1 << 53, Layout: [8]byte{1}, Model: shard.ModelID{1}, KV: 255, Ready: 100, Born: 1 << 53,
	}
	for i := range MaxObserved {
		a.Observed = append(a.Observed, Observed{Peer: PeerPrefix{255, 254, 253, byte(i)}, Decode: math.MaxUint32 - 1})
	}
	for i := range maxAdvertAddrs {
		a.Addrs = append(a.Addrs, netip.AddrPortFrom(netip.MustParseAddr("2001:db8::1"), uint16(7000+i)))
	}
	return a
}

func TestAdvertRoundTripsAndFits(t *testing.T) {
	id, m := newMember(t)
	want := largest()
	b, err := want.seal(id, m.Signed())
	if err != nil {
		t.Fatal(err)
	}
	small, err := Advert{Name: "nuc", ModelName: "SmolLM2-135M", State: Serving, Layers: 30, Span: shard.Span{Start: 0, End: 10}, Model: shard.ModelID{1}, Seq: 1 << 51}.seal(id, m.Signed())
	t.Logf("largest advert %d bytes, usual one %d, %v", len(b), len(small), err)
	got, by, err := parseAdvert(b, func([]byte) (transport.Member, error) { return m.Member, nil })
	if err != nil {
		t.Fatal(err)
	}
	want.Role = transport.RoleServe | transport.RoleClient
	if by.Peer != id.ID() || !reflect.DeepEqual(got, want) {
		t.Errorf("advert came back as\n%+v, want\n%+v", got, want)
	}
}

func TestAdvertRefusesNonsense(t *testing.T) {
	id, m := newMember(t)
	for name, spoil := range map[string]func(a *Advert){
		"long name":       func(a *Advert) { a.Name += "x" },
		"control in name": func(a *Advert) { a.Name = "a\x1b[2J" },
		"span outside":    func(a *Advert) { a.Span.End = maxLayers + 1 },
		"inverted span":   func(a *Advert) { a.Span = shard.Span{Start: 5, End: 4} },
		"state":           func(a *Advert) { a.State = 9 },
		"negative":        func(a *Advert) { a.FreeBytes = -1 },
		"memory":          func(a *Advert) { a.MemoryBytes = 1 << 51 },
		"free memory":     func(a *Advert) { a.FreeBytes = 1 << 62 },
		"tokens":          func(a *Advert) { a.KVFreeTokens = 1 << 41 },
		"slow":            func(a *Advert) { a.Decode = time.Hour },
		"readier":         func(a *Advert) { a.Ready = 101 },
		"many observed":   func(a *Advert) { a.Observed = append(a.Observed, Observed{}) },
		"observed slow":   func(a *Advert) { a.Observed[0].Decode = time.Hour },
	} {
		a := largest()
		spoil(&a)
		if _, err := a.seal(id, m.Signed()); err == nil {
			t.Errorf("%s: sealed, want an error", name)
		}
	}
}

func FuzzParseAdvert(f *testing.F) {
	id, m := newMember(f)
	for _, a := range []Advert{largest(), {State: Serving}} {
		b, err := a.seal(id, m.Signed())
		if err != nil {
			f.Fatal(err)
		}
		var outer wirepb.Signed
		if err := proto.Unmarshal(b, &outer); err != nil {
			f.Fatal(err)
		}
		f.Add(outer.GetBody(), true)
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		if sign { // so that what lies behind the signature is reached
			var err error
			if b, err = proto.Marshal(&wirepb.Signed{Body: b, Signature: id.Sign(kindAdvert, b)}); err != nil {
				t.Fatal(err)
			}
		}
		a, _, err := parseAdvert(b, func([]byte) (transport.Member, error) { return m.Member, nil })
		if err != nil {
			return
		}
		if err := a.validate(); err != nil {
			t.Errorf("parsed, but %v", err)
		}
	})
}
