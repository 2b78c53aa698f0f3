package grammar

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/shardnode/shardnode/shard"
)

const (
	maxSourceBytes = 1 << 18 // of a grammar or a schema
	maxNesting     = 200     // of parentheses, schemas and values
)

// ParseGBNF reads a grammar as llama.cpp writes them (grammars/README.md there):
// rules "name ::= ...", of which root is the form of an answer. Tokens are
// written <[123]> by their number, or <|name|> by the text of a control token.
func ParseGBNF(src string) (*Expr, error) {
	if len(src) > maxSourceBytes {
		return nil, fmt.Errorf("the grammar has %d bytes, want at most %d", len(src), maxSourceBytes)
	}
	if !utf8.ValidString(src) {
		return nil, fmt.Errorf("the grammar is not UTF-8")
	}
	p := &gbnf{src: src, rules: map[string]*Expr{}}
	if err := p.parse(); err != nil {
		line := 1 + strings.Count(src[:min(p.at, len(src))], "\n")
		return nil, fmt.Errorf("line %d: %w", line, err)
	}
	root := p.rules["root"]
	if root == nil {
		return nil, fmt.Errorf("there is no rule root: it is the form of the answer")
	}
	_, err := study(root)
	return root, err
}

// gbnf reads GBNF.
type gbnf struct {
	src   string
	at    int
	depth int
	rules map[string]*Expr
}

func (p *gbnf) parse() error {
	for p.space(true); p.at < len(p.src); p.space(true) {
		name := p.name()
		if name == "" {
			return fmt.Errorf("want the name of a rule, found %s", p.found())
		}
		p.space(false)
		if !p.take("::=") {
			return fmt.Errorf("want ::= after %s, found %s", name, p.found())
		}
		r := p.rule(name)
		if len(r.subs) > 0 {
			return fmt.Errorf("rule %q is defined twice", name)
		}
		p.space(true)
		body, err := p.alternatives(false)
		if err != nil {
			return err
		}
		r.define(body)
		if p.at < len(p.src) && !p.takeLine() {
			return fmt.Errorf("want the end of rule %q, found %s", name, p.found())
		}
	}
	return nil
}

func (p *gbnf) rule(name string) *Expr {
	r := p.rules[name]
	if r == nil {
		r = rule(name)
		p.rules[name] = r
	}
	return r
}

// space passes over blanks and comments, and over line ends if lines says so.
func (p *gbnf) space(lines bool) {
	for ; p.at < len(p.src); p.at++ {
		switch c := p.src[p.at]; {
		case c == '#':
			if n := strings.IndexAny(p.src[p.at:], "\r\n"); n >= 0 {
				p.at += n - 1
			} else {
				p.at = len(p.src) - 1
			}
		case c == ' ' || c == '\t' || lines && (c == '\n' || c == '\r'):
		default:
			return
		}
	}
}

func (p *gbnf) take(s string) bool {
	ok := strings.HasPrefix(p.src[p.at:], s)
	if ok {
		p.at += len(s)
	}
	return ok
}

func (p *gbnf) takeLine() bool { return p.take("\r\n") || p.take("\n") || p.take("\r") }

func (p *gbnf) found() string {
	if p.at >= len(p.src) {
		return "the end"
	}
	rest := p.src[p.at:]
	_, n := utf8.DecodeRuneInString(rest)
	return strconv.Quote(rest[:n])
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

func (p *gbnf) name() string {
	from := p.at
	for p.at < len(p.src) && isNameByte(p.src[p.at]) {
		p.at++
	}
	return p.src[from:p.at]
}

// alternatives reads what stands between bars; nested says that it stands in
// parentheses, where lines may end anywhere.
func (p *gbnf) alternatives(nested bool) (*Expr, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, fmt.Errorf("more than %d parentheses inside each other", maxNesting)
	}
	defer func() { p.depth-- }()
	var alts []*Expr
	for {
		s, err := p.sequence(nested)
		if err != nil {
			return nil, err
		}
		alts = append(alts, s)
		if !p.take("|") {
			return Or(alts...), nil
		}
		p.space(true)
	}
}

func (p *gbnf) sequence(nested bool) (*Expr, error) {
	var parts []*Expr
	for p.at < len(p.src) {
		e, err := p.item()
		if err != nil {
			return nil, err
		}
		if e == nil {
			break
		}
		p.space(nested)
		if e, err = p.repetition(e); err != nil {
			return nil, err
		}
		p.space(nested)
		parts = append(parts, e)
	}
	return Seq(parts...), nil
}

// item reads one thing; nil is none.
func (p *gbnf) item() (*Expr, error) {
	switch c := p.src[p.at]; {
	case c == '"':
		return p.literal()
	case c == '[':
		p.at++
		return p.class()
	case c == '.':
		p.at++
		return class(0, utf8.MaxRune), nil
	case c == '<':
		return p.token()
	case c == '(':
		p.at++
		p.space(true)
		e, err := p.alternatives(true)
		if err == nil && !p.take(")") {
			err = fmt.Errorf("want ), found %s", p.found())
		}
		return e, err
	case isNameByte(c):
		return p.rule(p.name()), nil
	}
	return nil, nil
}

func (p *gbnf) literal() (*Expr, error) {
	var b strings.Builder
	for p.at++; ; {
		if p.at >= len(p.src) || p.src[p.at] == '\n' {
			return nil, fmt.Errorf("a text has no end: want %q", '"')
		}
		if p.take(`"`) {
			return Text(b.String()), nil
		}
		r, err := p.char()
		if err != nil {
			return nil, err
		}
		b.WriteRune(r)
	}
}

// char reads a character or an escape.
func (p *gbnf) char() (rune, error) {
	r, n := utf8.DecodeRuneInString(p.src[p.at:])
	p.at += n
	if r != '\\' {
		return r, nil
	}
	if p.at >= len(p.src) {
		return 0, fmt.Errorf("the end after a backslash")
	}
	c := p.src[p.at]
	p.at++
	switch c {
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case '\\', '"', '[', ']', '-', '^':
		return rune(c), nil
	case 'x', 'u', 'U':
		digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
		hex := p.src[p.at:min(p.at+digits, len(p.src))]
		v, err := strconv.ParseUint(hex, 16, 32)
		if err != nil || len(hex) != digits || v > utf8.MaxRune {
			return 0, fmt.Errorf("after \\%c stands %q, want %d hexadecimal digits of a character", c, hex, digits)
		}
		p.at += digits
		return rune(v), nil
	}
	p.at--
	return 0, fmt.Errorf("unknown escape \\%s", p.found())
}

func (p *gbnf) class() (*Expr, error) {
	not := p.take("^")
	var pairs []rune
	for !p.take("]") {
		if p.at >= len(p.src) {
			return nil, fmt.Errorf("a class has no end: want ]")
		}
		lo, err := p.char()
		if err != nil {
			return nil, err
		}
		hi := lo
		if strings.HasPrefix(p.src[p.at:], "-") && !strings.HasPrefix(p.src[p.at:], "-]") {
			p.at++
			if p.at >= len(p.src) {
				return nil, fmt.Errorf("a class has no end: want ]")
			}
			if hi, err = p.char(); err != nil {
				return nil, err
			}
		}
		if lo > hi {
			return nil, fmt.Errorf("the range %q-%q is backwards", lo, hi)
		}
		pairs = append(pairs, lo, hi)
	}
	if not {
		return except(pairs...), nil
	}
	return class(pairs...), nil
}

// token reads <[123]> or <name>.
func (p *gbnf) token() (*Expr, error) {
	end := strings.IndexByte(p.src[p.at:], '>')
	if end < 0 {
		return nil, fmt.Errorf("a token has no end: want >")
	}
	text := p.src[p.at : p.at+end+1]
	p.at += end + 1
	if num, ok := strings.CutPrefix(text, "<["); ok {
		id, err := strconv.ParseUint(strings.TrimSuffix(num, "]>"), 10, 31)
		if err != nil {
			return nil, fmt.Errorf("token %s: want <[NUMBER]> or the text of a control token", text)
		}
		return &Expr{kind: kindSpecial, lit: specialBytes(shard.Token(id))}, nil
	}
	return &Expr{kind: kindNamed, lit: text}, nil
}

// repetition reads what may follow an item: *, +, ?, {m}, {m,} or {m,n}.
func (p *gbnf) repetition(e *Expr) (*Expr, error) {
	for {
		switch {
		case p.take("*"):
			e = Repeat(e, 0, NoLimit)
		case p.take("+"):
			e = Repeat(e, 1, NoLimit)
		case p.take("?"):
			e = maybe(e)
		case p.take("{"):
			lo, hi, err := p.bounds()
			if err != nil {
				return nil, err
			}
			e = Repeat(e, lo, hi)
		default:
			return e, nil
		}
	}
}

func (p *gbnf) bounds() (lo, hi int, err error) {
	end := strings.IndexByte(p.src[p.at:], '}')
	if end < 0 {
		return 0, 0, fmt.Errorf("a repetition has no end: want }")
	}
	text := p.src[p.at : p.at+end]
	p.at += end + 1
	return readBounds(text)
}

// readBounds reads "m", "m,", ",n" or "m,n".
func readBounds(text string) (lo, hi int, err error) {
	from, to, comma := strings.Cut(strings.ReplaceAll(text, " ", ""), ",")
	number := func(s string, or int) int {
		if s == "" && comma {
			return or
		}
		n, e := strconv.ParseUint(s, 10, 31)
		if e != nil || n > maxRepeat {
			err = fmt.Errorf("repetition {%s}: want {m}, {m,} or {m,n} up to %d", text, maxRepeat)
		}
		return int(n)
	}
	lo = number(from, 0)
	hi = lo
	if comma {
		hi = number(to, NoLimit)
	}
	if err == nil && hi != NoLimit && hi < lo {
		err = fmt.Errorf("repetition {%s}: %d is more than %d", text, lo, hi)
	}
	return lo, hi, err
}

// isWhole reports whether f is an integer that float64 holds exactly.
func isWhole(f float64) bool { return f == math.Trunc(f) && math.Abs(f) <= 1<<53 }
