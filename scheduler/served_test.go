package scheduler

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/shard"
)

// line returns peers with memory for everything that hold the given spans, at
// so many ms a layer.
func line(layers int, ms []float64, held ...part) View {
	v := View{Model: Model{Name: "m", Layers: layers, LayerBytes: []int64{1 << 20}, KVBytesPerTokenLayer: 1, HiddenBytes: 8}}
	for i, p := range held {
		v.Peers = append(v.Peers, Peer{
			ID: ID(fmt.Sprintf("p%02d", i)), MemoryBytes: 1 << 40, DecodeMS: []Timing{{1, ms[i%len(ms)]}}, Held: p.span(),
		})
	}
	return v
}

func TestSessionsTakeWhatIsHeldAsEvenlyAsItGoes(t *testing.T) {
	for _, c := range []struct {
		name string
		v    View
		want string
	}{
		{"one alone", line(12, []float64{1}, part{0, 12}), "p00 [0,12) "},
		{"a full holder and a half", line(12, []float64{1}, part{0, 12}, part{6, 12}), "p00 [0,6) p01 [6,12) "},
		{"two full ones", line(12, []float64{1}, part{0, 12}, part{0, 12}), "p00 [0,6) p01 [6,12) "},
		{"the slow one gets less", line(12, []float64{1, 3}, part{0, 12}, part{0, 12}), "p00 [0,9) p01 [9,12) "},
		{"nested spans", line(12, []float64{1}, part{0, 12}, part{4, 8}), "p00 [0,12) "},
		{"a replica that helps nobody stands by", line(12, []float64{1}, part{0, 4}, part{4, 8}, part{8, 12}, part{4, 8}), "p00 [0,4) p01 [4,8) p02 [8,12) "},
	} {
		got, err := Served(c.v, Params{})
		text := ""
		for _, a := range got.Layout {
			text += fmt.Sprintf("%s %v ", a.Peer, a.Span)
		}
		if err != nil || text != c.want {
			t.Errorf("%s: %s, %v, want %s", c.name, text, err, c.want)
		}
	}
}

func TestServedNamesWhatNobodyHolds(t *testing.T) {
	_, err := Served(line(12, []float64{1}, part{0, 4}, part{6, 12}), Params{})
	gap, ok := errors.AsType[*UncoveredError](err)
	if !ok || len(gap.Spans) != 1 || gap.Spans[0] != (shard.Span{Start: 4, End: 6}) {
		t.Errorf("got %v, want that layers [4,6) are not held", err)
	}
	if _, err = Served(View{Model: line(12, nil).Model}, Params{}); err == nil {
		t.Error("nobody at all serves a layout")
	}
}

// TestServedLosesLittleToTheBest compares with all cuts in all orders.
func TestServedLosesLittleToTheBest(t *testing.T) {
	r := rand.New(rand.NewPCG(*seedFlag, 12))
	n := 0
	for i := range 300 {
		v := settleView(r, 4, 8)
		holdRandomly(r, v)
		p := Params{ContextTokens: settleContext}
		got, err := Served(v, p)
		if err != nil {
			continue
		}
		n++
		q, err := newSettling(v, p)
		if err != nil {
			t.Fatal(err)
		}
		s := newSettler(q)
		rate := func(l Layout) float64 {
			worst := 1e300
			for _, a := range l {
				if !v.find(a.Peer).Held.Covers(a.Span) {
					t.Fatalf("seed %d, case %d: %v does not lie in what is held: %s", *seedFlag, i, l, spansHeld(v))
				}
				worst = min(worst, s.throughput(*v.find(a.Peer), int(a.Span.Start), int(a.Span.End)))
			}
			return worst
		}
		if best := bestWithin(s, make([]bool, len(s.peers)), 0, 1e300); rate(got.Layout) < (1-landing)*best*0.9999 {
			t.Errorf("seed %d, case %d: %v gives %v, the best is %v: %s", *seedFlag, i, got.Layout, rate(got.Layout), best, spansHeld(v))
		}
	}
	if n < 40 {
		t.Errorf("%d layouts: the test tests little", n)
	}
}

func bestWithin(s *settler, used []bool, lo int, worst float64) float64 {
	if lo == s.layers {
		return worst
	}
	best := 0.0
	for i := range s.peers {
		if used[i] {
			continue
		}
		used[i] = true
		for k, rate := range s.rate[i][lo] {
			if hi := lo + k + 1; rate > best && s.has[i].covers(part{lo, hi}) {
				best = max(best, bestWithin(s, used, hi, min(worst, rate)))
			}
		}
		used[i] = false
	}
	return best
}

func BenchmarkSettle(b *testing.B) {
	for _, n := range []int{3, 8, 50, 200} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			v := line(30, []float64{1, 1.5, 2})
			for i := range n {
				v.Peers = append(v.Peers, Peer{ID: ID(fmt.Sprintf("p%03d", i)), MemoryBytes: 8 << 20, DecodeMS: []Timing{{1, 1 + float64(i%3)/2}}})
			}
			for range 3 {
				got, err := Settle(v, Params{})
				if err != nil {
					b.Fatal(err)
				}
				v = apply(v, got, true)
			}
			for b.Loop() {
				if _, err := Settle(v, Params{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
