package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
)

// memberPort is the port of every member's address as memberlist sees it. The
// address follows from the peer's name and never changes, so that a peer that
// moves or restarts needs no forgetting first; the node resolves the name
// (research, §1).
const memberPort = 1

// Queues between the node and memberlist. Packets that do not fit are dropped,
// streams are refused.
const (
	carrierPackets = 512
	carrierStreams = 16
	maxServed      = 64 // streams that others opened, at once; more are refused
)

// memberIP returns the peer's address for memberlist, in fd00::/8 (RFC 4193).
func memberIP(peer shard.PeerID) net.IP {
	ip := make(net.IP, net.IPv6len)
	ip[0] = 0xfd
	copy(ip[1:], peer[:])
	return ip
}

// memberAddr returns what [memberlist.Memberlist.Join] takes: a name and an address.
func memberAddr(peer shard.PeerID) string {
	return fmt.Sprintf("%v/[%v]:%d", peer, memberIP(peer), memberPort)
}

// A carrier is memberlist's way through a [transport.Node]: packets are sealed,
// streams are of [transport.GossipProtocol], addresses are names.
type carrier struct {
	node    *transport.Node
	packets chan *memberlist.Packet
	streams chan net.Conn
	served  chan struct{}   // a place for each stream that others opened
	life    context.Context // ends with the carrier; no caller's context
	cancel  context.CancelFunc
	once    sync.Once
	wg      sync.WaitGroup
}

var _ memberlist.NodeAwareTransport = (*carrier)(nil)

func newCarrier(node *transport.Node) *carrier {
	c := &carrier{
		node:    node,
		packets: make(chan *memberlist.Packet, carrierPackets), streams: make(chan net.Conn, carrierStreams),
		served: make(chan struct{}, maxServed),
	}
	c.life, c.cancel = context.WithCancel(context.Background())
	c.wg.Go(c.pump)
	node.Handle(transport.GossipProtocol, c.serve)
	return c
}

// pump hands packets to memberlist.
func (c *carrier) pump() {
	for {
		select {
		case <-c.life.Done():
			return
		case p := <-c.node.Packets():
			if !goodPacket(p.Data) {
				continue
			}
			out := &memberlist.Packet{Buf: p.Data, From: net.UDPAddrFromAddrPort(p.Addr), Timestamp: p.At}
			select {
			case c.packets <- out:
			default: // memberlist is behind; it repeats itself
			}
		}
	}
}

// serve hands a stream to memberlist and waits until it is done with it.
func (c *carrier) serve(ctx context.Context, s *transport.Stream) {
	select {
	case c.served <- struct{}{}:
		defer func() { <-c.served }()
	default:
		s.Reset(shard.NoCapacity)
		return
	}
	conn := newStreamConn(s, c.node)
	select {
	case c.streams <- conn:
	default:
		s.Reset(shard.NoCapacity)
		return
	}
	select {
	case <-conn.closed:
	case <-s.Lost():
	case <-ctx.Done():
	case <-c.life.Done():
	}
}

// FinalAdvertiseAddr returns the address that follows from our name.
func (c *carrier) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return memberIP(c.node.ID()), memberPort, nil
}

var errNoName = errors.New("gossip: address without a name")

// WriteTo is never used: every address of ours has a name.
func (c *carrier) WriteTo([]byte, string) (time.Time, error) { return time.Time{}, errNoName }

// WriteToAddress sends a sealed packet to the peer that a names.
func (c *carrier) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	peer, err := shard.ParsePeerID(a.Name)
	if err != nil {
		return time.Time{}, err
	}
	now := time.Now()
	if c.node.Removed(peer) {
		return now, nil // after an error memberlist would not count the probe as failed
	}
	return now, c.node.SendPacket(peer, b)
}

// PacketCh returns the packets from members.
func (c *carrier) PacketCh() <-chan *memberlist.Packet { return c.packets }

// StreamCh returns the streams that members opened.
func (c *carrier) StreamCh() <-chan net.Conn { return c.streams }

// DialTimeout is never used: every address of ours has a name.
func (c *carrier) DialTimeout(string, time.Duration) (net.Conn, error) { return nil, errNoName }

// DialAddressTimeout opens a stream to the peer that a names.
func (c *carrier) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	peer, err := shard.ParsePeerID(a.Name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.life, timeout)
	defer cancel()
	s, err := c.node.Open(ctx, peer, transport.GossipProtocol)
	if err != nil {
		return nil, err
	}
	return newStreamConn(s, c.node), nil
}

// Shutdown ends the carrier and waits for its goroutine. memberlist calls it.
func (c *carrier) Shutdown() error {
	c.once.Do(func() {
		c.node.Handle(transport.GossipProtocol, nil)
		c.cancel()
		c.wg.Wait()
	})
	return nil
}

// A streamConn is a stream as memberlist wants it.
type streamConn struct {
	*transport.Stream

	in     *intake
	local  *transport.Node
	once   sync.Once
	closed chan struct{}
}

func newStreamConn(s *transport.Stream, local *transport.Node) *streamConn {
	return &streamConn{Stream: s, in: newIntake(s), local: local, closed: make(chan struct{})}
}

// Read reads the peer's message as far as it keeps the bounds.
func (s *streamConn) Read(b []byte) (int, error) { return s.in.Read(b) }

// LocalAddr returns our address.
func (s *streamConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.local.Addr()) }

// RemoteAddr returns the peer's address.
func (s *streamConn) RemoteAddr() net.Addr { return net.UDPAddrFromAddrPort(s.Stream.RemoteAddr()) }

// Close ends the stream.
func (s *streamConn) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Stream.Close()
}
