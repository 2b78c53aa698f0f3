package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardnode/shardnode/scheduler"
)

// A heard is standard error of a command that runs in this process.
type heard struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{} // closed and made anew at every write
}

// Write keeps b and wakes who waits.
func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.changed)
	h.changed = make(chan struct{})
	return h.b.Write(b)
}

func (h *heard) look() (string, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.b.String(), h.changed
}

// A served is a member that runs in this process.
type served struct {
	home     string
	out, err *heard
	leave    context.CancelFunc
	code     chan int
}

// newHome returns a folder whose path is short enough for a socket.
func newHome(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// startServe runs a verb that serves until the test ends or leaves.
func startServe(t *testing.T, home string, args ...string) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &served{
		home: home, leave: cancel, code: make(chan int, 1),
		out: &heard{changed: make(chan struct{})}, err: &heard{changed: make(chan struct{})},
	}
	args = append(args, "--home", home, "--threads", "1")
	if !strings.Contains(strings.Join(args, " "), "--api") {
		args = append(args, "--api", "127.0.0.1:0")
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.code <- run(ctx, args, strings.NewReader(""), s.out, s.err)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return s
}

// says waits until standard error has text.
func (s *served) says(t *testing.T, text string) {
	t.Helper()
	late := time.After(patience)
	for {
		got, changed := s.err.look()
		if strings.Contains(got, text) {
			return
		}
		select {
		case <-changed:
		case code := <-s.code:
			got, _ = s.err.look()
			t.Fatalf("ended with %d before it said %q:\n%s", code, text, got)
		case <-late:
			t.Fatalf("never said %q:\n%s", text, got)
		}
	}
}

// ends waits for the end and checks the exit code.
func (s *served) ends(t *testing.T, want int) {
	t.Helper()
	select {
	case code := <-s.code:
		if got, _ := s.err.look(); code != want {
			t.Errorf("exit status %d, want %d:\n%s", code, want, got)
		}
	case <-time.After(patience):
		t.Fatal("does not end")
	}
}

// inJSON runs a command and reads its JSON.
func inJSON[T any](t *testing.T, args ...string) T {
	t.Helper()
	var out T
	if err := json.Unmarshal([]byte(mustCommand(t, args...)), &out); err != nil {
		t.Fatalf("shardnode %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func TestServeAnswersOtherCommands(t *testing.T) {
	home := newHome(t)
	s := startServe(t, home, "serve", "story", "--name", "desk")
	s.says(t, "serving layers")

	st := inJSON[map[string]any](t, "ps", "--json", "--home", home)
	for _, key := range []string{"self", "swarm", "peers", "models", "sessions"} {
		if st[key] == nil {
			t.Errorf("ps --json lacks %q", key)
		}
	}
	me := st["peers"].([]any)[0].(map[string]any)
	for _, key := range []string{"peer", "name", "state", "span", "memory_bytes", "free_bytes", "decode_ms", "rtt_ms", "sessions"} {
		if _, ok := me[key]; !ok {
			t.Errorf("a peer of ps --json lacks %q", key)
		}
	}
	if me["name"] != "desk" || me["state"] != "serving" {
		t.Errorf("peer %v is %v, want desk, serving", me["name"], me["state"])
	}
	if got := mustCommand(t, "ps", "--home", home); !strings.Contains(got, "desk (this)") {
		t.Errorf("ps prints %q", got)
	}

	wantFailure(t, exitFailed, []string{"serve", "story", "--home", home}, "a member runs in the home", "hint")

	args := []string{"run", "story", "Once upon a time", "--raw", "--temperature", "0", "--max-tokens", "8", "--json"}
	alone := inJSON[answerJSON](t, args...)
	swarm := inJSON[answerJSON](t, append(args, "--home", home)...)
	if alone.Text == "" || swarm.Text != alone.Text || len(swarm.Route) != 1 || swarm.Route[0].Name != "desk" {
		t.Errorf("in the swarm %q over %v, alone %q", swarm.Text, swarm.Route, alone.Text)
	}

	wantFailure(t, exitUsage, []string{"run", "story", "--ids", "999999", "--home", home}, "the model has tokens 0 to")

	mustCommand(t, "drain", "--home", home)
	s.ends(t, exitDone)
	if _, err := os.Stat(filepath.Join(home, controlFile)); err == nil {
		t.Error("the control socket is left behind")
	}
	wantFailure(t, exitFailed, []string{"ps", "--home", home}, "no member runs in this home", "shardnode serve")
}

func TestPlanLive(t *testing.T) {
	home := newHome(t)
	s := startServe(t, home, "serve", "story", "--name", "desk")
	s.says(t, "serving layers")
	saved := filepath.Join(t.TempDir(), "swarm.json")
	live := inJSON[planJSON](t, "plan", "--live", "--json", "--home", home, "--save", saved)
	if len(live.Layout) != 1 || live.Layout[0].Peer != "desk" {
		t.Errorf("layout %v, want all layers on desk", live.Layout)
	}
	b, err := os.ReadFile(saved)
	if err != nil {
		t.Fatal(err)
	}
	c, err := scheduler.ParseCluster(b)
	if err != nil || len(c.View.Peers) != 1 || c.View.Model.Name != "story" {
		t.Errorf("saved cluster of %d peers, model %q, %v", len(c.View.Peers), c.View.Model.Name, err)
	}
	if p := inJSON[planJSON](t, "plan", "--live", "--json", "--home", home, "--add", "id=nuc"); len(p.Layout) != 2 {
		t.Errorf("layout with one peer more: %v", p.Layout)
	}
	wantFailure(t, exitUsage, []string{"plan", "--live", "--kill", "desk", "--home", home}, "--kill leaves no peer")
	wantFailure(t, exitUsage, []string{"plan", "story", "--live", "--home", home}, "--live")
	wantFailure(t, exitUsage, []string{"plan", "story", "--save", saved, "--home", home}, "--live")
}

func TestJoinAndItsRefusals(t *testing.T) {
	home := newHome(t)
	s := startServe(t, home, "serve", "story", "--name", "desk")
	s.says(t, "serving layers")
	once := inJSON[invitedJSON](t, "invite", "--json", "--home", home)
	void := inJSON[invitedJSON](t, "invite", "--json", "--home", home)
	mustCommand(t, "invite", "--revoke", void.ID, "--home", home)
	late := inJSON[invitedJSON](t, "invite", "--expires", "1ns", "--json", "--home", home)

	second := newHome(t)
	ready := filepath.Join(second, "ready")
	if err := os.WriteFile(ready, []byte("of an earlier member"), 0o600); err != nil {
		t.Fatal(err)
	}
	j := startServe(t, second, "join", once.Invitation, "--name", "nuc", "--log-format", "json", "--ready-file", ready)
	j.says(t, `"ready"`)
	j.leave() // like Ctrl-C
	j.ends(t, exitDone)
	said, _ := j.err.look()
	for line := range strings.Lines(said) {
		if !json.Valid([]byte(line)) {
			t.Errorf("with --log-format json it says %q", line)
		}
	}
	b, err := os.ReadFile(ready)
	if err != nil {
		t.Fatal(err)
	}
	var r readyJSON
	if err := json.Unmarshal(b, &r); err != nil || r.Name != "nuc" || r.Addr == "" || r.API == "" || r.PID != os.Getpid() {
		t.Errorf("ready file %s: %v", b, err)
	}

	again := startServe(t, second, "join", once.Invitation, "--name", "nuc")
	again.says(t, "serving layers") // the invitation is used up, the membership is kept
	if said, _ := again.err.look(); strings.Contains(said, "fetched") {
		t.Errorf("it fetches what it has:\n%s", said)
	}

	third := newHome(t)
	for _, c := range []struct {
		invitation, text string
		code             int
	}{
		{once.Invitation, "the swarm refused", exitFailed},
		{void.Invitation, "revoked", exitFailed},
		{late.Invitation, "expired", exitFailed},
		{once.Invitation[:40], "copy it again", exitUsage},
		{"hello", "invitation", exitUsage},
	} {
		wantFailure(t, c.code, []string{"join", c.invitation, "--home", third, "--api", "127.0.0.1:0"}, c.text, "hint")
	}
}

func TestServeAfterAKill(t *testing.T) {
	home := newHome(t)
	l, err := net.Listen("unix", filepath.Join(home, controlFile))
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, home, "serve", "story")
	s.says(t, "serving layers")
	s.leave()
	s.ends(t, exitDone)
}

func TestServeRefusals(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	home := newHome(t)
	for _, c := range []struct {
		text string
		code int
		args []string
	}{
		{"in use", exitFailed, []string{"story", "--home", home, "--api", "127.0.0.1:0", "--listen", udp.LocalAddr().String()}},
		{"in use", exitFailed, []string{"story", "--home", home, "--api", tcp.Addr().String()}},
		{"not a directory", exitFailed, []string{"story", "--home", filepath.Join(file, "x")}},
		{"hint: a home needs a path", exitFailed, []string{"story", "--home", filepath.Join(home, strings.Repeat("x", 120))}},
		{"--layers 4:9: the model has 6 layers", exitUsage, []string{"story", "--home", home, "--layers", "4:9"}},
		{"hint: name a file in a folder", exitFailed, []string{"story", "--home", home, "--ready-file", filepath.Join(home, "none", "ready")}},
		{"--log-format", exitUsage, []string{"story", "--home", home, "--log-format", "xml"}},
		{"--layers", exitUsage, []string{"story", "--home", home, "--layers", "3"}},
		{"--threads", exitUsage, []string{"story", "--home", home, "--threads", "-1"}},
		{"--api", exitUsage, []string{"story", "--home", home, "--api", "nonsense"}},
	} {
		wantFailure(t, c.code, append([]string{"serve"}, c.args...), c.text)
	}
}
