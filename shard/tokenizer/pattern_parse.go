package tokenizer

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Patterns are the regular expressions of tokenizer.json (Oniguruma's
// dialect) and of llama.cpp's table. parsePattern reads them to a tree; what
// runs it is chosen by compile in pattern.go.

type nodeOp uint8

const (
	opClass  nodeOp = iota // one character of set
	opCat                  // all of subs in a row
	opAlt                  // the first of subs that leads to a match
	opRepeat               // subs[0], min to max times
	opLook                 // subs[0] matches here (negate: does not), taking nothing
	opBehind               // the character before here is (negate: is not) in set
	opEnd                  // the end of the text
	opBegin                // its beginning
	opWord                 // a word begins or ends here (negate: does not)
)

type node struct {
	op                 nodeOp
	set                *class
	subs               []*node
	min, max           int
	lazy, poss, negate bool
}

// Bounds on patterns. Real ones have some 500 characters and 3 levels.
const (
	maxPatternBytes = 16 << 10
	maxPatternDepth = 32
	maxRepeat       = 1024
	unbounded       = int(^uint(0) >> 1)
)

type patternParser struct {
	s     string
	i     int
	fold  bool
	depth int
}

// parsePattern returns the tree of the pattern s.
func parsePattern(s string) (*node, error) {
	if len(s) > maxPatternBytes {
		return nil, fmt.Errorf("pattern of %d bytes, want at most %d", len(s), maxPatternBytes)
	}
	p := &patternParser{s: s}
	n, err := p.alternatives()
	if err == nil && p.i < len(s) {
		err = fmt.Errorf("unexpected %q", s[p.i])
	}
	if err != nil {
		return nil, fmt.Errorf("pattern %.200q, at byte %d: %w", s, p.i, err)
	}
	return n, nil
}

func (p *patternParser) more() bool { return p.i < len(p.s) }

func (p *patternParser) eat(lit string) bool {
	if strings.HasPrefix(p.s[p.i:], lit) {
		p.i += len(lit)
		return true
	}
	return false
}

func (p *patternParser) alternatives() (*node, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxPatternDepth {
		return nil, fmt.Errorf("groups more than %d deep", maxPatternDepth)
	}
	alt := &node{op: opAlt}
	for {
		n, err := p.sequence()
		if err != nil {
			return nil, err
		}
		alt.subs = append(alt.subs, n)
		if !p.eat("|") {
			break
		}
	}
	if len(alt.subs) == 1 {
		return alt.subs[0], nil
	}
	return alt, nil
}

func (p *patternParser) sequence() (*node, error) {
	cat := &node{op: opCat}
	for p.more() && p.s[p.i] != '|' && p.s[p.i] != ')' {
		n, err := p.atom()
		if err != nil {
			return nil, err
		}
		if n == nil { // flags for the rest
			continue
		}
		if n, err = p.quantifiers(n); err != nil {
			return nil, err
		}
		cat.subs = append(cat.subs, n)
	}
	if len(cat.subs) == 1 {
		return cat.subs[0], nil
	}
	return cat, nil
}

func (p *patternParser) quantifiers(n *node) (*node, error) {
	for p.more() {
		lo, hi, ok, err := p.bounds()
		if err != nil || !ok {
			return n, err
		}
		if n.op == opLook || n.op == opBehind || n.op == opEnd || n.op == opBegin || n.op == opWord {
			return nil, fmt.Errorf("a quantifier behind something that takes no text")
		}
		n = &node{op: opRepeat, subs: []*node{n}, min: lo, max: hi}
		switch {
		case p.eat("+"):
			n.poss = true
		case p.eat("?"):
			n.lazy = true
		}
	}
	return n, nil
}

// bounds reads one of ? * + {n} {n,} {n,m} {,m}.
func (p *patternParser) bounds() (lo, hi int, ok bool, err error) {
	switch p.s[p.i] {
	case '?':
		p.i++
		return 0, 1, true, nil
	case '*':
		p.i++
		return 0, unbounded, true, nil
	case '+':
		p.i++
		return 1, unbounded, true, nil
	case '{':
	default:
		return 0, 0, false, nil
	}
	end := strings.IndexByte(p.s[p.i:], '}')
	if end < 0 {
		return 0, 0, false, fmt.Errorf("'{' without '}'")
	}
	from, to, two := strings.Cut(p.s[p.i+1:p.i+end], ",")
	number := func(s string, missing int) int {
		if s == "" {
			return missing
		}
		n, e := strconv.Atoi(s)
		if e != nil || n < 0 || n > maxRepeat {
			err = fmt.Errorf("repeat %q, want a number up to %d", s, maxRepeat)
		}
		return n
	}
	lo = number(from, 0)
	hi = lo
	if two {
		hi = number(to, unbounded)
	}
	if err == nil && (hi < lo || from == "" && to == "") {
		err = fmt.Errorf("repeat {%s}, want {low,high}", p.s[p.i+1:p.i+end])
	}
	p.i += end + 1
	return lo, hi, true, err
}

func (p *patternParser) atom() (*node, error) {
	switch c := p.s[p.i]; c {
	case '(':
		return p.group()
	case '[':
		set, err := p.set()
		return &node{op: opClass, set: set}, err
	case '.':
		p.i++
		dot := &class{negate: true}
		dot.addRune('\n', false)
		return &node{op: opClass, set: dot.finish()}, nil
	case '^':
		p.i++
		return &node{op: opBegin}, nil
	case '$':
		p.i++
		return &node{op: opEnd}, nil
	case '*', '+', '?', '{':
		return nil, fmt.Errorf("%q with nothing to repeat", c)
	case '\\':
		if n := p.assertion(); n != nil {
			return n, nil
		}
		set, r, err := p.escape()
		if err != nil {
			return nil, err
		}
		if set == nil {
			set = p.single(r)
		}
		return &node{op: opClass, set: set}, nil
	}
	r, width := utf8.DecodeRuneInString(p.s[p.i:])
	p.i += width
	return &node{op: opClass, set: p.single(r)}, nil
}

func (p *patternParser) single(r rune) *class {
	c := &class{}
	c.addRune(r, p.fold)
	return c.finish()
}

// assertion reads the escapes that take no text, nil if there is none.
func (p *patternParser) assertion() *node {
	switch {
	case p.eat(`\b`):
		return &node{op: opWord}
	case p.eat(`\B`):
		return &node{op: opWord, negate: true}
	case p.eat(`\A`):
		return &node{op: opBegin}
	case p.eat(`\z`), p.eat(`\Z`):
		return &node{op: opEnd}
	}
	return nil
}

// group reads "(...)" in all its forms.
func (p *patternParser) group() (*node, error) {
	fold := p.fold
	n := &node{op: opCat}
	switch {
	case p.eat("(?="):
		n.op = opLook
	case p.eat("(?!"):
		n.op, n.negate = opLook, true
	case p.eat("(?<="):
		n.op = opBehind
	case p.eat("(?<!"):
		n.op, n.negate = opBehind, true
	case p.eat("(?>"):
		n.op, n.poss, n.min, n.max = opRepeat, true, 1, 1
	case p.eat("(?:"):
	case p.eat("(?i:"):
		p.fold = true
	case p.eat("(?i)"):
		p.fold = true
		return nil, nil //nolint:nilnil // no node, as sequence knows
	case p.eat("(?"):
		return nil, fmt.Errorf("a group of a kind that is not supported")
	default:
		p.i++
	}
	sub, err := p.alternatives()
	if err != nil {
		return nil, err
	}
	p.fold = fold
	if !p.eat(")") {
		return nil, fmt.Errorf("'(' without ')'")
	}
	if n.op == opBehind {
		if sub.op != opClass {
			return nil, fmt.Errorf("look-behind for more than one character")
		}
		n.set = sub.set
		return n, nil
	}
	if n.op == opCat {
		return sub, nil
	}
	n.subs = []*node{sub}
	return n, nil
}

// escape reads "\..." to a class or to one character.
func (p *patternParser) escape() (*class, rune, error) { //nolint:gocyclo // one flat case a kind
	p.i++
	if !p.more() {
		return nil, 0, fmt.Errorf(`'\' at the end`)
	}
	c := p.s[p.i]
	p.i++
	switch c {
	case 'p', 'P':
		set, err := p.property()
		if err == nil && c == 'P' {
			set = negated(set)
		}
		return set, 0, err
	case 's':
		return spaceClass(), 0, nil
	case 'S':
		return negated(spaceClass()), 0, nil
	case 'd':
		return digitClass(), 0, nil
	case 'D':
		return negated(digitClass()), 0, nil
	case 'w':
		return wordClass(), 0, nil
	case 'W':
		return negated(wordClass()), 0, nil
	case 'n':
		return nil, '\n', nil
	case 'r':
		return nil, '\r', nil
	case 't':
		return nil, '\t', nil
	case 'f':
		return nil, '\f', nil
	case 'v':
		return nil, '\v', nil
	case 'x', 'u':
		return p.hexEscape(c)
	}
	if c >= utf8.RuneSelf {
		r, width := utf8.DecodeRuneInString(p.s[p.i-1:])
		p.i += width - 1
		return nil, r, nil
	}
	if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
		return nil, 0, fmt.Errorf(`escape '\%c' is not supported`, c)
	}
	return nil, rune(c), nil
}

// hexEscape reads what follows \x or \u: XX, XXXX or {X...}.
func (p *patternParser) hexEscape(c byte) (*class, rune, error) {
	digits := 2
	if c == 'u' {
		digits = 4
	}
	text := ""
	if p.eat("{") {
		end := strings.IndexByte(p.s[p.i:], '}')
		if end < 0 {
			return nil, 0, fmt.Errorf("'{' without '}'")
		}
		text = p.s[p.i : p.i+end]
		p.i += end + 1
	} else if p.i+digits <= len(p.s) {
		text = p.s[p.i : p.i+digits]
		p.i += digits
	}
	v, err := strconv.ParseUint(text, 16, 32)
	if err != nil || v > unicode.MaxRune {
		return nil, 0, fmt.Errorf(`escape '\%c%s', want the number of a character`, c, text)
	}
	return nil, rune(v), nil //nolint:gosec // at most MaxRune
}

// property reads what follows \p: L, {L}, {Lu}, {Han}, {^L}.
func (p *patternParser) property() (*class, error) {
	if !p.more() {
		return nil, fmt.Errorf(`\p without a name`)
	}
	name := p.s[p.i : p.i+1]
	p.i++
	if name == "{" {
		end := strings.IndexByte(p.s[p.i:], '}')
		if end < 0 {
			return nil, fmt.Errorf("'{' without '}'")
		}
		name = p.s[p.i : p.i+end]
		p.i += end + 1
	}
	bare := strings.TrimPrefix(name, "^")
	for _, prefix := range []string{"Script=", "sc=", "Is"} {
		bare = strings.TrimPrefix(bare, prefix)
	}
	if alias, ok := unicode.CategoryAliases[bare]; ok {
		bare = alias
	}
	c := &class{}
	if !c.addCategory(bare) {
		table := unicode.Scripts[bare]
		if table == nil {
			table = unicode.Properties[bare]
		}
		if table == nil {
			return nil, fmt.Errorf("unknown property %q", name)
		}
		c.addTable(table)
	}
	if c.finish(); bare != name && strings.HasPrefix(name, "^") {
		return negated(c), nil
	}
	return c, nil
}
