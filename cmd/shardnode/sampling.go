package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/sample"
)

// samplingFlags are the sampling settings of `run` and `demo`.
type samplingFlags struct {
	maxTokens                                               int
	temperature, topP, minP, repeat, presence, frequencyPen float64
	topK                                                    int
	seed                                                    int64
	stop                                                    []string
	bias                                                    string
	logprobs                                                int
	grammar, schema                                         string
}

func (s *samplingFlags) add(f *pflag.FlagSet) {
	f.IntVarP(&s.maxTokens, "max-tokens", "n", 512, "most tokens to generate")
	f.Float64Var(&s.temperature, "temperature", 0.8, "0 is greedy: the likeliest token")
	f.IntVar(&s.topK, "top-k", 40, "keep the k likeliest tokens; 0 keeps all")
	f.Float64Var(&s.topP, "top-p", 0.95, "keep the likeliest tokens up to this probability")
	f.Float64Var(&s.minP, "min-p", 0.05, "drop tokens less likely than this share of the likeliest")
	f.Float64Var(&s.repeat, "repeat-penalty", 1, "make tokens of the last 64 less likely; 1 is off")
	f.Float64Var(&s.presence, "presence-penalty", 0, "taken from the logit of every token generated before")
	f.Float64Var(&s.frequencyPen, "frequency-penalty", 0, "the same, for each time it was generated")
	f.Int64Var(&s.seed, "seed", -1, "the same seed gives the same text; -1 chooses one")
	f.StringArrayVar(&s.stop, "stop", nil, "end the answer before this text (may be repeated)")
	f.StringVar(&s.bias, "logit-bias", "", `added to logits: JSON {"TOKEN_ID": BIAS} or ID=BIAS,ID=BIAS`)
	f.StringVar(&s.grammar, "grammar", "", "the answer must be a text of this GBNF grammar; @FILE reads it from a file")
	f.StringVar(&s.schema, "json-schema", "", "the answer must be JSON of this schema; @FILE reads it from a file")
	f.IntVar(&s.logprobs, "logprobs", 0, "with --json, log-probabilities of that many tokens at each place")
}

// params returns the settings as the sampler takes them.
func (s *samplingFlags) params() (sample.Params, error) {
	bias, err := parseBias(s.bias)
	if err != nil {
		return sample.Params{}, err
	}
	if s.maxTokens < 0 {
		return sample.Params{}, usage("--max-tokens is %d, want 0 or more", s.maxTokens)
	}
	p := sample.Params{
		Temperature: s.temperature, TopK: s.topK, TopP: s.topP, MinP: s.minP, RepeatPenalty: s.repeat,
		PresencePenalty: s.presence, FrequencyPenalty: s.frequencyPen, LogitBias: bias,
		Seed: uint64(s.seed), Logprobs: s.logprobs > 0, TopLogprobs: s.logprobs,
	}
	if s.seed < 0 {
		p.Seed = rand.Uint64N(1 << 53) // what every reader of JSON keeps exactly
	}
	if _, err := sample.New(p); err != nil {
		return p, &usageError{err}
	}
	return p, nil
}

// constraint returns what the answer must be, and refuses what can't be one.
func (s *samplingFlags) constraint() (generate.Constraint, error) {
	var c generate.Constraint
	for _, f := range []struct {
		name, value string
		into        *string
	}{{"grammar", s.grammar, &c.Grammar}, {"json-schema", s.schema, &c.Schema}} {
		text := f.value
		if path, ok := strings.CutPrefix(text, "@"); ok {
			b, err := os.ReadFile(path)
			if err != nil {
				return c, fmt.Errorf("--%s: %w", f.name, err)
			}
			text = string(b)
		}
		*f.into = text
	}
	if s.grammar != "" && s.schema != "" {
		return c, usage("--grammar and --json-schema exclude each other: give one")
	}
	if _, err := c.Expr(); err != nil {
		name := "grammar"
		if s.schema != "" {
			name = "json-schema"
		}
		return c, usage("--%s: %v", name, err)
	}
	return c, nil
}

// parseBias reads --logit-bias.
func parseBias(text string) (map[shard.Token]float32, error) {
	if text == "" {
		return nil, nil
	}
	pairs := map[string]float64{}
	if strings.HasPrefix(text, "{") {
		if err := json.Unmarshal([]byte(text), &pairs); err != nil {
			return nil, usage("--logit-bias: %v", err)
		}
	} else {
		for part := range strings.SplitSeq(text, ",") {
			id, bias, ok := strings.Cut(part, "=")
			value, err := strconv.ParseFloat(bias, 64)
			if !ok || err != nil {
				return nil, usage("--logit-bias: %q: want ID=BIAS, for example 15=-100", part)
			}
			pairs[strings.TrimSpace(id)] = value
		}
	}
	out := map[shard.Token]float32{}
	for text, value := range pairs {
		id, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return nil, usage("--logit-bias: token id %q: want a number", text)
		}
		out[shard.Token(id)] = float32(value)
	}
	return out, nil
}

// parseIDs reads a list of token ids, "1,2,3", each below vocab.
func parseIDs(flag, text string, vocab int) ([]shard.Token, error) {
	var ids []shard.Token
	for part := range strings.SplitSeq(text, ",") {
		id, err := strconv.ParseInt(strings.TrimSpace(part), 10, 32)
		if err != nil {
			return nil, usage("--%s: %q is no token id: want 1,2,3", flag, part)
		}
		if id < 0 || id >= int64(min(vocab, math.MaxInt32)) {
			return nil, usage("--%s: token %d: the model has tokens 0 to %d", flag, id, vocab-1)
		}
		ids = append(ids, shard.Token(id))
	}
	return ids, nil
}

// mib returns n bytes for people.
func mib(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", (n+1023)>>10)
}
