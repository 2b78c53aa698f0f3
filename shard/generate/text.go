package generate

import (
	"fmt"
	"strings"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/tokenizer"
)

// templateKey is the chat template in GGUF metadata.
const templateKey = "tokenizer.chat_template"

// A Text is the text side of a model. It is safe for concurrent use.
type Text struct {
	Tokenizer *tokenizer.Tokenizer
	// Template is the model's own; nil if it brings none.
	Template *chat.Template
}

// ReadText reads the tokenizer and the chat template of GGUF metadata. A
// template that can't be parsed is an error only when it is used.
func ReadText(meta tokenizer.Metadata) (*Text, error) {
	tok, err := tokenizer.FromMetadata(meta)
	if err != nil {
		return nil, err
	}
	t := &Text{Tokenizer: tok}
	if src, ok := meta.Str(templateKey); ok && strings.TrimSpace(src) != "" {
		if t.Template, err = chat.Parse(src); err != nil {
			return nil, fmt.Errorf("chat template of the model: %w", err)
		}
	}
	return t, nil
}

// A Chat is a conversation to be continued.
type Chat struct {
	Messages *chat.List
	Tools    *chat.List
	Extra    *chat.Dict // further variables of the template
	Now      time.Time
	// Continue leaves the last message open instead of beginning an answer.
	Continue bool
}

// Render returns the prompt that the model's template makes of c; ChatML if
// the model has none.
func (t *Text) Render(c Chat) (string, error) {
	tmpl := t.Template
	if tmpl == nil {
		var err error
		if tmpl, err = chat.Parse(chat.ChatML); err != nil {
			return "", err
		}
	}
	return tmpl.Render(chat.Vars{
		Messages: c.Messages, Tools: c.Tools, Extra: c.Extra, Now: c.Now,
		BOS: t.piece(t.Tokenizer.BOS()), EOS: t.piece(t.Tokenizer.EOS()),
		AddGenerationPrompt: !c.Continue,
	})
}

func (t *Text) piece(id shard.Token, ok bool) string {
	if !ok {
		return ""
	}
	return t.Tokenizer.Piece(id)
}

// ChatPrompt returns the token ids of the prompt that c makes. Special tokens
// are those of the template; those in a user's text are text.
func (t *Text) ChatPrompt(c Chat) ([]shard.Token, error) {
	text, err := t.Render(c)
	if err != nil {
		return nil, err
	}
	return t.withPrefix(t.Tokenizer.Encode(text, tokenizer.ParseSpecials)), nil
}

// RawPrompt returns the token ids of text without a template: the model's
// begin token, if it wants one, and the text, in which special tokens are text.
func (t *Text) RawPrompt(text string) []shard.Token {
	return t.withPrefix(t.Tokenizer.Encode(text, tokenizer.PlainText))
}

// withPrefix puts the model's begin token before ids, unless it stands there:
// most templates write it themselves.
func (t *Text) withPrefix(ids []shard.Token) []shard.Token {
	prefix := t.Tokenizer.Prefix()
	if len(prefix) == 0 || len(ids) >= len(prefix) && equal(ids[:len(prefix)], prefix) {
		return ids
	}
	return append(append(make([]shard.Token, 0, len(prefix)+len(ids)), prefix...), ids...)
}

func equal(a, b []shard.Token) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
