package transport

import (
	"net"
	"net/netip"
	"time"

	"github.com/shardnode/shardnode/shard"
)

// packetQueue bounds the packets that wait for their reader; more are dropped.
const packetQueue = 512

// A Packet is what a member sent with [Node.SendPacket].
type Packet struct {
	From shard.PeerID
	Addr netip.AddrPort // where it came from
	At   time.Time      // when it arrived
	Data []byte         // the receiver's own
}

// SendPacket sends b, at most [MaxPacketBytes], sealed to peer. It does not
// block and does not say whether the packet arrived. The peer's membership
// must be known: from a connection, a packet of its own, or [Node.Learn].
func (n *Node) SendPacket(peer shard.PeerID, b []byte) error {
	m, addr, err := n.book.packetTarget(peer)
	if err != nil {
		return err
	}
	sealed, err := n.seal.Seal(m, b)
	if err != nil {
		return err
	}
	_, err = n.tr.WriteTo(sealed, net.UDPAddrFromAddrPort(addr))
	return err
}

// Packets returns the channel of packets from members. Those that are not
// taken in time are dropped. It is never closed.
func (n *Node) Packets() <-chan Packet { return n.pkts }

// readPackets opens sealed packets. It keeps up by itself: quic-go's queue
// holds 32.
func (n *Node) readPackets() {
	buf := make([]byte, 2048)
	for {
		k, from, err := n.tr.ReadNonQUICPacket(n.life, buf)
		if err != nil {
			return // closed
		}
		now := time.Now()
		m, data, err := n.seal.Open(buf[:k], now)
		if err != nil || n.Removed(m.Peer) {
			continue // a stranger's, a copy, or damaged: not worth a word
		}
		addr := addrPort(from)
		n.book.hear(m, addr, now)
		select {
		case n.pkts <- Packet{From: m.Peer, Addr: addr, At: now, Data: data}:
		default: // the reader is behind; gossip repeats itself
		}
	}
}
