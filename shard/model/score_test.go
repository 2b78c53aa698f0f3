package model

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio"
	"github.com/shardnode/shardnode/tensorio/quant"
)

// widened is a model's tensors with exact float32 weights.
type widened struct{ Source }

func (w widened) Tensor(name string) (tensorio.Tensor, error) {
	t, err := w.Source.Tensor(name)
	if err != nil || t.Data == nil {
		return t, err
	}
	values := make([]float32, t.Elements())
	if err := quant.Dequantize(values, t.Type, t.Data); err != nil {
		return t, err
	}
	t.Type, t.Data = tensorio.F32, make([]byte, 0, 4*len(values))
	for _, v := range values {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, math.Float32bits(v))
	}
	return t, nil
}

// A score says how far distributions of tokens are from the reference.
type score struct {
	mean, worst float64 // Kullback-Leibler divergence
	same        float64 // positions with the same best token, of 1
}

// scoreOf compares logits with those of the reference, position by position.
func scoreOf(got, want [][]float32) score {
	var s score
	for i := range want {
		d := divergence(want[i], got[i])
		s.mean += d / float64(len(want))
		s.worst = max(s.worst, d)
		if best(got[i]) == best(want[i]) {
			s.same += 1 / float64(len(want))
		}
	}
	return s
}

// divergence returns the sum of p*log(p/q) of the distributions of logits.
func divergence(p, q []float32) float64 {
	sum, np, nq := 0.0, nll(p, 0)+float64(p[0]), nll(q, 0)+float64(q[0])
	for i := range p {
		lp, lq := float64(p[i])-np, float64(q[i])-nq
		sum += math.Exp(lp) * (lp - lq)
	}
	return sum
}

// scoreGolden is golden.json of data/zoo/quant, as far as scores go.
type scoreGolden struct {
	Prompt   []shard.Token `json:"prompt_ids"`
	Last     string        `json:"logits_last_f32le_base64"`
	Greedy   []shard.Token `json:"greedy_ids"`
	Margins  []float64     `json:"greedy_margins"`
	Long     []shard.Token `json:"long_prompt_ids"`
	LlamaCpp struct {
		Mean  float64 `json:"kl_mean_256"`
		Worst float64 `json:"kl_max_256"`
		Same  float64 `json:"same_top1_256"`
	} `json:"llama_cpp"`
}

// TestEveryQuantisedTypeScoresLikeLlamaCpp compares with the logits of the same
// weights in float32, at the 256 positions at which golden.json has llama.cpp's
// scores. Both round activations to 8 bits alike, so that the means differ by
// chance: by 3 % at most here. The worst of 256 positions differs more. Hidden
// states in bfloat16 have a part of 1e-5.
func TestEveryQuantisedTypeScoresLikeLlamaCpp(t *testing.T) {
	const sure = 0.5 // what 8-bit activations may move two logits against each other
	goldens, _ := filepath.Glob(filepath.Join(shared(t, "data/zoo/quant"), "*", "golden.json"))
	if len(goldens) < 10 {
		t.Fatalf("%d models, want 10 or more", len(goldens))
	}
	for _, golden := range goldens {
		dir := filepath.Dir(golden)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			var want scoreGolden
			readJSON(t, golden, &want)
			f, cfg := openFile(t, filepath.Join(dir, filepath.Base(dir)+".gguf"))
			exact := newChainOf(t, widened{f}, cfg, how{rounding: RoundNone})
			if d := furthest(exact.run(t, 0, want.Prompt, 1)[0], floats(t, want.Last)); !(d <= 1e-3) {
				t.Errorf("float32 logits differ by %g from the reference, want 1e-3 at most", d)
			}
			exact.reset(t)
			c := newChainOf(t, f, cfg, how{})
			got := scoreOf(c.run(t, 0, want.Long, len(want.Long)), exact.run(t, 0, want.Long, len(want.Long)))
			peer := want.LlamaCpp
			t.Logf("KL mean %.2e, worst %.2e, same best token %.3f; llama.cpp %.2e, %.2e, %.3f",
				got.mean, got.worst, got.same, peer.Mean, peer.Worst, peer.Same)
			if !(got.mean <= peer.Mean+1e-5) || !(got.worst <= 2*peer.Worst+1e-4) || !(got.same >= peer.Same-0.03) {
				t.Errorf("KL mean %g, worst %g, same best token %g: want about llama.cpp's %+v", got.mean, got.worst, got.same, peer)
			}
			c.reset(t)
			n := len(want.Greedy)
			for i, logits := range c.run(t, 0, append(want.Prompt[:len(want.Prompt):len(want.Prompt)], want.Greedy[:n-1]...), n) {
				if best(logits) != want.Greedy[i] && want.Margins[i] >= sure {
					t.Errorf("greedy token %d is %d, want %d (margin %g)", i, best(logits), want.Greedy[i], want.Margins[i])
				}
			}
		})
	}
}
