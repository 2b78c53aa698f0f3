package scheduler

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
)

var seedFlag = flag.Uint64("seed", 1, "seed of the random tests")

// randomView returns a swarm of up to n peers for a model of up to layers.
func randomView(r *rand.Rand, n, layers int) View {
	v := View{Model: Model{
		Name: "m", Layers: 1 + r.IntN(layers), KVBytesPerTokenLayer: 64, HiddenBytes: 2048,
		EmbedBytes: int64(r.IntN(3) * 3 << 20), HeadBytes: int64(r.IntN(3) * 3 << 20),
	}}
	if r.IntN(2) == 0 {
		v.Model.TiedBytes = min(v.Model.EmbedBytes, v.Model.HeadBytes)
	}
	v.Model.LayerBytes = []int64{1 << 20}
	if r.IntN(2) == 0 {
		for len(v.Model.LayerBytes) < v.Model.Layers {
			v.Model.LayerBytes = append(v.Model.LayerBytes, int64(1+r.IntN(3))<<20)
		}
	}
	for i := range 1 + r.IntN(n) {
		p := Peer{ID: ID(fmt.Sprintf("p%02d", i)), MemoryBytes: int64(1+r.IntN(20)) << 20, Region: []string{"eu", "us", ""}[r.IntN(3)]}
		ms := 0.5 + 10*r.Float64()
		for b := 1.0; b <= 64; b *= 4 {
			p.DecodeMS = append(p.DecodeMS, Timing{b, ms})
			ms *= 1 + r.Float64()
		}
		if r.IntN(4) == 0 {
			p.Throughput = []float64{500, 220, 150, 90, 60, 40}[:1+r.IntN(6)]
		}
		v.Peers = append(v.Peers, p)
	}
	v.Links = Links{Default: Link{1, 1000}, Pairs: map[string]Link{"eu:us": {40, []float64{1, 50}[r.IntN(2)]}}}
	return v
}

// checkLayout reports what is wrong with a plan for v.
func checkLayout(v View, l Layout, context int64) error {
	prefix := v.Model.prefix()
	at := shard.Layer(0)
	seen := map[ID]bool{}
	for _, a := range l {
		if a.Span.Start != at || a.Span.Len() == 0 || seen[a.Peer] {
			return fmt.Errorf("%v does not follow layer %d, or its peer comes twice", a, at)
		}
		at, seen[a.Peer] = a.Span.End, true
		lo, hi := int(a.Span.Start), int(a.Span.End)
		need := v.Model.weightBytes(prefix, lo, hi) + int64(hi-lo)*v.Model.KVBytesPerTokenLayer*context
		if p := v.find(a.Peer); need > p.MemoryBytes {
			return fmt.Errorf("%v takes %d bytes of %d", a, need, p.MemoryBytes)
		}
	}
	if int(at) != v.Model.Layers {
		return fmt.Errorf("ends at layer %d of %d", at, v.Model.Layers)
	}
	return nil
}

func TestPlansTileTheModelWithinMemoryForEveryOrderOfPeers(t *testing.T) {
	r := rand.New(rand.NewPCG(*seedFlag, 0))
	planned, short := 0, 0
	for i := range 300 {
		v := randomView(r, 11, 16)
		p := Params{Goal: Goal(r.IntN(3)), ContextTokens: 1024}
		if r.IntN(2) == 0 {
			p.Driver = v.Peers[0].ID
		}
		got, err := Plan(v, p)
		if err != nil {
			if _, ok := errors.AsType[*MemoryError](err); !ok {
				t.Fatalf("seed %d, case %d: %v", *seedFlag, i, err)
			}
			short++
			continue
		}
		planned++
		for _, l := range append([]Rejected{{Layout: got.Layout}}, got.Rejected...) {
			if err := checkLayout(v, l.Layout, 1024); err != nil {
				t.Fatalf("seed %d, case %d: %v: %v", *seedFlag, i, l.Layout, err)
			}
		}
		w := v
		w.Peers = slices.Clone(v.Peers)
		r.Shuffle(len(w.Peers), func(a, b int) { w.Peers[a], w.Peers[b] = w.Peers[b], w.Peers[a] })
		for _, a := range got.Layout {
			w.find(a.Peer).Held = a.Span
		}
		again, err := Plan(w, p)
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("seed %d, case %d: carried out, with peers in another order, the plan is %v, %v, want %v", *seedFlag, i, again.Layout, err, got.Layout)
		}
		for _, a := range got.Layout {
			w.find(a.Peer).Pinned = a.Span
		}
		if again, err = Plan(w, p); err != nil || !reflect.DeepEqual(again.Layout, got.Layout) {
			t.Fatalf("seed %d, case %d: with all spans pinned the plan is %v, %v, want %v", *seedFlag, i, again.Layout, err, got.Layout)
		}
	}
	if planned < 50 || short < 20 {
		t.Errorf("%d plans and %d swarms too small: the test tests little", planned, short)
	}
}

// bestBottleneck tries all orders and sizes.
func bestBottleneck(q *problem, used []bool, last, lo int, low float64) float64 {
	if lo == q.layers {
		return low
	}
	best := 0.0
	for i := range q.peers {
		if used[i] {
			continue
		}
		rate := low
		if last >= 0 {
			rate = math.Min(rate, q.hop[last][i].cap)
		}
		used[i] = true
		for k := 1; lo+k <= q.layers; k++ {
			if x := q.throughput(q.peers[i], lo, lo+k); x > 0 {
				best = math.Max(best, bestBottleneck(q, used, i, lo+k, math.Min(rate, x)))
			}
		}
		used[i] = false
	}
	return best
}

func TestPlansForManyComeNearTheBestOfAllPlacements(t *testing.T) {
	r := rand.New(rand.NewPCG(*seedFlag, 1))
	worst, exact, n := 1.0, 0, 0
	for range 150 {
		v := randomView(r, 4, 7)
		got, err := Plan(v, Params{ContextTokens: 1024})
		q, qerr := newProblem(v, Params{ContextTokens: 1024})
		if qerr != nil {
			t.Fatal(qerr)
		}
		best := bestBottleneck(q, make([]bool, len(q.peers)), -1, 0, math.Inf(1))
		if (err != nil) != (best == 0) {
			t.Fatalf("seed %d: Plan = %v, best placement %v tok/s", *seedFlag, err, best)
		}
		if err != nil {
			continue
		}
		n++
		ratio := got.Predicted.TokSMany / best
		if ratio > 1+1e-9 {
			t.Fatalf("seed %d: Plan predicts %v tok/s, the best of all placements is %v", *seedFlag, got.Predicted.TokSMany, best)
		}
		if ratio > 1-1e-9 {
			exact++
		}
		worst = min(worst, ratio)
	}
	t.Logf("%d of %d exact, worst %.3f", exact, n, worst)
	if exact < n*8/10 || worst < 0.5 {
		t.Errorf("%d of %d plans are the best placement, the worst gives %.2f of it", exact, n, worst)
	}
}

// alike returns n equal peers for a model of 10 layers.
func alike(n int) View {
	v := View{Model: Model{Layers: 10, LayerBytes: []int64{1 << 20}, KVBytesPerTokenLayer: 64, HiddenBytes: 1024}}
	for i := range n {
		v.Peers = append(v.Peers, Peer{ID: ID('a' + rune(i)), MemoryBytes: 1 << 30, DecodeMS: []Timing{{1, 1}, {16, 4}}})
	}
	v.Links.Default = Link{LatencyMS: 0.1, Mbit: 1000}
	return v
}

func sizes(l Layout) []int {
	var out []int
	for _, a := range l {
		out = append(out, a.Span.Len())
	}
	return out
}

func TestSpreadUsesEveryPeerEvenly(t *testing.T) {
	r, err := Plan(alike(3), Params{Goal: Spread})
	if err != nil {
		t.Fatal(err)
	}
	got := sizes(r.Layout)
	slices.Sort(got)
	if !slices.Equal(got, []int{3, 3, 4}) {
		t.Errorf("sizes = %v, want 3, 3 and 4", got)
	}
	if r.Single == nil || !strings.Contains(strings.Join(r.Reasons, "\n"), "the split loses for one session") {
		t.Errorf("reasons %q do not say that one peer alone is faster for one session", r.Reasons)
	}
	r, err = Plan(alike(12), Params{Goal: Spread})
	if err != nil || len(r.Layout) != 10 || len(r.Idle) != 2 {
		t.Errorf("12 peers for 10 layers: %v, %v, want 10 stages", r.Layout, err)
	}
}

func TestOneSessionIsNotSplitOverPeersThatCanHoldAll(t *testing.T) {
	r, err := Plan(alike(3), Params{Goal: One})
	if err != nil || len(r.Layout) != 1 {
		t.Errorf("Plan = %v, %v, want one stage", r.Layout, err)
	}
}

func TestTheHeadIsPriced(t *testing.T) {
	v := alike(2)
	v.Model.HeadBytes, v.Model.HeadLayers = 4<<20, 4
	r, err := Plan(v, Params{})
	if err != nil || !slices.Equal(sizes(r.Layout), []int{7, 3}) {
		t.Errorf("sizes = %v, %v, want 7 and 3: the head costs 4 layers", sizes(r.Layout), err)
	}
	v.Model.HeadLayers = 0 // by its bytes
	if r, err = Plan(v, Params{}); err != nil || !slices.Equal(sizes(r.Layout), []int{7, 3}) {
		t.Errorf("sizes = %v, %v, want 7 and 3 by the head's bytes", sizes(r.Layout), err)
	}
}

func TestTiedEndsAreHeldOnceByOnePeer(t *testing.T) {
	v := alike(1)
	v.Model.KVBytesPerTokenLayer = 0
	v.Model.EmbedBytes, v.Model.HeadBytes, v.Model.TiedBytes = 5<<20, 5<<20, 5<<20
	v.Peers[0].MemoryBytes = 15 << 20
	if r, err := Plan(v, Params{}); err != nil || len(r.Layout) != 1 {
		t.Errorf("Plan = %v, %v, want one stage in 15 MiB", r.Layout, err)
	}
	v.Model.TiedBytes = 0
	if r, err := Plan(v, Params{}); err == nil {
		t.Errorf("Plan = %v, want an error: 20 MiB do not fit in 15", r.Layout)
	}
}

func TestPinnedSpansAreKept(t *testing.T) {
	v := alike(3)
	v.Peers[1].Pinned = shard.Span{Start: 4, End: 6}
	r, err := Plan(v, Params{})
	if err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(r.Layout, func(a Assignment) bool { return a.Peer == "b" }); i < 0 || r.Layout[i].Span != v.Peers[1].Pinned {
		t.Errorf("Plan = %v, want b at [4,6)", r.Layout)
	}
	if err := checkLayout(v, r.Layout, 2048); err != nil {
		t.Error(err)
	}
	v.Peers[0].Pinned, v.Peers[2].Pinned = shard.Span{End: 10}, shard.Span{End: 10}
	if r, err = Plan(v, Params{}); err != nil || len(r.Layout) != 1 || len(r.Idle) != 2 {
		t.Errorf("Plan = %v, %v, want one of the two that hold all", r.Layout, err)
	}
}

func TestTooLittleMemorySaysHowMuchIsMissing(t *testing.T) {
	v := alike(2)
	for i := range v.Peers {
		v.Peers[i].MemoryBytes = 4 << 20 // 3 layers with 128 KiB of KV cache each
	}
	_, err := Plan(v, Params{})
	e, ok := errors.AsType[*MemoryError](err)
	if !ok || e.MorePeers != 2 || e.MissingBytes != 4*(1<<20+64*2048) {
		t.Fatalf("Plan = %v, want 4 layers missing, 2 more peers", err)
	}
	for len(v.Peers) < 4 {
		p := v.Peers[0]
		p.ID = ID(fmt.Sprint("new", len(v.Peers)))
		v.Peers = append(v.Peers, p)
	}
	if _, err := Plan(v, Params{}); err != nil {
		t.Errorf("with as many more peers as were asked for: %v", err)
	}
	v.Peers = v.Peers[:1]
	v.Peers[0].MemoryBytes = 10
	if _, err := Plan(v, Params{}); err == nil || !strings.Contains(err.Error(), "no peer has room for one layer") {
		t.Errorf("Plan = %v, want that no layer fits", err)
	}
}

func TestVeryManyPeersArePlannedFor(t *testing.T) {
	v := alike(1)
	v.Model.Layers = 100
	v.Peers[0].MemoryBytes = 1<<20 + 64*2048 // one layer
	for len(v.Peers) < 230 {
		p := v.Peers[0]
		p.ID = ID(fmt.Sprint("p", len(v.Peers)))
		v.Peers = append(v.Peers, p)
	}
	r, err := Plan(v, Params{})
	if err != nil {
		t.Fatal(err)
	}
	if err := checkLayout(v, r.Layout, 2048); err != nil || len(r.Layout)+len(r.Idle) != 230 {
		t.Errorf("%d stages, %d idle: %v", len(r.Layout), len(r.Idle), err)
	}
	for _, a := range r.Layout {
		v.find(a.Peer).Held = a.Span
	}
	if p, err := Route(v, Request{Tokens: 10}); err != nil || len(p.Stages) != 100 {
		t.Errorf("Route over 100 peers: %d stages, %v", len(p.Stages), err)
	}
}

func TestSplitIsFollowedInTheOrderOfTheView(t *testing.T) {
	v := alike(3)
	v.Peers[0], v.Peers[2] = v.Peers[2], v.Peers[0]
	split, err := ParseSplit("3, 5,2", 10)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Plan(v, Params{Split: split})
	want := Layout{{"c", shard.Span{Start: 0, End: 3}}, {"b", shard.Span{Start: 3, End: 8}}, {"a", shard.Span{Start: 8, End: 10}}}
	if err != nil || !slices.Equal(r.Layout, want) {
		t.Errorf("Plan = %v, %v, want %v", r.Layout, err, want)
	}
	for _, bad := range []string{"", "10,", "5,6", "0,10", "-1,11", "x", "9999999999999999999"} {
		if _, err := ParseSplit(bad, 10); err == nil {
			t.Errorf("ParseSplit(%q): no error", bad)
		}
	}
	if _, err := Plan(alike(1), Params{Split: []int{5, 5}}); err == nil {
		t.Error("two stages for one peer: no error")
	}
}

func BenchmarkPlanPeers(b *testing.B) {
	for _, n := range []int{3, 8, 50, 300} {
		r := rand.New(rand.NewPCG(1, 1))
		v := randomView(r, 1, 1)
		v.Model.Layers, v.Model.LayerBytes = 32, []int64{1 << 20}
		for len(v.Peers) < n {
			p := randomView(r, 1, 1).Peers[0]
			p.ID = ID(fmt.Sprint("q", len(v.Peers)))
			v.Peers = append(v.Peers, p)
		}
		for i := range v.Peers {
			v.Peers[i].MemoryBytes = 16 << 20
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if _, err := Plan(v, Params{ContextTokens: 1024}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
