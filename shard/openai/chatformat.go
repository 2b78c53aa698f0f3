package openai

// chatFormat makes chat completions.
type chatFormat struct {
	openAIStream
	answer
	withUsage bool // of a stream
}

type (
	chatMessage struct {
		Role      string     `json:"role"`
		Content   *string    `json:"content"`
		Reasoning string     `json:"reasoning_content,omitempty"`
		Calls     []chatCall `json:"tool_calls,omitempty"`
		Refusal   *string    `json:"refusal"`
	}
	chatCall struct {
		// Index is for chunks alone, where it is always there.
		Index    *int     `json:"index,omitempty"`
		ID       string   `json:"id,omitempty"`
		Type     string   `json:"type,omitempty"`
		Function chatFunc `json:"function"`
	}
	chatFunc struct {
		Name      string `json:"name,omitempty"`
		Arguments string `json:"arguments"`
	}
	chatChoice struct {
		Index        int           `json:"index"`
		Message      chatMessage   `json:"message"`
		Logprobs     *chatLogprobs `json:"logprobs"`
		FinishReason *string       `json:"finish_reason"`
	}
	chatAnswer struct {
		answer
		Choices []chatChoice `json:"choices"`
		Usage   usageJSON    `json:"usage"`
		Extra   *extraJSON   `json:"shardnode,omitempty"`
	}

	chatDelta struct {
		Role      string     `json:"role,omitempty"`
		Content   *string    `json:"content,omitempty"`
		Reasoning string     `json:"reasoning_content,omitempty"`
		Calls     []chatCall `json:"tool_calls,omitempty"`
	}
	// OpenAI's schema lets neither logprobs nor usage of a chunk be null, so
	// they are left out where there are none; an empty refusal is a list.
	chatChunkChoice struct {
		Index        int           `json:"index"`
		Delta        chatDelta     `json:"delta"`
		Logprobs     *chatLogprobs `json:"logprobs,omitempty"`
		FinishReason *string       `json:"finish_reason"`
	}
	chatChunk struct {
		answer
		Choices []chatChunkChoice `json:"choices"`
		Usage   *usageJSON        `json:"usage,omitempty"`
		Extra   *extraJSON        `json:"shardnode,omitempty"`
	}

	chatLogprobs struct {
		Content []chatLogprob `json:"content"`
		Refusal []chatLogprob `json:"refusal"`
	}
	chatLogprob struct {
		chatTop
		Top []chatTop `json:"top_logprobs"`
	}
	chatTop struct {
		Token   string  `json:"token"`
		Logprob float64 `json:"logprob"`
		Bytes   []int   `json:"bytes"`
	}
)

func (f chatFormat) promptField() string { return "messages" }

func (f chatFormat) open(s *events, first piece) {
	empty := ""
	s.add(f.chunkOf(chatChunkChoice{Index: first.choice, Delta: chatDelta{Role: "assistant", Content: &empty}}))
}

func (f chatFormat) add(s *events, p piece) {
	c := chatChunkChoice{Index: p.choice, Logprobs: chatLogprobsOf(p.tokens), FinishReason: finishReason(p.finish)}
	c.Delta.Reasoning = p.reasoning
	switch {
	case p.call != nil:
		call := chatCall{Index: &p.call.index, ID: p.call.id, Function: chatFunc{Name: p.call.name, Arguments: p.call.args}}
		if call.ID != "" {
			call.Type = "function"
		}
		c.Delta.Calls = []chatCall{call}
	case p.reasoning == "" && p.finish == "":
		c.Delta.Content = &p.text
	}
	s.add(f.chunkOf(c))
}

func (f chatFormat) chunkOf(c chatChunkChoice) chatChunk {
	return chatChunk{answer: f.as("chat.completion.chunk"), Choices: []chatChunkChoice{c}}
}

func (f chatFormat) end(s *events, out outcome, extra *extraJSON) {
	u := out.usage()
	if f.withUsage || extra != nil {
		s.add(chatChunk{answer: f.as("chat.completion.chunk"), Choices: []chatChunkChoice{}, Usage: &u, Extra: extra})
	}
	s.done()
}

func (f chatFormat) whole(choices []grown, o outcome, extra *extraJSON) any {
	out := chatAnswer{answer: f.as("chat.completion"), Usage: o.usage(), Extra: extra}
	for i := range choices {
		c := &choices[i]
		m := chatMessage{Role: "assistant", Reasoning: c.reasoning.String()}
		if text := c.text.String(); text != "" || len(c.calls) == 0 {
			m.Content = &text
		}
		for k := range c.calls {
			call := &c.calls[k]
			m.Calls = append(m.Calls, chatCall{ID: call.id, Type: "function", Function: chatFunc{call.name, call.args.String()}})
		}
		out.Choices = append(out.Choices, chatChoice{
			Index: i, Message: m, Logprobs: chatLogprobsOf(c.tokens), FinishReason: finishReason(c.finish),
		})
	}
	return out
}

// chatLogprobsOf returns nil for no tokens.
func chatLogprobsOf(tokens []tokenLogprob) *chatLogprobs {
	if len(tokens) == 0 {
		return nil
	}
	out := &chatLogprobs{Refusal: []chatLogprob{}}
	for _, t := range tokens {
		l := chatLogprob{chatTop: chatTopOf(t), Top: []chatTop{}}
		for _, top := range t.top {
			l.Top = append(l.Top, chatTopOf(top))
		}
		out.Content = append(out.Content, l)
	}
	return out
}

func chatTopOf(t tokenLogprob) chatTop {
	bytes := make([]int, len(t.bytes))
	for i := range bytes {
		bytes[i] = int(t.bytes[i])
	}
	return chatTop{Token: validText(t.bytes), Logprob: t.logprob, Bytes: bytes}
}
