package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/shardnode/shardnode/shard"
)

// Application codes of a closed connection.
const (
	codeLeaving quic.ApplicationErrorCode = 1 // the node closes
	codeUnused  quic.ApplicationErrorCode = 2 // no stream for linkUnused
	codeRefused quic.ApplicationErrorCode = 3 // no longer a member
	codeFull    quic.ApplicationErrorCode = 4 // too many connections
	codeJoined  quic.ApplicationErrorCode = 5 // the join exchange is over
	codeSilent  quic.ApplicationErrorCode = 6 // nothing was heard for SessionSilence
)

// A linkKey names what connections are shared by.
type linkKey struct {
	peer  shard.PeerID
	proto string
}

// A link is a live connection with a member for one protocol. Streams may be
// opened from both ends, whoever dialed.
type link struct {
	q      *quic.Conn
	member Member
	proto  string
	dialed bool
	watch  watch // for session protocols

	// Guarded by Node.mu:
	streams int       // open now, from both ends
	unused  time.Time // since when streams is 0
}

// A dial is a connection in the making, shared by all who want it.
type dial struct {
	done chan struct{}
	l    *link
	err  error
}

// quicConfig returns the settings for a connection of proto, "" for those that
// others make: whoever dials chooses the silence and keeps it alive, for the
// smaller of both idle timeouts counts (RFC 9000, section 10.1).
func (n *Node) quicConfig(proto string) *quic.Config {
	c := &quic.Config{
		Versions: []quic.Version{quic.Version1}, HandshakeIdleTimeout: handshakeTimeout,
		MaxIdleTimeout: 30 * time.Second, MaxIncomingStreams: maxStreams, MaxIncomingUniStreams: -1,
		InitialStreamReceiveWindow: 1 << 20, MaxStreamReceiveWindow: 16 << 20,
		InitialConnectionReceiveWindow: 2 << 20, MaxConnectionReceiveWindow: 32 << 20,
	}
	switch {
	case slices.Contains(SessionProtocols(), proto):
		// The silence that counts is watched by both ends: quic-go takes no idle
		// timeout below 5 s from whoever dialed.
		c.MaxIdleTimeout = max(sessionIdle, 2*n.cfg.SessionSilence)
		c.KeepAlivePeriod = min(sessionKeepAlive, n.cfg.SessionSilence/6)
	case proto == GossipProtocol:
		c.MaxIdleTimeout = otherSilence
	case proto != "":
		c.MaxIdleTimeout, c.KeepAlivePeriod = otherSilence, otherSilence/4
	}
	return c
}

// acceptLoop hands connections on at once: quic-go's queue holds 32.
func (n *Node) acceptLoop() {
	for {
		q, err := n.ln.Accept(n.life)
		if err != nil {
			return // closed
		}
		if a, ok := q.Context().Value(attemptKey{}).(*attempt); ok {
			a.ended()
		}
		if !n.start(func() { n.serveConn(q) }) {
			_ = q.CloseWithError(codeLeaving, "leaving")
		}
	}
}

// serveConn serves a connection that somebody else made, until it ends.
func (n *Node) serveConn(q *quic.Conn) {
	cs := q.ConnectionState().TLS
	if cs.NegotiatedProtocol == JoinProtocol {
		n.serveJoin(q)
		return
	}
	m, err := n.memberOf(&cs)
	if err != nil { // checked in the handshake; only its expiry can be new
		_ = q.CloseWithError(codeRefused, "no membership")
		return
	}
	l := &link{q: q, member: m, proto: cs.NegotiatedProtocol, unused: time.Now()}
	if !n.adopt(l) {
		return
	}
	n.serveStreams(l)
}

// adopt adds a link, making room by closing an unused one of the same peer. It
// closes l and reports false when there is none.
func (n *Node) adopt(l *link) bool {
	key := linkKey{l.member.Peer, l.proto}
	var victim *link
	n.mu.Lock()
	full := n.closed || !l.dialed && n.accepted >= n.cfg.MaxConns
	if ls := n.links[key]; !full && len(ls) >= maxLinksPerPeer {
		if i := slices.IndexFunc(ls, func(o *link) bool { return o.streams == 0 }); i >= 0 {
			victim = ls[i]
			n.removeLocked(victim)
		} else {
			full = true
		}
	}
	if !full {
		n.links[key] = append(n.links[key], l)
		if !l.dialed {
			n.accepted++
		}
	}
	n.mu.Unlock()
	if victim != nil {
		_ = victim.q.CloseWithError(codeUnused, "replaced")
	}
	if full {
		_ = l.q.CloseWithError(codeFull, "too many connections")
		return false
	}
	if n.Removed(key.peer) { // since its handshake
		n.cut(key.peer)
	}
	n.book.learn(l.member, addrPort(l.q.RemoteAddr()))
	n.cfg.Logger.Debug().Stringer("peer", key.peer).Str("proto", l.proto).Msg("connected")
	n.wakeWatch(l)
	return true
}

// removeLocked takes l out of the table and reports whether it was there, and
// whether it was the last for its peer and protocol.
func (n *Node) removeLocked(l *link) (was, last bool) {
	key := linkKey{l.member.Peer, l.proto}
	ls := n.links[key]
	i := slices.Index(ls, l)
	if i < 0 {
		return false, false
	}
	if !l.dialed {
		n.accepted--
	}
	if ls = slices.Delete(ls, i, i+1); len(ls) > 0 {
		n.links[key] = ls
		return true, false
	}
	delete(n.links, key)
	return true, true
}

// serveStreams runs the handler for each stream that the peer opens, until the
// connection ends.
func (n *Node) serveStreams(l *link) {
	for {
		q, err := l.q.AcceptStream(n.life)
		if err != nil {
			n.lost(l, context.Cause(l.q.Context()))
			return
		}
		n.mu.Lock()
		h := n.handlers[l.proto]
		l.streams++
		n.mu.Unlock()
		n.wakeWatch(l)
		s := &Stream{q: q, l: l, n: n}
		if h == nil {
			s.Reset(shard.NotServing)
			continue
		}
		if !n.start(func() {
			defer s.Close()
			h(n.life, s)
		}) {
			s.Reset(shard.NotServing)
		}
	}
}

// lost forgets a link whose connection has ended.
func (n *Node) lost(l *link, cause error) {
	n.mu.Lock()
	was, last := n.removeLocked(l)
	closed := n.closed
	n.mu.Unlock()
	_ = l.q.CloseWithError(codeLeaving, "leaving") // in case our own life ended first
	app, onPurpose := errors.AsType[*quic.ApplicationError](cause)
	if !was || closed || onPurpose && app.ErrorCode != codeSilent && (!app.Remote || app.ErrorCode == codeUnused) {
		return
	}
	err := n.unreachable(l.member.Peer, cause)
	n.cfg.Logger.Debug().Stringer("peer", l.member.Peer).Str("proto", l.proto).Err(err).Msg("connection lost")
	if last && n.cfg.OnLost != nil {
		n.cfg.OnLost(l.member.Peer, l.proto, err)
	}
}

// wakeWatch lets the watch look at a new link, or more often at an old one.
func (n *Node) wakeWatch(l *link) {
	if slices.Contains(SessionProtocols(), l.proto) {
		select {
		case n.sessions <- struct{}{}:
		default:
		}
	}
}

// closeUnused closes connections that had no stream for a while. Only the end
// that dialed does, so that both ends of a pair do not race.
func (n *Node) closeUnused() {
	tick := time.NewTicker(linkUnused / 4)
	defer tick.Stop()
	for {
		select {
		case <-n.life.Done():
			return
		case now := <-tick.C:
			for _, l := range n.takeUnused(now) {
				_ = l.q.CloseWithError(codeUnused, "unused")
			}
		}
	}
}

func (n *Node) takeUnused(now time.Time) []*link {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []*link
	for _, ls := range n.links {
		for _, l := range ls {
			if l.dialed && l.streams == 0 && now.Sub(l.unused) > linkUnused {
				out = append(out, l)
			}
		}
	}
	for _, l := range out {
		n.removeLocked(l)
	}
	return out
}

// Open opens a stream of proto to peer, over the connection there is or a new
// one. The peer learns of the stream with its first bytes. A failure is a
// [shard.StageError] with code Unreachable, or ctx's error.
func (n *Node) Open(ctx context.Context, peer shard.PeerID, proto string) (*Stream, error) {
	for {
		l, fresh, err := n.linkTo(ctx, linkKey{peer, proto})
		if err != nil {
			return nil, err
		}
		q, err := l.q.OpenStreamSync(ctx)
		if err == nil {
			return &Stream{q: q, l: l, n: n}, nil
		}
		n.endStream(l)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		n.lost(l, context.Cause(l.q.Context()))
		if fresh {
			return nil, n.unreachable(peer, err)
		}
	}
}

// linkTo returns a live link with one stream more on its count, and whether it
// was made for this call.
func (n *Node) linkTo(ctx context.Context, key linkKey) (l *link, fresh bool, err error) {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil, false, net.ErrClosed
	}
	ls := n.links[key]
	for i := len(ls) - 1; i >= 0; i-- {
		if ls[i].q.Context().Err() == nil {
			ls[i].streams++
			l = ls[i]
			break
		}
	}
	if l != nil {
		n.mu.Unlock()
		n.wakeWatch(l)
		return l, false, nil
	}
	d := n.dials[key]
	if d == nil {
		d = &dial{done: make(chan struct{})}
		n.dials[key] = d
		n.wg.Go(func() { n.runDial(key, d) })
	}
	n.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, false, ctx.Err()
	case <-d.done:
	}
	if d.err != nil {
		return nil, false, d.err
	}
	n.mu.Lock()
	d.l.streams++
	n.mu.Unlock()
	return d.l, true, nil
}

// runDial makes a connection and serves the peer's streams on it until it ends.
func (n *Node) runDial(key linkKey, d *dial) {
	q, err := n.dialAny(key)
	if err == nil {
		cs := q.ConnectionState().TLS
		var m Member
		if m, err = n.memberOf(&cs); err == nil {
			d.l = &link{q: q, member: m, proto: key.proto, dialed: true, unused: time.Now()}
			if !n.adopt(d.l) {
				err = errors.New("too many connections")
			}
		}
	}
	if err != nil {
		d.err = n.unreachable(key.peer, err)
	}
	n.mu.Lock()
	delete(n.dials, key)
	n.mu.Unlock()
	close(d.done)
	if d.err == nil {
		n.serveStreams(d.l)
	}
}

// dialAny tries the peer's addresses, the next one when the last has not
// answered for a while, and returns the first connection.
func (n *Node) dialAny(key linkKey) (*quic.Conn, error) {
	if key.peer == n.ID() {
		return nil, errors.New("that is this peer itself")
	}
	addrs := n.book.addrs(key.peer)
	if len(addrs) == 0 {
		return nil, errors.New("no address of it is known")
	}
	ctx, cancel := context.WithTimeout(n.life, handshakeTimeout+time.Duration(len(addrs))*dialStagger)
	defer cancel()
	type result struct {
		q   *quic.Conn
		err error
	}
	results := make(chan result, len(addrs))
	tlsConf, conf := n.clientTLS(key.peer, key.proto), n.quicConfig(key.proto)
	try := func(a netip.AddrPort) {
		ctx, stop := context.WithCancelCause(ctx)
		defer stop(nil)
		n.start(func() { n.giveUp(ctx, a, stop) })
		q, err := n.tr.Dial(ctx, net.UDPAddrFromAddrPort(a), tlsConf, conf)
		if err != nil {
			if context.Cause(ctx) == errNobody { //nolint:errorlint // it is set as it is
				err = errNobody
			}
			err = fmt.Errorf("%v: %w", a, explain(err))
		}
		results <- result{q, err}
	}
	var errs []error
	tried, timer := 0, time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			if tried < len(addrs) {
				a := addrs[tried]
				tried++
				n.wg.Go(func() { try(a) }) // runDial holds the group open
				timer.Reset(dialStagger)
			}
		case r := <-results:
			if r.err == nil {
				cancel()
				rest := tried - len(errs) - 1
				n.wg.Go(func() { // close those that made it as well
					for range rest {
						if r := <-results; r.q != nil {
							_ = r.q.CloseWithError(codeUnused, "another address was faster")
						}
					}
				})
				return r.q, nil
			}
			if errs = append(errs, r.err); len(errs) == len(addrs) {
				return nil, errors.Join(errs...)
			}
			timer.Reset(0)
		}
	}
}
