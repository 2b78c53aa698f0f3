package model

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
)

// models are the files that must give the same bits however they are run.
var models = []string{
	"kit/storymodel/story-f16.gguf", "kit/storymodel/story-q8_0.gguf", "kit/storymodel/story-q4_k.gguf",
	"data/models/stories260K-f32.gguf", "data/models/stories260K-pad192-Q4_0.gguf",
	"data/zoo/zoo/gemma3/gemma3-bf16.gguf",
	"data/zoo/zoo/mixtral/mixtral-bf16.gguf", "data/zoo/zoo/qwen3moe/qwen3moe-bf16.gguf",
	"data/zoo/zoo/gemma2/gemma2-bf16.gguf", "data/zoo/zoo/gpt-oss/gpt-oss-bf16.gguf",
}

// ids are made-up tokens: every model here has more than 500.
func ids(n int) []shard.Token {
	rng := rand.New(rand.NewPCG(5, 6))
	out := make([]shard.Token, n)
	for i := range out {
		out[i] = shard.Token(3 + rng.IntN(500))
	}
	return out
}

func TestEverySplitChunkingAndThreadCountGivesTheSameBits(t *testing.T) {
	for _, file := range models {
		t.Run(file, func(t *testing.T) {
			path, prompt := shared(t, file), ids(37)
			want := newChain(t, path, how{}).run(t, 0, prompt, len(prompt))
			_, cfg := openFile(t, path)
			variants := []how{{threads: 2}, {threads: 3}, {chunk: 1}, {threads: 2, chunk: 1}, {threads: 5, chunk: 2}, {chunk: 7}, {threads: 2, chunk: 7, cuts: []int{1, 3}}}
			for cut := 1; cut < cfg.Layers; cut++ {
				variants = append(variants, how{cuts: []int{cut}, chunk: 16})
			}
			for _, h := range variants {
				got := newChain(t, path, h).run(t, 0, prompt, len(prompt))
				for i := range want {
					if !same(got[i], want[i]) {
						t.Fatalf("%+v: logits at position %d differ by %g from one span, one batch, one thread", h, i, furthest(got[i], want[i]))
					}
				}
			}
		})
	}
}

// company is a sink that keeps the logits of one part.
type company struct {
	part int
	keep [][]float32
}

func (c *company) Logits(part, index int, logits []float32) {
	if part == c.part {
		c.keep[index] = append([]float32(nil), logits...)
	}
}

func TestABatchDoesNotChangeASession(t *testing.T) {
	for _, file := range models {
		t.Run(file, func(t *testing.T) {
			path, prompt := shared(t, file), ids(30)
			want := newChain(t, path, how{}).run(t, 0, prompt, len(prompt))
			c := newChain(t, path, how{threads: 2})
			m := c.models[0]
			cfg := m.KVConfig()
			cfg.BudgetBytes = 400 * cfg.TokenBytes()
			store, err := kvcache.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			others := make([]*kvcache.Session, 3)
			for i := range others {
				if others[i], err = store.Reserve(64); err != nil {
					t.Fatal(err)
				}
			}
			var got [][]float32
			rng := rand.New(rand.NewPCG(7, 8))
			for at := 0; at < len(prompt); {
				n := min(1+rng.IntN(9), len(prompt)-at)
				parts := []Part{{KV: c.kv[0], Pos: shard.Pos(at), Tokens: prompt[at:][:n], Logits: n}}
				for _, kv := range others {
					rows := 1 + rng.IntN(5)
					part := Part{KV: kv, Pos: kv.Len(), Tokens: ids(40)[rng.IntN(20):][:rows], Logits: rng.IntN(rows + 1)}
					if int(part.Pos)+rows > 64 {
						part.Pos = 0
					}
					parts = append(parts, part)
				}
				mine := rng.IntN(len(parts))
				parts[0], parts[mine] = parts[mine], parts[0]
				sink := &company{part: mine, keep: make([][]float32, n)}
				m.Forward(parts, sink)
				for _, p := range parts {
					if p.Err != nil {
						t.Fatal(p.Err)
					}
				}
				got = append(got, sink.keep...)
				at += n
			}
			for i := range want {
				if !same(got[i], want[i]) {
					t.Fatalf("logits at position %d differ by %g from those of the session alone", i, furthest(got[i], want[i]))
				}
			}
		})
	}
}

func TestWorkingOnAPositionReplacesWhatFollows(t *testing.T) {
	path, prompt := shared(t, models[0]), ids(30)
	c := newChain(t, path, how{})
	want := c.run(t, 0, prompt, len(prompt))
	c.run(t, 11, ids(19)[:9], 0)
	got := c.run(t, 11, prompt[11:], len(prompt)-11)
	for i := range got {
		if !same(got[i], want[11+i]) {
			t.Fatalf("logits at position %d differ after a rollback to 11", 11+i)
		}
	}
}

func TestHeadAgainGivesTheSameLogits(t *testing.T) {
	c := newChain(t, shared(t, models[1]), how{})
	prompt := ids(9)
	want := c.run(t, 0, prompt, 1)[0]
	parts := []Part{{KV: c.kv[0], Pos: 8, Tokens: prompt[8:], Out: make([]uint16, c.cfg.Dim)}}
	c.models[0].Forward(parts, nil)
	if got := c.models[0].Head(parts[0].Out); !same(got, want) {
		t.Errorf("Head differs by %g from the step's own logits", furthest(got, want))
	}
}

// formEnv makes the test binary print the bits of a run and nothing else.
const formEnv = "SHARDNODE_TEST_MODEL_BITS"

// TestEveryFormOfTheKernelsGivesTheSameBits runs itself with each SHARDNODE_SIMD.
func TestEveryFormOfTheKernelsGivesTheSameBits(t *testing.T) {
	bits := func() string {
		out := ""
		for _, file := range models {
			c := newChain(t, shared(t, file), how{threads: 2, chunk: 9})
			for _, logits := range c.run(t, 0, ids(20), 3) {
				out += fmt.Sprintf("%x", hash(logits))
			}
		}
		return out
	}
	if path := os.Getenv(formEnv); path != "" {
		if err := os.WriteFile(path, []byte(bits()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want := bits()
	for _, form := range []string{"ref", "avx2", "avxvnni", "avx512", "neon", "neondot"} {
		out := t.TempDir() + "/bits"
		cmd := exec.Command(os.Args[0], "-test.run=^TestEveryFormOfTheKernelsGivesTheSameBits$")
		cmd.Env = append(os.Environ(), "SHARDNODE_SIMD="+form, formEnv+"="+out)
		if text, err := cmd.CombinedOutput(); err != nil {
			if form != "ref" {
				t.Logf("form %s does not run here: %s", form, text)
				continue
			}
			t.Fatalf("form %s: %v\n%s", form, err, text)
		}
		got, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("form %s gives other bits than the form chosen here", form)
		}
	}
}

// hash is FNV-1a over the bits of x.
func hash(x []float32) uint64 {
	h := uint64(14695981039346656037)
	for _, v := range x {
		h = (h ^ uint64(bitsOf(v))) * 1099511628211
	}
	return h
}
