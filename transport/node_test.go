package transport

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard"
)

// member starts a node of the swarm on loopback.
func member(t testing.TB, key SwarmKey, tune func(*Config)) *Node {
	t.Helper()
	id := NewIdentity()
	m, err := key.Issue(id.Public(), allRoles, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Identity: id, Membership: m}
	if tune != nil {
		tune(&cfg)
	}
	n, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

func introduce(nodes ...*Node) {
	for _, a := range nodes {
		for _, b := range nodes {
			if a != b {
				a.SetAddrs(b.ID(), []netip.AddrPort{b.Addr()})
			}
		}
	}
}

// echo answers each stream with what it says.
func echo(_ context.Context, s *Stream) { _, _ = io.Copy(s, s) }

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func roundTrip(s *Stream, text string) error {
	if _, err := s.Write([]byte(text)); err != nil {
		return err
	}
	b := make([]byte, len(text))
	if _, err := io.ReadFull(s, b); err != nil {
		return err
	}
	if string(b) != text {
		return errors.New("echo says " + string(b))
	}
	return nil
}

func TestMembersTalkOverOneConnection(t *testing.T) {
	key := NewSwarmKey()
	a, b := member(t, key, nil), member(t, key, nil)
	introduce(a, b)
	b.Handle(HopProtocol, echo)
	ctx := testContext(t)
	for range 3 {
		s, err := a.Open(ctx, b.ID(), HopProtocol)
		if err != nil {
			t.Fatal(err)
		}
		if err := roundTrip(s, "hello"); err != nil {
			t.Fatal(err)
		}
		if s.Peer() != b.ID() || s.Role() != allRoles || s.RTT() <= 0 {
			t.Errorf("stream says peer %v role %v rtt %v", s.Peer(), s.Role(), s.RTT())
		}
		_ = s.Close()
	}
	a.mu.Lock()
	links := len(a.links[linkKey{b.ID(), HopProtocol}])
	a.mu.Unlock()
	if links != 1 {
		t.Errorf("%d connections after three streams, want 1", links)
	}
	if a.RTT(b.ID()) <= 0 {
		t.Error("RTT to a connected peer is 0")
	}
}

func TestStreamCarriesThePeersCode(t *testing.T) {
	key := NewSwarmKey()
	a, b := member(t, key, nil), member(t, key, nil)
	introduce(a, b)
	b.Handle(HopProtocol, func(_ context.Context, s *Stream) { s.Reset(shard.NoCapacity) })
	s, err := a.Open(testContext(t), b.ID(), HopProtocol)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Write([]byte("x"))
	_, err = s.Read(make([]byte, 1))
	stage, ok := errors.AsType[*shard.StageError](err)
	if !ok || stage.Code != shard.NoCapacity || stage.Peer != b.ID() {
		t.Errorf("read after reset = %v, want no capacity of %v", err, b.ID().Short())
	}
}

func TestClosedNodeIsNoticedAtOnce(t *testing.T) {
	key := NewSwarmKey()
	lost := make(chan shard.PeerID, 1)
	a := member(t, key, func(c *Config) { c.OnLost = func(p shard.PeerID, _ string, _ error) { lost <- p } })
	b := member(t, key, nil)
	introduce(a, b)
	b.Handle(HopProtocol, echo)
	s, err := a.Open(testContext(t), b.ID(), HopProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if err := roundTrip(s, "x"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = s.Read(make([]byte, 1))
	stage, ok := errors.AsType[*shard.StageError](err)
	if !ok || stage.Code != shard.Unreachable || stage.Peer != b.ID() {
		t.Errorf("read after the peer left = %v, want unreachable", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("noticed after %v, want at once", took)
	}
	if got := <-lost; got != b.ID() {
		t.Errorf("OnLost(%v), want %v", got, b.ID())
	}
	if _, err := a.Open(testContext(t), b.ID(), HopProtocol); shard.CodeOf(err) != shard.Unreachable {
		t.Errorf("open to a closed node = %v, want unreachable", err)
	}
}

func TestRestartedPeerIsDialedAgain(t *testing.T) {
	key := NewSwarmKey()
	a := member(t, key, nil)
	id := NewIdentity()
	m, err := key.Issue(id.Public(), allRoles, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	addr := ""
	for range 2 {
		b, err := Listen(Config{Identity: id, Membership: m, ListenAddr: addr})
		if err != nil {
			t.Fatal(err)
		}
		addr = b.Addr().String()
		b.Handle(HopProtocol, echo)
		introduce(a, b)
		s, err := a.Open(testContext(t), b.ID(), HopProtocol)
		if err != nil {
			t.Fatal(err)
		}
		if err := roundTrip(s, "again"); err != nil {
			t.Fatal(err)
		}
		_ = b.Close()
		<-s.Lost()
	}
}

func TestStrangersGetAClosedConnection(t *testing.T) {
	key := NewSwarmKey()
	srv := member(t, key, nil)
	srv.Handle(HopProtocol, func(_ context.Context, s *Stream) { t.Errorf("served a stranger %v", s.Peer()) })
	other := member(t, NewSwarmKey(), nil)
	expired := member(t, key, nil)
	old, err := key.Issue(expired.cfg.Identity.Public(), allRoles, -time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if expired.base, err = newTLS(Config{Identity: expired.cfg.Identity, Membership: old}); err != nil {
		t.Fatal(err)
	}
	bare := member(t, key, nil)
	if bare.base, err = newTLS(Config{Identity: bare.cfg.Identity}); err != nil {
		t.Fatal(err)
	}
	stolen := member(t, key, nil)
	if stolen.base, err = newTLS(Config{Identity: stolen.cfg.Identity, Membership: bare.cfg.Membership}); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]*Node{"other swarm": other, "expired": expired, "no membership": bare, "stolen membership": stolen} {
		introduce(n, srv)
		s, err := n.Open(testContext(t), srv.ID(), HopProtocol)
		if err == nil { // TLS 1.3: a client learns of its rejection after its own handshake
			_, _ = s.Write([]byte("x"))
			_, err = s.Read(make([]byte, 1))
		}
		if shard.CodeOf(err) != shard.Unreachable {
			t.Errorf("%s: %v, want unreachable", name, err)
		}
		t.Logf("%s: %v", name, err)
	}
}

func TestRefusedPeerIsCutOff(t *testing.T) {
	key := NewSwarmKey()
	a, b := member(t, key, nil), member(t, key, nil)
	introduce(a, b)
	b.Handle(HopProtocol, echo)
	s, err := a.Open(testContext(t), b.ID(), HopProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if err := roundTrip(s, "x"); err != nil {
		t.Fatal(err)
	}
	b.Refuse([]shard.PeerID{a.ID()})
	if _, err := s.Read(make([]byte, 1)); shard.CodeOf(err) != shard.Unreachable {
		t.Errorf("stream of a removed member: %v, want unreachable", err)
	}
	s, err = a.Open(testContext(t), b.ID(), HopProtocol)
	if err == nil {
		_, err = s.Read(make([]byte, 1))
	}
	if shard.CodeOf(err) != shard.Unreachable {
		t.Errorf("removed member comes back: %v, want unreachable", err)
	}
}

func TestPortInUseSaysWhatToDo(t *testing.T) {
	key := NewSwarmKey()
	a := member(t, key, nil)
	id := NewIdentity()
	m, err := key.Issue(id.Public(), RoleServe, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Listen(Config{Identity: id, Membership: m, ListenAddr: a.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "choose another port") {
		t.Errorf("listen on a taken port = %v, want a hint", err)
	}
	if _, err := Listen(Config{Identity: NewIdentity(), Membership: m}); err == nil {
		t.Error("listen with another peer's membership succeeded")
	}
}

func TestDialTriesTheNextAddress(t *testing.T) {
	key := NewSwarmKey()
	a, b := member(t, key, nil), member(t, key, nil)
	dead, err := net.ListenPacket("udp", "127.0.0.1:0") // bound, and silent
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	b.Handle(HopProtocol, echo)
	a.SetAddrs(b.ID(), []netip.AddrPort{addrPort(dead.LocalAddr()), b.Addr()})
	began := time.Now()
	s, err := a.Open(testContext(t), b.ID(), HopProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if err := roundTrip(s, "x"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("second address took %v, want well under the handshake timeout", took)
	}
}

func TestPacketsArriveSealed(t *testing.T) {
	key := NewSwarmKey()
	a, b := member(t, key, nil), member(t, key, nil)
	introduce(a, b)
	if err := a.SendPacket(b.ID(), []byte("x")); err == nil {
		t.Error("sent a packet to a peer whose key is not known")
	}
	if _, err := a.Learn(b.Membership().Signed()); err != nil {
		t.Fatal(err)
	}
	// quic-go drops packets until somebody reads them, which begins with Listen.
	var got Packet
	ctx := testContext(t)
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for got.Data == nil {
		if err := a.SendPacket(b.ID(), []byte("ping")); err != nil {
			t.Fatal(err)
		}
		select {
		case got = <-b.Packets():
		case <-again.C:
		case <-ctx.Done():
			t.Fatal("no packet arrives")
		}
	}
	if got.From != a.ID() || string(got.Data) != "ping" || got.Addr != a.Addr() {
		t.Fatalf("packet %q from %v at %v", got.Data, got.From.Short(), got.Addr)
	}
	if err := b.SendPacket(a.ID(), []byte("ack")); err != nil { // b knows a from its packet
		t.Fatal(err)
	}
	if got := <-a.Packets(); string(got.Data) != "ack" {
		t.Errorf("answer %q, want ack", got.Data)
	}
}
