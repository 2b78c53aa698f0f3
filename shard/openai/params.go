package openai

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/sample"
)

const (
	maxChoices = 16 // of one request; they run one after another
	maxStops   = 16 // OpenAI allows 4
	// maxStopBytes is what package sample allows.
	maxStopBytes = 1024
	maxBiases    = 1024
	maxTopK      = 1 << 22
)

// smallestTopP keeps the likeliest token only: OpenAI's top_p 0. For package
// sample 0 is no limit.
const smallestTopP = 1e-9

// settings are what chat completions and completions have in common.
type settings struct {
	model     string
	stream    bool
	usage     bool // a last chunk with the counts of tokens
	choices   int
	maxTokens int // 0: not set
	stop      []string
	ignoreEnd bool
	sampling  sample.Params
}

// readSettings takes the fields that chat completions and completions share.
func readSettings(o *object) settings {
	var s settings
	var ok bool
	if s.model, ok = o.text("model"); !ok || s.model == "" {
		o.fail("model", "missing_required_parameter", "model is missing: GET /v1/models lists them")
	}
	s.stream = o.flag("stream")
	if opts, ok := o.object("stream_options"); ok {
		if !s.stream {
			o.fail("stream_options", "invalid_value", "stream_options is only for stream: true")
		}
		s.usage = opts.flag("include_usage")
		opts.only("include_obfuscation", "is not supported: want false or nothing", "false")
		if err := opts.done(); err != nil && o.err == nil {
			o.err = err
		}
	}
	s.choices = int(o.integer("n", 1, 1, maxChoices))
	s.stop = readStops(o)
	s.ignoreEnd = o.flag("ignore_eos")
	s.sampling = readSampling(o)
	o.accept("user")
	return s
}

func readSampling(o *object) sample.Params {
	p := sample.Params{
		Temperature:      o.number("temperature", 1, 0, 2),
		TopP:             max(o.number("top_p", 1, 0, 1), smallestTopP),
		TopK:             int(max(0, o.integer("top_k", 0, -1, maxTopK))),
		MinP:             o.number("min_p", 0, 0, 1),
		RepeatPenalty:    o.number("repeat_penalty", 1, 0.01, 10),
		RepeatLastN:      int(o.integer("repeat_last_n", 64, -1, maxTopK)),
		PresencePenalty:  o.number("presence_penalty", 0, -2, 2),
		FrequencyPenalty: o.number("frequency_penalty", 0, -2, 2),
		LogitBias:        readBias(o),
		Seed:             rand.Uint64(),
	}
	if p.RepeatLastN == 0 { // no window; for package sample 0 is its default
		p.RepeatLastN, p.RepeatPenalty = 1, 1
	}
	if _, set := o.fields["seed"]; set {
		p.Seed = uint64(o.integer("seed", int64(p.Seed), math.MinInt64, math.MaxInt64))
	}
	return p
}

func readStops(o *object) []string {
	raw, ok := o.fields["stop"]
	if ok && jsonKind(raw) == "a string" {
		s, _ := o.text("stop")
		return checkStops(o, []string{s})
	}
	list, ok := o.list("stop", maxStops)
	if !ok {
		return nil
	}
	stops := make([]string, len(list))
	for i, raw := range list {
		if jsonKind(raw) != "a string" || json.Unmarshal(raw, &stops[i]) != nil {
			o.fail("stop", "invalid_type", "stop[%d] is %s, want a string", i, jsonKind(raw))
			return nil
		}
	}
	return checkStops(o, stops)
}

func checkStops(o *object, stops []string) []string {
	for _, s := range stops {
		if s == "" || len(s) > maxStopBytes {
			o.fail("stop", "invalid_value", "stop has a string of %d bytes, want 1 to %d", len(s), maxStopBytes)
		}
	}
	return stops
}

// readBias reads {"TOKEN ID": bias}. Whether the ids are of the vocabulary is
// checked when the model is known.
func readBias(o *object) map[shard.Token]float32 {
	raw, ok := o.take("logit_bias")
	if !ok {
		return nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		o.wrongType("logit_bias", raw, "an object of token ids and numbers")
		return nil
	}
	if len(fields) > maxBiases {
		o.fail("logit_bias", "invalid_value", "logit_bias has %d tokens, want at most %d", len(fields), maxBiases)
		return nil
	}
	out := make(map[shard.Token]float32, len(fields))
	for key, raw := range fields {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil || id < 0 {
			o.fail("logit_bias", "invalid_value", "logit_bias names token %s, want a token id", short([]byte(strconv.Quote(key))))
			return nil
		}
		var bias float64
		if jsonKind(raw) != "a number" || json.Unmarshal(raw, &bias) != nil || !(bias >= -100 && bias <= 100) {
			o.fail("logit_bias", "invalid_value", "logit_bias of token %d is %s, want -100 to 100", id, short(raw))
			return nil
		}
		out[shard.Token(id)] = float32(bias)
	}
	return out
}

// checkBias returns an error if p names a token that the model has not.
func checkBias(p sample.Params, vocab int) *apiError {
	for id := range p.LogitBias {
		if int(id) >= vocab {
			return invalid("logit_bias", "invalid_value", "logit_bias names token %d, the model has tokens 0 to %d", id, vocab-1)
		}
	}
	return nil
}
