package openai

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
)

const (
	maxPrompts = 64
	// completionTokens is OpenAI's default of max_tokens for completions.
	completionTokens = 16
	// maxCompletionLogprobs is OpenAI's bound for completions.
	maxCompletionLogprobs = 5
)

// A completionRequest is the body of POST /v1/completions.
type completionRequest struct {
	settings
	echo    bool
	want    wanted
	prompts []rawPrompt
}

// A rawPrompt is a text or the ids of one.
type rawPrompt struct {
	text string
	ids  []shard.Token // nil: text counts
}

// parseCompletion reads a completion request.
func parseCompletion(body []byte) (completionRequest, *apiError) {
	o, err := readObject("", body)
	if err != nil {
		return completionRequest{}, err
	}
	r := completionRequest{settings: readSettings(o)}
	r.maxTokens = int(o.integer("max_tokens", completionTokens, 1, 1<<31))
	r.echo = o.flag("echo")
	r.want = readGrammar(o)
	if top := o.integer("logprobs", -1, 0, maxCompletionLogprobs); top >= 0 {
		r.sampling.Logprobs, r.sampling.TopLogprobs = true, int(top)
		if r.echo {
			o.fail("logprobs", "unsupported_parameter", "logprobs of the prompt (with echo) are not supported yet")
		}
	}
	o.only("suffix", "is not supported: the models do not fill in", `""`)
	if best := o.integer("best_of", int64(r.choices), 1, maxChoices); best != int64(r.choices) {
		o.fail("best_of", "unsupported_parameter", "best_of is not supported: want n, or nothing")
	}
	r.prompts = readPrompts(o, r)
	return r, o.done()
}

// readPrompts reads a text, a list of texts, a list of token ids, or a list
// of those.
func readPrompts(o *object, r completionRequest) []rawPrompt {
	raw, ok := o.fields["prompt"]
	if !ok || jsonKind(raw) == "null" {
		o.fail("prompt", "missing_required_parameter", "prompt is missing")
		return nil
	}
	if jsonKind(raw) == "a string" {
		text, _ := o.text("prompt")
		return []rawPrompt{{text: text}}
	}
	if listOfNumbers(raw) {
		o.take("prompt")
		return []rawPrompt{{ids: readIDs(o, "prompt", raw)}}
	}
	list, ok := o.list("prompt", maxPrompts)
	if !ok {
		return nil
	}
	if len(list) == 0 {
		o.fail("prompt", "invalid_value", "prompt is empty")
		return nil
	}
	if len(list)*r.choices > maxPrompts {
		o.fail("prompt", "invalid_value", "prompt and n ask for %d answers, want at most %d", len(list)*r.choices, maxPrompts)
		return nil
	}
	out := make([]rawPrompt, len(list))
	for i, raw := range list {
		if jsonKind(raw) == "an array" {
			out[i].ids = readIDs(o, fmt.Sprintf("prompt[%d]", i), raw)
		} else if jsonKind(raw) != "a string" || json.Unmarshal(raw, &out[i].text) != nil {
			o.fail("prompt", "invalid_type", "prompt[%d] is %s, want a string or token ids", i, jsonKind(raw))
		}
	}
	return out
}

// listOfNumbers reports whether raw is an array that begins with a number.
func listOfNumbers(raw []byte) bool {
	inner, ok := bytes.CutPrefix(bytes.TrimSpace(raw), []byte("["))
	inner = bytes.TrimSpace(inner)
	return ok && len(inner) > 0 && (inner[0] == '-' || inner[0] >= '0' && inner[0] <= '9')
}

// readIDs reads token ids. Whether they are of the vocabulary is checked when
// the model is known.
func readIDs(o *object, name string, raw []byte) []shard.Token {
	ids := []shard.Token{}
	// A null would count as token 0.
	if bytes.ContainsRune(raw, 'n') || json.Unmarshal(raw, &ids) != nil || len(ids) == 0 {
		o.fail("prompt", "invalid_type", "%s is no list of token ids", name)
	}
	return ids
}

// completionPrompts encodes the prompts of r.
func completionPrompts(r completionRequest, text *generate.Text) ([]prompt, error) {
	out := make([]prompt, len(r.prompts))
	for i, raw := range r.prompts {
		p := prompt{ids: raw.ids, echo: raw.text}
		if raw.ids == nil {
			p.ids = text.RawPrompt(raw.text)
		}
		if len(p.ids) == 0 {
			return nil, invalid("prompt", "invalid_value", "prompt is empty, and the model has no token to begin a text with")
		}
		vocab := text.Tokenizer.Len()
		for _, id := range raw.ids {
			if id < 0 || int(id) >= vocab {
				return nil, invalid("prompt", "invalid_value", "prompt has token %d, the model has tokens 0 to %d", id, vocab-1)
			}
		}
		if raw.ids != nil && r.echo {
			p.echo = text.Tokenizer.Decode(raw.ids)
		}
		if !r.echo {
			p.echo = ""
		}
		out[i] = p
	}
	return out, nil
}
