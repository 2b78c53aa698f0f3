package transport

import (
	"cmp"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/shard"
)

// Protocols of this package and those that it treats in its own way.
const (
	// JoinProtocol is the only one that admits strangers.
	JoinProtocol = "shard-join/1"
	// HopProtocol carries the sessions; see [SessionProtocols].
	HopProtocol = "shard-hop/1"
	// GossipProtocol carries gossip's exchanges of whole views. Its
	// connections have no keep-alive and close when unused.
	GossipProtocol = "shard-gossip/1"
)

// SessionProtocols returns the protocols whose connections notice a silent
// peer within [Config.SessionSilence].
func SessionProtocols() []string { return []string{HopProtocol} }

// Bounds of a node. At each, what comes on top is refused.
const (
	maxHalfOpen      = 128  // handshakes of others in flight; a Retry is asked for from an eighth of it
	maxHalfOpenPerIP = 96   // of them from one address
	maxLinksPerPeer  = 4    // connections with one peer for one protocol; the oldest unused one makes room
	maxStreams       = 256  // streams that a peer may have open on one connection
	maxKnownPeers    = 4096 // peers whose addresses and keys are kept; an arbitrary one makes room
)

// Times of a node.
const (
	handshakeTimeout = 4 * time.Second
	dialStagger      = 250 * time.Millisecond // before the next address is tried as well (RFC 8305, section 5)
	otherSilence     = 12 * time.Second       // as SessionSilence, for the other protocols
	linkUnused       = time.Minute            // a connection without streams is closed after it
)

// Config holds the settings of a [Node]. Identity and Membership must be set.
type Config struct {
	Identity   Identity
	Membership Membership

	// ListenAddr is the UDP address to listen on. Default: 127.0.0.1:0.
	ListenAddr string

	// PacketConn is used instead of a socket at ListenAddr if it is set. The
	// node closes it.
	PacketConn net.PacketConn

	// Wrap returns what is used in place of the socket at ListenAddr, and
	// closes it. Default: the socket itself.
	Wrap func(socket net.PacketConn) net.PacketConn

	// Admitter answers joiners. Default: none, joiners are refused.
	Admitter *Admitter

	// Removals are the members that were removed from the swarm. Default: none
	// yet, and what is heard of is forgotten at the end.
	Removals *Removals

	// SessionSilence is how long a peer that carries a session may be silent
	// before its connection counts as lost, whoever dialed. Time in which this
	// process itself stood still does not count. Default: 0.9 s. Raise it where
	// machines stall for longer.
	SessionSilence time.Duration

	// MaxConns bounds the connections that others make. Default: 1024.
	MaxConns int

	// OnLost is called when the last connection to a peer for a protocol broke
	// without anybody's intent. It must not block. Default: nothing.
	OnLost func(peer shard.PeerID, proto string, err error)

	// OnTwin is called when another process with the same identity is found
	// that started before: this one must go. It must not block. Default:
	// nothing, and nobody looks.
	OnTwin func(*TwinError)

	// Logger gets the changes of state. Default: none.
	Logger zerolog.Logger
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Identity.key == nil:
		return c, errors.New("transport: Identity is not set")
	case c.Membership.signed == nil:
		return c, errors.New("transport: Membership is not set")
	case c.Membership.Peer != c.Identity.id:
		return c, fmt.Errorf("membership belongs to peer %s, this is %s: join again with an invitation",
			c.Membership.Peer.Short(), c.Identity.id.Short())
	case c.SessionSilence < 0:
		return c, fmt.Errorf("transport: SessionSilence is %v, want 0 or more", c.SessionSilence)
	case c.MaxConns < 0:
		return c, fmt.Errorf("transport: MaxConns is %d, want 0 or more", c.MaxConns)
	}
	if err := c.Membership.current(time.Now()); err != nil {
		return c, err
	}
	if c.Removals == nil {
		c.Removals = &Removals{swarm: c.Membership.swarm, all: map[shard.PeerID]Removal{}}
	}
	if c.Removals.Removed(c.Identity.id) {
		return c, ErrRemoved
	}
	c.ListenAddr = cmp.Or(c.ListenAddr, "127.0.0.1:0")
	c.SessionSilence = cmp.Or(c.SessionSilence, 900*time.Millisecond)
	c.MaxConns = cmp.Or(c.MaxConns, 1024)
	return c, nil
}

// ErrRemoved means that this peer is no member of its swarm any more.
var ErrRemoved = errors.New("this member was removed from the swarm by its founder")

// A Handler serves one stream that a peer opened. ctx ends when the node
// closes. The stream is closed when the handler returns.
type Handler func(ctx context.Context, s *Stream)

// A Node is a peer's place on the network.
type Node struct {
	cfg  Config
	born time.Time
	pc   net.PacketConn
	tr   *quic.Transport
	ln   *quic.Listener
	book *peerBook
	seal *sealer
	base *tls.Config // what both ends of TLS have in common

	life   context.Context // ends when the node closes; no caller's context
	cancel context.CancelFunc
	once   sync.Once
	wg     sync.WaitGroup
	pkts   chan Packet
	joins  chan struct{} // a place for each join being served

	sessions chan struct{}                              // a session link or stream is new
	probe    func(a netip.AddrPort) (*portProbe, error) // nil on a network that is not the system's

	mu       sync.Mutex // guards what follows
	closed   bool
	handlers map[string]Handler
	links    map[linkKey][]*link // newest last, none empty
	dials    map[linkKey]*dial
	accepted int // links that others made
	half     int // handshakes of others in flight
	halfFrom map[netip.Addr]int

	onRemoval  func(Removal) // may be nil
	soughtTwin time.Time
}

// Listen starts a node. It returns an error that says what to do when the
// address is in use or cannot be had.
func Listen(cfg Config) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	seal, err := newSealer(cfg.Identity, cfg.Membership)
	if err != nil {
		return nil, err
	}
	born := time.Now()
	tlsConf, err := newTLS(cfg, born)
	if err != nil {
		return nil, err
	}
	quietQUIC()
	pc := cfg.PacketConn
	var probe func(netip.AddrPort) (*portProbe, error)
	if pc == nil {
		if pc, err = listenUDP(cfg.ListenAddr); err != nil {
			return nil, err
		}
		if probe = newPortProbe; cfg.Wrap != nil {
			pc = cfg.Wrap(pc)
		}
	}
	n := &Node{
		cfg: cfg, born: born, pc: pc, book: newPeerBook(), seal: seal, pkts: make(chan Packet, packetQueue), joins: make(chan struct{}, maxJoins),
		sessions: make(chan struct{}, 1), probe: probe,
		handlers: map[string]Handler{}, links: map[linkKey][]*link{}, dials: map[linkKey]*dial{},
		halfFrom: map[netip.Addr]int{},
	}
	n.life, n.cancel = context.WithCancel(context.Background())
	n.tr = &quic.Transport{
		Conn: pc, StatelessResetKey: resetKey(cfg.Identity),
		VerifySourceAddress: n.wantRetry, ConnContext: n.beginHandshake,
	}
	tlsConf = n.serverTLS(tlsConf)
	if n.ln, err = n.tr.Listen(tlsConf, n.quicConfig("")); err != nil {
		n.cancel()
		return nil, errors.Join(fmt.Errorf("listen: %w", err), n.tr.Close(), pc.Close())
	}
	n.wg.Go(n.acceptLoop)
	n.wg.Go(n.readPackets)
	n.wg.Go(n.closeUnused)
	n.wg.Go(n.watchLinks)
	return n, nil
}

// resetKey lets peers know at once that a restarted node forgot them.
func resetKey(id Identity) *quic.StatelessResetKey {
	b, err := hkdf.Key(sha256.New, id.key.Seed(), nil, "shardnode stateless reset v1", 32)
	if err != nil {
		panic("transport: derive reset key: " + err.Error())
	}
	key := quic.StatelessResetKey(b)
	return &key
}

// quietQUIC stops quic-go from printing to standard error when the system
// gives it small buffers; they cost nothing below 1 Gbit/s (research, §2).
var quietQUIC = sync.OnceFunc(func() { _ = os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true") })

func listenUDP(addr string) (net.PacketConn, error) {
	return listenWith(net.ListenUDP, addr)
}

func listenWith(listen func(network string, a *net.UDPAddr) (*net.UDPConn, error), addr string) (net.PacketConn, error) {
	quietQUIC()
	ua, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: want IP:PORT such as 127.0.0.1:4711: %w", addr, err)
	}
	pc, err := listen("udp", ua)
	if err != nil && ua.IP.To4() == nil && ua.IP.IsUnspecified() && !errors.Is(err, syscall.EADDRINUSE) {
		pc, err = listen("udp4", &net.UDPAddr{IP: net.IPv4zero, Port: ua.Port}) // no IPv6 here
	}
	switch {
	case err == nil:
		return pc, nil
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("this machine has no address %v: choose one of its own, or 0.0.0.0 for all: %w", ua.IP, err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("UDP port %d is for the system: choose one above 1023: %w", ua.Port, err)
	case isInUse(err):
		return nil, fmt.Errorf("UDP port %d is in use: stop the other program, or choose another port (0 takes a free one): %w", ua.Port, err)
	}
	return nil, fmt.Errorf("listen on %s: %w", addr, err)
}

// isInUse reports whether err says that an address is taken. Windows has its
// own number for it, and its own sentence.
func isInUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || strings.Contains(err.Error(), "Only one usage of each socket address")
}

// ID returns the peer's name.
func (n *Node) ID() shard.PeerID { return n.cfg.Identity.id }

// Identity returns the peer's identity.
func (n *Node) Identity() Identity { return n.cfg.Identity }

// Membership returns the peer's membership.
func (n *Node) Membership() Membership { return n.cfg.Membership }

// Addr returns the address that the node is bound to.
func (n *Node) Addr() netip.AddrPort { return addrPort(n.pc.LocalAddr()) }

// Addrs returns the addresses at which the node can be dialed, and from where.
func (n *Node) Addrs() []Reach {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		addrs = nil // then only a bound address is known
	}
	return reachable(n.Addr(), addrs)
}

// Handle serves proto with h from now on; nil stops serving it.
func (n *Node) Handle(proto string, h Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if h == nil {
		delete(n.handlers, proto)
		return
	}
	n.handlers[proto] = h
}

// SetAddrs says where peer can be reached, likeliest first. At most 8 are kept.
func (n *Node) SetAddrs(peer shard.PeerID, addrs []netip.AddrPort) { n.book.setAddrs(peer, addrs) }

// PeerAddrs returns the addresses known of peer, likeliest first.
func (n *Node) PeerAddrs(peer shard.PeerID) []netip.AddrPort { return n.book.addrs(peer) }

// RTT returns the smoothed round-trip time to peer, 0 if there is no connection.
func (n *Node) RTT(peer shard.PeerID) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	var best time.Duration
	for key, links := range n.links {
		if key.peer != peer {
			continue
		}
		for _, l := range links {
			if rtt := l.q.ConnectionStats().SmoothedRTT; rtt > 0 && (best == 0 || rtt < best) {
				best = rtt
			}
		}
	}
	return best
}

// cut closes the connections of a peer that was removed.
func (n *Node) cut(peer shard.PeerID) {
	var victims []*link
	n.mu.Lock()
	for key, links := range n.links {
		if key.peer == peer {
			victims = append(victims, links...)
		}
	}
	n.mu.Unlock()
	for _, l := range victims {
		_ = l.q.CloseWithError(codeRefused, "no longer a member")
	}
}

// Removed reports whether peer was removed from the swarm.
func (n *Node) Removed(peer shard.PeerID) bool { return n.cfg.Removals.Removed(peer) }

// start runs f in a goroutine that Close waits for. It reports false when the
// node is closed.
func (n *Node) start(f func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return false
	}
	n.wg.Go(f)
	return true
}

// Close tells every peer that this one leaves, ends all streams, and returns
// when every goroutine has ended, handlers included. It may be called twice.
func (n *Node) Close() error {
	n.once.Do(func() {
		n.mu.Lock()
		n.closed = true
		var links []*link
		for _, ls := range n.links {
			links = append(links, ls...)
		}
		n.mu.Unlock()
		var closing sync.WaitGroup // a connection's close waits until its packet is sent
		for _, l := range links {
			closing.Go(func() { _ = l.q.CloseWithError(codeLeaving, "leaving") })
		}
		closing.Wait()
		n.cancel()
		_ = n.ln.Close() // errors of closing have no reader
		_ = n.tr.Close()
		_ = n.pc.Close()
		n.wg.Wait()
	})
	return nil
}
