package openai

import (
	"crypto/rand"
	"strings"
	"time"
	"unicode/utf8"
)

// A format makes the answers of one endpoint.
type format interface {
	// promptField is the field that holds the prompt, for errors.
	promptField() string
	// mediaType is that of a stream.
	mediaType() string
	// open begins a choice in a stream, before its first piece is added.
	open(s *events, first piece)
	// add is what a choice grows by. The last has p.finish.
	add(s *events, p piece)
	// end ends a stream that did not fail.
	end(s *events, out outcome, extra *extraJSON)
	// fail ends one that did.
	fail(s *events, e *apiError)
	// whole is the answer that is not streamed.
	whole(choices []grown, out outcome, extra *extraJSON) any
}

// A grown is a choice that is complete.
type grown struct {
	text, reasoning strings.Builder
	calls           []grownCall
	tokens          []tokenLogprob
	finish          string
	stop            string // the stop string that ended it, if one did
}

// A grownCall is a call of a tool that is complete.
type grownCall struct {
	id, name string
	args     strings.Builder
}

// add grows g by p.
func (g *grown) add(p piece) {
	g.text.WriteString(p.text)
	g.reasoning.WriteString(p.reasoning)
	g.tokens = append(g.tokens, p.tokens...)
	g.finish, g.stop = p.finish, p.stop
	if c := p.call; c != nil {
		if c.index == len(g.calls) {
			g.calls = append(g.calls, grownCall{id: c.id, name: c.name})
		}
		g.calls[c.index].args.WriteString(c.args)
	}
}

// openAIStream is what the streams of OpenAI's completions have in common.
type openAIStream struct{}

func (openAIStream) mediaType() string { return eventStream }

// fail sends the error as an event. No [DONE] comes: a client must not take the
// answer for whole.
func (openAIStream) fail(s *events, e *apiError) { s.add(e.body()) }

// An answer is what all chunks of one answer have in common.
type answer struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
}

func newAnswer(prefix, model string) answer {
	return answer{ID: prefix + rand.Text(), Created: time.Now().Unix(), Model: model}
}

// as returns a with the given kind of object.
func (a answer) as(object string) answer {
	a.Object = object
	return a
}

// usageJSON is OpenAI's CompletionUsage.
type usageJSON struct {
	PromptTokens     int `json:"prompt_tokens"`
	CompletionTokens int `json:"completion_tokens"`
	TotalTokens      int `json:"total_tokens"`
	Details          struct {
		CachedTokens int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	Answer struct {
		ReasoningTokens int `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

// usage counts tokens as OpenAI does: a prompt once, whatever n is; the token
// that ends an answer is one of the answer's.
func (o outcome) usage() usageJSON {
	u := usageJSON{PromptTokens: o.promptTokens, CompletionTokens: o.answerTokens, TotalTokens: o.promptTokens + o.answerTokens}
	u.Details.CachedTokens, u.Answer.ReasoningTokens = o.cachedTokens, o.reasoningTokens
	return u
}

func finishReason(finish string) *string { return orNull(finish) }

// validText returns the text of a token, which may be a part of a character.
func validText(bytes string) string {
	if utf8.ValidString(bytes) {
		return bytes
	}
	return strings.ToValidUTF8(bytes, "\uFFFD")
}
