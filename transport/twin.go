package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
)

// A TwinError means that another process with this peer's identity was there
// first: its home was copied, or restored while the original still runs. Peers
// would take the two for one that moves to and fro.
type TwinError struct {
	Addr  netip.AddrPort
	Since time.Time // by the other machine's clock
}

// Error says where the other one is.
func (e *TwinError) Error() string {
	return fmt.Sprintf("another member with this home's identity runs at %v since %s", e.Addr, e.Since.Local().Format(time.DateTime))
}

// How a twin is looked for.
const (
	twinTimeout = 2 * time.Second
	twinEvery   = 10 * time.Second
)

// SeekTwin looks, without waiting, whether another process with this peer's
// identity is at one of addrs, where somebody says that this peer is. If one
// is, and started before, [Config.OnTwin] hears of it. Addresses of this
// process are left out. At most one search runs, and one in 10 s.
func (n *Node) SeekTwin(addrs []netip.AddrPort) {
	var ask []netip.AddrPort
	own := map[netip.AddrPort]bool{}
	for _, r := range n.Addrs() {
		own[r.Addr] = true
	}
	for _, a := range addrs {
		if !own[a] && len(ask) < maxPeerAddrs {
			ask = append(ask, a)
		}
	}
	if len(ask) == 0 || n.cfg.OnTwin == nil {
		return
	}
	n.mu.Lock()
	again := time.Since(n.soughtTwin) < twinEvery
	if !again {
		n.soughtTwin = time.Now()
	}
	n.mu.Unlock()
	if again {
		return
	}
	n.start(func() {
		for _, a := range ask {
			if twin := n.twinAt(a); twin != nil {
				n.cfg.OnTwin(twin)
				return
			}
		}
	})
}

// twinAt returns what is at a if it is a twin that started before this process.
// The other end turns us away, for we are itself, but not before it has proved
// who it is.
func (n *Node) twinAt(a netip.AddrPort) *TwinError {
	ctx, cancel := context.WithTimeout(n.life, twinTimeout)
	defer cancel()
	conf := n.base.Clone()
	conf.NextProtos = []string{GossipProtocol}
	conf.InsecureSkipVerify = true // names say nothing here; VerifyConnection does the work
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		m, err := n.memberOf(&cs)
		if err == nil && m.Peer != n.ID() {
			err = errors.New("another peer")
		}
		return err
	}
	q, err := n.tr.Dial(ctx, net.UDPAddrFromAddrPort(a), conf, &quic.Config{
		Versions: []quic.Version{quic.Version1}, HandshakeIdleTimeout: twinTimeout, MaxIncomingStreams: -1, MaxIncomingUniStreams: -1,
	})
	if err != nil {
		return nil
	}
	_ = q.CloseWithError(codeUnused, "only a look")
	// The certificate is the twin's own: the handshake has proved its key.
	born := q.ConnectionState().TLS.PeerCertificates[0].SerialNumber
	if !born.IsInt64() || born.Int64() >= n.born.UnixNano() {
		return nil
	}
	return &TwinError{Addr: a, Since: time.Unix(0, born.Int64())}
}
