package sample

import (
	"cmp"
	"fmt"
	"math"

	"github.com/shardnode/shardnode/shard"
)

// Params are the sampling settings of a session. The zero Params are greedy:
// the highest logit, the lower id on a tie.
type Params struct {
	// Temperature divides the logits. 0: greedy. Range 0 to 100.
	Temperature float64
	// TopK keeps the TopK highest candidates. 0: all.
	TopK int
	// TopP keeps the fewest highest candidates whose probabilities, after
	// temperature and TopK, sum to at least TopP. 0 or 1: all. Range 0 to 1.
	TopP float64
	// MinP keeps candidates at least MinP times as likely as the likeliest,
	// after temperature. 0: all. Range 0 to 1.
	MinP float64

	// RepeatPenalty divides positive logits and multiplies negative ones of
	// the tokens among the last RepeatLastN of the history, prompt included
	// (Keskar et al. 2019, eq. 5; llama.cpp). 0 or 1: none. Range 0 to 10.
	RepeatPenalty float64
	// RepeatLastN is the window of RepeatPenalty in tokens. 0: 64, as
	// llama.cpp. -1: the whole history.
	RepeatLastN int

	// FrequencyPenalty is taken from the logit of a token once for each time
	// it was generated, PresencePenalty once if it was generated at all
	// (OpenAI's formula: what was sampled before; the prompt does not count).
	// Range -100 to 100; OpenAI allows -2 to 2.
	FrequencyPenalty, PresencePenalty float64
	// PromptTokens is the length of the prompt at the start of the history,
	// for FrequencyPenalty and PresencePenalty.
	PromptTokens int

	// LogitBias is added to logits before all else. Minus infinity bans a
	// token. Range -1000 to 1000.
	LogitBias map[shard.Token]float32

	// Seed chooses the draws. Equal seeds give equal texts.
	Seed uint64

	// Logprobs asks for the log-probability of the chosen token, and
	// TopLogprobs for those of the likeliest as well, 0 to 128. They are those
	// of the model: before bias, penalties and temperature.
	Logprobs    bool
	TopLogprobs int
}

// maxTopLogprobs bounds Params.TopLogprobs; OpenAI allows 20.
const maxTopLogprobs = 128

// maxBias bounds the number of biased ids; OpenAI allows 1,024 (300 before).
const maxBias = 2048

// withDefaults returns p with every switched-off setting in one form, and
// rejects what no sampler can mean.
func (p Params) withDefaults() (Params, error) {
	for _, f := range []struct {
		name       string
		value      float64
		low, limit float64
	}{
		{"temperature", p.Temperature, 0, 100},
		{"top_p", p.TopP, 0, 1},
		{"min_p", p.MinP, 0, 1},
		{"repeat_penalty", p.RepeatPenalty, 0, 10},
		{"frequency_penalty", p.FrequencyPenalty, -100, 100},
		{"presence_penalty", p.PresencePenalty, -100, 100},
	} {
		if !(f.value >= f.low && f.value <= f.limit) {
			return p, fmt.Errorf("%s is %v, want %v to %v", f.name, f.value, f.low, f.limit)
		}
	}
	if err := p.checkCounts(); err != nil {
		return p, err
	}
	p.TopP = cmp.Or(p.TopP, 1)
	p.RepeatPenalty = cmp.Or(p.RepeatPenalty, 1)
	p.RepeatLastN = cmp.Or(p.RepeatLastN, 64)
	p.Logprobs = p.Logprobs || p.TopLogprobs > 0
	return p, nil
}

// checkCounts rejects numbers of tokens, and biases, that no sampler can mean.
func (p Params) checkCounts() error {
	switch {
	case p.TopK < 0:
		return fmt.Errorf("top_k is %d, want 0 (all) or more", p.TopK)
	case p.RepeatLastN < -1:
		return fmt.Errorf("repeat_last_n is %d, want -1 (all) or more", p.RepeatLastN)
	case p.PromptTokens < 0:
		return fmt.Errorf("prompt tokens are %d, want 0 or more", p.PromptTokens)
	case p.TopLogprobs < 0 || p.TopLogprobs > maxTopLogprobs:
		return fmt.Errorf("top_logprobs is %d, want 0 to %d", p.TopLogprobs, maxTopLogprobs)
	case len(p.LogitBias) > maxBias:
		return fmt.Errorf("logit_bias has %d ids, want at most %d", len(p.LogitBias), maxBias)
	}
	for id, b := range p.LogitBias {
		if id < 0 || id >= maxVocab {
			return fmt.Errorf("logit_bias names token %d, want a token of the vocabulary", id)
		}
		if !(b >= -1000 && b <= 1000) && !math.IsInf(float64(b), -1) {
			return fmt.Errorf("logit_bias of token %d is %v, want -1000 to 1000", id, b)
		}
	}
	return nil
}
