package main

import (
	"context"
	"crypto/sha256"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/transport"
	"github.com/shardnode/shardnode/transport/emulate"
)

// linkFlag is the value of --link.
type linkFlag struct {
	emulate.Link
	given bool
}

// parseLink reads --link.
func parseLink(text string) (linkFlag, error) {
	l, err := emulate.Parse(text)
	if err != nil {
		return linkFlag{}, &usageError{err}
	}
	return linkFlag{Link: l, given: text != ""}, nil
}

func (l linkFlag) latencyMS() float64 {
	return float64(l.Latency+l.Jitter/2) / float64(time.Millisecond)
}

func (l linkFlag) mbit() float64 { return l.RateBits / 1e6 }

// wrap returns what puts a member's socket behind the link; nil without one, so
// that the transport uses its own.
func (l linkFlag) wrap() func(net.PacketConn) net.PacketConn {
	if !l.given {
		return nil
	}
	return func(pc net.PacketConn) net.PacketConn { return emulate.Wrap(pc, l.Link) }
}

// transportDial opens streams of sessions over n.
func transportDial(n *transport.Node) func(ctx context.Context, to hop.Neighbour) (io.ReadWriteCloser, error) {
	return func(ctx context.Context, to hop.Neighbour) (io.ReadWriteCloser, error) {
		if addrs := parseAddrs(to.Addrs); len(addrs) > 0 && len(n.PeerAddrs(to.Peer)) == 0 {
			n.SetAddrs(to.Peer, addrs)
		}
		return n.Open(ctx, to.Peer, hop.Protocol)
	}
}

// parseAddrs returns the addresses among texts.
func parseAddrs(texts []string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, text := range texts {
		if a, err := netip.ParseAddrPort(text); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// localModelID names a model among members that all open the same file.
func localModelID(swarm transport.SwarmID, ref string) shard.ModelID {
	return sha256.Sum256(append(swarm[:], ref...))
}

// speed returns what the member measured.
func (ch *child) speed() engine.Speed {
	return engine.Speed{DecodePerLayer: ch.ready.Decode, PrefillPerLayer: ch.ready.Prefill, Head: ch.ready.Head}
}
