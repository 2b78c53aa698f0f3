package model

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/model/modeltest"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/par"
)

// all is the span of modeltest.New(2, _).
var all = shard.Span{Start: 0, End: 2}

// loadTiny reads the configuration of src and loads a span with one thread.
func loadTiny(t testing.TB, src *modeltest.Model, span shard.Span, opts Options) (*Model, error) {
	t.Helper()
	cfg, err := ReadConfig(src)
	if err != nil {
		return nil, err
	}
	opts.Pool = par.New(1)
	t.Cleanup(opts.Pool.Close)
	m, err := Load(context.Background(), cfg, src, span, opts)
	if err == nil {
		t.Cleanup(m.Close)
	}
	return m, err
}

func TestAModelThatCannotBeIsRefusedWithTheReason(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(m *modeltest.Model)
		want string // part of the error
	}{
		{"no architecture", func(m *modeltest.Model) { delete(m.Text, "general.architecture") }, "general.architecture"},
		{"unknown architecture", func(m *modeltest.Model) { m.Text["general.architecture"] = "qwen2vl" }, `nearest that is, is "qwen2"`},
		{"no layers", func(m *modeltest.Model) { m.Numbers["llama.block_count"] = 0 }, "llama.block_count"},
		{"absurd layers", func(m *modeltest.Model) { m.Numbers["llama.block_count"] = 1 << 60 }, "llama.block_count"},
		{"no width", func(m *modeltest.Model) { delete(m.Numbers, "llama.embedding_length") }, "llama.embedding_length"},
		{"heads do not divide", func(m *modeltest.Model) { m.Numbers["llama.attention.head_count_kv"] = 3 }, "want a multiple"},
		{"odd rotation", func(m *modeltest.Model) { m.Numbers["llama.rope.dimension_count"] = 7 }, "rope.dimension_count"},
		{"rotation wider than a head", func(m *modeltest.Model) { m.Numbers["llama.rope.dimension_count"] = 10 }, "rope.dimension_count"},
		{"unknown scaling", func(m *modeltest.Model) { m.Text["llama.rope.scaling.type"] = "dynamic" }, `"dynamic", which is not supported`},
		{"longrope of another length", func(m *modeltest.Model) {
			m.Numbers["llama.rope.scaling.original_context_length"] = 32
			m.Tensors[ropeLongName] = filled(1, 3)
		}, "shape [3], want [4]"},
		{"longrope without amplitude", func(m *modeltest.Model) {
			m.Tensors[ropeLongName], m.Reals["llama.rope.scaling.attn_factor"] = filled(1, 4), 0
		}, "attn_factor"},
		{"experts of an architecture that has none", func(m *modeltest.Model) {
			rename(m, "phi3")
			m.Numbers["phi3.expert_count"] = 8
		}, "mixture of experts of this architecture is not supported yet"},
		{"experts of which nobody says how many are used", func(m *modeltest.Model) { m.Numbers["llama.expert_count"] = 8 }, "llama.expert_used_count"},
		{"more experts used than there are", func(m *modeltest.Model) {
			m.Numbers["llama.expert_count"], m.Numbers["llama.expert_used_count"] = 8, 9
		}, "llama.expert_used_count"},
		{"experts of another shape", func(m *modeltest.Model) {
			mixed(m, 1)
			reshape(m, "blk.1.ffn_up_exps.weight", 2, 128, 32)
		}, "shape [2 128 32], want [4 64 32]"},
		{"no vocabulary", func(m *modeltest.Model) { delete(m.Numbers, "llama.vocab_size") }, "vocabulary"},
		{"negative epsilon", func(m *modeltest.Model) { m.Reals["llama.attention.layer_norm_rms_epsilon"] = -1 }, "epsilon"},
		{"missing tensor", func(m *modeltest.Model) { delete(m.Tensors, "blk.1.ffn_up.weight") }, `"blk.1.ffn_up.weight"`},
		{"wrong shape", func(m *modeltest.Model) { reshape(m, "blk.1.attn_k.weight", 32, 16) }, "shape [32 16], want [16 32]"},
		{"embedding of another vocabulary", func(m *modeltest.Model) { m.Numbers["llama.vocab_size"] = 96 }, "shape [97 32], want [96 32]"},
		{"too few bytes", func(m *modeltest.Model) { cut(m, "blk.0.ffn_down.weight") }, "bytes"},
		{"norm of another length", func(m *modeltest.Model) { reshape(m, "blk.0.ffn_norm.weight", 8, 4) }, "blk.0.ffn_norm.weight"},
		{"type without kernel", func(m *modeltest.Model) { retype(m, "blk.0.attn_q.weight", tensorio.I32) }, "I32"},
		{"rope factors of zero", func(m *modeltest.Model) {
			m.Tensors[ropeName] = tensorio.Tensor{Type: tensorio.F32, Shape: []int{4}, Data: make([]byte, 16)}
		}, "rope_freqs.weight"},
	} {
		t.Run(c.name, func(t *testing.T) {
			src := modeltest.New(2, 1)
			c.harm(src)
			_, err := loadTiny(t, src, all, Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want one with %q", err, c.want)
			}
		})
	}
}

func reshape(m *modeltest.Model, name string, shape ...int) {
	t := m.Tensors[name]
	t.Shape = shape
	m.Tensors[name] = t
}

func cut(m *modeltest.Model, name string) {
	t := m.Tensors[name]
	t.Data = t.Data[:len(t.Data)-4]
	m.Tensors[name] = t
}

func retype(m *modeltest.Model, name string, to tensorio.Type) {
	t := m.Tensors[name]
	t.Type = to
	m.Tensors[name] = t
}

func TestRandomMetadataNeverPanics(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	src := modeltest.New(2, 1)
	good := maps.Clone(src.Numbers)
	for range 3000 {
		src.Numbers = maps.Clone(good)
		src.Numbers["llama.attention.key_length"] = rng.Uint64() >> rng.IntN(64)
		for _, key := range slices.Sorted(maps.Keys(src.Numbers)) {
			if rng.IntN(3) == 0 {
				src.Numbers[key] = rng.Uint64() >> rng.IntN(64)
			}
		}
		cfg, err := ReadConfig(src)
		if err != nil {
			continue
		}
		if _, err := MemoryBytes(cfg, src, all); err == nil {
			if _, err := loadTiny(t, src, all, Options{}); err != nil {
				t.Fatalf("MemoryBytes takes %v, Load says %v", src.Numbers, err)
			}
		}
	}
}

func TestLoadSaysWhatIsMissing(t *testing.T) {
	src := modeltest.New(2, 1)
	m, err := loadTiny(t, src, all, Options{})
	if err != nil {
		t.Fatal(err)
	}
	need := m.PackedBytes()
	_, err = loadTiny(t, src, all, Options{MemoryBytes: need - 1})
	if big, ok := errors.AsType[*TooBigError](err); !ok || big.NeedBytes != need || big.LimitBytes != need-1 {
		t.Errorf("one byte too little gives %v, want a TooBigError of %d", err, need)
	}
	if _, err := loadTiny(t, src, all, Options{MemoryBytes: need}); err != nil {
		t.Errorf("enough memory gives %v", err)
	}
	for _, span := range []shard.Span{{Start: 0, End: 0}, {Start: 1, End: 3}, {Start: -1, End: 1}} {
		if _, err := loadTiny(t, src, span, Options{}); err == nil {
			t.Errorf("loaded layers %v of two", span)
		}
	}
}

func TestLoadStopsWithItsContextAndTellsProgress(t *testing.T) {
	src := modeltest.New(4, 1)
	cfg, err := ReadConfig(src)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	calls, last := 0, int64(0)
	pool := par.New(1)
	defer pool.Close()
	_, err = Load(ctx, cfg, src, shard.Span{Start: 0, End: 4}, Options{Pool: pool, Progress: func(done, total int64) {
		if done <= last || done > total {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
		if calls++; calls == 2 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || calls != 2 {
		t.Errorf("cancelled after %d layers: %v", calls, err)
	}
}

// only has the tensors of a span and fails the test for others.
type only struct {
	*modeltest.Model
	t     *testing.T
	allow func(name string) bool
}

func (o only) Tensor(name string) (tensorio.Tensor, error) {
	if !o.allow(name) {
		o.t.Errorf("tensor %q was asked for", name)
	}
	return o.Model.Tensor(name)
}

func TestLoadTouchesOnlyTheTensorsOfItsSpan(t *testing.T) {
	src := only{modeltest.New(4, 1), t, func(name string) bool {
		return strings.HasPrefix(name, "blk.1.") || strings.HasPrefix(name, "blk.2.") || name == ropeName
	}}
	cfg, err := ReadConfig(src)
	if err != nil {
		t.Fatal(err)
	}
	pool := par.New(1)
	defer pool.Close()
	m, err := Load(context.Background(), cfg, src, shard.Span{Start: 1, End: 3}, Options{Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	m.Close()
	m.Close()
}

func TestADecodeStepDoesNotAllocate(t *testing.T) {
	m, err := loadTiny(t, modeltest.New(2, 1), all, Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := m.KVConfig()
	cfg.BudgetBytes = 4 * 64 * cfg.TokenBytes()
	store, err := kvcache.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	parts := make([]Part, 3)
	for i := range parts {
		kv, err := store.Reserve(64)
		if err != nil {
			t.Fatal(err)
		}
		defer kv.Close()
		parts[i] = Part{KV: kv, Tokens: []shard.Token{1}, Logits: 1, Out: make([]uint16, modeltest.Dim)}
	}
	for range 40 { // grow the buffers and pages
		m.Forward(parts, discard{})
		for i := range parts {
			parts[i].Pos++
		}
	}
	if n := testing.AllocsPerRun(20, func() {
		m.Forward(parts, discard{})
		for i := range parts {
			parts[i].Pos = 33
		}
	}); n != 0 {
		t.Errorf("a decode step allocates %v times, want 0", n)
	}
}

// discard is a sink for nobody.
type discard struct{}

func (discard) Logits(int, int, []float32) {}

func TestAPartThatFailsHarmsNoOther(t *testing.T) {
	m, err := loadTiny(t, modeltest.New(4, 1), shard.Span{Start: 1, End: 4}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := m.KVConfig()
	cfg.BudgetBytes = 1 << 20
	store, err := kvcache.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	part := func(first uint16) Part {
		kv, err := store.Reserve(8)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(kv.Close)
		p := Part{KV: kv, Hidden: make([]uint16, 2*modeltest.Dim), Logits: 1}
		for i := range p.Hidden {
			p.Hidden[i] = 0x3f80
		}
		p.Hidden[0] = first
		return p
	}
	alone := &company{keep: make([][]float32, 1)}
	m.Forward([]Part{part(0x3f80)}, alone)
	together := &company{part: 2, keep: make([][]float32, 1)}
	gap := part(0x3f80)
	gap.Pos = 1
	parts := []Part{part(0x7f80), gap, part(0x3f80)} // infinity, a gap, and a good one
	m.Forward(parts, together)
	if !errors.Is(parts[0].Err, kvcache.ErrOverflow) || parts[1].Err == nil || parts[2].Err != nil {
		t.Errorf("errors are %v, %v, %v, want overflow, a gap, none", parts[0].Err, parts[1].Err, parts[2].Err)
	}
	if parts[0].KV.Len() != 0 || parts[2].KV.Len() != 2 {
		t.Errorf("sessions hold %d and %d, want 0 and 2", parts[0].KV.Len(), parts[2].KV.Len())
	}
	if !same(together.keep[0], alone.keep[0]) {
		t.Error("a part that failed changed another's logits")
	}
}
