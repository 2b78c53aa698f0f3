package reply

import (
	"encoding/json"
	"strings"
	"unicode"
)

// giveUp makes text of what was taken for a call.
func (p *Parser) giveUp() bool {
	p.buf, p.whole = p.whole+p.buf, ""
	// The first character is certain to be text, or it would be found again.
	text := p.buf
	if !p.final {
		if i := strings.IndexFunc(text[min(1, len(text)):], unicode.IsSpace); i >= 0 {
			text = text[:i+1]
		}
	}
	p.buf = p.buf[len(text):]
	p.mode, p.spoke = inContent, true
	p.emit(Content, text)
	return true
}

// lead takes a text that must come next, after blanks. With ok false it is not
// there: wait says that it may yet come.
func (p *Parser) lead(s string) (ok, wait bool) {
	rest := strings.TrimLeftFunc(p.buf, unicode.IsSpace)
	if strings.HasPrefix(rest, s) {
		p.whole += p.buf[:len(p.buf)-len(rest)+len(s)]
		p.buf = rest[len(s):]
		return true, false
	}
	return false, !p.final && strings.HasPrefix(s, rest)
}

// between reads what stands between the calls of a section.
func (p *Parser) between() bool {
	c := p.f.call
	p.buf = strings.TrimLeft(p.buf, " \t\r\n,;")
	if c.kind == callObject {
		p.buf = strings.TrimLeft(p.buf, "[")
		switch {
		case p.buf == "":
			return false
		case p.buf[0] == '{':
			p.mode, p.object, p.named = inObject, &objectScan{}, false
			return true
		case p.buf[0] == ']':
			p.buf, p.mode, p.strip = p.buf[1:], inContent, true
			return true
		}
		return p.afterSection()
	}
	if p.buf == "" {
		return false
	}
	ok, wait := p.lead(c.open)
	if ok {
		p.mode, p.named = inName, false
		return true
	}
	end, waitEnd := p.lead(c.sectionEnd)
	if end {
		p.mode, p.strip = inContent, true
		return true
	}
	if wait || waitEnd {
		return false
	}
	return p.afterSection()
}

// afterSection goes on with what is no call.
func (p *Parser) afterSection() bool {
	if p.calls == 0 {
		return p.giveUp()
	}
	p.mode = inContent
	return true
}

// endOfName finds the first text that ends a name.
func (p *Parser) endOfName() (at int, mark string) {
	at = -1
	for _, m := range p.f.call.nameEnd {
		if i := strings.Index(p.buf, m); i >= 0 && (at < 0 || i < at) {
			at, mark = i, m
		}
	}
	return at, mark
}

// name reads the name of the kinds named and tagged.
func (p *Parser) name() bool {
	c := p.f.call
	at, mark := p.endOfName()
	const longest = 300 // no name is longer
	if at < 0 || at == 0 && mark == "\n" {
		if len(p.buf) > longest || p.final {
			return p.giveUp()
		}
		if at == 0 {
			p.buf = p.buf[1:]
			return true
		}
		return false
	}
	name := strings.TrimPrefix(strings.TrimSpace(p.buf[:at]), c.prefix)
	if c.suffix != "" {
		if i := strings.LastIndexByte(name, ':'); i >= 0 {
			name = name[:i]
		}
	}
	if name == "" {
		return p.giveUp()
	}
	p.buf = p.buf[at+len(mark):]
	if mark != c.nameEnd[0] {
		p.buf = mark + p.buf // it belongs to what follows
	}
	p.call(name)
	if c.kind == callTagged {
		p.mode, p.args = inKeys, newArgsWriter(p.schemaOf(name))
	} else {
		p.mode, p.value = inArgs, &valueScan{}
	}
	return true
}

// call begins a call.
func (p *Parser) call(name string) {
	p.out = append(p.out, Part{Kind: Call, Index: p.calls, Name: name})
	p.calls++
	p.named, p.whole, p.strip = true, "", false
}

// grow adds to the arguments of the call.
func (p *Parser) grow(args string) {
	if args != "" {
		p.out = append(p.out, Part{Kind: Call, Index: p.calls - 1, Text: args})
	}
}

func (p *Parser) schemaOf(name string) []byte {
	for _, t := range p.tools {
		if t.Name == name {
			return t.Parameters
		}
	}
	return nil
}

func (p *Parser) knows(name string) bool {
	for _, t := range p.tools {
		if t.Name == name {
			return true
		}
	}
	return false
}

// json reads arguments, or a call that is an object.
func (p *Parser) json() bool {
	if p.mode == inObject {
		return p.callObject()
	}
	if !p.value.begun {
		p.buf = strings.TrimLeftFunc(p.buf, unicode.IsSpace)
	}
	n, done := p.value.scan(p.buf)
	p.grow(p.buf[:n])
	p.buf = p.buf[n:]
	if done {
		p.mode = inClose
	}
	return done
}

// callObject reads a call that is an object.
func (p *Parser) callObject() bool {
	n, state := p.object.scan(p.buf)
	if !p.named {
		p.whole += p.buf[:n]
	}
	p.buf = p.buf[n:]
	o := p.object
	if !p.named && o.name != "" {
		if p.f.call == &llama && !p.knows(o.name) {
			return p.giveUp()
		}
		p.call(o.name)
	}
	if p.named {
		p.grow(o.takeArgs())
	}
	switch {
	case !p.named && (state != scanMore || p.final):
		return p.giveUp()
	case state == scanMore:
		return false
	case state == scanDone && !o.hasArgs:
		p.grow("{}")
	}
	p.mode = inClose // what is broken is lost
	return true
}

// keys reads the parameters of a tagged call.
func (p *Parser) keys() bool {
	c := p.f.call
	at := strings.Index(p.buf, c.valueEnd)
	end := strings.Index(p.buf, c.close)
	if key := strings.Index(p.buf, c.key); end >= 0 && (key < 0 || end < key) {
		p.grow(p.args.end())
		p.buf = p.buf[end:]
		p.mode = inClose
		return true
	}
	if at < 0 {
		return false
	}
	text := p.buf[:at]
	p.buf = p.buf[at+len(c.valueEnd):]
	_, text, _ = strings.Cut(text, c.key)
	key, value, ok := strings.Cut(text, c.keyEnd)
	if ok && c.value != "" {
		_, value, ok = strings.Cut(value, c.value)
	}
	if !ok {
		return true
	}
	if c.lines {
		value = strings.TrimSuffix(strings.TrimPrefix(value, "\n"), "\n")
	}
	p.grow(p.args.add(strings.TrimSpace(key), value))
	return true
}

// close reads what comes after the arguments of a call.
func (p *Parser) close() bool {
	c := p.f.call
	end := strings.TrimSpace(c.argsEnd + c.close)
	if end != "" {
		ok, wait := p.lead(end)
		if !ok && wait {
			return false
		}
	}
	p.closed++
	p.whole = ""
	switch {
	case p.f.channels:
		p.mode = inHeader
	case c.section != "":
		p.mode = inSection
	case c == &llama:
		p.mode, p.spoke, p.strip = inContent, false, true
	default:
		p.mode, p.strip = inContent, true
	}
	return p.buf != "" || p.final && p.mode != inContent && p.mode != inSection
}

// An argsWriter makes a JSON object of parameters that come as texts.
type argsWriter struct {
	types map[string]any // of the properties
	n     int
}

func newArgsWriter(schema []byte) *argsWriter {
	var s struct {
		Properties map[string]struct {
			Type any `json:"type"`
		} `json:"properties"`
	}
	_ = json.Unmarshal(schema, &s) // what is not known counts as text
	w := &argsWriter{types: map[string]any{}}
	for name, p := range s.Properties {
		w.types[name] = p.Type
	}
	return w
}

// add returns what the object grows by with one parameter. A value is JSON
// unless the schema says that it is a string, or it is none.
func (w *argsWriter) add(key, value string) string {
	raw := []byte(strings.TrimSpace(value))
	t, known := w.types[key]
	if t == "string" || !json.Valid(raw) || !known && len(raw) > 0 && raw[0] == '"' {
		raw = quote(value)
	}
	sep := ","
	if w.n == 0 {
		sep = "{"
	}
	w.n++
	return sep + string(quote(key)) + ":" + string(raw)
}

func (w *argsWriter) end() string {
	if w.n == 0 {
		return "{}"
	}
	return "}"
}

// quote returns s as a JSON string.
func quote(s string) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can be encoded
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}
