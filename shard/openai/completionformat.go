package openai

// completionFormat makes completions. Chunks look like whole answers.
type completionFormat struct {
	openAIStream
	answer
	withUsage bool // of a stream
}

type (
	completionChoice struct {
		Index        int                 `json:"index"`
		Text         string              `json:"text"`
		Logprobs     *completionLogprobs `json:"logprobs"`
		FinishReason *string             `json:"finish_reason"`
	}
	completionAnswer struct {
		answer
		Choices []completionChoice `json:"choices"`
		Usage   *usageJSON         `json:"usage,omitempty"`
		Extra   *extraJSON         `json:"shardnode,omitempty"`
	}
	completionLogprobs struct {
		TextOffset    []int                `json:"text_offset"`
		TokenLogprobs []float64            `json:"token_logprobs"`
		Tokens        []string             `json:"tokens"`
		TopLogprobs   []map[string]float64 `json:"top_logprobs"`
	}
)

func (f completionFormat) promptField() string { return "prompt" }

func (f completionFormat) open(*events, piece) {}

func (f completionFormat) add(s *events, p piece) {
	s.add(f.answerOf(completionChoice{
		Index: p.choice, Text: p.text, Logprobs: completionLogprobsOf(p.tokens), FinishReason: finishReason(p.finish),
	}))
}

func (f completionFormat) answerOf(cs ...completionChoice) completionAnswer {
	return completionAnswer{answer: f.as("text_completion"), Choices: append([]completionChoice{}, cs...)}
}

func (f completionFormat) end(s *events, o outcome, extra *extraJSON) {
	u := o.usage()
	if f.withUsage || extra != nil {
		out := f.answerOf()
		out.Usage, out.Extra = &u, extra
		s.add(out)
	}
	s.done()
}

func (f completionFormat) whole(choices []grown, o outcome, extra *extraJSON) any {
	u := o.usage()
	out := f.answerOf()
	out.Usage, out.Extra = &u, extra
	for i := range choices {
		c := &choices[i]
		out.Choices = append(out.Choices, completionChoice{
			Index: i, Text: c.text.String(), Logprobs: completionLogprobsOf(c.tokens), FinishReason: finishReason(c.finish),
		})
	}
	return out
}

// completionLogprobsOf returns nil for no tokens. The chosen token is always
// among the likeliest, as with OpenAI.
func completionLogprobsOf(tokens []tokenLogprob) *completionLogprobs {
	if len(tokens) == 0 {
		return nil
	}
	out := &completionLogprobs{}
	for _, t := range tokens {
		text := validText(t.bytes)
		top := map[string]float64{text: t.logprob}
		for _, o := range t.top {
			if name := validText(o.bytes); name != text {
				top[name] = o.logprob
			}
		}
		out.TextOffset = append(out.TextOffset, t.offset)
		out.TokenLogprobs = append(out.TokenLogprobs, t.logprob)
		out.Tokens = append(out.Tokens, text)
		out.TopLogprobs = append(out.TopLogprobs, top)
	}
	return out
}
