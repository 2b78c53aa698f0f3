package grammar

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"unicode/utf8"
)

// kinds are JSON Schema's types, as a set.
type kinds uint8

const (
	isNull kinds = 1 << iota
	isBool
	isInteger
	isNumber // with isInteger set as well
	isString
	isArray
	isObject
	anyKind = isNull | isBool | isInteger | isNumber | isString | isArray | isObject
)

var kindNames = map[string]kinds{
	"null": isNull, "boolean": isBool, "integer": isInteger, "number": isNumber | isInteger,
	"string": isString, "array": isArray, "object": isObject,
}

// A want is what schemas ask of one value, all together.
type want struct {
	path  string
	never bool // false
	kinds kinds
	typed bool // kinds was asked for, not concluded

	listed bool // enum or const
	values []any

	minLength, maxLength int // maxLength is NoLimit for none
	patterns             []string
	format               string

	low, high *bound
	multiple  *big.Rat

	items              []any // schemas that every further item must meet
	prefix             [][]any
	minItems, maxItems int
	closedItems        bool // no further item

	props              []prop
	required           []string
	closed             bool  // no further property
	more               []any // schemas that every further property must meet
	open               bool  // further properties were asked for
	names              []any // schemas of the names
	minProps, maxProps int

	choices []choice
	keyed   bool // a keyword besides choices was read
}

type prop struct {
	name string
	of   []any
}

// A choice is an anyOf or a oneOf.
type choice struct {
	path string
	of   []any
}

func newWant(path string) want {
	return want{path: path, kinds: anyKind, maxLength: NoLimit, maxItems: NoLimit, maxProps: NoLimit}
}

// plain reports whether w asks for nothing but its choices.
func (w *want) plain() bool { return !w.keyed && len(w.choices) == 0 }

func (w *want) clone() want {
	c := *w
	c.values, c.patterns, c.items, c.more = slices.Clone(w.values), slices.Clone(w.patterns), slices.Clone(w.items), slices.Clone(w.more)
	c.required, c.names, c.choices = slices.Clone(w.required), slices.Clone(w.names), slices.Clone(w.choices)
	c.prefix, c.props = nil, nil
	for _, p := range w.prefix {
		c.prefix = append(c.prefix, slices.Clone(p))
	}
	for _, p := range w.props {
		c.props = append(c.props, prop{p.name, slices.Clone(p.of)})
	}
	return c
}

func (w *want) property(name string) *prop {
	i := slices.IndexFunc(w.props, func(p prop) bool { return p.name == name })
	if i < 0 {
		w.props = append(w.props, prop{name: name})
		i = len(w.props) - 1
	}
	return &w.props[i]
}

// conclude gives w the kind that its keywords are about, if it names none: the
// others are allowed by JSON Schema, but nobody means them.
func (w *want) conclude() {
	if w.typed || w.listed {
		return
	}
	var about kinds
	for _, k := range []struct {
		is   bool
		kind kinds
	}{
		{w.aboutObjects(), isObject},
		{w.aboutArrays(), isArray},
		{w.minLength > 0 || w.maxLength != NoLimit || len(w.patterns) > 0 || w.format != "", isString},
		{w.low != nil || w.high != nil || w.multiple != nil, isNumber | isInteger},
	} {
		if k.is {
			about |= k.kind
		}
	}
	if about != 0 {
		w.kinds &= about
	}
}

// aboutObjects reports whether w asks for anything of objects.
func (w *want) aboutObjects() bool {
	return len(w.props)+len(w.required)+len(w.more)+len(w.names) > 0 || w.closed || w.open || w.minProps > 0 || w.maxProps != NoLimit
}

// aboutArrays reports whether w asks for anything of arrays.
func (w *want) aboutArrays() bool {
	return len(w.items)+len(w.prefix) > 0 || w.minItems > 0 || w.maxItems != NoLimit || w.closedItems
}

// allows reports whether w, apart from its values, allows v. An error says that
// this can't be told.
func (w *want) allows(v any) (bool, error) {
	kind := kindOf(v)
	if w.kinds&kind == 0 {
		return false, nil
	}
	switch v := v.(type) {
	case string:
		if len(w.patterns) > 0 || w.format != "" {
			return false, fmt.Errorf("%s: pattern or format beside enum or const is not supported", at(w.path))
		}
		n := utf8.RuneCountInString(v)
		return n >= w.minLength && (w.maxLength == NoLimit || n <= w.maxLength), nil
	case json.Number:
		r, err := rational(v)
		if err != nil {
			return false, fmt.Errorf("%s: %w", at(w.path), err)
		}
		return w.inRange(r), nil
	case *ordered, []any:
		if kind == isObject && w.aboutObjects() || kind == isArray && w.aboutArrays() {
			return false, fmt.Errorf("%s: an object or array in enum or const beside other keywords is not supported", at(w.path))
		}
	}
	return true, nil
}

func (w *want) inRange(r *big.Rat) bool {
	if w.low != nil && (r.Cmp(w.low.at) < 0 || w.low.open && r.Cmp(w.low.at) == 0) {
		return false
	}
	if w.high != nil && (r.Cmp(w.high.at) > 0 || w.high.open && r.Cmp(w.high.at) == 0) {
		return false
	}
	return w.multiple == nil || new(big.Rat).Quo(r, w.multiple).IsInt()
}

func kindOf(v any) kinds {
	switch v := v.(type) {
	case nil:
		return isNull
	case bool:
		return isBool
	case string:
		return isString
	case []any:
		return isArray
	case *ordered:
		return isObject
	case json.Number:
		if r, err := rational(v); err == nil && r.IsInt() {
			return isInteger
		}
		return isNumber
	}
	return 0
}

// maxExponent bounds the exponent of a number in a schema.
const maxExponent = 400

func rational(n json.Number) (*big.Rat, error) {
	text := string(n)
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		var exp int
		if _, err := fmt.Sscanf(text[i+1:], "%d", &exp); err != nil || exp > maxExponent || exp < -maxExponent {
			return nil, fmt.Errorf("the number %.40s is out of range", text)
		}
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok || len(text) > maxExponent {
		return nil, fmt.Errorf("the number %.40s is out of range", text)
	}
	return r, nil
}

// sameValue reports whether a and b are the same JSON value.
func sameValue(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		n, ok := b.(json.Number)
		if !ok {
			return false
		}
		x, err1 := rational(a)
		y, err2 := rational(n)
		return err1 == nil && err2 == nil && x.Cmp(y) == 0
	case []any:
		l, ok := b.([]any)
		return ok && slices.EqualFunc(a, l, sameValue)
	case *ordered:
		o, ok := b.(*ordered)
		return ok && maps.EqualFunc(a.vals, o.vals, sameValue)
	}
	if _, list := b.([]any); list {
		return false
	}
	return a == b
}
