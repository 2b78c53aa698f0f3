package transporttest

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/shardnode/shardnode/transport"
	"github.com/shardnode/shardnode/transport/emulate"
)

// TestNodesTalkOverAnEmulatedLink is over real sockets on loopback.
func TestNodesTalkOverAnEmulatedLink(t *testing.T) {
	const latency = 20 * time.Millisecond
	key := transport.NewSwarmKey()
	var nodes []*transport.Node
	for range 2 {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		id := transport.NewIdentity()
		m, err := key.Issue(id.Public(), transport.RoleServe, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		n, err := transport.Listen(transport.Config{
			Identity: id, Membership: m, PacketConn: emulate.Wrap(pc, emulate.Link{Latency: latency, RateBits: 1e8}),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		nodes = append(nodes, n)
	}
	a, b := nodes[0], nodes[1]
	a.SetAddrs(b.ID(), []netip.AddrPort{b.Addr()})
	b.Handle(transport.HopProtocol, echo)
	s, err := a.Open(t.Context(), b.ID(), transport.HopProtocol)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if took := roundTrip(t, s, 4096); took < 2*latency {
			t.Errorf("round trip took %v, want %v at least", took, 2*latency)
		}
	}
	if rtt := s.RTT(); rtt < 2*latency {
		t.Errorf("RTT = %v, want %v at least", rtt, 2*latency)
	}
}
