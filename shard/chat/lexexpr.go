package chat

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// inside emits the tokens of one tag and stops before its end, which may carry
// a sign. line is where the tag began.
func (l *lexer) inside(end string, line int) {
	var open []byte // brackets that wait for their end
	for {
		l.skip(len(l.rest()) - len(strings.TrimLeftFunc(l.rest(), isSpace)))
		rest := l.rest()
		if rest == "" {
			syntax(line, "tag is not closed, want '%s'", end)
		}
		if len(open) == 0 && closes(rest, end) {
			return
		}
		switch c := rest[0]; {
		case c == '"' || c == '\'':
			l.quoted()
		case isDigit(c):
			l.number()
		case c == '_' || isLetter(c) || c >= utf8.RuneSelf:
			l.word()
		default:
			open = l.operator(open)
		}
	}
}

func closes(s, end string) bool {
	if strings.HasPrefix(s, end) {
		return true
	}
	return (s[0] == '-' || s[0] == '+' && end == "%}") && strings.HasPrefix(s[1:], end)
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

func (l *lexer) word() {
	rest := l.rest()
	n := 0
	for n < len(rest) {
		c, w := utf8.DecodeRuneInString(rest[n:])
		if c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) && !unicode.Is(unicode.Mn, c) {
			break
		}
		n += w
	}
	if n == 0 {
		syntax(l.line, "unexpected %q", rest[:1])
	}
	l.emit(tokName, rest[:n])
	l.at += n
}

// number reads an integer (also 0x, 0o, 0b) or a float; underscores may stand
// between digits.
func (l *lexer) number() {
	rest := l.rest()
	n := digits(rest, "0123456789")
	kind := tokInt
	if rest[0] == '0' && len(rest) > 2 && n == 1 && strings.IndexByte("xXoObB", rest[1]) >= 0 {
		n = 2 + digits(rest[2:], "0123456789abcdefABCDEF")
	} else {
		if k := digits(after(rest, n, "."), "0123456789"); k > 0 {
			kind, n = tokFloat, n+1+k
		}
		tail := after(rest, n, "eE")
		signed := strings.TrimLeft(tail, "+-")
		if sign := len(tail) - len(signed); sign <= 1 {
			if k := digits(signed, "0123456789"); k > 0 {
				kind, n = tokFloat, n+1+sign+k
			}
		}
	}
	l.emit(kind, strings.ReplaceAll(rest[:n], "_", ""))
	l.at += n
}

// after returns what follows one of the bytes of set at s[n], or nothing.
func after(s string, n int, set string) string {
	if n < len(s) && strings.IndexByte(set, s[n]) >= 0 {
		return s[n+1:]
	}
	return ""
}

// digits counts the bytes of set at the start of s, underscores between them
// included.
func digits(s, set string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(set, s[i]) >= 0 {
			n = i + 1
		} else if s[i] != '_' || i == 0 {
			break
		}
	}
	return n
}

// operator emits an operator and keeps the stack of open brackets.
func (l *lexer) operator(open []byte) []byte {
	rest := l.rest()
	op := rest[:1]
	if len(rest) > 1 {
		switch rest[:2] {
		case "==", "!=", "<=", ">=", "**", "//":
			op = rest[:2]
		}
	}
	if !strings.Contains("()[]{}.,:|+-*/%~<>=", op[:1]) && op != "!=" {
		syntax(l.line, "unexpected %q", op)
	}
	switch op {
	case "(":
		open = append(open, ')')
	case "[":
		open = append(open, ']')
	case "{":
		open = append(open, '}')
	case ")", "]", "}":
		if len(open) == 0 || open[len(open)-1] != op[0] {
			syntax(l.line, "unexpected '%s'", op)
		}
		open = open[:len(open)-1]
	}
	l.emit(tokOp, op)
	l.at += len(op)
	return open
}

// quoted emits a string literal with Python's escapes undone.
func (l *lexer) quoted() {
	rest := l.rest()
	var b strings.Builder
	i := 1
	for ; i < len(rest) && rest[i] != rest[0]; i++ {
		if rest[i] != '\\' {
			b.WriteByte(rest[i])
			continue
		}
		if i++; i >= len(rest) {
			break
		}
		i += l.unescape(&b, rest[i:]) - 1
	}
	if i >= len(rest) {
		syntax(l.line, "string is not closed, want %c", rest[0])
	}
	l.emit(tokString, b.String())
	l.skip(i + 1)
}

// unescape writes what the escape at the start of s (after the backslash)
// stands for, and returns its length.
func (l *lexer) unescape(b *strings.Builder, s string) int {
	if i := strings.IndexByte("abfnrtv\\'\"", s[0]); i >= 0 {
		b.WriteByte("\a\b\f\n\r\t\v\\'\""[i])
		return 1
	}
	switch c := s[0]; {
	case c == '\n':
		return 1
	case c >= '0' && c <= '7':
		n, v := 0, rune(0)
		for n < 3 && n < len(s) && s[n] >= '0' && s[n] <= '7' {
			v = v*8 + rune(s[n]-'0')
			n++
		}
		b.WriteRune(v)
		return n
	case c == 'x' || c == 'u' || c == 'U':
		n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
		v, ok := hexRune(s[1:], n)
		if !ok {
			syntax(l.line, "string has a bad \\%c escape", c)
		}
		b.WriteRune(v)
		return 1 + n
	}
	b.WriteByte('\\')
	b.WriteByte(s[0])
	return 1
}

func hexRune(s string, n int) (rune, bool) {
	if len(s) < n {
		return 0, false
	}
	v := uint64(0)
	for i := range n {
		d := strings.IndexByte("0123456789abcdef", s[i]|0x20)
		if isDigit(s[i]) {
			d = int(s[i] - '0')
		}
		if d < 0 {
			return 0, false
		}
		v = v<<4 | uint64(d)
	}
	return rune(v), v <= unicode.MaxRune
}
