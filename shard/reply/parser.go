package reply

import (
	"strings"
	"unicode"
)

// A Kind is what a part of an answer is.
type Kind uint8

// The kinds of parts.
const (
	Content   Kind = iota // text for the user
	Reasoning             // what the model thought before
	Call                  // of a tool
)

// A Part is what an answer grows by.
type Part struct {
	Kind Kind
	// Text is the text, or what a call's arguments grow by: JSON.
	Text string
	// Index counts the calls of an answer, from 0. Name is set on the first
	// part of a call alone.
	Index int
	Name  string
}

// A Tool is one that may be called.
type Tool struct {
	Name string
	// Parameters is the JSON Schema of the arguments; nil is any object.
	Parameters []byte
}

// A Parser takes one answer.
type Parser struct {
	f     Format
	tools []Tool // none: calls are text
	marks []string

	buf   string // not parsed yet
	final bool   // no more comes
	out   []Part

	mode   mode
	strip  bool // blanks at the start of what follows are left out
	spoke  bool // some content came
	header string

	calls  int  // that have begun
	closed int  // that are complete
	named  bool // the call that is parsed has its name
	whole  string
	object *objectScan
	value  *valueScan
	args   *argsWriter
}

type mode uint8

const (
	inContent mode = iota
	inReasoning
	inSection // between calls
	inName
	inArgs // of kind named: the JSON
	inKeys // of kind tagged: between parameters
	inObject
	inClose
	inHeader // of a message on a channel
	inMessage
)

// Parser returns a parser of an answer to a prompt that ends with promptEnd; it
// may have begun the reasoning. Without tools, calls are text.
func (f Format) Parser(promptEnd string, tools []Tool) *Parser {
	p := &Parser{f: f, tools: tools}
	for _, m := range f.texts() {
		if m != "" {
			p.marks = append(p.marks, m)
		}
	}
	switch open := strings.LastIndex(promptEnd, f.thinkOpen); {
	case f.channels:
		p.mode = inHeader
	case f.thinkOpen != "" && open >= 0 && !strings.Contains(promptEnd[open:], f.thinkClose):
		p.mode, p.strip = inReasoning, true
	}
	return p
}

// Text takes what the answer grows by and returns the parts that are certain.
// The slice is valid until the next call.
func (p *Parser) Text(s string) []Part {
	p.buf += s
	return p.run()
}

// Control takes a control token by its text.
func (p *Parser) Control(s string) []Part {
	if !p.f.channels {
		known := false
		for _, m := range p.marks {
			known = known || strings.Contains(m, s)
		}
		if !known {
			return nil
		}
	}
	return p.Text(s)
}

// End says that no more comes.
func (p *Parser) End() []Part {
	p.final = true
	return p.run()
}

// Thinking reports whether what comes now is reasoning.
func (p *Parser) Thinking() bool {
	return p.mode == inReasoning || p.mode == inMessage && strings.Contains(p.header, "<|channel|>analysis")
}

// Calls returns how many calls have begun, and Complete how many have ended.
func (p *Parser) Calls() int { return p.calls }

// Complete returns how many calls are complete.
func (p *Parser) Complete() int { return p.closed }

func (p *Parser) run() []Part {
	p.out = p.out[:0]
	for p.step() {
	}
	return p.out
}

// step goes on as far as one mode reaches, and reports whether another may.
func (p *Parser) step() bool {
	switch p.mode {
	case inContent:
		return p.content()
	case inReasoning:
		return p.reasoning()
	case inHeader, inMessage:
		return p.channel()
	case inSection:
		return p.between()
	case inName:
		return p.name()
	case inArgs, inObject:
		return p.json()
	case inKeys:
		return p.keys()
	}
	return p.close()
}

// emit adds text of one kind; a part before it of the same kind grows.
func (p *Parser) emit(k Kind, text string) {
	if p.strip {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
	}
	if text == "" {
		return
	}
	p.strip = false
	p.spoke = p.spoke || k == Content
	if n := len(p.out); n > 0 && p.out[n-1].Kind == k {
		p.out[n-1].Text += text
		return
	}
	p.out = append(p.out, Part{Kind: k, Text: text})
}

// split looks for the first of marks in p.buf. Without one it returns in text
// what can't be the start of one, blanks at its end left for later.
func (p *Parser) split(marks ...string) (text, mark string) {
	at := -1
	for _, m := range marks {
		if i := strings.Index(p.buf, m); m != "" && i >= 0 && (at < 0 || i < at) {
			at, mark = i, m
		}
	}
	if at >= 0 {
		text, p.buf = p.buf[:at], p.buf[at+len(mark):]
		return text, mark
	}
	n := len(p.buf)
	if !p.final {
		for _, m := range marks {
			for k := min(len(m)-1, len(p.buf)); k > 0; k-- {
				if strings.HasSuffix(p.buf, m[:k]) {
					n = min(n, len(p.buf)-k)
					break
				}
			}
		}
		n = len(strings.TrimRightFunc(p.buf[:n], unicode.IsSpace))
	}
	text, p.buf = p.buf[:n], p.buf[n:]
	return text, ""
}

// content reads text for the user, up to reasoning or a call.
func (p *Parser) content() bool {
	c := p.f.call
	if len(p.tools) == 0 {
		c = nil
	}
	if c == &llama && !p.spoke && p.startsObject() {
		return p.mode != inContent
	}
	marks := []string{p.f.thinkOpen}
	if c != nil {
		marks = append(marks, c.start())
		if c == &llama {
			marks = append(marks, pythonTag)
		}
	}
	if p.f.thinkClose != "" && !p.spoke {
		marks = append(marks, p.f.thinkClose)
	}
	text, mark := p.split(marks...)
	if mark != "" {
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	}
	if mark != "" && mark == p.f.thinkClose {
		p.emit(Reasoning, text) // it began in the prompt
		p.strip = true
		return true
	}
	p.emit(Content, text)
	switch mark {
	case "":
		return false
	case p.f.thinkOpen:
		p.mode, p.strip = inReasoning, true
	default:
		p.begin(mark)
	}
	return true
}

// start is the text with which calls begin.
func (c *callForm) start() string {
	if c.section != "" {
		return c.section
	}
	return c.open
}

// startsObject looks whether the answer is a call without anything before it.
// It reports whether the mode is decided or more is needed.
func (p *Parser) startsObject() bool {
	rest := strings.TrimLeftFunc(p.buf, unicode.IsSpace)
	if p.calls > 0 {
		rest = strings.TrimLeft(rest, "; \t\r\n")
	}
	if rest == "" {
		p.buf = rest
		return true
	}
	if rest[0] != '{' {
		return false
	}
	p.buf = rest
	p.begin("")
	return true
}

// begin starts a call or a section of calls, after mark.
func (p *Parser) begin(mark string) {
	c := p.f.call
	p.whole, p.named = mark, false
	switch {
	case c.kind == callObject && c.section == "":
		p.mode, p.object = inObject, &objectScan{}
	case c.section != "":
		p.mode = inSection
	default:
		p.mode = inName
	}
}

// reasoning reads up to the end of the reasoning, or to a call in the midst.
func (p *Parser) reasoning() bool {
	text, mark := p.split(p.f.thinkClose)
	if mark != "" {
		text = strings.TrimRightFunc(text, unicode.IsSpace)
	}
	p.emit(Reasoning, text)
	if mark == "" {
		return false
	}
	p.mode, p.strip = inContent, true
	return true
}
