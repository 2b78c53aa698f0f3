package openai

import (
	"crypto/rand"
	"encoding/json"
	"time"
)

// A responseEcho is what an answer of the Responses API repeats of its request.
type responseEcho struct {
	Instructions    json.RawMessage `json:"instructions"`
	Metadata        json.RawMessage `json:"metadata"`
	Temperature     json.RawMessage `json:"temperature"`
	TopP            json.RawMessage `json:"top_p"`
	Tools           json.RawMessage `json:"tools"`
	ToolChoice      json.RawMessage `json:"tool_choice"`
	Parallel        json.RawMessage `json:"parallel_tool_calls"`
	MaxOutputTokens json.RawMessage `json:"max_output_tokens"`
	Text            json.RawMessage `json:"text"`
	Reasoning       json.RawMessage `json:"reasoning"`
}

// read keeps what was sent, and what counts where nothing was.
func (e *responseEcho) read(o *object) {
	for _, f := range []struct {
		name, or string
		into     *json.RawMessage
	}{
		{"instructions", "null", &e.Instructions},
		{"metadata", "{}", &e.Metadata},
		{"temperature", "1", &e.Temperature},
		{"top_p", "1", &e.TopP},
		{"tools", "[]", &e.Tools},
		{"tool_choice", `"auto"`, &e.ToolChoice},
		{"parallel_tool_calls", "true", &e.Parallel},
		{"max_output_tokens", "null", &e.MaxOutputTokens},
		{"text", `{"format":{"type":"text"}}`, &e.Text},
		{"reasoning", "null", &e.Reasoning},
	} {
		*f.into = json.RawMessage(f.or)
		if raw, ok := o.fields[f.name]; ok && jsonKind(raw) != "null" {
			*f.into = raw
		}
	}
	o.accept("metadata")
}

type (
	responseJSON struct {
		ID          string          `json:"id"`
		Object      string          `json:"object"`
		CreatedAt   int64           `json:"created_at"`
		CompletedAt *int64          `json:"completed_at"`
		Status      string          `json:"status"`
		Error       *responseError  `json:"error"`
		Incomplete  *incompleteJSON `json:"incomplete_details"`
		Model       string          `json:"model"`
		Output      []responseItem  `json:"output"`
		Usage       *responseUsage  `json:"usage,omitempty"`
		Previous    *string         `json:"previous_response_id"`
		Store       bool            `json:"store"`
		Background  bool            `json:"background"`
		Truncation  string          `json:"truncation"`
		Extra       *extraJSON      `json:"shardnode,omitempty"`
		responseEcho
	}
	responseError struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	incompleteJSON struct {
		Reason string `json:"reason"`
	}
	responseUsage struct {
		Input        int `json:"input_tokens"`
		InputDetails struct {
			Cached  int `json:"cached_tokens"`
			Written int `json:"cache_write_tokens"`
		} `json:"input_tokens_details"`
		Output        int `json:"output_tokens"`
		OutputDetails struct {
			Reasoning int `json:"reasoning_tokens"`
		} `json:"output_tokens_details"`
		Total int `json:"total_tokens"`
	}
	// A responseItem is reasoning, a message or a call.
	responseItem struct {
		ID        string          `json:"id"`
		Type      string          `json:"type"`
		Status    string          `json:"status"`
		Role      string          `json:"role,omitempty"`
		Summary   *[]string       `json:"summary,omitempty"`
		Content   *[]responsePart `json:"content,omitempty"`
		CallID    string          `json:"call_id,omitempty"`
		Name      string          `json:"name,omitempty"`
		Arguments *string         `json:"arguments,omitempty"`
	}
	responsePart struct {
		Type        string    `json:"type"`
		Text        string    `json:"text"`
		Annotations *[]string `json:"annotations,omitempty"`
		Logprobs    *[]string `json:"logprobs,omitempty"`
	}
	// A responseEvent is any event of a stream.
	responseEvent struct {
		Type     string        `json:"type"`
		Number   int           `json:"sequence_number"`
		Response *responseJSON `json:"response,omitempty"`
		ItemID   string        `json:"item_id,omitempty"`
		Output   *int          `json:"output_index,omitempty"`
		Content  *int          `json:"content_index,omitempty"`
		Item     *responseItem `json:"item,omitempty"`
		Part     *responsePart `json:"part,omitempty"`
		Delta    *string       `json:"delta,omitempty"`
		Text     *string       `json:"text,omitempty"`
		Name     string        `json:"name,omitempty"`
		Args     *string       `json:"arguments,omitempty"`
		Logprobs *[]string     `json:"logprobs,omitempty"`
	}
)

// responsesFormat makes answers of the Responses API.
type responsesFormat struct {
	response responseJSON
	number   int    // of the next event
	kind     string // of the item that is open; "" if none is
	finish   string
}

func newResponsesFormat(model string, req *responseRequest) *responsesFormat {
	return &responsesFormat{response: responseJSON{
		ID: "resp_" + rand.Text(), Object: "response", CreatedAt: time.Now().Unix(), Status: "in_progress", Model: model,
		Output: []responseItem{}, Truncation: "disabled", responseEcho: req.echo,
	}}
}

func (f *responsesFormat) promptField() string { return "input" }

func (f *responsesFormat) mediaType() string { return eventStream }

func (f *responsesFormat) event(s *events, e responseEvent) {
	e.Number = f.number
	f.number++
	s.named(e.Type, e)
}

func (f *responsesFormat) open(s *events, _ piece) {
	f.event(s, responseEvent{Type: "response.created", Response: &f.response})
	f.event(s, responseEvent{Type: "response.in_progress", Response: &f.response})
}

// The types of items and of the parts of their content.
const (
	itemReasoning, partReasoning = "reasoning", "reasoning_text"
	itemMessage, partText        = "message", "output_text"
	itemCall                     = "function_call"
)

func newItem(kind string) responseItem {
	it := responseItem{Type: kind, Status: "in_progress"}
	switch kind {
	case itemReasoning:
		it.ID, it.Summary, it.Content = "rs_"+rand.Text(), &[]string{}, &[]responsePart{}
	case itemMessage:
		it.ID, it.Role, it.Content = "msg_"+rand.Text(), "assistant", &[]responsePart{}
	case itemCall:
		it.ID, it.Arguments = "fc_"+rand.Text(), new(string)
	}
	return it
}

func newPart(kind, text string) responsePart {
	p := responsePart{Type: kind, Text: text}
	if kind == partText {
		p.Annotations, p.Logprobs = &[]string{}, &[]string{}
	}
	return p
}

// last returns the item that is open and its index.
func (f *responsesFormat) last() (*responseItem, *int) {
	i := len(f.response.Output) - 1
	return &f.response.Output[i], &i
}

// begin opens an item of kind, unless one is open.
func (f *responsesFormat) begin(s *events, kind string) {
	if f.kind == kind && kind != itemCall {
		return
	}
	f.close(s)
	f.kind = kind
	f.response.Output = append(f.response.Output, newItem(kind))
}

// shown sends the item that was just opened.
func (f *responsesFormat) shown(s *events) {
	it, i := f.last()
	show := *it
	f.event(s, responseEvent{Type: "response.output_item.added", Output: i, Item: &show})
	if it.Content != nil {
		part := newPart(partOf(f.kind), "")
		f.event(s, responseEvent{Type: "response.content_part.added", ItemID: it.ID, Output: i, Content: new(int), Part: &part})
		*it.Content = append(*it.Content, part)
	}
}

func partOf(kind string) string {
	if kind == itemReasoning {
		return partReasoning
	}
	return partText
}

func (f *responsesFormat) add(s *events, p piece) {
	switch {
	case p.finish != "":
		f.finish = p.finish
		f.close(s)
	case p.call != nil && p.call.id != "":
		f.begin(s, itemCall)
		it, _ := f.last()
		it.CallID, it.Name = p.call.id, p.call.name
		f.shown(s)
	case p.call != nil:
		it, i := f.last()
		*it.Arguments += p.call.args
		f.event(s, responseEvent{Type: "response.function_call_arguments.delta", ItemID: it.ID, Output: i, Delta: &p.call.args})
	case p.reasoning != "":
		f.grow(s, itemReasoning, "response.reasoning_text.delta", p.reasoning)
	case p.text != "":
		f.grow(s, itemMessage, "response.output_text.delta", p.text)
	}
}

// grow adds text to an item.
func (f *responsesFormat) grow(s *events, kind, event, text string) {
	if f.kind != kind {
		f.begin(s, kind)
		f.shown(s)
	}
	it, i := f.last()
	(*it.Content)[0].Text += text
	e := responseEvent{Type: event, ItemID: it.ID, Output: i, Content: new(int), Delta: &text}
	if kind == itemMessage {
		e.Logprobs = &[]string{}
	}
	f.event(s, e)
}

// close ends the item that is open.
func (f *responsesFormat) close(s *events) {
	if f.kind == "" {
		return
	}
	it, i := f.last()
	it.Status = "completed"
	if f.finish == finishLength {
		it.Status = "incomplete"
	}
	if f.kind == itemCall {
		f.event(s, responseEvent{Type: "response.function_call_arguments.done", ItemID: it.ID, Output: i, Name: it.Name, Args: it.Arguments})
	} else {
		part := (*it.Content)[0]
		e := responseEvent{Type: "response.reasoning_text.done", ItemID: it.ID, Output: i, Content: new(int), Text: &part.Text}
		if f.kind == itemMessage {
			e.Type, e.Logprobs = "response.output_text.done", &[]string{}
		}
		f.event(s, e)
		f.event(s, responseEvent{Type: "response.content_part.done", ItemID: it.ID, Output: i, Content: new(int), Part: &part})
	}
	f.event(s, responseEvent{Type: "response.output_item.done", Output: i, Item: it})
	f.kind = ""
}

// settle sets what is known at the end.
func (f *responsesFormat) settle(u usageJSON, extra *extraJSON) {
	r := &f.response
	now := time.Now().Unix()
	r.Status, r.CompletedAt, r.Extra = "completed", &now, extra
	if f.finish == finishLength {
		r.Status, r.CompletedAt, r.Incomplete = "incomplete", nil, &incompleteJSON{"max_output_tokens"}
	}
	r.Usage = &responseUsage{Input: u.PromptTokens, Output: u.CompletionTokens, Total: u.TotalTokens}
	r.Usage.InputDetails.Cached, r.Usage.OutputDetails.Reasoning = u.Details.CachedTokens, u.Answer.ReasoningTokens
}

func (f *responsesFormat) end(s *events, out outcome, extra *extraJSON) {
	f.settle(out.usage(), extra)
	f.event(s, responseEvent{Type: "response." + f.response.Status, Response: &f.response})
}

func (f *responsesFormat) fail(s *events, e *apiError) {
	f.event(s, responseEvent{Type: "response.failed", Response: f.failed(e)})
	// Clients raise an error for this one.
	s.named("error", struct {
		Type    string  `json:"type"`
		Code    *string `json:"code"`
		Message string  `json:"message"`
		Param   *string `json:"param"`
		Number  int     `json:"sequence_number"`
	}{"error", orNull(e.code), e.message, orNull(e.param), f.number})
}

func (f *responsesFormat) failed(e *apiError) *responseJSON {
	f.response.Status = "failed"
	f.response.Error = &responseError{Code: "server_error", Message: e.message}
	return &f.response
}

func (f *responsesFormat) whole(choices []grown, out outcome, extra *extraJSON) any {
	c := &choices[0]
	f.finish = c.finish
	status := "completed"
	if c.finish == finishLength {
		status = "incomplete"
	}
	add := func(it responseItem, parts ...responsePart) {
		it.Status = status
		if it.Content != nil {
			*it.Content = parts
		}
		f.response.Output = append(f.response.Output, it)
	}
	if text := c.reasoning.String(); text != "" {
		add(newItem(itemReasoning), newPart(partReasoning, text))
	}
	if text := c.text.String(); text != "" {
		add(newItem(itemMessage), newPart(partText, text))
	}
	for i := range c.calls {
		it := newItem(itemCall)
		it.CallID, it.Name, *it.Arguments = c.calls[i].id, c.calls[i].name, c.calls[i].args.String()
		add(it)
	}
	f.settle(out.usage(), extra)
	return &f.response
}
