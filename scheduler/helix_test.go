package scheduler

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"testing"

	"github.com/shardnode/shardnode/shard"
)

// helixCluster is a cluster of Helix (ASPLOS'25) with its measured curves.
type helixCluster struct {
	Name      string               `json:"name"`
	Model     string               `json:"model"`
	Types     []string             `json:"types"`
	TK        map[string][]float64 `json:"tk"`  // tokens/s when holding k layers
	BW        [][]float64          `json:"bw"`  // bytes/s; the last row is the coordinator
	Lat       [][]float64          `json:"lat"` // seconds, one way
	Solutions map[string][][2]int  `json:"solutions"`
	m         helixModel
}

type helixModel struct {
	Layers     int                     `json:"layers"`
	LayerBytes float64                 `json:"layer_bytes"`
	ActBytes   float64                 `json:"act_bytes"`
	DecodeMS   map[string][][2]float64 `json:"decode_ms"`
}

func helix(tb testing.TB) map[string]helixCluster {
	tb.Helper()
	b, err := os.ReadFile("../../shared/data/scheduler/helix.json")
	if errors.Is(err, fs.ErrNotExist) {
		tb.Skip("../shared/data/scheduler/helix.json is not there")
	}
	if err != nil {
		tb.Fatal(err)
	}
	var d struct {
		Models   map[string]helixModel `json:"models"`
		Clusters []helixCluster        `json:"clusters"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		tb.Fatal(err)
	}
	out := map[string]helixCluster{}
	for _, c := range d.Clusters {
		c.m = d.Models[c.Model]
		out[c.Name] = c
	}
	out["geo8"] = geo8(d.Models["llama30b"])
	return out
}

// geo8 is 2 A100 and 2 L4 in one region, 4 T4 in another, with Helix' typical
// T(k) of LLaMA-30B (research/scheduler.md §4.1).
func geo8(m helixModel) helixCluster {
	c := helixCluster{
		Name: "geo8", m: m,
		Types: []string{"A100", "A100", "L4", "L4", "T4", "T4", "T4", "T4"},
		TK: map[string][]float64{
			"A100": {7555.9, 3778.5, 4200.1, 3150.9, 2127.3, 1771.6, 1517.7, 1327.2, 1179.0, 1061.1, 964.9, 884.8, 817.0, 614.7, 573.3, 537.1, 505.0, 477.0},
			"L4":   {3379.9, 1598.6, 1066.3, 717.6, 535.8, 414.2, 327.2, 240.5, 213.9, 172.0, 137.6},
			"T4":   {2320.6, 1072.2, 601.4, 451.0, 323.4, 237.8, 184.0},
		},
	}
	for i := range 9 {
		c.BW, c.Lat = append(c.BW, make([]float64, 9)), append(c.Lat, make([]float64, 9))
		for j := range 9 {
			c.BW[i][j], c.Lat[i][j] = 12.5e6, 0.05
			if i%8/4 == j%8/4 {
				c.BW[i][j], c.Lat[i][j] = 1.25e9, 0.001
			}
		}
	}
	return c
}

func (c helixCluster) view() View {
	v := View{Model: Model{
		Name: c.Model, Layers: c.m.Layers, LayerBytes: []int64{int64(c.m.LayerBytes)},
		KVBytesPerTokenLayer: 4096, HiddenBytes: int64(c.m.ActBytes),
	}}
	v.Links.Pairs = map[string]Link{}
	id := func(i int) ID { return ID(fmt.Sprintf("p%02d", i)) }
	for i, typ := range c.Types {
		p := Peer{ID: id(i), MemoryBytes: 1 << 40, Throughput: c.TK[typ]}
		for _, t := range c.m.DecodeMS[typ][1:] {
			p.DecodeMS = append(p.DecodeMS, Timing{t[0], t[1]})
		}
		v.Peers = append(v.Peers, p)
		for j := range c.Types {
			if i != j {
				v.Links.Pairs[string(id(i)+":"+id(j))] = Link{c.Lat[i][j] * 1e3, c.BW[i][j] * 8 / 1e6}
			}
		}
	}
	return v
}

// flow is Helix' objective: the maximum flow from the coordinator through
// peers, each capped by T(k), over links, each capped by its rate.
func (c helixCluster) flow(spans []shard.Span) float64 {
	n := len(c.Types)
	g := newFlow(2*n + 2)
	source, sink := 2*n, 2*n+1
	for i, s := range spans {
		if s.Len() == 0 {
			continue
		}
		g.add(2*i, 2*i+1, c.TK[c.Types[i]][s.Len()-1])
		if s.Start == 0 {
			g.add(source, 2*i, c.BW[n][i]/2)
		}
		if int(s.End) == c.m.Layers {
			g.add(2*i+1, sink, c.BW[i][n]/2)
			continue
		}
		for j, o := range spans {
			if i != j && o.Start <= s.End && s.End < o.End {
				g.add(2*i+1, 2*j, c.BW[i][j]/c.m.ActBytes)
			}
		}
	}
	return g.run(source, sink)
}

func TestFlowReproducesHelixObjectives(t *testing.T) {
	cs := helix(t)
	for _, tc := range []struct {
		cluster, solution string
		want              float64
	}{
		{"single24", "helix", 1289.5557},
		{"geo24", "helix", 1212.1768},
		{"het42", "helix", 4137.5475},
		{"het42", "swarm", 4892.2424},
	} {
		c := cs[tc.cluster]
		var spans []shard.Span
		for _, s := range c.Solutions[tc.solution] {
			spans = append(spans, shard.Span{Start: shard.Layer(s[0]), End: shard.Layer(s[1])})
		}
		if got := c.flow(spans); math.Abs(got-tc.want) > 1e-3 {
			t.Errorf("flow of %s on %s = %.4f tok/s, want %.4f", tc.solution, tc.cluster, got, tc.want)
		}
	}
}

func TestPlanReachesTheWaterlineOnHelixClusters(t *testing.T) {
	cs := helix(t)
	for _, tc := range []struct {
		cluster string
		want    float64
		tol     float64
	}{
		{"geo8", 451, 0.5}, {"single24", 2045.6, 0.5}, {"het42", 5441, 1},
	} {
		c := cs[tc.cluster]
		v := c.view()
		r, err := Plan(v, Params{})
		if err != nil {
			t.Errorf("Plan(%s): %v", tc.cluster, err)
			continue
		}
		spans := make([]shard.Span, len(c.Types))
		for _, a := range r.Layout {
			var i int
			if _, err := fmt.Sscanf(string(a.Peer), "p%d", &i); err != nil {
				t.Fatal(err)
			}
			spans[i] = a.Span
		}
		flow := c.flow(spans)
		if math.Abs(flow-tc.want) > tc.tol {
			t.Errorf("flow of Plan(%s) = %.2f tok/s, want %v", tc.cluster, flow, tc.want)
		}
		if math.Abs(r.Predicted.TokSMany-flow) > 1e-6*flow {
			t.Errorf("Plan(%s) predicts %.2f tok/s, its flow is %.2f", tc.cluster, r.Predicted.TokSMany, flow)
		}
		t.Logf("%s: %.1f tok/s for many, %.2f for one (%.0f ms), %d stages", tc.cluster, flow, r.Predicted.TokSOne, 1000/r.Predicted.TokSOne, len(r.Layout))
	}
}

// A flowGraph finds maximum flows by shortest augmenting paths (Dinic).
type flowGraph struct {
	to    []int
	cap   []float64
	adj   [][]int
	level []int
	it    []int
}

func newFlow(n int) *flowGraph {
	return &flowGraph{adj: make([][]int, n), level: make([]int, n), it: make([]int, n)}
}

func (g *flowGraph) add(a, b int, c float64) {
	g.adj[a] = append(g.adj[a], len(g.to))
	g.adj[b] = append(g.adj[b], len(g.to)+1)
	g.to, g.cap = append(g.to, b, a), append(g.cap, c, 0)
}

func (g *flowGraph) layers(s, t int) bool {
	for i := range g.level {
		g.level[i] = -1
		g.it[i] = 0
	}
	g.level[s] = 0
	queue := []int{s}
	for h := 0; h < len(queue); h++ {
		for _, e := range g.adj[queue[h]] {
			if g.cap[e] > 1e-9 && g.level[g.to[e]] < 0 {
				g.level[g.to[e]] = g.level[queue[h]] + 1
				queue = append(queue, g.to[e])
			}
		}
	}
	return g.level[t] >= 0
}

func (g *flowGraph) push(v, t int, f float64) float64 {
	if v == t {
		return f
	}
	for ; g.it[v] < len(g.adj[v]); g.it[v]++ {
		e := g.adj[v][g.it[v]]
		if g.cap[e] <= 1e-9 || g.level[g.to[e]] != g.level[v]+1 {
			continue
		}
		if d := g.push(g.to[e], t, min(f, g.cap[e])); d > 1e-9 {
			g.cap[e] -= d
			g.cap[e^1] += d
			return d
		}
	}
	return 0
}

func (g *flowGraph) run(s, t int) float64 {
	sum := 0.0
	for g.layers(s, t) {
		for d := g.push(s, t, 1e18); d > 1e-9; d = g.push(s, t, 1e18) {
			sum += d
		}
	}
	return sum
}

func BenchmarkPlan(b *testing.B) {
	cs := helix(b)
	for _, name := range []string{"geo8", "single24", "het42"} {
		v := cs[name].view()
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Plan(v, Params{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
