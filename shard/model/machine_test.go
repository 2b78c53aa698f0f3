package model

import "testing"

// onEveryMachine has the hashes of the logits of three tokens by file. This test
// must pass unchanged on every architecture and in every form: so they are
// compared with each other. Who changes what a model computes changes them.
var onEveryMachine = map[string]uint64{
	"kit/storymodel/story-f16.gguf":                  0x518eea631b11331c,
	"kit/storymodel/story-q8_0.gguf":                 0x07b7dbb5dae01bbf,
	"kit/storymodel/story-q4_k.gguf":                 0x0d06409b6447b76e,
	"data/zoo/quant/F16/F16.gguf":                    0x82ab49182423fe92,
	"data/zoo/quant/IQ2_XS/IQ2_XS.gguf":              0x9bb1cf860aaa5db4,
	"data/zoo/quant/IQ3_S/IQ3_S.gguf":                0x0e7fd2730fdce5bc,
	"data/zoo/quant/IQ4_NL/IQ4_NL.gguf":              0x613c3f7514810b6f,
	"data/zoo/quant/MXFP4/MXFP4.gguf":                0x70fb7bd8f433f2a8,
	"data/zoo/quant/Q2_K/Q2_K.gguf":                  0x89fe4963c540bb4f,
	"data/zoo/quant/Q3_K_M/Q3_K_M.gguf":              0x0ba9d7c0df123ee8,
	"data/zoo/quant/Q4_0/Q4_0.gguf":                  0x6770cfce8755c5f6,
	"data/zoo/quant/Q4_1/Q4_1.gguf":                  0x353534367310b2ad,
	"data/zoo/quant/Q4_K_M/Q4_K_M.gguf":              0x583d4923aeef15fc,
	"data/zoo/quant/Q5_0/Q5_0.gguf":                  0xcfe08e4faddb417a,
	"data/zoo/quant/Q6_K/Q6_K.gguf":                  0x8142bf0447ecf31f,
	"data/zoo/quant/Q8_0/Q8_0.gguf":                  0x8f88d5fe3c33ab02,
	"data/zoo/quant/TQ2_0/TQ2_0.gguf":                0x186a0bbafbb3de96,
	"data/zoo/zoo/llama3-tied/llama3-tied-bf16.gguf": 0x41a75710953f3b9b,
	"data/zoo/zoo/gemma3/gemma3-bf16.gguf":           0xe1d69423fc71d4db,
	"data/zoo/zoo/qwen3/qwen3-bf16.gguf":             0x40018a2b3df79958,
	"data/zoo/zoo/mistral-swa/mistral-swa-bf16.gguf": 0x2b6ec4c1282251e6,
	"data/zoo/zoo/mixtral/mixtral-bf16.gguf":         0x8d00e534d1671fa8,
}

func TestLogitsAreTheSameOnEveryMachine(t *testing.T) {
	for file, want := range onEveryMachine {
		t.Run(file, func(t *testing.T) {
			c := newChain(t, shared(t, file), how{threads: 2, chunk: 9})
			var all []float32
			for _, logits := range c.run(t, 0, ids(20), 3) {
				all = append(all, logits...)
			}
			if got := hash(all); got != want {
				t.Errorf("the hash of the logits is %#016x, want %#016x", got, want)
			}
		})
	}
}
