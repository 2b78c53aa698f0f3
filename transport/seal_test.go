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
	late := time.Now().Add(clockSkew + time.Second)
	b.clock.wall += int64(clockSkew + time.Second)
	if _, _, err := b.Open(p, late); !errors.Is(err, errSkew) {
		t.Errorf("stale packet: %v, want %v", err, errSkew)
	}
	b.clock = newSteadyClock()
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

func TestPacketsGoOnWhenClocksAreSet(t *testing.T) {
	const jump = 40 * time.Minute
	for name, set := range map[string]func(a, b *sealer) (seen time.Time){
		// wall is what the clock said when the process began: the less it was, the
		// farther forward the clock was set since.
		"receiver's forward": func(_, b *sealer) time.Time { return time.Now().Add(jump) },
		"receiver's back":    func(_, b *sealer) time.Time { return time.Now().Add(-jump) },
		"sender's forward":   func(a, _ *sealer) time.Time { a.clock.wall -= int64(jump); return time.Now() },
	} {
		a, b := sealers(t)
		seen := set(a, b)
		for range 3 {
			p, err := a.Seal(b.self.Member, []byte("hello"))
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := b.Open(p, seen); err != nil {
				t.Errorf("%s clock was set: %v", name, err)
			}
		}
	}
}

func TestASendersTimesNeverTurnBack(t *testing.T) {
	a, _ := sealers(t)
	last := a.tick()
	for _, jump := range []time.Duration{time.Hour, -time.Hour, time.Minute, -24 * time.Hour, 0} {
		a.clock.wall += int64(jump)
		if at := a.tick(); at <= last {
			t.Errorf("after a jump of %v a packet's time is %v before the last", jump, time.Duration(last-at))
		} else {
			last = at
		}
	}
}

func TestAMemberThatFloodsIsBounded(t *testing.T) {
	var p sealedPeer
	now, taken := time.Now(), 0
	for range 10 * packetQueue {
		if p.admit(now) {
			taken++
		}
	}
	if taken != packetBurst {
		t.Errorf("%d packets at once are taken, want %d", taken, packetBurst)
	}
	for range 100 {
		now = now.Add(time.Second / 100)
		for range 100 {
			if p.admit(now) {
				taken++
			}
		}
	}
	if more := taken - packetBurst; more < packetsPerSec*9/10 || more > packetsPerSec {
		t.Errorf("%d packets in a second are taken, want %d", more, packetsPerSec)
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
	text, now := make([]byte, 1000), time.Now()
	for b.Loop() {
		now = now.Add(time.Second / packetsPerSec)
		p, err := x.Seal(y.self.Member, text)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := y.Open(p, now); err != nil {
			b.Fatal(err)
		}
	}
}
