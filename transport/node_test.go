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
	if expired.base, err = newTLS(Config{Identity: expired.cfg.Identity, Membership: old}, time.Now()); err != nil {
		t.Fatal(err)
	}
	bare := member(t, key, nil)
	if bare.base, err = newTLS(Config{Identity: bare.cfg.Identity}, time.Now()); err != nil {
		t.Fatal(err)
	}
	stolen := member(t, key, nil)
	if stolen.base, err = newTLS(Config{Identity: stolen.cfg.Identity, Membership: bare.cfg.Membership}, time.Now()); err != nil {
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

func TestARemovedMemberIsCutOffUntilItIsTakenBack(t *testing.T) {
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
	forged, err := NewSwarmKey().Remove(a.ID(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.HearRemoval(forged.Signed()); err == nil {
		t.Error("another swarm's removal counts")
	}
	if err := roundTrip(s, "x"); err != nil {
		t.Fatal(err)
	}
	removed, err := key.Remove(a.ID(), "a")
	if err != nil {
		t.Fatal(err)
	}
	back, err := key.Readmit(a.ID(), "a")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan Removal, 3)
	b.OnRemoval(func(r Removal) { heard <- r })
	for range 2 {
		if err := b.HearRemoval(removed.Signed()); err != nil {
			t.Fatal(err)
		}
	}
	if r := <-heard; r.Peer != a.ID() || r.Back || r.Name != "a" || len(heard) > 0 {
		t.Errorf("heard %+v and %d more, want one removal of a", r, len(heard))
	}
	if _, err := s.Read(make([]byte, 1)); shard.CodeOf(err) != shard.Unreachable {
		t.Errorf("stream of a removed member: %v, want unreachable", err)
	}
	again := func() error {
		s, err := a.Open(testContext(t), b.ID(), HopProtocol)
		if err == nil {
			err = roundTrip(s, "x")
		}
		return err
	}
	if err := again(); shard.CodeOf(err) != shard.Unreachable {
		t.Errorf("removed member comes back: %v, want unreachable", err)
	}
	if _, err := b.Learn(a.Membership().Signed()); err == nil {
		t.Error("a removed member's membership is learned")
	}
	if err := b.HearRemovals(nil); err != nil {
		t.Error(err)
	}
	if err := b.HearRemoval(back.Signed()); err != nil {
		t.Fatal(err)
	}
	if err := b.HearRemoval(removed.Signed()); err != nil { // a replay
		t.Fatal(err)
	}
	if err := again(); err != nil {
		t.Errorf("a member that was taken back: %v", err)
	}
}

func TestTheSecondOfTwoTwinsHearsOfTheFirst(t *testing.T) {
	key, id := NewSwarmKey(), NewIdentity()
	m, err := key.Issue(id.Public(), allRoles, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	var twins []*Node
	heard := make(chan *TwinError, 4)
	for range 2 {
		n, err := Listen(Config{Identity: id, Membership: m, OnTwin: func(e *TwinError) { heard <- e }})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		n.Handle(GossipProtocol, echo)
		twins = append(twins, n)
	}
	stranger := member(t, key, nil)
	stranger.Handle(GossipProtocol, echo)
	first, second := twins[0], twins[1]
	first.SeekTwin([]netip.AddrPort{first.Addr(), stranger.Addr(), second.Addr()}) // it was there before
	second.SeekTwin([]netip.AddrPort{stranger.Addr(), first.Addr()})
	if e := <-heard; e.Addr != first.Addr() || !e.Since.Equal(first.born) {
		t.Errorf("heard of %+v, want the first at %v", e, first.Addr())
	}
	_ = first.Close() // ends its search
	if len(heard) > 0 {
		t.Errorf("heard of %+v as well", <-heard)
	}
}

func TestRemovalsAreKeptInTheHome(t *testing.T) {
	key, home := NewSwarmKey(), t.TempDir()
	removals, err := LoadRemovals(home, key.ID())
	if err != nil {
		t.Fatal(err)
	}
	gone := NewIdentity()
	n := member(t, key, func(c *Config) { c.Removals = removals })
	other := member(t, key, nil)
	r, err := key.Remove(gone.ID(), strings.Repeat("ä", 40))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.HearRemoval(r.Signed()); err != nil {
		t.Fatal(err)
	}
	if err := n.HearRemovals(other.Removals()); err != nil || !n.Removed(gone.ID()) {
		t.Fatalf("removals of another member: %v, removed %v", err, n.Removed(gone.ID()))
	}
	for swarm, want := range map[SwarmID]bool{key.ID(): true, NewSwarmKey().ID(): false} {
		again, err := LoadRemovals(home, swarm)
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Removed(gone.ID()); got != want {
			t.Errorf("removed in swarm %v: %v, want %v", swarm, got, want)
		}
	}
	m, err := key.Issue(gone.Public(), allRoles, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Config{Identity: gone, Membership: m, Removals: removals}); !errors.Is(err, ErrRemoved) {
		t.Errorf("a removed member listens: %v", err)
	}
	if err := removals.Forget(gone.ID()); err != nil || removals.Removed(gone.ID()) {
		t.Errorf("forgotten: %v, removed %v", err, removals.Removed(gone.ID()))
	}
}

func TestManyRemovalsFitAMessage(t *testing.T) {
	key := NewSwarmKey()
	n := member(t, key, nil)
	for i := range maxRemovals + 1 {
		r, err := key.Remove(NewIdentity().ID(), strings.Repeat("x", maxRemovalName))
		if err != nil {
			t.Fatal(err)
		}
		if err := n.HearRemoval(r.Signed()); (err != nil) != (i == maxRemovals) {
			t.Fatalf("removal %d: %v", i, err)
		}
	}
	if k := len(n.Removals()); k == 0 || k > MaxRemovalsBytes {
		t.Errorf("%d removals take %d bytes, want at most %d", maxRemovals, k, MaxRemovalsBytes)
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
