package openai

import (
	"crypto/rand"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shardnode/shardnode/shard/generate"
)

// A format makes the JSON values of one endpoint.
type format interface {
	// promptField is the field that holds the prompt, for errors.
	promptField() string
	// open is the first chunk of a choice; nil if there is none.
	open(choice int) any
	// chunk is a later one. The last of a choice has p.finish.
	chunk(p piece) any
	// usage is the chunk after the last, with the counts of tokens.
	usage(u usageJSON, extra *extraJSON) any
	// whole is the answer that is not streamed.
	whole(choices []grown, u usageJSON, extra *extraJSON) any
}

// A grown is a choice that is complete.
type grown struct {
	text   strings.Builder
	tokens []tokenLogprob
	finish generate.Finish
}

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
}

// usage counts tokens as OpenAI does: a prompt once, whatever n is; the token
// that ends an answer is one of the answer's.
func (o outcome) usage() usageJSON {
	u := usageJSON{PromptTokens: o.promptTokens, CompletionTokens: o.answerTokens, TotalTokens: o.promptTokens + o.answerTokens}
	u.Details.CachedTokens = o.cachedTokens
	return u
}

func finishReason(f generate.Finish) *string { return orNull(string(f)) }

// validText returns the text of a token, which may be a part of a character.
func validText(bytes string) string {
	if utf8.ValidString(bytes) {
		return bytes
	}
	return strings.ToValidUTF8(bytes, "\uFFFD")
}
