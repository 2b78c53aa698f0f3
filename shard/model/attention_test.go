package model

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/tensorio/par"
)

// llama1B has the shape of Llama-3.2-1B as far as attention goes.
var llama1B = Config{Layers: 16, Dim: 2048, FFNDim: 8, Heads: 32, KVHeads: 8, HeadDim: 64, ValDim: 64, Context: 1 << 17, RopeDim: 64}

// attendOnly is a model without weights: enough for attention.
func attendOnly(t testing.TB, c Config, threads int) *Model {
	t.Helper()
	m := &Model{cfg: c, pool: par.New(threads), span: shard.Span{End: shard.Layer(c.Layers)}}
	t.Cleanup(m.pool.Close)
	m.s.init(m)
	return m
}

// session returns a session that holds random keys and values at n positions,
// in pages of so many, 0 for the default.
func (m *Model) session(t testing.TB, precision kvcache.Precision, pageTokens, n int) *kvcache.Session {
	t.Helper()
	cfg := m.KVConfig()
	cfg.Precision, cfg.PageTokens = precision, pageTokens
	cfg.BudgetBytes = int64(n+200) * cfg.TokenBytes()
	store, err := kvcache.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	kv, err := store.Reserve(n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kv.Close)
	m.fill(t, kv, n)
	return kv
}

// fill puts random keys and values at the first n positions of kv.
func (m *Model) fill(t testing.TB, kv *kvcache.Session, n int) {
	t.Helper()
	if err := kv.Extend(0, n); err != nil {
		t.Fatal(err)
	}
	k, v := make([]float32, m.cfg.KVHeads*m.cfg.HeadDim), make([]float32, m.cfg.KVHeads*m.cfg.ValDim)
	for at := range n {
		normal(k, uint64(at))
		normal(v, uint64(at)+1<<32)
		for l := range m.cfg.Layers {
			if err := kv.Put(l, shard.Pos(at), k, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	kv.Commit()
}

// normal fills x with numbers that seed tells.
func normal(x []float32, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 9))
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
}

// rowsAt makes a batch of n rows from a position on, with queries that the
// position tells.
func (m *Model) rowsAt(kv *kvcache.Session, at, n int) {
	m.s.fit(m, n)
	size := m.cfg.Heads * m.cfg.HeadDim
	for r := range n {
		m.s.of[r] = row{kv: kv, pos: shard.Pos(at + r)}
		normal(m.s.q[r*size:][:size], uint64(at+r)+1<<40)
	}
}

// attended returns the attention of n rows from a position on in layer 0.
func (m *Model) attended(kv *kvcache.Session, at, n int, local bool) []float32 {
	m.rowsAt(kv, at, n)
	m.s.attend.begin(m, m.s.of)
	m.s.attend.run(&layer{local: local, sinks: sinks(&m.cfg)}, 0)
	return m.s.att
}

// sinks returns those of the models that cap their scores here.
func sinks(c *Config) []float32 {
	if c.ScoreCap == 0 {
		return nil
	}
	x := make([]float32, c.Heads)
	normal(x, 77)
	return x
}

// shapes are heads of all kinds: shared and not, odd sizes, windows, capped
// scores with sinks.
var shapes = []Config{
	{Layers: 1, Dim: 8, FFNDim: 8, Heads: 8, KVHeads: 2, HeadDim: 64, ValDim: 64, Window: 100},
	{Layers: 1, Dim: 8, FFNDim: 8, Heads: 9, KVHeads: 3, HeadDim: 20, ValDim: 24, Window: 256, ScoreCap: 2},
	{Layers: 1, Dim: 8, FFNDim: 8, Heads: 3, KVHeads: 3, HeadDim: 8, ValDim: 80, Window: 300},
	{Layers: 1, Dim: 8, FFNDim: 8, Heads: 7, KVHeads: 1, HeadDim: 17, ValDim: 5, Window: 1},
}

// formula is what attention means, in float64: the values of one head of one
// row, given the keys and values that session made.
func formula(m *Model, at, head, window int) []float64 {
	c := &m.cfg
	q := make([]float32, c.Heads*c.HeadDim)
	normal(q, uint64(at)+1<<40)
	k, v := make([]float32, c.KVHeads*c.HeadDim), make([]float32, c.KVHeads*c.ValDim)
	kvHead := head * c.KVHeads / c.Heads
	out, sum := make([]float64, c.ValDim), 0.0
	if s := sinks(c); s != nil {
		sum = math.Exp(float64(s[head]))
	}
	for p := max(0, at+1-window); p <= at; p++ {
		normal(k, uint64(p))
		normal(v, uint64(p)+1<<32)
		dot := 0.0
		for i := range c.HeadDim {
			dot += float64(q[head*c.HeadDim+i]) * float64(k[kvHead*c.HeadDim+i])
		}
		dot /= math.Sqrt(float64(c.HeadDim))
		if c.ScoreCap > 0 {
			dot = float64(c.ScoreCap) * math.Tanh(dot/float64(c.ScoreCap))
		}
		weight := math.Exp(dot)
		sum += weight
		for i := range out {
			out[i] += weight * float64(v[kvHead*c.ValDim+i])
		}
	}
	for i := range out {
		out[i] /= sum
	}
	return out
}

func TestAttentionIsItsFormula(t *testing.T) {
	limits := map[kvcache.Precision]float64{kvcache.Float32: 2e-6, kvcache.Float16: 3e-3, kvcache.Int8: 0.05}
	for i, c := range shapes {
		for precision, limit := range limits {
			m := attendOnly(t, c, 2)
			kv := m.session(t, precision, 0, 700)
			worst := 0.0
			for _, at := range []int{0, 1, 15, 255, 256, 699} {
				for _, local := range []bool{false, true} {
					window := math.MaxInt32
					if local {
						window = c.Window
					}
					got := m.attended(kv, at, 1, local)
					for h := range c.Heads {
						for j, want := range formula(m, at, h, window) {
							worst = max(worst, math.Abs(float64(got[h*c.ValDim+j])-want))
						}
					}
				}
			}
			t.Logf("shape %d, %v: largest difference %.2g", i, precision, worst)
			if !(worst <= limit) {
				t.Errorf("shape %d, %v: attention differs by %g from its formula, want %g at most", i, precision, worst, limit)
			}
		}
	}
}

// TestARowIsAttendedAlike compares rows that are computed alone with the same
// rows in batches of any size, on any number of threads, over pages of any size.
func TestARowIsAttendedAlike(t *testing.T) {
	const n = 600
	rng := rand.New(rand.NewPCG(4, 4))
	for i, c := range shapes {
		for _, precision := range []kvcache.Precision{kvcache.Float16, kvcache.Float32, kvcache.Int8} {
			alone := attendOnly(t, c, 1)
			kv := alone.session(t, precision, 0, n)
			size := c.Heads * c.ValDim
			var want [2][]float32
			for at := range n {
				for k := range want {
					want[k] = append(want[k], alone.attended(kv, at, 1, k == 1)...)
				}
			}
			for _, threads := range []int{1, 3, 40} {
				for _, pageTokens := range []int{2, 16, 96} {
					m := attendOnly(t, c, threads)
					kv := m.session(t, precision, pageTokens, n)
					for range 12 {
						rows := 1 + rng.IntN([]int{3, 20, 300}[rng.IntN(3)])
						at, k := rng.IntN(n-rows+1), rng.IntN(2)
						got := m.attended(kv, at, rows, k == 1)
						if !same(got, want[k][at*size:][:rows*size]) {
							t.Fatalf("shape %d, %v, %d threads, pages of %d: rows %d to %d differ from those computed alone, local %v",
								i, precision, threads, pageTokens, at, at+rows, k == 1)
						}
					}
				}
			}
		}
	}
}

// TestSessionsShareABatch mixes rows of sessions that are of any length.
func TestSessionsShareABatch(t *testing.T) {
	c := shapes[0]
	m := attendOnly(t, c, 3)
	a, b := m.session(t, kvcache.Float16, 0, 600), m.session(t, kvcache.Float16, 0, 40)
	size := c.Heads * c.ValDim
	want := append([]float32(nil), m.attended(a, 590, 3, false)...)
	want = append(want, m.attended(b, 39, 1, false)...)
	m.rowsAt(a, 590, 3)
	q := append([]float32(nil), m.s.q...)
	m.rowsAt(b, 39, 1)
	q = append(q, m.s.q...)
	m.s.fit(m, 5)
	copy(m.s.q, q)
	for r := range 3 {
		m.s.of[r] = row{kv: a, pos: shard.Pos(590 + r)}
	}
	m.s.of[3], m.s.of[4] = row{kv: b, pos: 39}, row{} // the part of the last has failed
	m.s.attend.begin(m, m.s.of)
	m.s.attend.run(&layer{}, 0)
	if !same(m.s.att[:4*size], want) {
		t.Error("rows of two sessions in one batch differ from the same rows alone")
	}
}

func TestAttentionAllocatesNothing(t *testing.T) {
	m := attendOnly(t, shapes[0], 2)
	kv := m.session(t, kvcache.Float16, 0, 700)
	m.rowsAt(kv, 690, 1)
	l := &layer{}
	step := func() {
		m.s.attend.begin(m, m.s.of)
		m.s.attend.run(l, 0)
	}
	if n := testing.AllocsPerRun(20, step); n > 0 {
		t.Errorf("attention of a token allocates %v times", n)
	}
}

// TestLongSessionsAreTheSameHoweverTheyRun is for several segments, in a whole
// model.
func TestLongSessionsAreTheSameHoweverTheyRun(t *testing.T) {
	path, prompt := shared(t, "data/models/stories260K-f32.gguf"), ids(500)
	var kinds [][]float32
	for _, kv := range []kvcache.Precision{kvcache.Float16, kvcache.Int8} {
		want := newChain(t, path, how{kv: kv}).run(t, 0, prompt, 20)
		for _, h := range []how{{threads: 2, chunk: 1}, {threads: 3, chunk: 70, cuts: []int{1, 3}}, {threads: 40, chunk: 251}} {
			h.kv = kv
			got := newChain(t, path, h).run(t, 0, prompt, 20)
			for i := range want {
				if !same(got[i], want[i]) {
					t.Fatalf("%+v: logits at position %d differ by %g from one span, one batch, one thread", h, 480+i, furthest(got[i], want[i]))
				}
			}
		}
		kinds = append(kinds, want[19])
	}
	if d := furthest(kinds[0], kinds[1]); d == 0 || d > 0.5 {
		t.Errorf("keys and values of 8 bits move logits by %g, want a little", d)
	} else {
		t.Logf("keys and values of 8 bits move logits by %.2g", d)
	}
}
