package model

import "testing"

// onEveryMachine has the hashes of the logits of three tokens by file. This test
// must pass unchanged on every architecture and in every form: so they are
// compared with each other. Who changes what a model computes changes them.
var onEveryMachine = map[string]uint64{
	"kit/storymodel/story-f16.gguf":                  0x518eea631b11331c,
	"kit/storymodel/story-q8_0.gguf":                 0x4cde634104422b39,
	"kit/storymodel/story-q4_k.gguf":                 0x367094b39cf628b7,
	"data/zoo/quant/F16/F16.gguf":                    0x82ab49182423fe92,
	"data/zoo/quant/IQ2_XS/IQ2_XS.gguf":              0x1834702b1d6397c5,
	"data/zoo/quant/IQ3_S/IQ3_S.gguf":                0x22ec40abb7c2869b,
	"data/zoo/quant/IQ4_NL/IQ4_NL.gguf":              0x97d02a3d016a85b5,
	"data/zoo/quant/MXFP4/MXFP4.gguf":                0x06f54d1a495d67aa,
	"data/zoo/quant/Q2_K/Q2_K.gguf":                  0x53fa293191f7028a,
	"data/zoo/quant/Q3_K_M/Q3_K_M.gguf":              0x8832378115c2d146,
	"data/zoo/quant/Q4_0/Q4_0.gguf":                  0xbf1a2a1ca20e72d8,
	"data/zoo/quant/Q4_1/Q4_1.gguf":                  0xdc36dd64b24f58e7,
	"data/zoo/quant/Q4_K_M/Q4_K_M.gguf":              0x5ef1fe2aca58ac71,
	"data/zoo/quant/Q5_0/Q5_0.gguf":                  0xd4891b30d73921ad,
	"data/zoo/quant/Q6_K/Q6_K.gguf":                  0x2097012f22dcc287,
	"data/zoo/quant/Q8_0/Q8_0.gguf":                  0x8e42903f8fc7330d,
	"data/zoo/quant/TQ2_0/TQ2_0.gguf":                0x9f45b00a892b6acd,
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
