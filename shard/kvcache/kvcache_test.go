package kvcache

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// small is a store of 10 pages of 4 positions.
func small(t *testing.T) *Store {
	t.Helper()
	cfg := Config{Layers: 3, KVHeads: 2, KeyDim: 5, ValDim: 3, PageTokens: 4}
	cfg.BudgetBytes = 10*4*cfg.TokenBytes() + 1
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// value is what the tests store for a layer, position, head and index.
func value(layer, pos, head, i int) float32 { return float32(layer*1000+pos*20+head*10+i) / 8 }

// put stores positions [lo, hi) in all layers and commits them.
func put(t *testing.T, c *Session, lo, hi int) {
	t.Helper()
	if err := c.Extend(shard.Pos(lo), hi-lo); err != nil {
		t.Fatal(err)
	}
	for l := range 3 {
		for p := lo; p < hi; p++ {
			k, v := make([]float32, 10), make([]float32, 6)
			for i := range k {
				k[i] = value(l, p, i/5, i%5)
			}
			for i := range v {
				v[i] = -value(l, p, i/3, i%3)
			}
			if err := c.Put(l, shard.Pos(p), k, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.Commit()
}

// check compares all positions below n with what put stored.
func check(t *testing.T, c *Session, n int) {
	t.Helper()
	for l := range 3 {
		for p := range n {
			for h := range 2 {
				keys, vals := c.Page(l, h, p/4)
				for i := range 5 {
					if want := half(value(l, p, h, i)); keys[16*i+p%4] != want {
						t.Fatalf("layer %d pos %d head %d key %d is %#x, want %#x", l, p, h, i, keys[16*i+p%4], want)
					}
				}
				for i := range 3 {
					if want := half(-value(l, p, h, i)); vals[16*(p%4)+i] != want {
						t.Fatalf("layer %d pos %d head %d value %d is %#x, want %#x", l, p, h, i, vals[16*(p%4)+i], want)
					}
				}
			}
		}
	}
}

func TestWhatWasPutIsRead(t *testing.T) {
	c, err := small(t).Reserve(19)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	put(t, c, 0, 1)
	put(t, c, 1, 11)
	put(t, c, 11, 19)
	check(t, c, 19)
	put(t, c, 6, 9) // replaces 6 and after
	if c.Len() != 9 {
		t.Errorf("session is %d long after work on positions 6 to 8, want 9", c.Len())
	}
	check(t, c, 9)
}

func TestASessionThatDoesNotFitTakesNothing(t *testing.T) {
	s := small(t)
	a, err := s.Reserve(25) // 7 pages
	if err != nil {
		t.Fatal(err)
	}
	before := s.Stats()
	if _, err := s.Reserve(13); !errors.Is(err, ErrNoCapacity) {
		t.Fatalf("Reserve(13) = %v, want ErrNoCapacity", err)
	}
	if s.Stats() != before {
		t.Errorf("a refused session changed %+v to %+v", before, s.Stats())
	}
	b, err := s.Reserve(12)
	if err != nil {
		t.Fatalf("Reserve(12) with 3 pages free: %v", err)
	}
	a.Close()
	b.Close()
}

func TestGapsAndOverruns(t *testing.T) {
	c, err := small(t).Reserve(8)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	put(t, c, 0, 5)
	if err := c.Extend(6, 1); err == nil {
		t.Error("Extend at 6 of a session of 5 succeeded")
	}
	if err := c.Extend(5, 4); !errors.Is(err, ErrTooLong) {
		t.Errorf("Extend to 9 of 8 = %v, want ErrTooLong", err)
	}
	if c.Len() != 5 {
		t.Errorf("refused Extends left %d positions, want 5", c.Len())
	}
	check(t, c, 5)
}

func TestUncommittedPositionsAreForgotten(t *testing.T) {
	c, err := small(t).Reserve(8)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	put(t, c, 0, 3)
	if err := c.Extend(3, 2); err != nil {
		t.Fatal(err)
	}
	if c.Len() != 3 {
		t.Errorf("an Extend without Commit made the session %d long, want 3", c.Len())
	}
}

func TestNoPageIsLost(t *testing.T) {
	s := small(t)
	rng := rand.New(rand.NewPCG(1, 2))
	var open []*Session
	for range 2000 {
		switch {
		case len(open) == 0 || rng.IntN(3) == 0:
			if c, err := s.Reserve(1 + rng.IntN(16)); err == nil {
				open = append(open, c)
			}
		case rng.IntN(3) == 0:
			i := rng.IntN(len(open))
			open[i].Close()
			open[i].Close() // twice does no harm
			open = append(open[:i], open[i+1:]...)
		default:
			c := open[rng.IntN(len(open))]
			at := rng.IntN(int(c.Len()) + 1)
			if n := rng.IntN(c.MaxTokens() - at + 1); rng.IntN(2) == 0 {
				put(t, c, at, at+n)
			} else {
				c.Truncate(shard.Pos(at))
			}
			check(t, c, int(c.Len()))
		}
		st := s.Stats()
		if st.UsedBytes > st.ReservedBytes || st.ReservedBytes > st.BudgetBytes || st.Sessions != len(open) {
			t.Fatalf("%d sessions open, stats %+v", len(open), st)
		}
	}
	for _, c := range open {
		c.Close()
	}
	if st := s.Stats(); st.UsedBytes != 0 || st.ReservedBytes != 0 || st.Sessions != 0 {
		t.Errorf("all sessions closed, stats %+v", st)
	}
}

func TestValuesBeyondHalfPrecisionAreAnError(t *testing.T) {
	c, err := small(t).Reserve(8)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, bad := range []float32{65520, -70000, float32(math.Inf(1)), float32(math.NaN())} {
		if err := c.Extend(0, 1); err != nil {
			t.Fatal(err)
		}
		k, v := make([]float32, 10), make([]float32, 6)
		v[5] = bad
		if err := c.Put(0, 0, k, v); !errors.Is(err, ErrOverflow) {
			t.Errorf("Put(%v) = %v, want ErrOverflow", bad, err)
		}
	}
	k, v := make([]float32, 10), make([]float32, 6)
	k[0], v[0] = 65519, -65519
	if err := c.Put(0, 0, k, v); err != nil {
		t.Errorf("Put(65519) = %v, want no error: it rounds to 65504", err)
	}
}

func TestNonsenseIsRefused(t *testing.T) {
	if _, err := New(Config{Layers: 1, KVHeads: 1, KeyDim: 4}); err == nil {
		t.Error("a store without ValDim was made")
	}
	if _, err := New(Config{Layers: 1, KVHeads: 1, KeyDim: 4, ValDim: 4, BudgetBytes: -1}); err == nil {
		t.Error("a store with a negative budget was made")
	}
	s := small(t)
	if _, err := s.Reserve(0); err == nil {
		t.Error("Reserve(0) succeeded")
	}
	s.Close()
	if _, err := s.Reserve(1); err == nil {
		t.Error("a closed store made a session")
	}
}

func TestFloat32KeepsEveryBit(t *testing.T) {
	s, err := New(Config{Layers: 2, KVHeads: 1, KeyDim: 2, ValDim: 2, PageTokens: 2, Precision: Float32, BudgetBytes: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := s.Reserve(3)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Extend(0, 3); err != nil {
		t.Fatal(err)
	}
	if err := c.Put(1, 2, []float32{1e30, 1.0000001}, []float32{-1e-30, 3}); err != nil {
		t.Fatal(err)
	}
	keys, vals := c.PageFloat32(1, 0, 1)
	if keys[0] != 1e30 || keys[16] != 1.0000001 || vals[0] != -1e-30 || vals[1] != 3 {
		t.Errorf("got %v, %v, want what was put", keys[:17], vals[:2])
	}
}

// half returns the float16 bits of x.
func half(x float32) uint16 {
	var h [1]uint16
	vec.ToF16(h[:], []float32{x})
	return h[0]
}

func TestInt8KeepsWithinHalfAScale(t *testing.T) {
	cfg := Config{Layers: 2, KVHeads: 2, KeyDim: 37, ValDim: 200, Precision: Int8}
	half := cfg
	half.Precision = Float16
	if a, b := cfg.TokenBytes(), half.TokenBytes(); float64(a) > 0.56*float64(b) {
		t.Errorf("a position takes %d bytes, as float16 %d, want little more than half", a, b)
	}
	cfg.BudgetBytes = 64 * cfg.TokenBytes()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := s.Reserve(40)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Extend(0, 40); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	k, v := make([]float32, 2*37), make([]float32, 2*200)
	for i := range k {
		k[i] = float32(rng.NormFloat64()) * 1e6 // far beyond float16
	}
	for i := range v[:200] {
		v[i] = float32(rng.NormFloat64()) * 1e-9
	}
	if err := c.Put(1, 35, k, v); err != nil { // the second head's value is 0
		t.Fatal(err)
	}
	for h := range 2 {
		keys, vals := c.PageInt8(1, h, 1)
		ks, vs := c.Scales(1, h, 1)
		for i, want := range k[h*37:][:37] {
			if got := ks[3] * float32(keys[i*16+3]); math.Abs(float64(got-want)) > float64(ks[3])*0.5001 {
				t.Fatalf("head %d key %d is %g, want %g within half of %g", h, i, got, want, ks[3])
			}
		}
		for i, want := range v[h*200:][:200] {
			if got := vs[3] * float32(vals[(i/16*32+3)*16+i%16]); math.Abs(float64(got-want)) > float64(vs[3])*0.5001 {
				t.Fatalf("head %d value %d is %g, want %g within half of %g", h, i, got, want, vs[3])
			}
		}
	}
	k[5] = float32(math.Inf(-1))
	if err := c.Put(1, 35, k, v); !errors.Is(err, ErrOverflow) {
		t.Errorf("Put of an infinity = %v, want ErrOverflow", err)
	}
	k[5] = float32(math.NaN())
	if err := c.Put(1, 35, k, v); !errors.Is(err, ErrOverflow) {
		t.Errorf("Put of what is not a number = %v, want ErrOverflow", err)
	}
}

func TestPrecisionsAreParsedByTheirNames(t *testing.T) {
	for _, p := range []Precision{Float16, Float32, Int8} {
		if got, err := ParsePrecision(p.String()); got != p || err != nil {
			t.Errorf("ParsePrecision(%q) = %v, %v", p, got, err)
		}
	}
	if _, err := ParsePrecision("q4_0"); err == nil {
		t.Error("q4_0 was parsed")
	}
}
