package transport

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
	"unicode/utf8"

	"github.com/quic-go/quic-go"
	"google.golang.org/protobuf/proto"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// Bounds of the join exchange.
const (
	joinTimeout  = 5 * time.Second
	maxJoinBytes = 4096 // of a request or an answer
	maxJoins     = 16   // served at once; more are refused as busy
)

// JoinConfig says who joins. The zero PacketConn is a fresh socket.
type JoinConfig struct {
	Identity   Identity
	Invitation Invitation
	Name       string // what people call the joiner
	PacketConn net.PacketConn
}

// Join asks the inviter for a membership. It tries the invitation's addresses
// in turn, checks that it talks to the inviter and to its swarm, and closes
// the PacketConn. A refusal is a [RefusedError].
func Join(ctx context.Context, cfg JoinConfig) (Membership, error) {
	pc := cfg.PacketConn
	if pc == nil {
		var err error
		if pc, err = listenUDP(joinAddr(cfg.Invitation)); err != nil {
			return Membership{}, err
		}
	}
	defer pc.Close()
	tr := &quic.Transport{Conn: pc}
	defer tr.Close()
	cert, err := selfSigned(cfg.Identity, nil, time.Now())
	if err != nil {
		return Membership{}, err
	}
	inv := cfg.Invitation
	conf := baseTLS(cert)
	conf.NextProtos = []string{JoinProtocol}
	conf.InsecureSkipVerify = true // names say nothing here; VerifyConnection does the work
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		m, err := memberOf(inv.Swarm, &cs, time.Now())
		if err == nil && m.Peer != inv.Inviter {
			err = fmt.Errorf("invited by peer %s, reached %s", inv.Inviter.Short(), m.Peer.Short())
		}
		return err
	}
	var errs []error
	for _, a := range inv.Addrs {
		m, err := joinAt(ctx, tr, net.UDPAddrFromAddrPort(a), conf, cfg)
		if err == nil {
			return m, nil
		}
		if refused, ok := errors.AsType[*RefusedError](err); ok {
			return Membership{}, refused
		}
		if ctx.Err() != nil {
			return Membership{}, ctx.Err()
		}
		errs = append(errs, fmt.Errorf("join at %v: %w", a, explain(err)))
	}
	return Membership{}, errors.Join(errs...)
}

// joinAddr binds to loopback if the inviter is there, else to all interfaces.
func joinAddr(inv Invitation) string {
	for _, a := range inv.Addrs {
		if !a.Addr().IsLoopback() {
			return "[::]:0"
		}
	}
	if len(inv.Addrs) > 0 && inv.Addrs[0].Addr().Is6() {
		return "[::1]:0"
	}
	return "127.0.0.1:0"
}

func joinAt(ctx context.Context, tr *quic.Transport, addr net.Addr, conf *tls.Config, cfg JoinConfig) (Membership, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	q, err := tr.Dial(ctx, addr, conf, &quic.Config{
		Versions: []quic.Version{quic.Version1}, HandshakeIdleTimeout: handshakeTimeout, MaxIncomingStreams: -1, MaxIncomingUniStreams: -1,
	})
	if err != nil {
		return Membership{}, err
	}
	defer func() { _ = q.CloseWithError(codeJoined, "joined") }()
	s, err := q.OpenStreamSync(ctx)
	if err != nil {
		return Membership{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := writeMessage(s, &wirepb.JoinRequest{Version: 1, Invitation: cfg.Invitation.signed, Name: cfg.Name}); err != nil {
		return Membership{}, err
	}
	var answer wirepb.JoinAnswer
	if err := readMessage(s, &answer); err != nil {
		return Membership{}, err
	}
	if answer.GetRefusal() != "" {
		return Membership{}, refuse(Refusal(answer.GetReason()), "%.200s", printable(answer.GetRefusal()))
	}
	m, err := newMembership(cfg.Invitation.Swarm[:], answer.GetSecret(), answer.GetMembership())
	if err != nil {
		return Membership{}, fmt.Errorf("inviter's answer: %w", err)
	}
	if m.Peer != cfg.Identity.id {
		return Membership{}, errors.New("inviter's answer is for another peer")
	}
	return m, m.current(time.Now())
}

// printable drops what could disturb a terminal from a peer's text.
func printable(text string) string {
	out := make([]rune, 0, len(text))
	for _, r := range text {
		if !isControl(r) && r != utf8.RuneError {
			out = append(out, r)
		}
	}
	return cmp.Or(string(out), "refused")
}

// serveJoin answers one joiner.
func (n *Node) serveJoin(q *quic.Conn) {
	select {
	case n.joins <- struct{}{}:
		defer func() { <-n.joins }()
	default:
		_ = q.CloseWithError(codeFull, "too many joins, try again")
		return
	}
	ctx, cancel := context.WithTimeout(n.life, joinTimeout)
	defer cancel()
	defer func() { _ = q.CloseWithError(codeJoined, "joined") }()
	s, err := q.AcceptStream(ctx)
	if err != nil {
		return
	}
	_ = s.SetDeadline(time.Now().Add(joinTimeout)) // fails only on a dead stream, as what follows does
	var req wirepb.JoinRequest
	if err := readMessage(s, &req); err != nil {
		return
	}
	answer := n.answerJoin(q, &req)
	if err := writeMessage(s, answer); err != nil {
		return
	}
	_ = s.Close()
	select { // the joiner closes when it has the answer
	case <-q.Context().Done():
	case <-ctx.Done():
	}
}

func (n *Node) answerJoin(q *quic.Conn, req *wirepb.JoinRequest) *wirepb.JoinAnswer {
	m, err := n.admit(q, req)
	if err == nil {
		n.cfg.Logger.Info().Stringer("peer", m.Peer).Stringer("role", m.Role).Str("name", fmt.Sprintf("%.32q", req.GetName())).Msg("peer admitted")
		return &wirepb.JoinAnswer{Membership: m.signed, Secret: m.secret[:]}
	}
	n.cfg.Logger.Info().Stringer("addr", q.RemoteAddr()).Err(err).Msg("join refused")
	if refused, ok := errors.AsType[*RefusedError](err); ok {
		return &wirepb.JoinAnswer{Refusal: refused.Text, Reason: uint32(refused.Reason)}
	}
	return &wirepb.JoinAnswer{Refusal: "the inviter cannot admit anybody now", Reason: uint32(RefusedOther)} // the reason is its own affair
}

func (n *Node) admit(q *quic.Conn, req *wirepb.JoinRequest) (Membership, error) {
	if req.GetVersion() != 1 {
		return Membership{}, refuse(RefusedVersion, "the inviter speaks join version 1, this program %d: update one", req.GetVersion())
	}
	cs := q.ConnectionState().TLS
	pub, err := peerKey(&cs)
	if err != nil {
		return Membership{}, err
	}
	if n.Removed(shard.PeerIDOf(pub)) {
		return Membership{}, refuse(RefusedRemoved, "this peer was removed from the swarm: its founder can take it back")
	}
	return n.cfg.Admitter.admit(pub, req.GetInvitation())
}

// writeMessage sends m after its length in 4 bytes.
func writeMessage(w io.Writer, m proto.Message) error {
	b, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, 4, 512), m)
	if err != nil {
		return err
	}
	if len(b)-4 > maxJoinBytes {
		return fmt.Errorf("message has %d bytes, want at most %d", len(b)-4, maxJoinBytes)
	}
	binary.BigEndian.PutUint32(b, uint32(len(b)-4)) //nolint:gosec // checked
	_, err = w.Write(b)
	return err
}

// readMessage reads what writeMessage sent.
func readMessage(r io.Reader, m proto.Message) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	k := binary.BigEndian.Uint32(head[:])
	if k > maxJoinBytes {
		return fmt.Errorf("message has %d bytes, want at most %d", k, maxJoinBytes)
	}
	b := make([]byte, k)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return proto.Unmarshal(b, m)
}
