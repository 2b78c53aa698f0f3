package tokenizer

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// set reads "[...]", with ranges, escapes, sets within, and "&&".
func (p *patternParser) set() (*class, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxPatternDepth {
		return nil, fmt.Errorf("sets more than %d deep", maxPatternDepth)
	}
	p.i++
	negate := p.eat("^")
	whole := &class{}
	part := &class{}
	for first := true; ; first = false {
		switch {
		case !p.more():
			return nil, fmt.Errorf("'[' without ']'")
		case !first && p.s[p.i] == ']':
			p.i++
			out := part.finish()
			if whole.and != nil { // "[a&&b]": all the parts at once
				out = (&class{subs: []*class{out}, and: whole.and}).finish()
			}
			if negate {
				out = negated(out)
			}
			return out, nil
		case p.eat("&&"):
			done := part.finish()
			if whole.and != nil {
				done = (&class{subs: []*class{done}, and: whole.and}).finish()
			}
			whole.and = done
			part = &class{}
		case strings.HasPrefix(p.s[p.i:], "[:"):
			sub, err := p.posix()
			if err != nil {
				return nil, err
			}
			part.subs = append(part.subs, sub)
		case p.s[p.i] == '[':
			sub, err := p.set()
			if err != nil {
				return nil, err
			}
			part.subs = append(part.subs, sub)
		default:
			if err := p.setItem(part); err != nil {
				return nil, err
			}
		}
	}
}

// setItem reads one character, range or escape of a set.
func (p *patternParser) setItem(c *class) error {
	sub, lo, err := p.setChar()
	if err != nil {
		return err
	}
	if sub != nil {
		c.subs = append(c.subs, sub)
		return nil
	}
	hi := lo
	if rest := p.s[p.i:]; len(rest) > 1 && rest[0] == '-' && rest[1] != ']' && rest[1] != '[' {
		at := p.i
		p.i++
		sub, r, err := p.setChar()
		switch {
		case err != nil:
			return err
		case sub != nil:
			p.i = at // "[a-\s]": the '-' is itself
		case r < lo:
			return fmt.Errorf("range from %q to %q", lo, r)
		default:
			hi = r
		}
	}
	c.addRange(lo, hi, p.fold)
	return nil
}

func (p *patternParser) setChar() (*class, rune, error) {
	if !p.more() {
		return nil, 0, fmt.Errorf("'[' without ']'")
	}
	if p.s[p.i] == '\\' {
		if p.eat(`\b`) {
			return nil, '\b', nil
		}
		return p.escape()
	}
	r, width := utf8.DecodeRuneInString(p.s[p.i:])
	p.i += width
	return nil, r, nil
}

// posix reads "[:alpha:]" inside a set.
func (p *patternParser) posix() (*class, error) {
	end := strings.Index(p.s[p.i:], ":]")
	if end < 0 {
		return nil, fmt.Errorf("'[:' without ':]'")
	}
	name := p.s[p.i+2 : p.i+end]
	p.i += end + 2
	bare := strings.TrimPrefix(name, "^")
	c := &class{}
	switch bare {
	case "alpha":
		c.addCategory("L")
	case "digit":
		c.addCategory("Nd")
	case "alnum":
		c.addCategory("L")
		c.addCategory("Nd")
	case "upper":
		c.addCategory("Lu")
	case "lower":
		c.addCategory("Ll")
	case "punct":
		c.addCategory("P")
		c.addCategory("S")
	case "space":
		c = spaceClass()
	case "cntrl":
		c.addCategory("Cc")
	default:
		return nil, fmt.Errorf("unknown set [:%s:]", name)
	}
	if c.finish(); bare != name {
		c = negated(c)
	}
	return c, nil
}
