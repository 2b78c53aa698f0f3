package reply

import (
	"strings"
)

// channel reads messages as GPT-OSS writes them (OpenAI's harmony format):
// <|start|>ROLE to=NAME<|channel|>CHANNEL <|constrain|>json<|message|>TEXT and
// <|end|>, <|call|> or <|return|>.
func (p *Parser) channel() bool {
	if p.mode == inHeader {
		at := strings.Index(p.buf, "<|message|>")
		if at < 0 {
			return false
		}
		p.header, p.buf = p.buf[:at], p.buf[at+len("<|message|>"):]
		p.mode, p.strip = inMessage, false
		if name := p.recipient(); name != "" && len(p.tools) > 0 {
			p.call(name)
		}
		return true
	}
	text, mark := p.split("<|end|>", "<|call|>", "<|return|>", "<|start|>")
	switch {
	case p.named:
		p.grow(text)
	case strings.Contains(p.header, "<|channel|>analysis"):
		p.emit(Reasoning, text)
	default:
		p.emit(Content, text)
	}
	if mark == "" && !(p.final && p.named) {
		return false
	}
	if p.named {
		p.closed++
	}
	p.mode, p.named = inHeader, false
	return mark != ""
}

// recipient returns the function that the message is to, "" if it is to none.
func (p *Parser) recipient() string {
	_, rest, ok := strings.Cut(p.header, "to=functions.")
	if !ok {
		return ""
	}
	if i := strings.IndexAny(rest, " <\n"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}
