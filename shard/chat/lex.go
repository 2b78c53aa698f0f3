package chat

import "strings"

type tokenKind byte

const (
	tokText tokenKind = iota
	tokVarOpen
	tokVarClose
	tokBlockOpen
	tokBlockClose
	tokName
	tokString
	tokInt
	tokFloat
	tokOp
	tokEOF
)

type token struct {
	kind tokenKind
	s    string
	line int
}

// describe names a token in an error.
func (t token) describe() string {
	switch t.kind {
	case tokEOF:
		return "end of template"
	case tokVarClose:
		return "'}}'"
	case tokBlockClose:
		return "'%}'"
	case tokText, tokVarOpen, tokBlockOpen:
		return "end of tag"
	}
	return quote(t.s)
}

// lexer splits a template into tokens with trim_blocks and lstrip_blocks on
// (jinja2/lexer.py).
type lexer struct {
	src  string
	at   int
	line int
	toks []token

	// lineStart is true when the last tag took the newline after it, so that
	// the text that follows begins a line.
	lineStart bool
}

func lex(src string) []token {
	src = strings.ReplaceAll(strings.ReplaceAll(src, "\r\n", "\n"), "\r", "\n")
	l := &lexer{src: strings.TrimSuffix(src, "\n"), line: 1, lineStart: true}
	for l.at < len(l.src) {
		l.text()
		if l.at < len(l.src) {
			l.tag()
		}
	}
	l.emit(tokEOF, "")
	return l.toks
}

func (l *lexer) emit(k tokenKind, s string) {
	l.toks = append(l.toks, token{k, s, l.line})
}

// skip moves over n bytes and counts their lines.
func (l *lexer) skip(n int) {
	l.line += strings.Count(l.src[l.at:l.at+n], "\n")
	l.at += n
}

func (l *lexer) rest() string { return l.src[l.at:] }

// text emits the text before the next tag, less the white space that the tag
// takes away.
func (l *lexer) text() {
	rest := l.rest()
	n := nextTag(rest)
	body := rest[:n]
	if n < len(rest) {
		body = l.trimBefore(body, rest[n:])
	}
	if body != "" {
		l.emit(tokText, body)
	}
	l.skip(n)
}

// nextTag returns the place of the next {{, {% or {#, or the length of s.
func nextTag(s string) int {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '{' && (s[i+1] == '{' || s[i+1] == '%' || s[i+1] == '#') {
			return i
		}
	}
	return len(s)
}

// trimBefore applies the sign of the tag that follows body, or lstrip_blocks.
func (l *lexer) trimBefore(body, tag string) string {
	sign := byte(0)
	if len(tag) > 2 {
		sign = tag[2]
	}
	if sign == '-' {
		return strings.TrimRightFunc(body, isSpace)
	}
	if sign == '+' || tag[1] == '{' {
		return body
	}
	start := strings.LastIndexByte(body, '\n') + 1
	if (start > 0 || l.lineStart) && strings.TrimFunc(body[start:], isSpace) == "" {
		return body[:start]
	}
	return body
}

// tag reads one tag, from its opening to the white space that its end takes.
func (l *lexer) tag() {
	open := l.src[l.at+1]
	if open == '%' && l.raw() {
		return
	}
	line := l.line
	l.skip(2)
	if l.at < len(l.src) && (l.src[l.at] == '-' || l.src[l.at] == '+') {
		l.skip(1)
	}
	switch open {
	case '#':
		end := strings.Index(l.rest(), "#}")
		if end < 0 {
			syntax(line, "comment is not closed, want '#}'")
		}
		minus := end > 0 && l.src[l.at+end-1] == '-'
		plus := end > 0 && l.src[l.at+end-1] == '+'
		l.skip(end + 2)
		l.trimAfter(minus, !plus)
	case '%':
		l.emit(tokBlockOpen, "")
		l.inside("%}", line)
		l.trimAfterTag(tokBlockClose, "%}")
	default:
		l.emit(tokVarOpen, "")
		l.inside("}}", line)
		l.trimAfterTag(tokVarClose, "}}")
	}
}

// trimAfterTag moves over the end of a tag, with its sign.
func (l *lexer) trimAfterTag(k tokenKind, end string) {
	l.emit(k, "")
	minus, plus := l.src[l.at] == '-', l.src[l.at] == '+'
	if minus || plus {
		l.skip(1)
	}
	l.skip(len(end))
	l.trimAfter(minus, k == tokBlockClose && !plus)
}

// trimAfter takes all white space, or one newline (trim_blocks), or nothing.
func (l *lexer) trimAfter(all, newline bool) {
	l.lineStart = false
	rest := l.rest()
	if all {
		n := len(rest) - len(strings.TrimLeftFunc(rest, isSpace))
		l.lineStart = n > 0 && rest[n-1] == '\n'
		l.skip(n)
	} else if newline && strings.HasPrefix(rest, "\n") {
		l.lineStart = true
		l.skip(1)
	}
}

// raw reads {% raw %}…{% endraw %} and reports whether it was there.
func (l *lexer) raw() bool {
	n, minus, _ := bareTag(l.rest(), "raw")
	if n == 0 {
		return false
	}
	line := l.line
	l.skip(n)
	l.trimAfter(minus, false)
	rest := l.rest()
	for i := 0; ; i += 2 {
		k := strings.Index(rest[i:], "{%")
		if k < 0 {
			syntax(line, "raw block is not closed, want {%% endraw %%}")
		}
		i += k
		m, all, keep := bareTag(rest[i:], "endraw")
		if m == 0 {
			continue
		}
		if body := l.trimBefore(rest[:i], rest[i:]); body != "" {
			l.emit(tokText, body)
		}
		l.skip(i + m)
		l.trimAfter(all, !keep)
		return true
	}
}

// bareTag measures a tag at the start of s that holds only word; minus and
// plus tell the sign of its end.
func bareTag(s, word string) (n int, minus, plus bool) {
	body := strings.TrimPrefix(s[2:], "-")
	if len(body) == len(s)-2 {
		body = strings.TrimPrefix(body, "+")
	}
	body, ok := strings.CutPrefix(strings.TrimLeftFunc(body, isSpace), word)
	if !ok {
		return 0, false, false
	}
	body = strings.TrimLeftFunc(body, isSpace)
	if t, ok := strings.CutPrefix(body, "-"); ok {
		minus, body = true, t
	} else if t, ok := strings.CutPrefix(body, "+"); ok {
		plus, body = true, t
	}
	body, ok = strings.CutPrefix(body, "%}")
	if !ok {
		return 0, false, false
	}
	return len(s) - len(body), minus, plus
}
