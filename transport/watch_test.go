package transport

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/shardnode/shardnode/shard"
)

func TestTheWatchCountsOnlySilence(t *testing.T) {
	var w watch
	stats := func(received, sent uint64) quic.ConnectionStats {
		return quic.ConnectionStats{PacketsReceived: received, PacketsSent: sent}
	}
	for i, c := range []struct {
		received, sent uint64
		silent         time.Duration
		unanswered     bool
	}{
		{5, 5, 0, false}, // the first look
		{5, 5, watchTick, false},
		{5, 6, 2 * watchTick, false}, // our acknowledgement
		{5, 7, 3 * watchTick, true},
		{6, 8, 0, false},
		{6, 8, watchTick, false},
	} {
		silent, unanswered := w.tick(stats(c.received, c.sent), watchTick)
		if silent != c.silent || unanswered != c.unanswered {
			t.Errorf("look %d: silent %v, unanswered %v, want %v, %v", i, silent, unanswered, c.silent, c.unanswered)
		}
	}
}

func TestABusyMachineWaitsLonger(t *testing.T) {
	n := &Node{cfg: Config{SessionSilence: 900 * time.Millisecond}}
	var late lateness
	for i, c := range []struct {
		dt   time.Duration
		want time.Duration
	}{
		{watchTick, 900 * time.Millisecond},
		{watchTick + 100*time.Millisecond, 1200 * time.Millisecond},
		{watchTick, 1197 * time.Millisecond},
		{lateHalf - watchTick, 1049 * time.Millisecond},
		{watchTick + time.Second, 1800 * time.Millisecond}, // not more than twice as long
	} {
		every := watchTick
		if c.dt > time.Second && i == 3 {
			every = c.dt // nothing to do in between
		}
		late.tick(c.dt, every)
		if got := n.limit(quic.ConnectionStats{}, late); got < c.want-2*time.Millisecond || got > c.want+2*time.Millisecond {
			t.Errorf("look %d: a peer may be silent for %v, want %v", i, got, c.want)
		}
	}
}

func TestAPortProbeTellsADeadPortFromASilentOne(t *testing.T) {
	n := member(t, NewSwarmKey(), nil)
	ask, err := newPortProbe(n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer ask.close()
	if ask.refused(100 * time.Millisecond) {
		t.Error("a port that a node listens at refuses")
	}
	_ = n.Close()
	for range 50 {
		if ask.refused(100 * time.Millisecond) {
			return
		}
	}
	t.Error("a port that nobody listens at does not refuse")
}

// peerEnv makes TestProcess a peer.
const peerEnv = "SHARDNODE_TEST_PEER"

// TestProcess is the process that TestAKilledProcessIsNoticed kills.
func TestProcess(t *testing.T) {
	home := os.Getenv(peerEnv)
	if home == "" {
		t.Skip("not started by TestAKilledProcessIsNoticed")
	}
	id, err := LoadIdentity(home)
	if err != nil {
		t.Fatal(err)
	}
	m, err := LoadMembership(home)
	if err != nil {
		t.Fatal(err)
	}
	n, err := Listen(Config{Identity: id, Membership: m})
	if err != nil {
		t.Fatal(err)
	}
	n.Handle(HopProtocol, echo)
	_, _ = os.Stdout.WriteString(n.Addr().String() + "\n")
	select {} // until killed
}

func TestAKilledProcessIsNoticed(t *testing.T) {
	key, home := NewSwarmKey(), t.TempDir()
	id, err := LoadIdentity(home)
	if err != nil {
		t.Fatal(err)
	}
	m, err := key.Issue(id.Public(), allRoles, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Save(home); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcess$")
	cmd.Env = append(os.Environ(), peerEnv+"="+home)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr, err := netip.ParseAddrPort(line[:len(line)-1])
	if err != nil {
		t.Fatal(err)
	}
	// A silence of an hour: only the refusals of the dead process's port count.
	a := member(t, key, func(c *Config) { c.SessionSilence = time.Hour })
	a.SetAddrs(id.ID(), []netip.AddrPort{addr})
	s, err := a.Open(testContext(t), id.ID(), HopProtocol)
	if err != nil {
		t.Fatal(err)
	}
	if err := roundTrip(s, "x"); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Kill()
	began := time.Now()
	_ = s.SetReadDeadline(began.Add(15 * time.Second))
	_, err = s.Read(make([]byte, 1))
	if e, ok := errors.AsType[*shard.StageError](err); !ok || e.Code != shard.Unreachable || e.Peer != id.ID() {
		t.Fatalf("read from a killed process = %v, want that it is unreachable", err)
	}
	t.Logf("noticed after %v", time.Since(began))
	began = time.Now()
	if _, err := a.Open(testContext(t), id.ID(), HopProtocol); !strings.Contains(fmt.Sprint(err), "nobody listens") {
		t.Errorf("open to a killed process = %v, want that nobody listens", err)
	}
	t.Logf("dialing it is given up after %v", time.Since(began))
}
