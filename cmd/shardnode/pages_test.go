package main

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/shardnode/shardnode/shard/web"
)

func TestServedMemberShowsItself(t *testing.T) {
	home := newHome(t)
	s := startServe(t, home, "serve", "story", "--name", "desk")
	s.says(t, "serving layers")
	wantFailure(t, exitFailed, []string{"trace", "--home", home}, "has driven no answer yet", "hint")
	mustCommand(t, "doctor", "--token", "--home", home)
	mustCommand(t, "run", "story", "Once", "--raw", "--max-tokens", "8", "--home", home)

	trace := inJSON[traceJSON](t, "trace", "--json", "--home", home)
	if len(trace.Steps) < 8 || len(trace.Stages) != 1 || trace.Stages[0].ComputeMS <= 0 || trace.TotalMS <= 0 {
		t.Errorf("trace of 8 tokens: %+v", trace)
	}
	file := filepath.Join(t.TempDir(), "trace.json")
	mustCommand(t, "trace", "--chrome", file, "--home", home)
	if b, err := os.ReadFile(file); err != nil || !strings.Contains(string(b), `"traceEvents"`) {
		t.Errorf("the file for a trace viewer: %v, %.80s", err, b)
	}

	top := mustCommand(t, "top", "--once", "--home", home)
	for _, want := range []string{"story, 6 layers", "*desk", "█", "answers"} {
		if !strings.Contains(top, want) {
			t.Errorf("top lacks %q:\n%s", want, top)
		}
	}
	if strings.Contains(top, "\x1b") {
		t.Errorf("top has escape sequences where there is no terminal: %q", top)
	}
	now := inJSON[web.Picture](t, "top", "--json", "--home", home)
	if now.Swarm.Totals.Answers < 2 || len(now.Swarm.Peers) != 1 || now.Swarm.Model.MinHolders != 1 {
		t.Errorf("top --json: %+v", now.Swarm)
	}
	alone := mustCommand(t, "--home", home)
	for _, want := range []string{"a member runs in", "story, 6 layers: answers", "shardnode top"} {
		if !strings.Contains(alone, want) {
			t.Errorf("shardnode alone lacks %q:\n%s", want, alone)
		}
	}
	key, err := os.ReadFile(filepath.Join(home, apiKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(alone, strings.TrimSpace(string(key))) {
		t.Error("the key is printed where there is no terminal")
	}
	metrics := metricsOf(t, home, strings.TrimSpace(string(key)))
	for _, want := range []string{`gen_ai_server_time_to_first_token_seconds_count{gen_ai_request_model="story"} 2`, `shardnode_peers{state="serving"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	boardKnows(t, metrics)
	watched := watchFeed(t, home, strings.TrimSpace(string(key))) // an open page must not hold up the leaving
	began := time.Now()
	mustCommand(t, "drain", "--wait", "--home", home)
	s.ends(t, exitDone)
	if took := time.Since(began); took > 20*time.Second { // --drain-timeout is 30 s
		t.Errorf("leaving took %v with a page open", took)
	}
	if err := <-watched; err != nil {
		t.Errorf("the feed of the page: %v", err)
	}
	wantBroken(t, []string{"doctor", "--token", "--home", home}, "1 thing broken")
	if got := mustCommand(t, "--home", home); !strings.Contains(got, "which belongs to the swarm") {
		t.Errorf("shardnode alone, of a home that has a swarm: %q", got)
	}
}

// wantBroken is wantFailure for a command that prints its answer all the same.
func wantBroken(t *testing.T, args []string, text string) {
	t.Helper()
	if _, stderr, code := command(t, "", args...); code != exitFailed || !strings.Contains(stderr, text) {
		t.Errorf("shardnode %v: exit status %d, %q", args, code, stderr)
	}
}

// metricsOf returns what the member of a home tells Prometheus.
func metricsOf(t *testing.T, home, key string) string {
	t.Helper()
	resp := fromAPI(t, home, key, "/metrics")
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// watchFeed reads the feed of the pages until it ends, and then says how.
func watchFeed(t *testing.T, home, key string) <-chan error {
	t.Helper()
	resp := fromAPI(t, home, key, "/ui/events") //nolint:bodyclose // the goroutine below does
	first := make([]byte, 1)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, resp.Body)
		ended <- errors.Join(err, resp.Body.Close())
	}()
	return ended
}

// fromAPI asks the member of a home.
func fromAPI(t *testing.T, home, key, path string) *http.Response {
	t.Helper()
	c, err := (&app{home: home}).dialControl()
	if err != nil {
		t.Fatal(err)
	}
	var at homeJSON
	if err := c.call(t.Context(), "GET", "/home", nil, &at); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "GET", strings.TrimSuffix(at.API, "/v1")+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v, %v", path, resp, err)
	}
	return resp
}

// someTime are metrics that come with the first event of their kind.
var someTime = []string{"shardnode_recoveries_total", "shardnode_rtt_seconds"}

// boardKnows checks that the board and the alerts ask for what there is.
func boardKnows(t *testing.T, metrics string) {
	t.Helper()
	name := regexp.MustCompile(`\b(?:shardnode|gen_ai_server)_[a-z_]+\b`)
	for _, file := range []string{"grafana/shardnode.json", "prometheus/rules.yml"} {
		b, err := os.ReadFile(filepath.Join("..", "..", "deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		names := name.FindAllString(string(b), -1)
		if len(names) < 5 {
			t.Errorf("%s names %d metrics", file, len(names))
		}
		for _, n := range names {
			if !strings.Contains(metrics, "\n"+n+"{") && !strings.Contains(metrics, "\n"+n+" ") && !strings.Contains(strings.Join(someTime, " "), n) {
				t.Errorf("%s asks for %s, which /metrics has not", file, n)
			}
		}
	}
}

func TestTopFitsItsTerminal(t *testing.T) {
	p := web.Picture{
		Swarm: web.Swarm{
			Self: "a", Model: &web.Model{Name: "llama", Layers: 80, MinHolders: 1},
			Peers: []web.Peer{
				{Peer: "a", Name: "desk", State: "serving", Alive: true, Span: [2]int{0, 40}, MemoryBytes: 100, FreeBytes: 40, DecodeMS: 1.2},
				{Peer: "b", Name: "a-very-long-name-of-a-member", State: "joining", Alive: true, Planned: [2]int{40, 80}, Ready: 50, WantBytes: 100, DoneBytes: 50, BytesPerSec: 10},
				{Peer: "c", Name: "gone", State: "lost", Span: [2]int{40, 80}},
			},
			Sessions: []web.Session{{ID: "0123456789", TokS: 12, Route: []web.Stage{{Name: "desk", End: 40}}, Paused: "layers [40,80)"}},
		},
	}
	for range 100 {
		p.Log = append(p.Log, web.Event{At: time.Now().UnixMilli(), Kind: web.KindPeer, Text: strings.Repeat("nuc is here ", 30)})
	}
	for _, size := range [][2]int{{80, 24}, {200, 50}, {80, 10}} {
		v := topView{width: size[0], height: size[1], colour: true}
		lines := v.frame(&p)
		if len(lines) != size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		for _, l := range lines {
			if n := utf8.RuneCountInString(regexp.MustCompile(`\x1b\[\d*m`).ReplaceAllString(l, "")); n > size[0] {
				t.Errorf("%v: a line of %d characters: %q", size, n, l)
			}
		}
	}
	v := topView{width: 80}
	got := strings.Join(v.frame(&p), "\n")
	for _, want := range []string{"▒▒", "░░", "╳╳", "loads layers [40,80): 50 %"} {
		if !strings.Contains(got, want) {
			t.Errorf("top lacks %q:\n%s", want, got)
		}
	}
	v.press('f')
	for _, key := range "gone\r" {
		v.press(key)
	}
	if got := strings.Join(v.frame(&p), "\n"); strings.Contains(got, "*desk") || !strings.Contains(got, "gone") {
		t.Errorf("filtered by %q:\n%s", v.filter, got)
	}
	v.press('d')
	if v.press('n'); v.drain {
		t.Error("n drains the member")
	}
	v.press('d')
	if v.press('y'); !v.drain {
		t.Error("y does not drain the member")
	}
	if !v.press('q') {
		t.Error("q does not end")
	}
}

func TestLoadRateFollowsWhatArrives(t *testing.T) {
	var l loadRates
	began := time.Now()
	span := [2]int{0, 10}
	l.of("a", span, 100, began)
	if got := l.of("a", span, 300, began.Add(2*time.Second)); got != 100 {
		t.Errorf("200 bytes in 2 s: %v a second", got)
	}
	if got := l.of("a", span, 300, began.Add(3*time.Second)); got != 100 {
		t.Errorf("nothing new: %v a second, want what it was", got)
	}
	if got := l.of("a", [2]int{10, 20}, 50, began.Add(4*time.Second)); got != 0 {
		t.Errorf("other layers: %v a second, want 0", got)
	}
	if l.of("a", span, 0, began); len(l.seen) != 0 {
		t.Error("what is loaded is remembered")
	}
}

func TestManualPagesSayWhatHelpSays(t *testing.T) {
	dir := t.TempDir()
	mustCommand(t, "man", dir)
	b, err := os.ReadFile(filepath.Join(dir, "shardnode-serve.1"))
	if err != nil {
		t.Fatal(err)
	}
	help := mustCommand(t, "serve", "--help")
	for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(help, -1) {
		if flag != "--help" && !strings.Contains(string(b), roff(flag)) {
			t.Errorf("the page of serve lacks %s", flag)
		}
	}
	if page := mustCommand(t, "man"); !strings.Contains(page, ".BR shardnode\\-serve (1)") || !strings.Contains(page, ".SH SYNOPSIS") {
		t.Errorf("the page of shardnode: %.400s", page)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if script := mustCommand(t, "completion", shell); !strings.Contains(script, "shardnode") || len(script) < 1000 {
			t.Errorf("completion %s: %d bytes", shell, len(script))
		}
	}
}
