package chat

import (
	"math"
	"strings"
	"unicode/utf8"
)

// Values are nil, bool, int64, float64, string, markup, *List, *Dict, *iter,
// undefined, *namespace, *loopVar, *macroValue and function.

// A listKind tells apart Python's sequences, which differ in how they print.
type listKind byte

const (
	kindList listKind = iota
	kindTuple
	kindKeys
	kindValues
	kindItems
	kindRange
)

// A List is a sequence as templates see it. The zero List is an empty list.
type List struct {
	items []any
	kind  listKind
	names []string // of a named tuple: the attribute of each item
}

// NewList makes a list of items, which may be nil, bool, int, int64, float64,
// string, *List or *Dict. The list keeps the slice.
func NewList(items ...any) *List {
	for i, v := range items {
		items[i] = fromGo(v)
	}
	return &List{items: items}
}

// Len returns the number of items. A nil List has none.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.items)
}

// isView reports whether l is what a dict's keys, values or items gives, which
// has no items by index.
func (l *List) isView() bool {
	return l.kind == kindKeys || l.kind == kindValues || l.kind == kindItems
}

// iter is a generator: it can be walked once, and has no length.
type iter struct{ items []any }

// markup is a string that |safe or |escape has marked: what is joined to it
// with + is escaped, as by Python's markupsafe.
type markup string

// undefined is the value of what does not exist. It prints as nothing; most
// other uses are an error with the message.
type undefined struct{ msg string }

// namespace is the one value whose attributes a template can set.
type namespace struct{ attrs *Dict }

// function is a method, global or filter bound to its receiver.
type function func(c *callArgs) any

func fromGo(v any) any {
	switch v := v.(type) {
	case int:
		return int64(v)
	case *List:
		if v == nil {
			return nil
		}
	case *Dict:
		if v == nil {
			return nil
		}
	}
	return v
}

func tuple(items ...any) *List { return &List{items: items, kind: kindTuple} }

// text returns v as a Go string if it is a string or markup.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case markup:
		return string(v), true
	}
	return "", false
}

// like returns s as the same kind of string as v: markup stays markup.
func like(v any, s string) any {
	if _, ok := v.(markup); ok {
		return markup(s)
	}
	return s
}

func isUndefined(v any) bool { _, ok := v.(undefined); return ok }

var listNames = [...]string{"list", "tuple", "dict_keys", "dict_values", "dict_items", "range"}

// typeName is the name of v's Python type.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case markup:
		return "Markup"
	case *List:
		return listNames[v.kind]
	case *Dict:
		return "dict"
	case *iter:
		return "generator"
	case undefined:
		return "Undefined"
	case *namespace:
		return "Namespace"
	case *loopVar:
		return "LoopContext"
	case *macroValue:
		return "Macro"
	case *cycler:
		return "Cycler"
	}
	return "method"
}

// truth is Python's bool().
func truth(v any) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case markup:
		return v != ""
	case *List:
		return len(v.items) > 0
	case *Dict:
		return v.Len() > 0
	}
	return true
}

// integer returns v as an integer if it is one; True is 1.
func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// number returns v as a float if it is a number; True is 1.
func number(v any) (float64, bool) {
	if n, ok := integer(v); ok {
		return float64(n), true
	}
	f, ok := v.(float64)
	return f, ok
}

// items returns what iterating over v yields. The caller must not change it.
// A generator is empty afterwards.
func (r *render) items(v any) []any {
	switch v := v.(type) {
	case *List:
		return v.items
	case *Dict:
		return v.keys
	case *iter:
		a := v.items
		v.items = nil
		return a
	case undefined:
		return nil
	}
	s, ok := text(v)
	if !ok {
		r.fail("'%s' object is not iterable", typeName(v))
	}
	n := utf8.RuneCountInString(s)
	r.growItems(n)
	a := make([]any, 0, n)
	for _, c := range s {
		a = append(a, string(c))
	}
	return a
}

// length is Python's len().
func (r *render) length(v any) int {
	switch v := v.(type) {
	case *List:
		return len(v.items)
	case *Dict:
		return v.Len()
	case *loopVar:
		return len(v.items)
	case undefined:
		return 0
	}
	s, ok := text(v)
	if !ok {
		r.fail("object of type '%s' has no len()", typeName(v))
	}
	return utf8.RuneCountInString(s)
}

// equal is Python's ==.
func (r *render) equal(a, b any) bool { return r.equalAt(a, b, 0) }

func (r *render) equalAt(a, b any, depth int) bool {
	r.deeper(depth)
	switch x := a.(type) {
	case nil:
		return b == nil
	case string, markup:
		s, _ := text(x)
		t, ok := text(b)
		return ok && s == t
	case bool, int64, float64:
		return numbersEqual(a, b)
	case *List:
		y, ok := b.(*List)
		if !ok || len(x.items) != len(y.items) || x.kind != y.kind {
			return false
		}
		for i := range x.items {
			if !r.equalAt(x.items[i], y.items[i], depth+1) {
				return false
			}
		}
		return true
	case *Dict:
		y, ok := b.(*Dict)
		return ok && r.dictsEqual(x, y, depth)
	case undefined:
		return isUndefined(b)
	case function:
		return false // functions cannot be compared
	}
	return a == b
}

func numbersEqual(a, b any) bool {
	i, iok := integer(a)
	j, jok := integer(b)
	if iok && jok {
		return i == j
	}
	f, fok := number(a)
	g, gok := number(b)
	if !fok || !gok || f != g {
		return false
	}
	// An integer beyond 2**53 may round to a float that it does not equal.
	return whole(f) == whole(g) && (!whole(f) || exact(a, f) == exact(b, g))
}

// exact returns the integer that a number is.
func exact(v any, f float64) int64 {
	if n, ok := integer(v); ok {
		return n
	}
	return int64(f)
}

func (r *render) dictsEqual(x, y *Dict, depth int) bool {
	if x.Len() != y.Len() {
		return false
	}
	for i, k := range x.keys {
		w, ok := y.lookup(r, k)
		if !ok || !r.equalAt(x.values[i], w, depth+1) {
			return false
		}
	}
	return true
}

// compare orders two values as Python's < does, op being named in its error.
func (r *render) compare(a, b any, op string) int { return r.compareAt(a, b, op, 0) }

func (r *render) compareAt(a, b any, op string, depth int) int {
	r.deeper(depth)
	if s, ok := text(a); ok {
		if t, ok := text(b); ok {
			return strings.Compare(s, t)
		}
	}
	if i, ok := integer(a); ok {
		if j, ok := integer(b); ok {
			return order(i, j)
		}
	}
	if f, ok := number(a); ok {
		if g, ok := number(b); ok {
			return order(f, g)
		}
	}
	if x, ok := a.(*List); ok {
		if y, ok := b.(*List); ok && x.kind == y.kind && x.kind <= kindTuple {
			return r.compareLists(x, y, op, depth)
		}
	}
	r.checkDefined(a, b)
	r.fail("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
	return 0
}

func (r *render) compareLists(x, y *List, op string, depth int) int {
	for i := range min(len(x.items), len(y.items)) {
		if !r.equalAt(x.items[i], y.items[i], depth+1) {
			return r.compareAt(x.items[i], y.items[i], op, depth+1)
		}
	}
	return order(len(x.items), len(y.items))
}

// order compares; NaN orders as equal, so that sorting with it ends.
func order[T int | int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// contains is Python's `x in c`.
func (r *render) contains(c, x any) bool {
	if s, ok := text(c); ok {
		t, ok := text(x)
		if !ok {
			r.checkDefined(x)
			r.fail("'in <string>' requires string as left operand, not %s", typeName(x))
		}
		r.step(1 + len(s)/bytesPerStep)
		return strings.Contains(s, t)
	}
	switch c := c.(type) {
	case *List, *iter, undefined:
		for _, y := range r.items(c) {
			if r.equal(x, y) {
				return true
			}
		}
		return false
	case *Dict:
		_, ok := c.lookup(r, x)
		return ok
	}
	r.fail("argument of type '%s' is not iterable", typeName(c))
	return false
}

// checkDefined fails with the message of the first undefined value.
func (r *render) checkDefined(vals ...any) {
	for _, v := range vals {
		if u, ok := v.(undefined); ok {
			r.fail("%s", u.msg)
		}
	}
}

// whole reports whether f is an integer that fits int64.
func whole(f float64) bool { return f == math.Trunc(f) && math.Abs(f) < 1<<62 }
