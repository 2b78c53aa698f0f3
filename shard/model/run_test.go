package model

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/tensorio/par"
)

// shared returns the path of a file beside the project, or skips the test.
func shared(t testing.TB, path string) string {
	t.Helper()
	path = filepath.Join("../../../shared", path)
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs the shared folder beside the project: ", err)
	}
	return path
}

// readJSON reads a file into v.
func readJSON(t testing.TB, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// floats decodes little-endian float32 in base64.
func floats(t testing.TB, text string) []float32 {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, len(b)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}

// openFile opens a model file for the length of the test.
func openFile(t testing.TB, path string) (*weights.File, Config) {
	t.Helper()
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	cfg, err := ReadConfig(f.Meta())
	if err != nil {
		t.Fatal(err)
	}
	return f, cfg
}

// how says how a test runs a model.
type how struct {
	rounding Rounding
	kv       kvcache.Precision
	threads  int   // default 1
	cuts     []int // borders between spans, none for one span
	chunk    int   // rows of a batch, default all
}

// A chain is all layers of a model, in one span or several.
type chain struct {
	models []*Model
	kv     []*kvcache.Session
	cfg    Config
	how    how
	keep   [][]float32 // logits of the last call of run
	base   int         // of keep, where those of the current batch go
}

// Logits keeps the logits of a row.
func (c *chain) Logits(_, index int, logits []float32) {
	c.keep[c.base+index] = append([]float32(nil), logits...)
}

// newChain loads a model file.
func newChain(t testing.TB, path string, h how) *chain {
	t.Helper()
	f, cfg := openFile(t, path)
	return newChainOf(t, f, cfg, h)
}

// newChainOf loads a model.
func newChainOf(t testing.TB, f Source, cfg Config, h how) *chain {
	t.Helper()
	c := &chain{cfg: cfg, how: h}
	pool := par.New(max(1, h.threads))
	t.Cleanup(pool.Close)
	ends := append(append([]int(nil), h.cuts...), cfg.Layers)
	start := 0
	for _, end := range ends {
		span := shard.Span{Start: shard.Layer(start), End: shard.Layer(end)}
		m, err := Load(context.Background(), cfg, f, span, Options{Pool: pool, Rounding: h.rounding, KV: h.kv})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(m.Close)
		c.models = append(c.models, m)
		start = end
	}
	c.reset(t)
	return c
}

// reset gives the chain a new session.
func (c *chain) reset(t testing.TB) {
	t.Helper()
	c.kv = nil
	for _, m := range c.models {
		cfg := m.KVConfig()
		cfg.PageTokens = 8 // small, so that tests cross pages
		cfg.BudgetBytes = int64(c.cfg.Context+8) * cfg.TokenBytes()
		store, err := kvcache.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(store.Close)
		kv, err := store.Reserve(c.cfg.Context)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(kv.Close)
		c.kv = append(c.kv, kv)
	}
}

// run feeds ids at a position and returns the logits of the last want rows.
func (c *chain) run(t testing.TB, at int, ids []shard.Token, want int) [][]float32 {
	t.Helper()
	chunk := c.how.chunk
	if chunk == 0 {
		chunk = len(ids)
	}
	c.keep, c.base = make([][]float32, want), 0
	for lo := 0; lo < len(ids); lo += chunk {
		some := ids[lo:min(len(ids), lo+chunk)]
		var hidden []uint16
		for i, m := range c.models {
			p := Part{KV: c.kv[i], Pos: shard.Pos(at + lo), Hidden: hidden}
			if i == 0 {
				p.Tokens, p.Hidden = some, nil
			}
			if m.HasHead() {
				p.Logits = max(0, min(len(some), lo+len(some)-(len(ids)-want)))
			} else {
				hidden = make([]uint16, len(some)*c.cfg.Dim)
				p.Out = hidden
			}
			parts := []Part{p}
			m.Forward(parts, c)
			if parts[0].Err != nil {
				t.Fatalf("positions %d to %d: %v", at+lo, at+lo+len(some), parts[0].Err)
			}
			c.base += p.Logits
		}
	}
	return c.keep
}

// greedy continues after prompt for n tokens.
func (c *chain) greedy(t testing.TB, prompt []shard.Token, n int) []shard.Token {
	t.Helper()
	var out []shard.Token
	logits := c.run(t, 0, prompt, 1)[0]
	for {
		out = append(out, best(logits))
		if len(out) == n {
			return out
		}
		logits = c.run(t, len(prompt)+len(out)-1, out[len(out)-1:], 1)[0]
	}
}

// best returns the token with the highest logit.
func best(logits []float32) shard.Token {
	at := 0
	for i, x := range logits {
		if x > logits[at] {
			at = i
		}
	}
	return shard.Token(at)
}

// furthest returns the largest difference of two vectors.
func furthest(a, b []float32) float64 {
	d := 0.0
	for i := range a {
		d = max(d, math.Abs(float64(a[i])-float64(b[i])))
	}
	return d
}

// bitsOf returns the bits of x.
func bitsOf(x float32) uint32 { return math.Float32bits(x) }

// same reports whether two vectors have the same bits.
func same(a, b []float32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if bitsOf(a[i]) != bitsOf(b[i]) {
			return false
		}
	}
	return true
}
