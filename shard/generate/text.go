package generate

import (
	"fmt"
	"strings"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/tokenizer"
)

// The keys of chat templates in GGUF metadata (gguf.md, "Tokenizer"): the
// template, and the one for when tools are given, of models that have two.
const (
	templateKey     = "tokenizer.chat_template"
	toolTemplateKey = "tokenizer.chat_template.tool_use"
	archKey         = "general.architecture"
)

// A Text is the text side of a model. It is safe for concurrent use.
type Text struct {
	Tokenizer *tokenizer.Tokenizer
	// plain and tools are the templates without and with tools.
	plain, tools parsed

	forms formCache
}

// parsed is a template, or why it can't be used.
type parsed struct {
	source string
	t      *chat.Template
	err    error
}

// ReadText reads the tokenizer and the chat template of GGUF metadata. A
// template that can't be parsed is an error only when it is used.
func ReadText(meta tokenizer.Metadata) (*Text, error) {
	tok, err := tokenizer.FromMetadata(meta)
	if err != nil {
		return nil, err
	}
	t := &Text{Tokenizer: tok}
	t.plain = parse(TemplateSource(meta, false))
	t.tools = parse(TemplateSource(meta, true))
	return t, nil
}

func parse(source string) parsed {
	t, err := chat.Parse(source)
	return parsed{source: source, t: t, err: err}
}

// Source returns the source of the template that is used with tools.
func (t *Text) Source() string { return t.tools.source }

// TemplateSource returns the chat template of GGUF metadata: with tools the
// one for tools, if there are two. For a model that brings none it is Gemma's
// for that family, else ChatML.
func TemplateSource(meta tokenizer.Metadata, tools bool) string {
	keys := []string{templateKey}
	if tools {
		keys = []string{toolTemplateKey, templateKey}
	}
	for _, key := range keys {
		if src, ok := meta.Str(key); ok && strings.TrimSpace(src) != "" {
			return src
		}
	}
	if arch, _ := meta.Str(archKey); strings.HasPrefix(arch, "gemma") {
		return chat.Gemma
	}
	return chat.ChatML
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

// Render returns the prompt that the model's template makes of c.
func (t *Text) Render(c Chat) (string, error) {
	tmpl := t.plain
	if c.Tools.Len() > 0 {
		tmpl = t.tools
	}
	if tmpl.err != nil {
		return "", fmt.Errorf("chat template of the model: %w", tmpl.err)
	}
	return tmpl.t.Render(chat.Vars{
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
// are those of the template and of the assistant's own messages; in all other
// messages, and in tools, they are text.
func (t *Text) ChatPrompt(c Chat) ([]shard.Token, error) {
	c.Messages = c.Messages.MapTexts(t.Tokenizer.Guard, isAssistant)
	c.Tools = c.Tools.MapTexts(t.Tokenizer.Guard, nil)
	text, err := t.Render(c)
	if err != nil {
		return nil, err
	}
	return t.withPrefix(t.Tokenizer.EncodeGuarded(text)), nil
}

// isAssistant reports whether message is one that the model itself wrote.
func isAssistant(message any) bool {
	d, ok := message.(*chat.Dict)
	if !ok {
		return false
	}
	role, _ := d.Get("role")
	return role == "assistant"
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
