package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const testKey = "sk-test"

// A stageSet is a swarm that a test sets.
type stageSet struct {
	mu      sync.Mutex
	swarm   Swarm
	changed chan struct{}
}

func newStageSet(s Swarm) *stageSet { return &stageSet{swarm: s, changed: make(chan struct{})} }

func (f *stageSet) set(s Swarm) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.swarm = s
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *stageSet) Swarm() Swarm {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.swarm
	s.At = time.Now().UnixMilli()
	return s
}

func (f *stageSet) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *stageSet) Plan(_ context.Context, w WhatIf) (Plan, error) {
	if len(w.Kill) > 2 {
		return Plan{}, errors.New("no peers are left to plan with")
	}
	p := Plan{
		Layout:  []Stage{{Name: "desk", Start: 0, End: 14}, {Name: "nuc", Start: 14, End: 22}, {Name: "attic", Start: 22, End: 30}},
		TokSOne: 42.5, TokSMany: 118, TTFTms: 310, Limit: "desk computes 4.2 ms a token", PlanMS: 0.21,
		Reasons:  []string{"desk: 14 layers, as fast as its memory lets it", "nuc: 8 layers, its speed is the bound"},
		Rejected: []Rejected{{Layout: []Stage{{Name: "desk", End: 30}}, Why: "desk alone: 61 % for many sessions, 140 % for one"}},
	}
	if len(w.Kill) > 0 {
		p.Layout = []Stage{{Name: "desk", Start: 0, End: 18}, {Name: "attic", Start: 18, End: 30}}
		p.TokSOne, p.TokSMany = 38, 71
	}
	return p, nil
}

func (f *stageSet) Invite(_ context.Context, i Invite) (Invited, error) {
	if i.Uses < 1 {
		return Invited{}, errors.New("an invitation is for one member at least")
	}
	return Invited{Line: "shard1" + strings.Repeat("ABC234", 20), ID: "i1", Uses: i.Uses, Role: i.Role, Expires: time.Now().Add(time.Hour).UnixMilli()}, nil
}

// peer ids of the scenes
var (
	idDesk, idNuc, idAttic = strings.Repeat("a1", 32), strings.Repeat("b2", 32), strings.Repeat("c3", 32)
	idPhone                = strings.Repeat("d4", 32)
)

// scene returns a swarm in one of the states that the pages must show.
func scene(name string) Swarm {
	at := time.Now().UnixMilli()
	peer := func(id, called string, lo, hi int) Peer {
		return Peer{
			Peer: id, Name: called, State: "serving", Alive: true, Span: [2]int{lo, hi}, Planned: [2]int{lo, hi}, Ready: 100,
			MemoryBytes: 8 << 30, FreeBytes: 3 << 30, DecodeMS: 0.31, PrefillMS: 0.02, RTTms: 1.4, Sessions: 2, Threads: 8, KVTokens: 9000,
		}
	}
	s := Swarm{
		At: at, Self: idDesk, Swarm: "b7k2m4", Doing: "serving layers [0,12)", MayInvite: true,
		Model:    &Model{Name: "smollm2-1.7b-instruct-q4_k_m", Layers: 30, ContextTokens: 8192, Bytes: 1 << 30, MinHolders: 1},
		Peers:    []Peer{peer(idDesk, "desk", 0, 12), peer(idNuc, "nuc", 12, 20), peer(idAttic, "attic", 20, 30), peer(idPhone, "laptop", 0, 0)},
		Sessions: []Session{}, Links: []Link{},
		Totals: Totals{Answers: 12, Tokens: 2120, Prompts: 900, UptimeMS: 840e3},
	}
	s.Peers[0].RTTms = 0
	s.Peers[0].Addr, s.Peers[3].State, s.Peers[3].MemoryBytes, s.Peers[3].DecodeMS, s.Peers[3].Sessions = "192.168.1.4:4711", "client", 0, 0, 0
	route := []Stage{{Peer: idDesk, Name: "desk", Start: 0, End: 12}, {Peer: idNuc, Name: "nuc", Start: 12, End: 20}, {Peer: idAttic, Name: "attic", Start: 20, End: 30}}
	switch name {
	case "joining":
		s.Peers[1].State, s.Peers[1].Span, s.Peers[1].Ready, s.Peers[1].Sessions, s.Peers[1].DecodeMS = "joining", [2]int{}, 61, 0, 0
		s.Peers[1].DoneBytes, s.Peers[1].WantBytes, s.Peers[1].BytesPerSec = 170<<20, 280<<20, 45<<20
		s.Peers[0].Sessions, s.Peers[2].Sessions = 0, 0
	case "serving":
		s.Totals.TokS = 84.2
		for i, tok := range []float64{46.1, 38.1} {
			s.Sessions = append(s.Sessions, Session{ID: strings.Repeat("7f", 8+i), Model: s.Model.Name, Room: 2200, Pos: 310 + 90*i, TokS: tok, AgeMS: 8200, Route: route})
		}
		s.Links = []Link{
			{From: idDesk, To: idNuc, Steps: 310, Bytes: 310 * 4100, Codec: "f16+shuffle", P50ms: 0.9, P99ms: 2.1, RTTms: 1.4, BytesPS: 190e3},
			{From: idNuc, To: idAttic, Steps: 310, Bytes: 310 * 4100, Codec: "f16+shuffle", P50ms: 1.2, P99ms: 3.1, BytesPS: 190e3},
			{From: idAttic, To: idDesk, Steps: 310, Bytes: 310 * 90, P50ms: 0.8, P99ms: 2.0, RTTms: 1.6, BytesPS: 4e3},
		}
	case "draining":
		s.Peers[1].State = "draining"
		s.Peers[2].Planned, s.Peers[2].Ready, s.Peers[2].DoneBytes, s.Peers[2].WantBytes, s.Peers[2].BytesPerSec = [2]int{12, 30}, 35, 230<<20, 640<<20, 90<<20
		s.Sessions = []Session{{ID: strings.Repeat("7f", 8), Model: s.Model.Name, Room: 2200, Pos: 310, TokS: 44, AgeMS: 8200, Route: route}}
		s.Totals.TokS = 44
	case "lost":
		s.Peers[1].State, s.Peers[1].Alive, s.Peers[1].Since, s.Peers[1].Sessions = "lost", false, at-12e3, 0
		s.Sessions = []Session{{ID: strings.Repeat("7f", 8), Model: s.Model.Name, Room: 2200, Pos: 310, AgeMS: 18200, Route: route, Paused: "waiting for layers [12,20)"}}
	}
	s.Model.Holders = make([]int, s.Model.Layers)
	for _, p := range s.Peers {
		for l := p.Span[0]; p.Alive && l < p.Span[1]; l++ {
			s.Model.Holders[l]++
		}
	}
	s.Model.MinHolders = s.Model.Holders[13]
	return s
}

// words is an answer of the fake API, with all that Markdown has.
const words = "# How a token travels\n\nA token's **hidden state** crosses *three* machines:\n\n1. `desk` computes layers [0,12)\n2. then `nuc`\n3. last `attic`, which yields logits\n\n" +
	"```go\n// reverse returns s from its end to its start.\nfunc reverse(s string) string {\n\tr := []rune(s)\n\tslices.Reverse(r)\n\treturn string(r) // \"olleh\"\n}\n```\n\n" +
	"| stage | ms |\n|---|---|\n| desk | 3.7 |\n| nuc | 2.5 |\n\n> Quoted, with a [link](https://example.org/) and <b>no HTML</b> <img src=x onerror=alert(1)>.\n\nDone [bad](javascript:alert(1))."

// fakeAPI is as much of the API as the chat page uses.
func fakeAPI(pause time.Duration) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+testKey {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"smollm2-1.7b-instruct-q4_k_m","object":"model"}]}`)
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		flush := http.NewResponseController(w)
		_, _ = io.WriteString(w, ": waiting for layers [12,20) (nuc joins, 61 %)\n\n")
		_ = flush.Flush()
		select { // a person reads it
		case <-r.Context().Done():
			return
		case <-time.After(20 * pause):
		}
		for word := range strings.SplitAfterSeq(words, " ") {
			select {
			case <-r.Context().Done():
				return
			case <-time.After(pause):
			}
			fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n", word)
			_ = flush.Flush()
		}
		_, _ = io.WriteString(w, `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\n")
		fmt.Fprintf(w, `data: {"choices":[],"usage":{"completion_tokens":92},"shardnode":{"ttft_ms":41,"decode_tok_s":46.1,"queued_ms":0.1,"route":[`+
			`{"peer":%q,"name":"desk","start":0,"end":12,"compute_ms":340,"queue_ms":3},{"peer":%q,"name":"nuc","start":12,"end":20,"compute_ms":230,"queue_ms":0},{"peer":%q,"name":"attic","start":20,"end":30,"compute_ms":290,"queue_ms":0}],`+
			`"hops":[{"from":%q,"to":%q,"steps":93,"bytes":9300,"codec":"","p50_ms":0.02},{"from":%q,"to":%q,"steps":93,"bytes":381300,"codec":"f16","p50_ms":0.9},{"from":%q,"to":%q,"steps":93,"bytes":381300,"codec":"f16","p50_ms":1.2},{"from":%q,"to":%q,"steps":93,"bytes":8300,"codec":"","p50_ms":0.8}]}}`+"\n\ndata: [DONE]\n\n",
			idDesk, idNuc, idAttic, idDesk, idDesk, idDesk, idNuc, idNuc, idAttic, idAttic, idDesk)
	})
	return mux
}

// newHandler returns a handler over f whose Watch runs until the test ends.
func newHandler(t *testing.T, f *stageSet, pause time.Duration) *Handler {
	t.Helper()
	h, err := New(Config{
		Source: f, API: fakeAPI(pause), Key: testKey, Every: 200 * time.Millisecond,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.Watch(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return h
}
