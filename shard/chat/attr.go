package chat

import (
	"math"
	"strings"
	"unicode/utf8"
)

// unsafeAttr is what the sandbox gives instead of what it forbids.
func unsafeAttr(v any, name string) undefined {
	return undefined{"access to attribute " + quote(name) + " of '" + typeName(v) + "' object is unsafe."}
}

// missing is what v.name gives when there is no such thing.
func missing(r *render, v, key any) undefined {
	what := typeName(v) + " object"
	if v == nil {
		what = "None"
	}
	if s, ok := text(key); ok {
		return undefined{quote(what) + " has no attribute " + quote(s)}
	}
	return undefined{what + " has no element " + r.repr(key)}
}

type attrExpr struct {
	line int
	x    expr
	name string
}

func (e *attrExpr) eval(r *render, s *scope) any {
	x := e.x.eval(r, s)
	r.line = e.line
	return r.attr(x, e.name)
}

// attr is x.name: an attribute if there is one, else an element.
func (r *render) attr(x any, name string) any {
	r.checkDefined(x)
	if v, ok := attribute(x, name); ok {
		return v
	}
	if v, ok := r.element(x, name); ok {
		return v
	}
	return missing(r, x, name)
}

type indexExpr struct {
	line int
	x, i expr
}

func (e *indexExpr) eval(r *render, s *scope) any {
	x := e.x.eval(r, s)
	i := e.i.eval(r, s)
	r.line = e.line
	return r.index(x, i)
}

// index is x[i]: an element if there is one, else an attribute.
func (r *render) index(x, i any) any {
	r.checkDefined(x)
	if v, ok := r.element(x, i); ok {
		return v
	}
	if name, ok := text(i); ok {
		if v, ok := attribute(x, name); ok {
			return v
		}
	}
	return missing(r, x, i)
}

// attribute returns Python's getattr(x, name), without what the sandbox hides.
func attribute(x any, name string) (any, bool) {
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") {
		switch name {
		case "__class__", "__doc__", "__init__", "__str__", "__repr__", "__eq__", "__hash__":
			return unsafeAttr(x, name), true
		}
	}
	switch x := x.(type) {
	case string, markup:
		return strAttr(x, name)
	case *List:
		return listAttr(x, name)
	case *Dict:
		return dictAttr(x, name)
	case *loopVar:
		return x.attr(name)
	case *macroValue:
		return x.attr(name)
	case *namespace:
		return x.attrs.Get(name)
	case *cycler:
		return x.attr(name)
	case float64:
		if name == "is_integer" {
			return function(func(*callArgs) any { return x == math.Trunc(x) && !math.IsInf(x, 0) }), true
		}
	}
	return nil, false
}

// element returns Python's x[i], and whether there is one.
func (r *render) element(x, i any) (any, bool) {
	switch x := x.(type) {
	case *Dict:
		if !hashable(i) {
			return nil, false
		}
		return x.lookup(r, i)
	case *List:
		if x.isView() {
			return nil, false
		}
		if n, ok := place(i, len(x.items)); ok {
			return x.items[n], true
		}
	case string, markup:
		s, _ := text(x)
		r.step(1 + len(s)/bytesPerStep)
		n, ok := place(i, utf8.RuneCountInString(s))
		if !ok {
			return nil, false
		}
		for _, c := range s {
			if n == 0 {
				return like(x, string(c)), true
			}
			n--
		}
	}
	return nil, false
}

func hashable(v any) bool {
	switch v := v.(type) {
	case *Dict, function:
		return false
	case *List:
		return v.kind == kindTuple
	}
	return true
}

// place turns an index, negative from the end, into one within [0, n).
func place(i any, n int) (int, bool) {
	k, ok := integer(i)
	if !ok {
		return 0, false
	}
	if k < 0 {
		k += int64(n)
	}
	return int(k), k >= 0 && k < int64(n)
}

// sliceExpr is x[start:stop:step]; the bounds may be nil.
type sliceExpr struct {
	line   int
	x      expr
	bounds [3]expr
}

func (e *sliceExpr) eval(r *render, s *scope) any {
	x := e.x.eval(r, s)
	var b [3]*int64
	for i, bound := range e.bounds {
		if bound == nil {
			continue
		}
		v := bound.eval(r, s)
		if n, ok := integer(v); ok {
			b[i] = &n
		} else if v != nil {
			r.line = e.line
			r.fail("slice indices must be integers or None, not %s", typeName(v))
		}
	}
	r.line = e.line
	r.checkDefined(x)
	switch v := x.(type) {
	case *List:
		if v.isView() {
			break
		}
		out := &List{kind: v.kind}
		for _, i := range r.sliced(b, len(v.items)) {
			out.items = append(out.items, v.items[i])
		}
		return out
	case string, markup:
		return like(x, r.sliceText(x, b))
	}
	r.fail("'%s' object is not subscriptable", typeName(x))
	return nil
}

func (r *render) sliceText(x any, b [3]*int64) string {
	s, _ := text(x)
	r.grow(len(s))
	runes := []rune(s)
	idx := r.sliced(b, len(runes))
	out := make([]rune, len(idx))
	for k, i := range idx {
		out[k] = runes[i]
	}
	return string(out)
}

// sliced returns the indexes that a slice of n items picks, as Python's
// slice.indices does.
func (r *render) sliced(b [3]*int64, n int) []int {
	step := int64(1)
	if b[2] != nil {
		step = *b[2]
	}
	if step == 0 {
		r.fail("slice step cannot be zero")
	}
	size := int64(n)
	step = min(max(step, -size-1), size+1)
	least, most := int64(0), size
	if step < 0 {
		least, most = -1, size-1
	}
	bound := func(p *int64, def int64) int64 {
		if p == nil {
			return def
		}
		v := *p
		if v < 0 {
			v = max(v, -size-1) + size
		}
		return min(max(v, least), most)
	}
	lo, hi := bound(b[0], least), bound(b[1], most)
	if step < 0 {
		lo, hi = bound(b[0], most), bound(b[1], least)
	}
	r.step(n + 1)
	var idx []int
	for i := lo; step > 0 && i < hi || step < 0 && i > hi; i += step {
		idx = append(idx, int(i))
	}
	return idx
}
