package openai

import (
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/tokenizer"
)

// textModel returns the model that a request names, or the only one.
func (h *Handler) textModel(o *object) (Model, *apiError) {
	id, ok := o.text("model")
	all := h.cfg.Backend.Models()
	if !ok && len(all) == 1 {
		id = all[0].ID
	} else if !ok {
		return Model{}, invalid("model", "missing_required_parameter", "model is missing: GET /v1/models lists them")
	}
	return h.readable(id)
}

// A tokenPiece is a token with the text that it stands for.
type tokenPiece struct {
	ID    shard.Token `json:"id"`
	Piece string      `json:"piece"`
}

// serveTokenize gives the tokens of a text or of a chat (llama.cpp's and vLLM's
// /tokenize).
func (h *Handler) serveTokenize(body []byte) (any, *apiError) {
	o, err := readObject("", body)
	if err != nil {
		return nil, err
	}
	m, err := h.textModel(o)
	if err != nil {
		return nil, err
	}
	special, parse, pieces := o.flag("add_special"), o.flag("parse_special"), o.flag("with_pieces")
	var ids []shard.Token
	if _, chat := o.fields["messages"]; chat {
		r := chatRequest{messages: readMessages(o)}
		r.use.mode = toolsNone
		if err := o.done(); err != nil {
			return nil, err
		}
		p, bad := m.Text.ChatPrompt(generate.Chat{Messages: r.messages})
		if bad != nil {
			return nil, invalid("messages", "template_failed", "%v", bad)
		}
		ids = p
	} else {
		text, ok := o.text("content")
		if !ok {
			text, ok = o.text("prompt")
		}
		if !ok {
			o.fail("content", "missing_required_parameter", "content is missing: the text, or send messages")
		}
		if err := o.done(); err != nil {
			return nil, err
		}
		how := tokenizer.PlainText
		if parse {
			how = tokenizer.ParseSpecials
		}
		if ids = m.Text.Tokenizer.Encode(text, how); special {
			ids = append(append([]shard.Token{}, m.Text.Tokenizer.Prefix()...), ids...)
		}
	}
	out := struct {
		Tokens any `json:"tokens"`
		Count  int `json:"count"`
		Most   int `json:"max_model_len"`
	}{ids, len(ids), m.ContextTokens}
	if ids == nil {
		out.Tokens = []int{}
	}
	if pieces {
		list := make([]tokenPiece, len(ids))
		for i, id := range ids {
			list[i] = tokenPiece{id, validText(m.Text.Tokenizer.Piece(id))}
		}
		out.Tokens = list
	}
	return out, nil
}

// serveDetokenize gives the text of tokens.
func (h *Handler) serveDetokenize(body []byte) (any, *apiError) {
	o, err := readObject("", body)
	if err != nil {
		return nil, err
	}
	m, err := h.textModel(o)
	if err != nil {
		return nil, err
	}
	raw, ok := o.take("tokens")
	if !ok {
		o.fail("tokens", "missing_required_parameter", "tokens is missing")
		return nil, o.err
	}
	ids := readIDs(&object{fields: o.fields}, "tokens", raw)
	for _, id := range ids {
		if id < 0 || int(id) >= m.Text.Tokenizer.Len() {
			o.fail("tokens", "invalid_value", "tokens has %d, the model has tokens 0 to %d", id, m.Text.Tokenizer.Len()-1)
		}
	}
	if err := o.done(); err != nil {
		return nil, err
	}
	text := m.Text.Tokenizer.DecodeSpecial(ids)
	return struct {
		Content string `json:"content"`
		Prompt  string `json:"prompt"`
	}{text, text}, nil
}

// serveCountTokens counts the tokens of a request of Anthropic's API.
func (h *Handler) serveCountTokens(body []byte) (any, *apiError) {
	o, err := readObject("", body)
	if err != nil {
		return nil, err
	}
	o.fields["max_tokens"] = []byte("1")
	r, err := parseMessagesObject(o)
	if err != nil {
		return nil, err
	}
	j, err := h.chatJob(r, func(m Model) format { return newMessagesFormat(m.ID) })
	if err != nil {
		return nil, err
	}
	prompts, bad := j.prepare()
	if bad != nil {
		return nil, apiErrorOf(bad)
	}
	return struct {
		Tokens int `json:"input_tokens"`
	}{len(prompts[0].ids)}, nil
}
