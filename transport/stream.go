package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/shardnode/shardnode/shard"
)

// A Stream is an ordered, reliable flow of bytes both ways between two
// members. One goroutine may read while another writes.
//
// Write a frame with one Write: each becomes packets of its own. When the
// connection dies, calls return a [shard.StageError] with the peer and code
// Unreachable; when the peer resets the stream, one with the peer's code.
// io.EOF and os.ErrDeadlineExceeded come back as they are.
type Stream struct {
	q    *quic.Stream
	l    *link
	n    *Node
	done atomic.Bool
}

var _ io.ReadWriteCloser = (*Stream)(nil)

// Peer returns the peer at the other end.
func (s *Stream) Peer() shard.PeerID { return s.l.member.Peer }

// Role returns what the peer may do in the swarm.
func (s *Stream) Role() Role { return s.l.member.Role }

// RemoteAddr returns where the peer is now.
func (s *Stream) RemoteAddr() netip.AddrPort { return addrPort(s.l.q.RemoteAddr()) }

// RTT returns the smoothed round-trip time of the connection.
func (s *Stream) RTT() time.Duration { return s.l.q.ConnectionStats().SmoothedRTT }

// Lost returns a channel that is closed when the connection has ended.
func (s *Stream) Lost() <-chan struct{} { return s.l.q.Context().Done() }

// Read reads what the peer wrote.
func (s *Stream) Read(b []byte) (int, error) {
	k, err := s.q.Read(b)
	return k, s.explain(err)
}

// Write sends b. It blocks while the peer takes no more.
func (s *Stream) Write(b []byte) (int, error) {
	k, err := s.q.Write(b)
	return k, s.explain(err)
}

// SetDeadline bounds reads and writes; the zero time removes the bound.
func (s *Stream) SetDeadline(t time.Time) error { return s.q.SetDeadline(t) }

// SetReadDeadline bounds reads.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.q.SetReadDeadline(t) }

// SetWriteDeadline bounds writes.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.q.SetWriteDeadline(t) }

// CloseWrite says that no more will be written; reading goes on.
func (s *Stream) CloseWrite() error { return s.explain(s.q.Close()) }

// CancelRead says that no more will be read; the peer's writes fail with code.
func (s *Stream) CancelRead(code shard.Code) { s.q.CancelRead(quic.StreamErrorCode(code)) }

// Close ends both directions: what was written still arrives, what was not yet
// read is dropped. It does not wait, may be called twice, and from anywhere.
func (s *Stream) Close() error {
	if s.done.CompareAndSwap(false, true) {
		_ = s.q.Close() // fails only when the stream was reset, which is an end as well
		s.q.CancelRead(0)
		s.n.endStream(s.l)
	}
	return nil
}

// Reset ends both directions at once; the peer's calls fail with code.
func (s *Stream) Reset(code shard.Code) {
	if s.done.CompareAndSwap(false, true) {
		s.q.CancelWrite(quic.StreamErrorCode(code))
		s.q.CancelRead(quic.StreamErrorCode(code))
		s.n.endStream(s.l)
	}
}

func (n *Node) endStream(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l.streams--; l.streams == 0 {
		l.unused = time.Now()
	}
}

// explain turns QUIC's errors into ours.
func (s *Stream) explain(err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded) && s.l.q.Context().Err() == nil:
		return os.ErrDeadlineExceeded
	}
	if reset, ok := errors.AsType[*quic.StreamError](err); ok {
		if !reset.Remote {
			return net.ErrClosed
		}
		return &shard.StageError{Peer: s.Peer(), Code: shard.Code(reset.ErrorCode), Text: "the peer ended the stream"}
	}
	if s.l.q.Context().Err() != nil || endsConn(err) {
		return s.n.unreachable(s.Peer(), err)
	}
	return net.ErrClosed // written to after Close
}

// endsConn reports whether err is the end of a connection. Streams learn of it
// a moment before the connection's context ends.
func endsConn(err error) bool {
	_, app := errors.AsType[*quic.ApplicationError](err)
	_, idle := errors.AsType[*quic.IdleTimeoutError](err)
	_, reset := errors.AsType[*quic.StatelessResetError](err)
	_, tp := errors.AsType[*quic.TransportError](err)
	return app || idle || reset || tp
}

// unreachable wraps err as the failure to reach peer.
func (n *Node) unreachable(peer shard.PeerID, err error) error {
	if _, ok := errors.AsType[*shard.StageError](err); ok {
		return err
	}
	if app, ok := errors.AsType[*quic.ApplicationError](err); ok && !app.Remote && app.ErrorCode != codeSilent && app.ErrorCode != codeRefused {
		peer = n.ID() // we closed it: nobody else is to blame
	}
	return &shard.StageError{Peer: peer, Code: shard.Unreachable, Text: explain(err).Error()}
}

// explain says in plain words what QUIC reports.
func explain(err error) error {
	if err == nil {
		return errors.New("connection ended")
	}
	if _, ok := errors.AsType[*quic.IdleTimeoutError](err); ok {
		return errors.New("the peer fell silent")
	}
	if _, ok := errors.AsType[*quic.HandshakeTimeoutError](err); ok {
		return errors.New("no answer")
	}
	if _, ok := errors.AsType[*quic.StatelessResetError](err); ok {
		return errors.New("the peer was restarted")
	}
	if app, ok := errors.AsType[*quic.ApplicationError](err); ok {
		if app.ErrorCode == codeSilent && !app.Remote {
			return errors.New("the peer fell silent")
		}
		who := "the peer"
		if !app.Remote {
			who = "this peer"
		}
		return fmt.Errorf("%s closed the connection: %.100s", who, app.ErrorMessage)
	}
	if tp, ok := errors.AsType[*quic.TransportError](err); ok {
		return explainTransport(tp)
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return errors.New("no answer in time")
	}
	return err
}

// TLS alerts as QUIC carries them (RFC 9001, section 4.8; RFC 8446, section 6).
const (
	alertBadCertificate = 0x100 + 42
	alertNoProtocol     = 0x100 + 120
)

func explainTransport(e *quic.TransportError) error {
	switch {
	case e.ErrorCode == alertNoProtocol:
		return errors.New("the peer does not offer this protocol")
	case e.ErrorCode == alertBadCertificate && e.Remote:
		return errors.New("the peer refused our membership: other swarm, expired, or removed")
	case e.ErrorCode == alertBadCertificate:
		text := e.ErrorMessage
		if cause := errors.Unwrap(e); text == "" && cause != nil {
			text = cause.Error() // ours, from verify
		}
		return fmt.Errorf("the peer is not who it should be: %s", strings.TrimPrefix(text, "tls: "))
	case e.ErrorCode == quic.ConnectionRefused:
		return errors.New("the peer takes no more connections now")
	}
	return e
}
