package grammar

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"unicode"
	"unicode/utf8"
)

// A patterner makes expressions of regular expressions.
type patterner struct {
	// char makes one character of a set.
	char func(set []runeRange) *Expr
	// any is any number of characters.
	any *Expr
}

// pattern returns the texts in which the regular expression src is found. The
// dialect is that of Go's regexp, which has what schemas use of ECMAScript's but
// for looking ahead and back.
func (p *patterner) pattern(src string) (*Expr, error) {
	re, err := syntax.Parse(src, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", src, err)
	}
	e, err := p.search(re)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", src, err)
	}
	return e, nil
}

// search is re with anything around it where it is not held to an end.
func (p *patterner) search(re *syntax.Regexp) (*Expr, error) {
	switch re.Op {
	case syntax.OpCapture:
		return p.search(re.Sub[0])
	case syntax.OpAlternate:
		var alts []*Expr
		for _, s := range re.Sub {
			e, err := p.search(s)
			if err != nil {
				return nil, err
			}
			alts = append(alts, e)
		}
		return Or(alts...), nil
	}
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	before, after := p.any, p.any
	for len(parts) > 0 && (parts[0].Op == syntax.OpBeginText || parts[0].Op == syntax.OpBeginLine) {
		before, parts = Seq(), parts[1:]
	}
	for n := len(parts); n > 0 && (parts[n-1].Op == syntax.OpEndText || parts[n-1].Op == syntax.OpEndLine); n = len(parts) {
		after, parts = Seq(), parts[:n-1]
	}
	all := []*Expr{before}
	for _, s := range parts {
		e, err := p.match(s)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return Seq(append(all, after)...), nil
}

// match is re itself.
func (p *patterner) match(re *syntax.Regexp) (*Expr, error) {
	var subs []*Expr
	for _, s := range re.Sub {
		e, err := p.match(s)
		if err != nil {
			return nil, err
		}
		subs = append(subs, e)
	}
	switch re.Op {
	case syntax.OpCapture, syntax.OpConcat:
		return Seq(subs...), nil
	case syntax.OpAlternate:
		return Or(subs...), nil
	case syntax.OpStar:
		return Repeat(subs[0], 0, NoLimit), nil
	case syntax.OpPlus:
		return Repeat(subs[0], 1, NoLimit), nil
	case syntax.OpQuest:
		return maybe(subs[0]), nil
	case syntax.OpRepeat:
		return Repeat(subs[0], re.Min, re.Max), nil
	}
	return p.leaf(re)
}

// leaf is re, which has no parts.
func (p *patterner) leaf(re *syntax.Regexp) (*Expr, error) {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return Seq(), nil
	case syntax.OpNoMatch:
		return class(), nil
	case syntax.OpLiteral:
		var chars []*Expr
		for _, r := range re.Rune {
			chars = append(chars, p.char(cases(r, re.Flags&syntax.FoldCase != 0)))
		}
		return Seq(chars...), nil
	case syntax.OpCharClass:
		return p.char(class(re.Rune...).set), nil
	case syntax.OpAnyChar:
		return p.char([]runeRange{{0, utf8.MaxRune}}), nil
	case syntax.OpAnyCharNotNL:
		return p.char(except('\n', '\n').set), nil
	}
	return nil, errors.New("^, $ and \\b are supported only at its ends (and \\b not there)")
}

// cases are r and, if fold says so, what differs from it by case only.
func cases(r rune, fold bool) []runeRange {
	set := []runeRange{{r, r}}
	for f := unicode.SimpleFold(r); fold && f != r; f = unicode.SimpleFold(f) {
		set = append(set, runeRange{f, f})
	}
	return tidy(set)
}

// The formats of strings that are known, as patterns. Where a format has rules
// that no pattern tells, the pattern is narrower (days of a month).
var formats = map[string]string{
	"date":      `^` + dateForm + `$`,
	"time":      `^` + timeForm + `$`,
	"date-time": `^` + dateForm + `T` + timeForm + `$`,
	"duration":  `^P([0-9]{1,4}W|([0-9]{1,4}D|[0-9]{1,4}M([0-9]{1,4}D)?)(T[0-9]{1,4}[HMS])?|T[0-9]{1,4}[HMS])$`,
	"uuid":      `^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`,
	"ipv4":      `^` + byteForm + `(\.` + byteForm + `){3}$`,
	"ipv6":      `^[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}$`,
	"hostname":  `^` + hostForm + `$`,
	"email":     `^[A-Za-z0-9_+-]{1,30}(\.[A-Za-z0-9_+-]{1,30})?@` + hostForm + `$`,
	"uri":       `^[a-z][a-z0-9+-]{1,10}://` + hostForm + `(:[1-9][0-9]{1,3})?(/[A-Za-z0-9._~-]{0,60}){0,10}(\?[A-Za-z0-9._~=&-]{0,200})?(#[A-Za-z0-9._~-]{0,60})?$`,
}

const (
	dateForm = `[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))`
	timeForm = `([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])`
	byteForm = `(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])`
	hostForm = `[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?){0,4}`
)
