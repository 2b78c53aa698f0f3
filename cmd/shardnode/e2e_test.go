package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/transport"
)

// A proc is the program as a process of its own, with the processes that it
// starts. All carry a mark in their environment.
type proc struct {
	t              *testing.T
	cmd            *exec.Cmd
	mark           string
	stdout, stderr *tape
	done           chan struct{} // closed when it has ended
	alone          chan struct{} // closed when its members have, too
}

// A tape keeps what a process writes.
type tape struct {
	mu  sync.Mutex
	b   bytes.Buffer
	any chan struct{} // closed when something was written
}

// Write is for package exec.
func (p *tape) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.b.Len() == 0 {
		close(p.any)
	}
	return p.b.Write(b)
}

// String returns what was written so far.
func (p *tape) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.b.String()
}

// patience bounds what these tests wait for: the machine may be busy.
const patience = 60 * time.Second

// startProc starts the program.
func startProc(t *testing.T, args ...string) *proc {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &proc{
		t: t, cmd: exec.Command(exe, args...), mark: "SHARDNODE_E2E=" + rand.Text(), done: make(chan struct{}), alone: make(chan struct{}),
		stdout: &tape{any: make(chan struct{})}, stderr: &tape{any: make(chan struct{})},
	}
	p.cmd.Env = append(os.Environ(), testMain+"=1", p.mark)
	// Members inherit standard error: it ends when the last of them does.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, w
	err = p.cmd.Start()
	_ = w.Close() // the process has its own
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.Copy(p.stderr, r)
		_ = r.Close()
		close(p.alone)
	}()
	go func() {
		_ = p.cmd.Wait() // exit looks at the state
		close(p.done)
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// exit waits for the end of the process and returns its exit code.
func (p *proc) exit() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("still runs after %v; standard error: %s", patience, p.stderr)
	}
	select {
	case <-p.alone: // all of standard error has been read
	case <-time.After(10 * time.Second):
	}
	return p.cmd.ProcessState.ExitCode()
}

// answering waits for the first words of the answer.
func (p *proc) answering() {
	p.t.Helper()
	select {
	case <-p.stdout.any:
	case <-p.done:
		p.t.Fatalf("ended before it answered: %s", p.stderr)
	case <-time.After(patience):
		p.t.Fatalf("no answer after %v: %s", patience, p.stderr)
	}
}

// family returns the processes that carry the mark, this one's own included.
func (p *proc) family() []int {
	p.t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		p.t.Fatal(err)
	}
	var out []int
	for _, path := range paths {
		env, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(env, []byte(p.mark)) {
			continue // another's, or gone
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			p.t.Fatal(err)
		}
		out = append(out, pid)
	}
	return out
}

// wantNobody fails the test unless every process is gone within a while.
func (p *proc) wantNobody(within time.Duration) {
	p.t.Helper()
	select {
	case <-p.alone:
	case <-time.After(within):
		p.t.Errorf("members still hold standard error after %v", within)
	}
	if left := p.family(); len(left) > 0 {
		p.t.Errorf("processes %v are left", left)
	}
}

// slow makes an answer last for as long as a test needs.
const slow = "latency=150ms"

func TestDemoAnswersAndLeavesNothing(t *testing.T) {
	p := startProc(t, "demo", "--max-tokens", "30")
	if code := p.exit(); code != exitDone {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	if words := strings.Fields(p.stdout.String()); len(words) < 10 {
		t.Errorf("the answer is %q, want a story", p.stdout)
	}
	for _, want := range []string{"layers [0,", "compute", "tok/s"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("standard error does not say %q: %s", want, p.stderr)
		}
	}
	p.wantNobody(time.Second)
}

func TestDemoKillHeals(t *testing.T) {
	whole := startProc(t, "demo", "--temperature", "0")
	if code := whole.exit(); code != exitDone {
		t.Fatalf("exit code %d: %s", code, whole.stderr)
	}
	p := startProc(t, "demo", "--kill", "--temperature", "0")
	p.answering()
	if code := p.exit(); code != exitDone {
		t.Errorf("exit code %d, want %d: %s", code, exitDone, p.stderr)
	}
	_, after, found := strings.Cut(p.stderr.String(), "[killing birch, layers [2,4)]")
	if !found || !strings.Contains(after, "birch lost; layers 2–4 moved to elm in ") {
		t.Errorf("standard error does not say what became of the killed peer: %s", p.stderr)
	}
	if got, want := p.stdout.String(), whole.stdout.String(); got != want {
		t.Errorf("the answer is %q, want %q", got, want)
	}
	p.wantNobody(time.Second)
}

func TestInterruptAndKillLeaveNoMember(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("windows has no signals to send")
	}
	for _, signal := range []os.Signal{os.Interrupt, os.Kill} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			p := startProc(t, "demo", "--link", slow)
			p.answering()
			if n := len(p.family()); runtime.GOOS == "linux" && n != 3 {
				t.Errorf("%d processes, want 3", n)
			}
			if err := p.cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if code := p.exit(); code == exitDone {
				t.Errorf("exit code %d after a signal", code)
			}
			p.wantNobody(10 * time.Second)
		})
	}
}

// answer is what these tests read of `run --json`.
type answer struct {
	IDs  []shard.Token `json:"ids"`
	Text string        `json:"text"`
	Log  []struct {
		Logprob float64 `json:"logprob"`
	} `json:"logprobs"`
}

// parse reads the answer of a process that must have succeeded.
func (p *proc) parse() answer {
	p.t.Helper()
	if code := p.exit(); code != exitDone {
		p.t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	var a answer
	if err := json.Unmarshal([]byte(p.stdout.String()), &a); err != nil || len(a.IDs) < 10 {
		p.t.Fatalf("answer of %d tokens, %v: %s", len(a.IDs), err, p.stdout)
	}
	return a
}

// tell asks for the same story each time.
func tell(more ...string) []string {
	return append([]string{"run", "story", "Tell me about a robot.", "--seed", "5", "--max-tokens", "40", "--json", "--logprobs", "2"}, more...)
}

func TestMembersGiveTheAnswerOfOneProcess(t *testing.T) {
	alone := startProc(t, tell()...).parse()
	for _, how := range [][]string{{"--peers", "3"}, {"--split", "1,4,1"}, {"--peers", "2", "--threads", "1"}} {
		t.Run(strings.Join(how, " "), func(t *testing.T) {
			t.Parallel()
			got := startProc(t, tell(how...)...).parse()
			if !slices.Equal(got.IDs, alone.IDs) || got.Text != alone.Text || !slices.Equal(got.Log, alone.Log) {
				t.Errorf("got %q, want %q", got.Text, alone.Text)
			}
		})
	}
}

func TestHostileConnectionsDoNotTouchASession(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("finds the members' ports in /proc")
	}
	alone := startProc(t, tell()...).parse()
	p := startProc(t, tell("--stream", "--peers", "3", "--link", "latency=25ms")...)
	p.answering()
	ports := p.ports()
	if len(ports) < 3 {
		t.Fatalf("found ports %v of %v, want one of each process", ports, p.family())
	}
	hostile := 0
	for _, attack := range []func(*testing.T, []netip.AddrPort, int) int{junk, halfOpen, strangers, joiners} {
		hostile += attack(t, ports, 50)
	}
	if hostile < 200 {
		t.Errorf("%d hostile connections, want 200", hostile)
	}
	if code := p.exit(); code != exitDone {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	lines := strings.Split(strings.TrimSpace(p.stdout.String()), "\n")
	var got answer
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &got); err != nil || !slices.Equal(got.IDs, alone.IDs) {
		t.Errorf("got %v, %v, want %v", got.IDs, err, alone.IDs)
	}
	p.wantNobody(time.Second)
}

// ports returns the UDP ports of the process and its members.
func (p *proc) ports() []netip.AddrPort {
	p.t.Helper()
	mine := map[string]bool{} // inodes of sockets
	for _, pid := range p.family() {
		fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			p.t.Fatal(err)
		}
		for _, fd := range fds {
			if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:[") {
				mine[strings.Trim(to, "socket:[]")] = true
			}
		}
	}
	table, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		p.t.Fatal(err)
	}
	var out []netip.AddrPort
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 10 || !mine[f[9]] {
			continue
		}
		_, port, _ := strings.Cut(f[1], ":")
		if n, err := strconv.ParseUint(port, 16, 16); err == nil {
			out = append(out, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(n)))
		}
	}
	return out
}

// junk sends random bytes from n sockets.
func junk(t *testing.T, to []netip.AddrPort, n int) int {
	for i := range n {
		c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to[i%len(to)]))
		if err != nil {
			t.Fatal(err)
		}
		for size := range 12 {
			b := make([]byte, 1+size*120)
			rand.Read(b)
			if i%2 == 0 && len(b) > 5 {
				copy(b, []byte{0xc3, 0, 0, 0, 1}) // as if it began a connection
			}
			_, _ = c.Write(b) // the port may answer that it is closed
		}
		_ = c.Close()
	}
	return n
}

// deaf is a socket that hears nothing.
type deaf struct{ net.PacketConn }

// ReadFrom drops what arrives until the socket is closed.
func (d deaf) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		if _, _, err := d.PacketConn.ReadFrom(b); err != nil {
			return 0, nil, err
		}
	}
}

// halfOpen begins n connections and hears no answer.
func halfOpen(t *testing.T, to []netip.AddrPort, n int) int {
	pc, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return knock(t, to, n, deaf{pc})
}

// strangers begins n connections as a member of another swarm.
func strangers(t *testing.T, to []netip.AddrPort, n int) int { return knock(t, to, n, nil) }

// knock dials n made-up peers of another swarm at the ports.
func knock(t *testing.T, to []netip.AddrPort, n int, pc net.PacketConn) int {
	t.Helper()
	id := transport.NewIdentity()
	m, err := transport.NewSwarmKey().Issue(id.Public(), transport.RoleServe|transport.RoleClient, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	node, err := transport.Listen(transport.Config{Identity: id, Membership: m, PacketConn: pc})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var all sync.WaitGroup
	for i := range n {
		peer := transport.NewIdentity().ID()
		node.SetAddrs(peer, to[i%len(to):][:1])
		all.Go(func() {
			if s, err := node.Open(ctx, peer, hop.Protocol); err == nil {
				_ = s.Close()
				t.Error("a stranger was let in")
			}
		})
	}
	all.Wait()
	if err := node.Close(); err != nil && !errors.Is(err, io.EOF) {
		t.Log(err)
	}
	return n
}

// joiners asks n times to join, with TLS that has no membership and an
// invitation to another swarm.
func joiners(t *testing.T, to []netip.AddrPort, n int) int {
	key := transport.NewSwarmKey()
	adm, err := transport.NewAdmitter("", key)
	if err != nil {
		t.Fatal(err)
	}
	inv, err := adm.Invite(transport.InviteSpec{Inviter: transport.NewIdentity().ID(), Addrs: to})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var all sync.WaitGroup
	for i := range n {
		one := inv
		one.Addrs = to[i%len(to):][:1]
		all.Go(func() {
			if _, err := transport.Join(ctx, transport.JoinConfig{Identity: transport.NewIdentity(), Invitation: one, Name: "mallory"}); err == nil {
				t.Error("a stranger was let in")
			}
		})
	}
	all.Wait()
	return n
}
