package openai

import (
	"errors"
	"time"

	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/generate"
)

// maxTopLogprobs is OpenAI's bound.
const maxTopLogprobs = 20

// A chatRequest is the body of POST /v1/chat/completions.
type chatRequest struct {
	settings
	messages *chat.List
	use      toolUse
	want     wanted
	effort   string
	// thinking and noThinking say whether the model should reason, where the
	// template lets one choose.
	thinking, noThinking bool
	extra                *chat.Dict // chat_template_kwargs: variables of the template
}

func newDict() *chat.Dict { return &chat.Dict{} }

// parseChat reads a chat request.
func parseChat(body []byte) (chatRequest, *apiError) {
	o, err := readObject("", body)
	if err != nil {
		return chatRequest{}, err
	}
	r := chatRequest{settings: readSettings(o)}
	r.maxTokens = readMaxTokens(o)
	r.sampling.Logprobs = o.flag("logprobs")
	if _, set := o.fields["top_logprobs"]; set {
		r.sampling.TopLogprobs = int(o.integer("top_logprobs", 0, 0, maxTopLogprobs))
		if !r.sampling.Logprobs && r.sampling.TopLogprobs > 0 {
			o.fail("top_logprobs", "invalid_value", "top_logprobs is only for logprobs: true")
		}
	}
	if raw, ok := o.take("chat_template_kwargs"); ok {
		var bad error
		if r.extra, bad = chat.DictFromJSON(raw); bad != nil {
			o.fail("chat_template_kwargs", "invalid_type", "chat_template_kwargs: %v", bad)
		}
	}
	r.messages = readMessages(o)
	r.use = readToolUse(o)
	r.want = readGrammar(o)
	if f := readResponseFormat(o); f.some() {
		if r.want.some() {
			o.fail("grammar", "invalid_value", "grammar and response_format exclude each other: send one")
		}
		r.want = f
	}
	r.effort = readEffort(o)
	refuseChatFields(o)
	return r, o.done()
}

// readMaxTokens reads the bound of the answer under its two names.
func readMaxTokens(o *object) int {
	const most = 1 << 31
	old := o.integer("max_tokens", 0, 1, most)
	now := o.integer("max_completion_tokens", 0, 1, most)
	if old > 0 && now > 0 && old != now {
		o.fail("max_tokens", "invalid_value", "max_tokens and max_completion_tokens differ: send one")
	}
	return int(max(old, now))
}

// refuseChatFields takes the fields that are known but not supported. Values
// that ask for what happens anyway are let through.
func refuseChatFields(o *object) {
	o.only("functions", "are not supported: they are deprecated", `[]`)
	o.only("function_call", "is not supported: it is deprecated", `"none"`, `"auto"`)
	o.only("modalities", "other than text are not supported", `["text"]`)
	o.only("audio", "is not supported: the models answer with text")
	o.only("prediction", "is not supported")
	o.only("web_search_options", "is not supported: the models do not search")
	o.only("verbosity", "is not supported", `"medium"`)
	o.only("moderation", "is not supported")
	o.only("store", "is not supported: answers are not kept", `false`)
	o.only("service_tier", "is not supported", `"auto"`, `"default"`)
	o.accept("metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options")
}

// chatPrompt renders and encodes the messages of r.
func chatPrompt(r *chatRequest, text *generate.Text, now time.Time) (prompt, error) {
	if err := r.applyEffort(text.Source()); err != nil {
		return prompt{}, err
	}
	ids, err := text.ChatPrompt(generate.Chat{Messages: r.messages, Tools: r.use.list(), Extra: r.extra, Now: now})
	if err == nil && len(ids) == 0 {
		return prompt{}, invalid("messages", "invalid_value", "the model's chat template makes nothing of the messages")
	}
	if err == nil {
		return prompt{ids: ids}, nil
	}
	if raised, ok := errors.AsType[*chat.RaiseError](err); ok {
		return prompt{}, invalid("messages", "template_refused", "the model's chat template refuses the messages: %s", raised.Message)
	}
	return prompt{}, invalid("messages", "template_failed", "the model's chat template can't show the messages: %v", err)
}
