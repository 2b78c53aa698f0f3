package grammar

import (
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/shardnode/shardnode/shard"
)

// An Expr is a set of texts. It does not change after it was made, except that
// a rule gets its body after those that name it.
type Expr struct {
	kind exprKind
	lit  string      // of kind literal
	set  []runeRange // of kind class, ascending, apart
	subs []*Expr
	// min and max count the repetitions of subs[0]; max is [NoLimit] for any.
	min, max int
	name     string // of kind rule
}

type exprKind uint8

const (
	kindLiteral exprKind = iota // the zero Expr is the empty text
	kindClass
	kindSeq
	kindAlt
	kindRepeat
	kindRule    // subs[0] once it is known
	kindSpecial // a control token; lit is what stands for it
	kindNamed   // a control token by the name lit, found when compiled
	kindMarked  // lit, in which names of control tokens are those tokens
	kindUntil   // any text up to and with the first lit, the same way
	kindWithout // any text without lit
)

// A runeRange is the characters lo to hi, both in it.
type runeRange struct{ lo, hi rune }

// NoLimit as the maximum of [Repeat] is any number.
const NoLimit = -1

// Text is the text s alone.
func Text(s string) *Expr { return &Expr{kind: kindLiteral, lit: s} }

// Special is the control token id.
func Special(id shard.Token) *Expr { return &Expr{kind: kindSpecial, lit: specialBytes(id)} }

// Marked is the text s, in which the name of a control token of the model, such
// as "<|im_end|>", is that token. A model that has no such token writes the name.
func Marked(s string) *Expr { return &Expr{kind: kindMarked, lit: s} }

// Until is any text up to and with the first s, which is read as by [Marked]: it
// is one control token, or text without any.
func Until(s string) *Expr { return &Expr{kind: kindUntil, lit: s} }

// Without is any text, the empty one too, in which s does not come; s is read as
// by [Until].
func Without(s string) *Expr { return &Expr{kind: kindWithout, lit: s} }

// specialMark begins and ends what stands for a control token among the bytes of
// pieces. No text has it: it is no byte of UTF-8.
const specialMark = "\xff"

func specialBytes(id shard.Token) string { return specialMark + strconv.Itoa(int(id)) + specialMark }

// Seq is the texts of es one after another.
func Seq(es ...*Expr) *Expr {
	if len(es) == 1 {
		return es[0]
	}
	return &Expr{kind: kindSeq, subs: es}
}

// Or is the texts of any of es.
func Or(es ...*Expr) *Expr {
	if len(es) == 1 {
		return es[0]
	}
	return &Expr{kind: kindAlt, subs: es}
}

// Repeat is lo to hi texts of e one after another; hi may be [NoLimit].
func Repeat(e *Expr, lo, hi int) *Expr {
	return &Expr{kind: kindRepeat, subs: []*Expr{e}, min: lo, max: hi}
}

func maybe(e *Expr) *Expr { return Repeat(e, 0, 1) }

// rule is a named expression whose body comes later, so that it may name itself.
func rule(name string) *Expr { return &Expr{kind: kindRule, name: name} }

// define gives a rule its body.
func (e *Expr) define(body *Expr) *Expr {
	e.subs = []*Expr{body}
	return e
}

// class is one character of the given ranges, as pairs lo, hi.
func class(pairs ...rune) *Expr {
	var set []runeRange
	for i := 0; i < len(pairs); i += 2 {
		set = append(set, runeRange{pairs[i], pairs[i+1]})
	}
	return &Expr{kind: kindClass, set: tidy(set)}
}

// except is one character of none of the given ranges.
func except(pairs ...rune) *Expr {
	e := class(pairs...)
	e.set = invert(e.set)
	return e
}

// tidy sorts ranges and joins those that touch.
func tidy(set []runeRange) []runeRange {
	slices.SortFunc(set, func(a, b runeRange) int { return int(a.lo) - int(b.lo) })
	var out []runeRange
	for _, r := range set {
		if n := len(out); n > 0 && r.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, r.hi)
			continue
		}
		out = append(out, r)
	}
	return out
}

// invert returns the characters that are not in set, which is tidy.
func invert(set []runeRange) []runeRange {
	var out []runeRange
	at := rune(0)
	for _, r := range set {
		if r.lo > at {
			out = append(out, runeRange{at, r.lo - 1})
		}
		at = r.hi + 1
	}
	if at <= utf8.MaxRune {
		out = append(out, runeRange{at, utf8.MaxRune})
	}
	return out
}

// subtract returns the characters of a that are not in b; both are tidy.
func subtract(a, b []runeRange) []runeRange {
	return tidy(intersect(a, invert(b)))
}

func intersect(a, b []runeRange) []runeRange {
	var out []runeRange
	for _, x := range a {
		for _, y := range b {
			if lo, hi := max(x.lo, y.lo), min(x.hi, y.hi); lo <= hi {
				out = append(out, runeRange{lo, hi})
			}
		}
	}
	return out
}

// walk calls f for every expression that e reaches, each once.
func walk(e *Expr, f func(*Expr)) {
	seen := map[*Expr]bool{}
	var visit func(*Expr)
	visit = func(e *Expr) {
		if seen[e] {
			return
		}
		seen[e] = true
		f(e)
		for _, s := range e.subs {
			visit(s)
		}
	}
	visit(e)
}

// A facts table says what expressions can be.
type facts struct {
	nullable   map[*Expr]bool // may be the empty text
	productive map[*Expr]bool // has a text that ends
}

// study finds the facts of all that root reaches, and refuses what no machine
// here can follow.
func study(root *Expr) (facts, error) {
	f := facts{nullable: map[*Expr]bool{}, productive: map[*Expr]bool{}}
	var all []*Expr
	walk(root, func(e *Expr) { all = append(all, e) })
	for changed := true; changed; {
		changed = false
		for _, e := range slices.Backward(all) {
			if !f.productive[e] && f.isProductive(e) {
				f.productive[e], changed = true, true
			}
			if !f.nullable[e] && f.isNullable(e) {
				f.nullable[e], changed = true, true
			}
		}
	}
	for _, e := range all {
		if e.kind == kindRule && len(e.subs) == 0 {
			return f, fmt.Errorf("rule %q is not defined", e.name)
		}
	}
	if !f.productive[root] {
		return f, fmt.Errorf("nothing can be of this form: no text of it ends")
	}
	return f, f.leftRecursion(all)
}

func (f facts) isProductive(e *Expr) bool {
	switch e.kind {
	case kindClass:
		return len(e.set) > 0
	case kindAlt:
		return slices.ContainsFunc(e.subs, func(s *Expr) bool { return f.productive[s] })
	case kindRepeat:
		return e.min == 0 || f.productive[e.subs[0]]
	case kindSeq, kindRule:
		for _, s := range e.subs {
			if !f.productive[s] {
				return false
			}
		}
		return e.kind == kindSeq || len(e.subs) > 0
	}
	return true
}

func (f facts) isNullable(e *Expr) bool {
	switch e.kind {
	case kindLiteral, kindMarked:
		return e.lit == ""
	case kindWithout:
		return true
	case kindAlt:
		return slices.ContainsFunc(e.subs, func(s *Expr) bool { return f.nullable[s] })
	case kindRepeat:
		return e.min == 0 || f.nullable[e.subs[0]]
	case kindSeq, kindRule:
		for _, s := range e.subs {
			if !f.nullable[s] {
				return false
			}
		}
		return e.kind == kindSeq || len(e.subs) > 0
	}
	return false
}

// leftRecursion returns an error if an expression may begin with itself: a
// machine that reads from the left would never come to a character.
func (f facts) leftRecursion(all []*Expr) error {
	const open, closed = 1, 2
	state := map[*Expr]int{}
	var visit func(*Expr) error
	visit = func(e *Expr) error {
		switch state[e] {
		case closed:
			return nil
		case open:
			return fmt.Errorf("%s may begin with itself: write the repetition on the right, or with *", nameOf(e))
		}
		state[e] = open
		for _, s := range e.subs {
			if f.productive[s] {
				if err := visit(s); err != nil {
					return err
				}
			}
			if e.kind == kindSeq && !f.nullable[s] {
				break
			}
		}
		state[e] = closed
		return nil
	}
	for _, e := range all {
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

func nameOf(e *Expr) string {
	if e.kind == kindRule {
		return fmt.Sprintf("rule %q", e.name)
	}
	return "a part of the grammar"
}
