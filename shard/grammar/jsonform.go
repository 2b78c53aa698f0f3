package grammar

import (
	"unicode/utf8"
)

// The parts that all JSON forms share. Shared rules are shared work: what is
// known of a string's tokens holds for every string.
type jsonParts struct {
	ws     *Expr // between tokens: nothing, a blank, or a line end with an indent
	char   *Expr // one character of a string, as it is written
	plain  *Expr // one that is written as itself
	str    *Expr
	number *Expr
	whole  *Expr
	value  *Expr // anything
	object *Expr // any object
	array  *Expr // any array
}

const (
	// maxIndent bounds the blanks between tokens, so that a model does not lose
	// itself in them (llama.cpp has the same bound).
	maxIndent = 20
	// maxDigits bounds the digits of a number: float64 holds as many.
	maxDigits = 15
)

func newJSONParts() *jsonParts {
	j := &jsonParts{}
	j.ws = rule("ws").define(maybe(Or(Text(" "), Seq(Text("\n"), Repeat(class(' ', ' ', '\t', '\t'), 0, maxIndent)))))
	hex := class('0', '9', 'a', 'f', 'A', 'F')
	j.plain = except(0, 0x1f, '"', '"', '\\', '\\', 0x7f, 0x7f)
	escape := Seq(Text(`\`), Or(
		class('"', '"', '\\', '\\', '/', '/', 'b', 'b', 'f', 'f', 'n', 'n', 'r', 'r', 't', 't'),
		// No half of a pair: it is no character.
		Seq(Text("u"), Or(
			Seq(class('0', '9', 'a', 'c', 'e', 'f', 'A', 'C', 'E', 'F'), hex, hex, hex),
			Seq(class('d', 'd', 'D', 'D'), class('0', '7'), hex, hex),
		)),
	))
	j.char = rule("char").define(Or(j.plain, escape))
	j.str = rule("string").define(Seq(Text(`"`), Repeat(j.char, 0, NoLimit), Text(`"`)))
	digit := class('0', '9')
	whole := Seq(maybe(Text("-")), Or(Text("0"), Seq(class('1', '9'), Repeat(digit, 0, maxDigits-1))))
	j.whole = rule("integer").define(whole)
	j.number = rule("number").define(Seq(whole,
		maybe(Seq(Text("."), Repeat(digit, 1, maxDigits))),
		maybe(Seq(class('e', 'e', 'E', 'E'), maybe(class('-', '-', '+', '+')), digit, maybe(digit)))))
	j.value, j.object, j.array = rule("value"), rule("object"), rule("array")
	j.object.define(j.braces(j.list(j.pair(j.str, j.value), 0, NoLimit)))
	j.array.define(j.brackets(j.list(j.value, 0, NoLimit)))
	j.value.define(Or(j.object, j.array, j.str, j.number, Text("true"), Text("false"), Text("null")))
	return j
}

func (j *jsonParts) braces(in *Expr) *Expr   { return Seq(Text("{"), j.ws, in, Text("}")) }
func (j *jsonParts) brackets(in *Expr) *Expr { return Seq(Text("["), j.ws, in, Text("]")) }
func (j *jsonParts) pair(key, value *Expr) *Expr {
	return Seq(key, j.colon(), value)
}
func (j *jsonParts) colon() *Expr { return Seq(Text(":"), j.ws) }
func (j *jsonParts) comma() *Expr { return Seq(Text(","), j.ws) }

// list is lo to hi of e with commas between, and the blanks after.
func (j *jsonParts) list(e *Expr, lo, hi int) *Expr {
	if hi == 0 {
		return Seq()
	}
	more := hi
	if hi != NoLimit {
		more = hi - 1
	}
	some := Seq(e, j.ws, Repeat(Seq(j.comma(), e, j.ws), max(0, lo-1), more))
	if lo > 0 {
		return some
	}
	return maybe(some)
}

// inString is a character of set as it is written in a string.
func (j *jsonParts) inString(set []runeRange) *Expr {
	alts := []*Expr{{kind: kindClass, set: intersect(set, j.plain.set)}}
	for _, s := range intersect(set, []runeRange{{0, 0x1f}, {'"', '"'}, {'\\', '\\'}, {0x7f, 0x7f}}) {
		for c := s.lo; c <= s.hi; c++ {
			text := jsonText(string(c))
			if c == 0x7f {
				text = `"\u007f"`
			}
			alts = append(alts, Text(text[1:len(text)-1]))
		}
	}
	return Or(alts...)
}

// JSONObject is any JSON object.
func JSONObject() *Expr { return newJSONParts().object }

// JSONValue is any JSON value.
func JSONValue() *Expr { return newJSONParts().value }

// keyExcept is a string in quotes, without escapes, that is none of names.
func (j *jsonParts) keyExcept(names []string) *Expr {
	return Seq(Text(`"`), j.notAmong(names))
}

// notAmong is what may follow, up to and with the quote, so that the whole is
// none of names.
func (j *jsonParts) notAmong(names []string) *Expr {
	var alts []*Expr
	ends := true
	next := map[rune][]string{}
	var first []rune
	for _, n := range names {
		if n == "" {
			ends = false
			continue
		}
		r, size := utf8.DecodeRuneInString(n)
		if next[r] == nil {
			first = append(first, r)
		}
		next[r] = append(next[r], n[size:])
	}
	if ends {
		alts = append(alts, Text(`"`))
	}
	other := j.plain.set
	for _, r := range first {
		other = subtract(other, []runeRange{{r, r}})
		if inside := intersect(j.plain.set, []runeRange{{r, r}}); len(inside) > 0 {
			alts = append(alts, Seq(class(r, r), j.notAmong(next[r])))
		}
	}
	rest := Seq(Repeat(j.plain, 0, NoLimit), Text(`"`))
	return Or(append(alts, Seq(&Expr{kind: kindClass, set: other}, rest))...)
}
