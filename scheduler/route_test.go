package scheduler

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
)

func holding(v View, spans ...shard.Span) View {
	for i, s := range spans {
		v.Peers[i].Held = s
	}
	return v
}

func span(lo, hi int) shard.Span { return shard.Span{Start: shard.Layer(lo), End: shard.Layer(hi)} }

func TestRouteTakesThePlannedSpansUnlessAnotherIsMuchFaster(t *testing.T) {
	v := holding(alike(3), span(0, 6), span(4, 10), span(4, 10))
	planned := Layout{{"a", span(0, 6)}, {"c", span(6, 10)}}
	p, err := Route(v, Request{Tokens: 100, Planned: planned})
	if err != nil || !slices.Equal(p.Stages, planned) {
		t.Errorf("Route = %v, %v, want %v", p.Stages, err, planned)
	}
	v.Peers[1].DecodeMS = []Timing{{1, 0.5}}
	p, err = Route(v, Request{Tokens: 100, Planned: planned})
	if want := (Layout{{"a", span(0, 4)}, {"b", span(4, 10)}}); err != nil || !slices.Equal(p.Stages, want) {
		t.Errorf("Route = %v, %v, want %v", p.Stages, err, want)
	}
}

func TestRouteAvoidsPeersAndNamesUncoveredLayers(t *testing.T) {
	v := holding(alike(3), span(0, 6), span(6, 10), span(6, 10))
	p, err := Route(v, Request{Avoid: []ID{"b"}})
	if err != nil || p.Stages[1].Peer != "c" {
		t.Errorf("Route = %v, %v, want a and c", p.Stages, err)
	}
	v.Peers[2].Role = Draining
	_, err = Route(v, Request{Avoid: []ID{"b"}})
	e, ok := errors.AsType[*UncoveredError](err)
	if !ok || e.Full || !slices.Equal(e.Spans, []shard.Span{span(6, 10)}) || !strings.Contains(err.Error(), "[6,10)") {
		t.Errorf("Route = %v, want [6,10) uncovered", err)
	}
}

func TestRouteHasRoomForTheSession(t *testing.T) {
	v := holding(alike(3), span(0, 10), span(0, 10), span(0, 10))
	for i, layers := range []int64{4, 6, 0} {
		v.Peers[i].KVFreeBytes = layers*64*1000 + 1
	}
	p, err := Route(v, Request{Tokens: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range p.Stages {
		if a.Peer == "c" || a.Peer == "a" && a.Span.Len() > 4 || a.Peer == "b" && a.Span.Len() > 6 {
			t.Errorf("Route = %v, but a has room for 4 layers, b for 6, c for none", p.Stages)
		}
	}
	_, err = Route(v, Request{Tokens: 2000})
	if e, ok := errors.AsType[*UncoveredError](err); !ok || !e.Full || len(e.Spans) == 0 {
		t.Errorf("Route = %v, want no room", err)
	}
}

// bestRoute tries all routes.
func bestRoute(s *search, used []bool, last, lo int, cost float64) float64 {
	if lo == s.q.layers {
		return cost + s.q.home[last].ms
	}
	best := math.Inf(1)
	for j, p := range s.q.peers {
		if used[j] || !p.Held.Has(shard.Layer(lo)) {
			continue
		}
		c := cost
		if last < 0 {
			c += s.q.home[j].ms
		} else {
			c += s.hopMS(last, j)
		}
		used[j] = true
		for hi := lo + 1; hi <= min(int(p.Held.End), lo+s.most[j]); hi++ {
			best = min(best, bestRoute(s, used, j, hi, c+s.stageMS(j, lo, hi)))
		}
		used[j] = false
	}
	return best
}

func TestRoutesAreTheCheapestOfAll(t *testing.T) {
	r := rand.New(rand.NewPCG(*seedFlag, 3))
	found, exact := 0, 0
	for i := range 400 {
		v := randomView(r, 5, 8)
		for j := range v.Peers {
			lo := r.IntN(v.Model.Layers)
			v.Peers[j].Held = span(lo, lo+1+r.IntN(v.Model.Layers-lo))
			v.Peers[j].Sessions = r.IntN(20)
		}
		req := Request{Tokens: 1 + r.IntN(3000), PromptTokens: r.IntN(500), Driver: v.Peers[0].ID}
		s := newSearch(newRouteProblem(v, req), req)
		best := bestRoute(s, make([]bool, len(s.q.peers)), -1, 0, 0)
		p, err := Route(v, req)
		if err != nil {
			if e, ok := errors.AsType[*UncoveredError](err); !ok || len(e.Spans) == 0 {
				t.Fatalf("seed %d, case %d: %v", *seedFlag, i, err)
			}
			if !math.IsInf(best, 1) {
				t.Fatalf("seed %d, case %d: %v, but there is a route", *seedFlag, i, err)
			}
			continue
		}
		found++
		cost, at, last := 0.0, 0, -1
		seen := map[ID]bool{}
		for _, a := range p.Stages {
			j := s.q.indexOf(a.Peer)
			if int(a.Span.Start) != at || !v.find(a.Peer).Held.Covers(a.Span) || seen[a.Peer] {
				t.Fatalf("seed %d, case %d: stages %v", *seedFlag, i, p.Stages)
			}
			seen[a.Peer] = true
			if last < 0 {
				cost += s.q.home[j].ms
			} else {
				cost += s.hopMS(last, j)
			}
			cost += s.stageMS(j, at, int(a.Span.End))
			at, last = int(a.Span.End), j
		}
		cost += s.q.home[last].ms
		if at != v.Model.Layers || p.TokenMS <= 0 {
			t.Fatalf("seed %d, case %d: %+v", *seedFlag, i, p)
		}
		if cost <= best*(1+1e-9) {
			exact++
		}
		again, err := Route(v, req)
		if err != nil || !reflect.DeepEqual(again, p) {
			t.Fatalf("seed %d, case %d: the second time %v", *seedFlag, i, again)
		}
	}
	t.Logf("%d of %d routes are the cheapest", exact, found)
	if found < 50 || exact < found*98/100 {
		t.Errorf("%d of %d routes are the cheapest", exact, found)
	}
}

func BenchmarkRoute(b *testing.B) {
	cs := helix(b)
	v := cs["het42"].view()
	r, err := Plan(v, Params{})
	if err != nil {
		b.Fatal(err)
	}
	for _, a := range r.Layout {
		v.find(a.Peer).Held = a.Span
	}
	for b.Loop() {
		if _, err := Route(v, Request{Tokens: 1000, Planned: r.Layout}); err != nil {
			b.Fatal(err)
		}
	}
}
