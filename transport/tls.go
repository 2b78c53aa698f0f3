package transport

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/shardnode/shardnode/shard"
)

// membershipOID marks the certificate extension that carries the membership.
// The arc 2.25 is free for all (ITU-T X.667); the number is random.
var membershipOID = asn1.ObjectIdentifier{2, 25, 1380267373}

// selfSigned returns a certificate for id that carries the membership, if any.
// Its own validity says nothing: the membership's counts. Its number says when
// the process was born, which tells twins apart.
func selfSigned(id Identity, membership []byte, born time.Time) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(max(1, born.UnixNano())), Subject: pkix.Name{CommonName: "shardnode"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if membership != nil {
		template.ExtraExtensions = []pkix.Extension{{Id: membershipOID, Value: membership}}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, id.key.Public(), id.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: id.key}, nil
}

// newTLS returns what the TLS of both ends has in common.
func newTLS(cfg Config, born time.Time) (*tls.Config, error) {
	cert, err := selfSigned(cfg.Identity, cfg.Membership.signed, born)
	if err != nil {
		return nil, err
	}
	return baseTLS(cert), nil
}

func baseTLS(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519},
		// Resumption saves no time with mutual TLS (research, §1), and without
		// it every connection checks the membership anew.
		SessionTicketsDisabled: true,
	}
}

// serverTLS lets joiners in for the join protocol and members for the others.
func (n *Node) serverTLS(base *tls.Config) *tls.Config {
	conf := base.Clone()
	conf.ClientAuth = tls.RequireAnyClientCert
	conf.NextProtos = []string{HopProtocol} // GetConfigForClient has the last word
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		if cs.NegotiatedProtocol == JoinProtocol {
			_, err := peerKey(&cs)
			return err
		}
		return n.verify(&cs, shard.PeerID{})
	}
	conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		c := conf.Clone()
		c.GetConfigForClient = nil
		c.NextProtos = n.served()
		return c, nil
	}
	n.base = base
	return conf
}

// served returns the protocols that others may open now.
func (n *Node) served() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make([]string, 0, len(n.handlers)+1)
	for proto := range n.handlers {
		out = append(out, proto)
	}
	if n.cfg.Admitter != nil {
		out = append(out, JoinProtocol)
	}
	if len(out) == 0 {
		out = append(out, "shard-none/1") // an empty list would accept any
	}
	slices.Sort(out)
	return out
}

// clientTLS accepts want and nobody else.
func (n *Node) clientTLS(want shard.PeerID, proto string) *tls.Config {
	conf := n.base.Clone()
	conf.NextProtos = []string{proto}
	conf.InsecureSkipVerify = true // names say nothing here; VerifyConnection does the work
	conf.VerifyConnection = func(cs tls.ConnectionState) error { return n.verify(&cs, want) }
	return conf
}

// verify checks that the other end is a member that is not refused, and is
// want if that is set.
func (n *Node) verify(cs *tls.ConnectionState, want shard.PeerID) error {
	m, err := n.memberOf(cs)
	if err != nil {
		return err
	}
	if !want.IsZero() && m.Peer != want {
		return fmt.Errorf("dialed peer %s, reached %s", want.Short(), m.Peer.Short())
	}
	if m.Peer == n.ID() {
		return errors.New("reached ourselves")
	}
	if n.Removed(m.Peer) {
		return fmt.Errorf("peer %s is no longer a member", m.Peer.Short())
	}
	return nil
}

// peerKey returns the ed25519 key that the other end proved to hold.
func peerKey(cs *tls.ConnectionState) (ed25519.PublicKey, error) {
	if len(cs.PeerCertificates) != 1 {
		return nil, fmt.Errorf("peer showed %d certificates, want 1", len(cs.PeerCertificates))
	}
	pub, ok := cs.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("peer's key is not ed25519")
	}
	return pub, nil
}

// memberOf returns the member at the other end, or why it is none of ours. The
// clock may have been set since the process started: either time will do.
func (n *Node) memberOf(cs *tls.ConnectionState) (Member, error) {
	now := time.Now()
	return memberOf(n.cfg.Membership.swarm, cs, now, n.born.Add(now.Sub(n.born)))
}

// memberOf returns the member at the other end, or why it is none of swarm at
// any of the given times.
func memberOf(swarm SwarmID, cs *tls.ConnectionState, now ...time.Time) (Member, error) {
	pub, err := peerKey(cs)
	if err != nil {
		return Member{}, err
	}
	for _, ext := range cs.PeerCertificates[0].Extensions {
		if !ext.Id.Equal(membershipOID) {
			continue
		}
		m, err := parseMember(swarm, ext.Value)
		switch {
		case err != nil:
			return Member{}, err
		case !pub.Equal(ed25519.PublicKey(m.key[:])):
			return Member{}, errors.New("membership belongs to another key")
		}
		return m, m.current(now...)
	}
	return Member{}, errors.New("peer has no membership")
}

// wantRetry asks for a proof of the source address when many handshakes are in
// flight; only who answers from there then costs us memory.
func (n *Node) wantRetry(net.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.half >= maxHalfOpen/8
}

// attemptKey finds the *attempt of a connection in its context.
type attemptKey struct{}

// An attempt is a handshake of somebody else; ended takes it off the count.
type attempt struct{ ended func() }

var errBusy = errors.New("too many handshakes in flight")

// beginHandshake counts a handshake, or refuses it.
func (n *Node) beginHandshake(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	ip := addrPort(info.RemoteAddr).Addr()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed || n.half >= maxHalfOpen || n.halfFrom[ip] >= maxHalfOpenPerIP || n.accepted >= n.cfg.MaxConns {
		return nil, errBusy
	}
	n.half++
	n.halfFrom[ip]++
	a := &attempt{ended: sync.OnceFunc(func() { n.endHandshake(ip) })}
	context.AfterFunc(ctx, a.ended)
	return context.WithValue(ctx, attemptKey{}, a), nil
}

func (n *Node) endHandshake(ip netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.half--
	if n.halfFrom[ip]--; n.halfFrom[ip] == 0 {
		delete(n.halfFrom, ip)
	}
}
