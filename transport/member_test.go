package transport

import (
	"context"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// TestHostileMemberIsBounded lets an admitted member open more streams than
// anybody needs, and flood packets, while another works.
func TestHostileMemberIsBounded(t *testing.T) {
	key := NewSwarmKey()
	srv, good, bad := member(t, key, nil), member(t, key, nil), member(t, key, nil)
	introduce(srv, good, bad)
	var running, most atomic.Int64
	srv.Handle(HopProtocol, echo)
	srv.Handle(GossipProtocol, func(_ context.Context, s *Stream) {
		k := running.Add(1)
		defer running.Add(-1)
		for was := most.Load(); k > was && !most.CompareAndSwap(was, k); was = most.Load() {
		}
		_, _ = io.Copy(io.Discard, s)
	})
	ctx := testContext(t)
	s, err := good.Open(ctx, srv.ID(), HopProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if err := roundTrip(s, "before"); err != nil {
		t.Fatal(err)
	}
	if _, err := bad.Learn(srv.Membership().Signed()); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	flood := make(chan struct{})
	go func() {
		defer close(flood)
		for range 20000 {
			_ = bad.SendPacket(srv.ID(), make([]byte, MaxPacketBytes)) // nobody reads them
		}
	}()
	stuck, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	open := 0
	for range 10000 {
		st, err := bad.Open(stuck, srv.ID(), GossipProtocol)
		if err != nil {
			break
		}
		if _, err := st.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if open++; open%100 == 0 {
			if err := roundTrip(s, "during"); err != nil {
				t.Fatal(err)
			}
		}
	}
	<-flood
	if err := roundTrip(s, "after"); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("%d streams open, %d handlers at most, %d packets wait, heap grew %d KiB (both ends)", open, most.Load(), len(srv.pkts), grown>>10)
	if open > maxStreams || most.Load() > maxStreams || len(srv.pkts) > packetQueue || grown > 32<<20 {
		t.Errorf("want at most %d streams, %d packets, 32 MiB", maxStreams, packetQueue)
	}
}

// TestUnreadStreamHoldsItsSenderBack sends to a handler that does not read.
func TestUnreadStreamHoldsItsSenderBack(t *testing.T) {
	key := NewSwarmKey()
	srv, bad := member(t, key, nil), member(t, key, nil)
	introduce(srv, bad)
	srv.Handle(HopProtocol, func(ctx context.Context, _ *Stream) { <-ctx.Done() })
	sent := 0
	for range 8 {
		s, err := bad.Open(testContext(t), srv.ID(), HopProtocol)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		k, err := s.Write(make([]byte, 4<<20))
		if err == nil {
			t.Fatal("4 MiB were taken from a stream that nobody reads")
		}
		sent += k
	}
	if sent > 3<<20 { // the connection's first window is 2 MiB
		t.Errorf("%d bytes were taken from streams that nobody reads, want at most 3 MiB", sent)
	}
}
