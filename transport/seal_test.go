package transport

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
	"time"
)

func sealers(t testing.TB) (a, b *sealer) {
	t.Helper()
	key := NewSwarmKey()
	var out [2]*sealer
	for i := range out {
		id := NewIdentity()
		m, err := key.Issue(id.Public(), RoleServe, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if out[i], err = newSealer(id, m); err != nil {
			t.Fatal(err)
		}
	}
	return out[0], out[1]
}

func TestSealedPacketOpensOnceAndOnlyForItsReceiver(t *testing.T) {
	a, b := sealers(t)
	p, err := a.Seal(b.self.Member, []byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("overhead %d bytes", len(p)-5)
	for i := range p {
		q := append([]byte(nil), p...)
		q[i] ^= 1
		if _, _, err := b.Open(q, time.Now()); err == nil {
			t.Fatalf("opened with bit 0 of byte %d flipped", i)
		}
	}
	if _, _, err := b.Open(p, time.Now().Add(clockSkew+time.Second)); !errors.Is(err, errSkew) {
		t.Errorf("stale packet: %v, want %v", err, errSkew)
	}
	m, text, err := b.Open(p, time.Now())
	if err != nil || m.Peer != a.self.Peer || string(text) != "hello" {
		t.Fatalf("Open = %v %q %v", m.Peer, text, err)
	}
	if _, _, err := b.Open(p, time.Now()); !errors.Is(err, errReplay) {
		t.Errorf("replayed packet: %v, want %v", err, errReplay)
	}
	if _, _, err := a.Open(p, time.Now()); err == nil {
		t.Error("sender opened its own packet")
	}
	_, stranger := sealers(t)
	if _, _, err := stranger.Open(p, time.Now()); !errors.Is(err, errPacket) {
		t.Errorf("other swarm opens: %v", err)
	}
}

func TestReorderedPacketsOpenButNotOldOnes(t *testing.T) {
	var p sealedPeer
	base := uint64(time.Hour)
	for _, i := range []uint64{5, 3, 4} {
		if !p.fresh(base + i) {
			t.Errorf("packet %d refused", i)
		}
	}
	for i := range uint64(3 * replayKeep) {
		p.fresh(base + 10 + i)
	}
	if p.fresh(base+4) || p.fresh(base+12) || p.fresh(base+9+3*replayKeep) {
		t.Error("a copy was taken")
	}
	if !p.fresh(base + uint64(time.Minute)) {
		t.Error("a new packet was refused")
	}
	if p.fresh(base + uint64(time.Minute) - uint64(replayWindow) - 1) {
		t.Error("a packet older than the window was taken")
	}
}

func FuzzOpenPacket(f *testing.F) {
	// Fixed keys, so that each process of the fuzzer opens what another found.
	key := SwarmKey{key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))}
	var ends [2]*sealer
	for i := range ends {
		id := identityOf(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, ed25519.SeedSize)))
		m, err := key.Issue(id.Public(), RoleServe, 100*365*24*time.Hour)
		if err != nil {
			f.Fatal(err)
		}
		if ends[i], err = newSealer(id, m); err != nil {
			f.Fatal(err)
		}
	}
	a, b := ends[0], ends[1]
	p, err := a.Seal(b.self.Member, []byte("hello"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p[1+sealTagBytes:])
	f.Fuzz(func(t *testing.T, rest []byte) {
		// With a good tag, so that what lies behind it is reached.
		q := append([]byte{packetSealed}, b.tag(rest)...)
		if _, text, err := b.Open(append(q, rest...), time.Now()); err == nil && string(text) != "hello" {
			t.Errorf("opened to %q", text)
		}
	})
}

func BenchmarkSealOpen(b *testing.B) {
	x, y := sealers(b)
	text := make([]byte, 1000)
	for b.Loop() {
		p, err := x.Seal(y.self.Member, text)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := y.Open(p, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}
