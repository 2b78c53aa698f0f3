package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
)

func echo(_ context.Context, s *transport.Stream) { _, _ = io.Copy(s, s) }

// open returns a stream to an echoing peer that has answered once.
func open(t *testing.T, s *Swarm, from, to int) *transport.Stream {
	t.Helper()
	st, err := s.Nodes[from].Open(t.Context(), s.ID(to), transport.HopProtocol)
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, st, 1)
	return st
}

func roundTrip(t *testing.T, st *transport.Stream, bytes int) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := st.Write(make([]byte, bytes)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(st, make([]byte, bytes)); err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}

func TestLatencyIsTheLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSwarm(t, 2, Link{Latency: 40 * time.Millisecond}, nil)
		s.Introduce()
		s.Nodes[1].Handle(transport.HopProtocol, echo)
		st := open(t, s, 0, 1)
		if took := roundTrip(t, st, 100); took < 80*time.Millisecond || took > 85*time.Millisecond {
			t.Errorf("round trip took %v, want 80 ms", took)
		}
		if rtt := s.Nodes[0].RTT(s.ID(1)); rtt < 79*time.Millisecond || rtt > 110*time.Millisecond {
			t.Errorf("RTT = %v, want about 80 ms", rtt)
		}
	})
}

func TestRateAndLossSlowABulkTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSwarm(t, 2, Link{Latency: 5 * time.Millisecond, BytesPerSec: 1 << 20, Loss: 0.01}, nil)
		s.Introduce()
		s.Nodes[1].Handle(transport.HopProtocol, echo)
		st := open(t, s, 0, 1)
		go func() { _, _ = st.Write(make([]byte, 1<<20)) }()
		began := time.Now()
		if _, err := io.ReadFull(st, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < time.Second || took > 10*time.Second {
			t.Errorf("1 MiB at 1 MiB/s took %v, want 1 to 10 s", took)
		}
	})
}

func TestASilentPeerIsNoticedByBothEnds(t *testing.T) {
	for _, c := range []struct {
		name     string
		latency  time.Duration
		loss     float64
		min, max time.Duration
	}{
		{"near", 100 * time.Microsecond, 0, 700 * time.Millisecond, time.Second},
		{"lan", 10 * time.Millisecond, 0, 700 * time.Millisecond, time.Second},
		{"far", 80 * time.Millisecond, 0.01, 600 * time.Millisecond, 2500 * time.Millisecond},
	} {
		for _, silent := range []int{0, 1} { // who dialed, who accepted
			t.Run(fmt.Sprintf("%s/%d", c.name, silent), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					heard := make(chan time.Time, 1)
					s := NewSwarm(t, 2, Link{Latency: c.latency, Loss: c.loss}, func(peer int, cfg *transport.Config) {
						if peer != silent {
							cfg.OnLost = func(shard.PeerID, string, error) { heard <- time.Now() }
						}
					})
					s.Introduce()
					s.Nodes[1].Handle(transport.HopProtocol, echo)
					st := open(t, s, 0, 1)
					roundTrip(t, st, 1)
					time.Sleep(10 * time.Minute) // the session thinks; keep-alives hold the connection
					roundTrip(t, st, 1)
					began := time.Now()
					s.Endpoints[silent].Kill()
					if took := (<-heard).Sub(began); took < c.min || took > c.max {
						t.Errorf("noticed after %v, want %v to %v", took, c.min, c.max)
					}
				})
			})
		}
	}
}

func TestAStoppedPeerIsDialedAgainWhenItWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSwarm(t, 2, Link{Latency: 10 * time.Millisecond}, nil)
		s.Introduce()
		s.Nodes[1].Handle(transport.HopProtocol, echo)
		old := open(t, s, 0, 1)
		roundTrip(t, old, 1)
		s.Endpoints[1].Kill()
		_, err := old.Read(make([]byte, 1))
		if e, ok := errors.AsType[*shard.StageError](err); !ok || e.Code != shard.Unreachable || e.Peer != s.ID(1) {
			t.Errorf("read from a stopped peer = %v, want that it is unreachable", err)
		}
		s.Endpoints[1].Wake()
		if _, err := old.Write([]byte{1}); shard.CodeOf(err) != shard.Unreachable {
			t.Errorf("write on the old stream = %v, want unreachable", err)
		}
		roundTrip(t, open(t, s, 0, 1), 1)
	})
}

func TestPartitionCutsAndHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSwarm(t, 3, Link{Latency: time.Millisecond}, nil)
		s.Introduce()
		for _, n := range s.Nodes {
			n.Handle(transport.HopProtocol, echo)
		}
		s.Net.Partition([]netip.AddrPort{Addr(0), Addr(1)})
		open(t, s, 0, 1)
		if _, err := s.Nodes[0].Open(t.Context(), s.ID(2), transport.HopProtocol); shard.CodeOf(err) != shard.Unreachable {
			t.Errorf("open across the partition = %v, want unreachable", err)
		}
		s.Net.Partition()
		open(t, s, 0, 2)
		s.Kill(2)
		s.Restart(2)
		s.Nodes[2].Handle(transport.HopProtocol, echo)
		time.Sleep(3 * time.Second)
		open(t, s, 0, 2)
	})
}

func TestUnusedConnectionsClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSwarm(t, 2, Link{Latency: time.Millisecond}, nil)
		s.Introduce()
		s.Nodes[1].Handle(transport.HopProtocol, echo)
		st := open(t, s, 0, 1)
		_ = st.Close()
		time.Sleep(2 * time.Minute)
		if rtt := s.Nodes[0].RTT(s.ID(1)); rtt != 0 {
			t.Error("a connection without streams is kept after two minutes")
		}
		open(t, s, 0, 1)
	})
}
