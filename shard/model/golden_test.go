package model

import (
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/shardnode/shardnode/shard"
)

// story260 is data/models/stories260K-golden.json.
type story260 struct {
	IDs    []shard.Token        `json:"ids"`
	Logits map[string][]float32 `json:"logits"`
}

func TestStories260KFollowsItsGoldenText(t *testing.T) {
	var want story260
	readJSON(t, shared(t, "data/models/stories260K-golden.json"), &want)
	for _, file := range []string{"stories260K-f32.gguf", "stories260K-f16.gguf", "stories260K-qwen2-f32.gguf", "stories260K-deep20-f32.gguf"} {
		t.Run(file, func(t *testing.T) {
			c := newChain(t, shared(t, "data/models/"+file), how{rounding: RoundNone})
			got := append(want.IDs[:1:1], c.greedy(t, want.IDs[:1], len(want.IDs)-1)...)
			limit := 2e-3
			if file == "stories260K-f16.gguf" {
				limit = 0.05 // the weights themselves are rounded
			}
			for i := range want.IDs {
				if got[i] != want.IDs[i] {
					t.Fatalf("token %d is %d, want %d", i, got[i], want.IDs[i])
				}
			}
			c.reset(t)
			rows := c.run(t, 0, want.IDs[:len(want.IDs)-1], len(want.IDs)-1)
			for step, logits := range want.Logits {
				n, _ := strconv.Atoi(step)
				if d := furthest(rows[n], logits); d > limit {
					t.Errorf("logits at step %d differ by %g, want %g at most", n, d, limit)
				}
			}
		})
	}
}

// zooGolden is golden.json of data/zoo/zoo.
type zooGolden struct {
	Prompt    []shard.Token     `json:"prompt_ids"`
	Positions []int             `json:"positions"`
	Logits    map[string]string `json:"logits_f32le_base64"`
	Greedy    []shard.Token     `json:"greedy_ids"`
	Margins   []float64         `json:"greedy_margins"`
}

func TestZooModelsGiveTheReferenceLogits(t *testing.T) {
	for _, name := range []string{"llama-untied", "llama3-tied", "qwen2", "qwen3", "smollm3", "phi3", "mistral-swa", "gemma3", "mixtral", "qwen3moe", "phi3-longrope", "gemma2", "gpt-oss", "starcoder2"} {
		for rounding, limit := range map[Rounding]float64{RoundNone: 1e-3, RoundBF16: 0.1} {
			t.Run(name+"-"+strconv.Itoa(int(rounding)), func(t *testing.T) {
				dir := shared(t, "data/zoo/zoo/"+name)
				if name == "gemma3" && rounding == RoundBF16 {
					limit = 0.15 // its hidden states grow with every layer
				}
				golden := filepath.Join(dir, "golden.json")
				if g := filepath.Join(dir, "golden-gguf.json"); exists(g) {
					golden = g
				}
				var want zooGolden
				readJSON(t, golden, &want)
				c := newChain(t, filepath.Join(dir, name+"-bf16.gguf"), how{rounding: rounding})
				rows := c.run(t, 0, want.Prompt, len(want.Prompt))
				worst := 0.0
				for _, p := range want.Positions {
					d := furthest(rows[p], floats(t, want.Logits[strconv.Itoa(p)]))
					worst = max(worst, d)
					if !(d <= limit) {
						t.Errorf("logits at position %d differ by %g, want %g at most", p, d, limit)
					}
				}
				t.Logf("largest difference %.2g", worst)
				c.reset(t)
				got := c.greedy(t, want.Prompt, len(want.Greedy))
				for i := range want.Greedy {
					if want.Margins[i] < max(limit, 5e-3) {
						break
					}
					if got[i] != want.Greedy[i] {
						t.Fatalf("greedy token %d is %d, want %d (margin %g)", i, got[i], want.Greedy[i], want.Margins[i])
					}
				}
			})
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// quantGolden is golden.json of data/zoo/quant.
type quantGolden struct {
	Prompt   []shard.Token `json:"prompt_ids"`
	Last     string        `json:"logits_last_f32le_base64"`
	LlamaCpp struct {
		Diff float64 `json:"max_abs_logit_diff_last"`
	} `json:"llama_cpp"`
}

// TestQuantisedModelsStayNearTheReference asks for what the README of data/zoo
// accepts of an engine with 8-bit activations: three times the difference that
// llama.cpp has.
func TestQuantisedModelsStayNearTheReference(t *testing.T) {
	for _, name := range []string{"F16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q2_K", "Q3_K_M", "Q4_K_M", "Q6_K", "IQ4_NL", "IQ3_S", "IQ2_XS", "TQ2_0", "MXFP4"} {
		t.Run(name, func(t *testing.T) {
			dir := shared(t, "data/zoo/quant/"+name)
			var want quantGolden
			readJSON(t, filepath.Join(dir, "golden.json"), &want)
			c := newChain(t, filepath.Join(dir, name+".gguf"), how{})
			got := c.run(t, 0, want.Prompt, 1)[0]
			limit := 3 * max(want.LlamaCpp.Diff, 0.03)
			d := furthest(got, floats(t, want.Last))
			t.Logf("largest difference %.3f, llama.cpp %.3f", d, want.LlamaCpp.Diff)
			if !(d <= limit) {
				t.Errorf("last logits differ by %g, want %g at most", d, limit)
			}
		})
	}
}

// storyGolden is kit/storymodel/golden.json.
type storyGolden struct {
	Cases []struct {
		IDs []shard.Token `json:"ids"`
		F32 storyAnswer   `json:"f32"`
		Q8  storyAnswer   `json:"q8_0"`
	} `json:"cases"`
}

type storyAnswer struct {
	Logits  []float32     `json:"logits"`
	Greedy  []shard.Token `json:"greedy"`
	Margins []float64     `json:"margins"`
}

func TestStoryModelTellsItsGoldenStories(t *testing.T) {
	var want storyGolden
	readJSON(t, shared(t, "kit/storymodel/golden.json"), &want)
	for _, f := range []struct {
		file   string
		h      how
		limit  float64
		answer func(i int) storyAnswer
	}{
		{"story-f16.gguf", how{rounding: RoundNone}, 1e-3, func(i int) storyAnswer { return want.Cases[i].F32 }},
		{"story-f16.gguf", how{}, 0.1, func(i int) storyAnswer { return want.Cases[i].F32 }},
		{"story-q8_0.gguf", how{}, 0.3, func(i int) storyAnswer { return want.Cases[i].Q8 }},
	} {
		t.Run(f.file, func(t *testing.T) {
			c := newChain(t, shared(t, "kit/storymodel/"+f.file), f.h)
			for i, story := range want.Cases[:min(4, len(want.Cases))] {
				a := f.answer(i)
				c.reset(t)
				d := furthest(c.run(t, 0, story.IDs, 1)[0], a.Logits)
				t.Logf("case %d: largest difference %.2g", i, d)
				if !(d <= f.limit) {
					t.Errorf("case %d: logits differ by %g, want %g at most", i, d, f.limit)
				}
				c.reset(t)
				got := c.greedy(t, story.IDs, len(a.Greedy))
				for n := range a.Greedy {
					if a.Margins[n] < 2*f.limit {
						break
					}
					if got[n] != a.Greedy[n] {
						t.Errorf("case %d: token %d is %d, want %d (margin %g)", i, n, got[n], a.Greedy[n], a.Margins[n])
						break
					}
				}
			}
		})
	}
}

func TestRealModelsReadAPassageAsWellAsTheReference(t *testing.T) {
	dir := os.Getenv("SHARDNODE_MODELS")
	if dir == "" {
		t.Skip("SHARDNODE_MODELS does not name a folder with the real models")
	}
	for _, name := range []string{"smollm2-135m-instruct-q4_1", "gemma3-270m-q4_k_m"} {
		t.Run(name, func(t *testing.T) {
			var want struct {
				IDs        []shard.Token `json:"ids"`
				Perplexity float64       `json:"perplexity"`
			}
			readJSON(t, shared(t, "data/zoo/real/"+name+"-nll.json"), &want)
			c := newChain(t, filepath.Join(dir, name+".gguf"), how{threads: 2, chunk: 64})
			sum := 0.0
			for i, logits := range c.run(t, 0, want.IDs, len(want.IDs))[:len(want.IDs)-1] {
				sum += nll(logits, want.IDs[i+1])
			}
			got := math.Exp(sum / float64(len(want.IDs)-1))
			t.Logf("perplexity %.4f, reference %.4f", got, want.Perplexity)
			if !(math.Abs(got/want.Perplexity-1) <= 0.01) {
				t.Errorf("perplexity is %.4f, want within 1 %% of %.4f", got, want.Perplexity)
			}
		})
	}
}

// TestRealModelsChooseTheReferenceTokens feeds the reference's own greedy text
// and compares the best token wherever the reference is sure. The margin is
// what 8-bit activations may move two logits against each other: they answer to
// any other order of sums in attention, and two tokens of SmolLM2 with margins of
// 0.57 and 0.63 go one way or the other with it.
func TestRealModelsChooseTheReferenceTokens(t *testing.T) {
	dir := os.Getenv("SHARDNODE_MODELS")
	if dir == "" {
		t.Skip("SHARDNODE_MODELS does not name a folder with the real models")
	}
	const sure = 0.75
	for _, name := range []string{"smollm2-135m-instruct-q4_1", "gemma3-270m-q4_k_m"} {
		t.Run(name, func(t *testing.T) {
			var want struct {
				Prompts []struct {
					IDs     []shard.Token `json:"ids"`
					Greedy  []shard.Token `json:"greedy_ids"`
					Margins []float64     `json:"greedy_margins"`
				} `json:"prompts"`
			}
			readJSON(t, shared(t, "data/zoo/real/"+name+"-golden.json"), &want)
			c := newChain(t, filepath.Join(dir, name+".gguf"), how{threads: 2})
			compared := 0
			for i, p := range want.Prompts {
				c.reset(t)
				all := append(p.IDs[:len(p.IDs):len(p.IDs)], p.Greedy[:len(p.Greedy)-1]...)
				for n, logits := range c.run(t, 0, all, len(p.Greedy)) {
					if p.Margins[n] < sure {
						continue
					}
					compared++
					if got := best(logits); got != p.Greedy[n] {
						t.Errorf("prompt %d: token %d is %d, want %d (margin %g)", i, n, got, p.Greedy[n], p.Margins[n])
					}
				}
			}
			t.Logf("%d tokens compared", compared)
		})
	}
}

// nll returns the negative log-likelihood of a token.
func nll(logits []float32, token shard.Token) float64 {
	top := float64(logits[best(logits)])
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(float64(x) - top)
	}
	return top + math.Log(sum) - float64(logits[token])
}
