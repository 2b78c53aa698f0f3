package transport

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// attack is one hostile connection to addr; it returns when it is over.
func attack(ctx context.Context, addr net.Addr, kind int, foreign *tls.Config) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return
	}
	defer pc.Close()
	switch kind {
	case 0: // random bytes, some that look like QUIC's first packet
		b := make([]byte, 1200)
		for range 50 {
			rand.Read(b)
			_, _ = pc.WriteTo(b, addr)
			b[0], b[1], b[2], b[3], b[4] = 0xc3, 0, 0, 0, 1
			_, _ = pc.WriteTo(b, addr)
			b[0] = packetSealed
			_, _ = pc.WriteTo(b, addr)
		}
	case 1, 2: // TLS without a certificate, and of another swarm
		conf := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{HopProtocol}, MinVersion: tls.VersionTLS13}
		if kind == 2 {
			conf = foreign
		}
		if q, err := quic.Dial(ctx, pc, addr, conf, nil); err == nil {
			_, _ = q.AcceptStream(ctx)
		}
	case 3: // half open: the first packet, then silence
		half := &oneWay{PacketConn: pc}
		short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		_, _ = quic.Dial(short, half, addr, foreign, nil)
	}
}

// oneWay hears nothing.
type oneWay struct{ net.PacketConn }

// ReadFrom drops what arrives.
func (o *oneWay) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		if _, _, err := o.PacketConn.ReadFrom(b); err != nil {
			return 0, nil, err
		}
	}
}

func TestHostileConnectionsDoNotTouchASession(t *testing.T) {
	key := NewSwarmKey()
	patient := func(c *Config) { c.SessionSilence = 10 * time.Second } // attackers and session share the processor
	a, b := member(t, key, patient), member(t, key, patient)
	introduce(a, b)
	b.Handle(HopProtocol, echo)
	other := member(t, NewSwarmKey(), nil)
	foreign := other.base.Clone()
	foreign.InsecureSkipVerify, foreign.NextProtos = true, []string{HopProtocol}
	ctx := testContext(t)
	s, err := a.Open(ctx, b.ID(), HopProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if err := roundTrip(s, "before"); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var attackers sync.WaitGroup
	stop, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for i := range 200 {
		attackers.Go(func() { attack(stop, net.UDPAddrFromAddrPort(b.Addr()), i%4, foreign) })
	}
	over := make(chan struct{})
	go func() { attackers.Wait(); close(over) }()
	trips, worst := 0, time.Duration(0)
	for running := true; running; trips++ {
		began := time.Now()
		if err := roundTrip(s, "during"); err != nil {
			t.Fatalf("round trip %d: %v", trips, err)
		}
		worst = max(worst, time.Since(began))
		select {
		case <-over:
			running = false
		default:
		}
	}
	b.mu.Lock()
	half, accepted := b.half, b.accepted
	b.mu.Unlock()
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d round trips meanwhile, worst %v; %d half open and %d connections left; heap grew %d KiB", trips, worst, half, accepted, grown>>10)
	if accepted != 1 || half > maxHalfOpen || grown > 32<<20 {
		t.Errorf("%d connections, %d half open, heap grew %d bytes: want 1, at most %d, under 32 MiB", accepted, half, grown, maxHalfOpen)
	}
}
