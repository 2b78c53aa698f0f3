package openai

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
)

type (
	messageJSON struct {
		ID           string       `json:"id"`
		Type         string       `json:"type"`
		Role         string       `json:"role"`
		Model        string       `json:"model"`
		Content      []blockJSON  `json:"content"`
		StopReason   *string      `json:"stop_reason"`
		StopSequence *string      `json:"stop_sequence"`
		Usage        messageUsage `json:"usage"`
		Extra        *extraJSON   `json:"shardnode,omitempty"`
	}
	messageUsage struct {
		Input   int `json:"input_tokens"`
		Created int `json:"cache_creation_input_tokens"`
		Cached  int `json:"cache_read_input_tokens"`
		Output  int `json:"output_tokens"`
	}
	// A blockJSON is text, thinking or a call.
	blockJSON struct {
		Type      string          `json:"type"`
		Text      *string         `json:"text,omitempty"`
		Thinking  *string         `json:"thinking,omitempty"`
		Signature *string         `json:"signature,omitempty"`
		ID        string          `json:"id,omitempty"`
		Name      string          `json:"name,omitempty"`
		Input     json.RawMessage `json:"input,omitempty"`
	}
	deltaJSON struct {
		Type     string  `json:"type"`
		Text     string  `json:"text,omitempty"`
		Thinking string  `json:"thinking,omitempty"`
		Input    *string `json:"partial_json,omitempty"`
	}
	// A messageEvent is any event of a stream.
	messageEvent struct {
		Type    string        `json:"type"`
		Message *messageJSON  `json:"message,omitempty"`
		Index   *int          `json:"index,omitempty"`
		Block   *blockJSON    `json:"content_block,omitempty"`
		Delta   any           `json:"delta,omitempty"`
		Usage   *messageUsage `json:"usage,omitempty"`
		Extra   *extraJSON    `json:"shardnode,omitempty"`
	}
	stopDelta struct {
		StopReason   *string `json:"stop_reason"`
		StopSequence *string `json:"stop_sequence"`
	}
)

// messagesFormat makes answers of Anthropic's API.
type messagesFormat struct {
	message messageJSON
	index   int    // of the block that is open
	kind    string // of it; "" if none is
	stop    stopDelta
}

func newMessagesFormat(model string) *messagesFormat {
	return &messagesFormat{index: -1, message: messageJSON{
		ID: "msg_" + rand.Text(), Type: "message", Role: "assistant", Model: model, Content: []blockJSON{},
	}}
}

func (f *messagesFormat) promptField() string { return "messages" }

func (f *messagesFormat) mediaType() string { return eventStream }

func (f *messagesFormat) event(s *events, e messageEvent) { s.named(e.Type, e) }

func (f *messagesFormat) open(s *events, first piece) {
	f.message.Usage.Input = first.prompt
	f.event(s, messageEvent{Type: "message_start", Message: &f.message})
}

func newBlock(kind string) blockJSON {
	b := blockJSON{Type: kind}
	switch kind {
	case "text":
		b.Text = new(string)
	case "thinking":
		b.Thinking, b.Signature = new(string), new(string)
	case "tool_use":
		b.Input = json.RawMessage("{}")
	}
	return b
}

// begin opens a block.
func (f *messagesFormat) begin(s *events, b blockJSON) {
	f.close(s)
	f.index++
	f.kind = b.Type
	i := f.index
	f.event(s, messageEvent{Type: "content_block_start", Index: &i, Block: &b})
}

func (f *messagesFormat) close(s *events) {
	if f.kind == "" {
		return
	}
	i := f.index
	f.kind = ""
	f.event(s, messageEvent{Type: "content_block_stop", Index: &i})
}

func (f *messagesFormat) add(s *events, p piece) {
	d := deltaJSON{}
	switch {
	case p.finish != "":
		f.close(s)
		f.stop = stopOf(p.finish, p.stop)
		return
	case p.call != nil && p.call.id != "":
		b := newBlock("tool_use")
		b.ID, b.Name = "toolu_"+p.call.id, p.call.name
		f.begin(s, b)
		return
	case p.call != nil:
		d.Type, d.Input = "input_json_delta", &p.call.args
	case p.reasoning != "":
		if f.kind != "thinking" {
			f.begin(s, newBlock("thinking"))
		}
		d.Type, d.Thinking = "thinking_delta", p.reasoning
	case p.text != "":
		if f.kind != "text" {
			f.begin(s, newBlock("text"))
		}
		d.Type, d.Text = "text_delta", p.text
	default:
		return
	}
	i := f.index
	f.event(s, messageEvent{Type: "content_block_delta", Index: &i, Delta: d})
}

// stopOf says why an answer ended in Anthropic's words.
func stopOf(finish, stop string) stopDelta {
	reason := "end_turn"
	switch {
	case stop != "":
		reason = "stop_sequence"
	case finish == finishLength:
		reason = "max_tokens"
	case finish == finishCalls:
		reason = "tool_use"
	}
	return stopDelta{StopReason: &reason, StopSequence: orNull(stop)}
}

func messageUsageOf(u usageJSON) messageUsage {
	cached := u.Details.CachedTokens
	return messageUsage{Input: u.PromptTokens - cached, Cached: cached, Output: u.CompletionTokens}
}

func (f *messagesFormat) end(s *events, out outcome, extra *extraJSON) {
	u := messageUsageOf(out.usage())
	f.event(s, messageEvent{Type: "message_delta", Delta: f.stop, Usage: &u, Extra: extra})
	f.event(s, messageEvent{Type: "message_stop"})
}

func (f *messagesFormat) fail(s *events, e *apiError) { s.named("error", anthropicError(e)) }

func (f *messagesFormat) whole(choices []grown, out outcome, extra *extraJSON) any {
	c, m := &choices[0], &f.message
	if text := c.reasoning.String(); text != "" {
		b := newBlock("thinking")
		*b.Thinking = text
		m.Content = append(m.Content, b)
	}
	if text := c.text.String(); text != "" {
		b := newBlock("text")
		*b.Text = text
		m.Content = append(m.Content, b)
	}
	for i := range c.calls {
		b := newBlock("tool_use")
		b.ID, b.Name = "toolu_"+c.calls[i].id, c.calls[i].name
		if args := c.calls[i].args.String(); json.Valid([]byte(args)) {
			b.Input = json.RawMessage(args)
		}
		m.Content = append(m.Content, b)
	}
	stop := stopOf(c.finish, c.stop)
	m.StopReason, m.StopSequence = stop.StopReason, stop.StopSequence
	m.Usage, m.Extra = messageUsageOf(out.usage()), extra
	return m
}

// anthropicError is e as Anthropic's clients read it.
func anthropicError(e *apiError) any {
	kind := "api_error"
	switch e.status {
	case http.StatusUnauthorized:
		kind = "authentication_error"
	case http.StatusForbidden:
		kind = "permission_error"
	case http.StatusNotFound:
		kind = "not_found_error"
	case http.StatusRequestEntityTooLarge:
		kind = "request_too_large"
	case http.StatusTooManyRequests:
		kind = "rate_limit_error"
	case http.StatusServiceUnavailable:
		kind = "overloaded_error"
	default:
		if e.status < http.StatusInternalServerError {
			kind = "invalid_request_error"
		}
	}
	type inner struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	return struct {
		Type  string `json:"type"`
		Error inner  `json:"error"`
	}{"error", inner{kind, e.message}}
}
