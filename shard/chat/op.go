package chat

import (
	"math"
	"strings"
)

// binaryExpr is an arithmetic operator or ~.
type binaryExpr struct {
	line int
	op   string
	a, b expr
}

func (e *binaryExpr) eval(r *render, s *scope) any {
	a := e.a.eval(r, s)
	b := e.b.eval(r, s)
	r.line = e.line
	return r.operate(e.op, a, b)
}

// operate applies a binary operator as Python does.
func (r *render) operate(op string, a, b any) any {
	if op == "~" {
		x, y := r.str(a), r.str(b)
		r.grow(len(x) + len(y))
		return x + y
	}
	r.checkDefined(a, b)
	var v any
	ok := false
	switch op {
	case "+":
		v, ok = r.join(a, b)
	case "*":
		v, ok = r.repeat(a, b)
	case "%":
		if f, is := text(a); is {
			v, ok = r.percentOf(a, f, b), true
		}
	}
	if ok {
		return v
	}
	if i, ok := integer(a); ok {
		if j, ok := integer(b); ok {
			return r.integers(op, i, j)
		}
	}
	f, fok := number(a)
	g, gok := number(b)
	if !fok || !gok {
		r.noOperator(op, a, b)
	}
	return r.floats(op, f, g)
}

// percentOf formats v with f, the text of format. Markup escapes v.
func (r *render) percentOf(format any, f string, v any) any {
	if _, ok := format.(markup); ok {
		v = r.escapedArg(v)
	}
	return like(format, r.percent(f, v))
}

func (r *render) noOperator(op string, a, b any) {
	if _, ok := text(a); ok && op == "+" {
		r.fail(`can only concatenate str (not "%s") to str`, typeName(b))
	}
	r.fail("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
}

// join is + of strings and lists. Markup escapes what is joined to it.
func (r *render) join(a, b any) (any, bool) {
	x, xok := text(a)
	y, yok := text(b)
	if xok && yok {
		_, am := a.(markup)
		_, bm := b.(markup)
		if am || bm {
			x, y = string(r.escape(a)), string(r.escape(b))
		}
		r.grow(len(x) + len(y))
		if am || bm {
			return markup(x + y), true
		}
		return x + y, true
	}
	l, lok := a.(*List)
	m, mok := b.(*List)
	if lok && mok && l.kind == m.kind && l.kind <= kindTuple {
		r.growItems(len(l.items) + len(m.items))
		items := append(append(make([]any, 0, len(l.items)+len(m.items)), l.items...), m.items...)
		return &List{items: items, kind: l.kind}, true
	}
	return nil, false
}

// repeat is * of a string or list and an integer.
func (r *render) repeat(a, b any) (any, bool) {
	n, ok := integer(b)
	if !ok {
		a, b = b, a
		if n, ok = integer(b); !ok {
			return nil, false
		}
	}
	n = max(n, 0)
	if s, ok := text(a); ok {
		if s != "" && n > maxStringBytes {
			r.limit("bytes in a string", maxStringBytes)
		}
		r.grow(len(s) * int(min(n, maxStringBytes)))
		if s == "" {
			n = 0
		}
		return like(a, strings.Repeat(s, int(n))), true
	}
	l, ok := a.(*List)
	if !ok || l.kind > kindTuple {
		return nil, false
	}
	if len(l.items) == 0 {
		n = 0
	}
	if n > maxItems {
		r.limit("items in a list", maxItems)
	}
	r.growItems(len(l.items) * int(n))
	out := &List{kind: l.kind}
	for range n {
		out.items = append(out.items, l.items...)
	}
	return out, true
}

// integers applies op to integers of 64 bits. Python's have no bound; a result
// that does not fit is an error.
func (r *render) integers(op string, i, j int64) any {
	n, ok := int64(0), true
	switch op {
	case "+":
		n = i + j
		ok = (n > i) == (j > 0)
	case "-":
		n = i - j
		ok = (n < i) == (j > 0)
	case "*":
		n, ok = multiply(i, j)
	case "/":
		return r.floats(op, float64(i), float64(j))
	case "//", "%":
		return r.divide(op, i, j)
	case "**":
		if j < 0 {
			return r.floats(op, float64(i), float64(j))
		}
		n, ok = power(i, j)
	}
	if !ok {
		r.fail("the result of %d %s %d is too large an integer", i, op, j)
	}
	return n
}

func multiply(i, j int64) (int64, bool) {
	if i == 0 || j == 0 {
		return 0, true
	}
	n := i * j
	return n, n/j == i && (i != -1 || j != math.MinInt64) && (j != -1 || i != math.MinInt64)
}

func power(i, j int64) (int64, bool) {
	n, ok := int64(1), true
	if i == 0 || i == 1 || i == -1 {
		j = min(j, 2+j&1)
	}
	for ; j > 0 && ok; j-- {
		n, ok = multiply(n, i)
	}
	return n, ok
}

// divide rounds down, and the remainder has the sign of the divisor.
func (r *render) divide(op string, i, j int64) any {
	if j == 0 {
		r.fail("integer division or modulo by zero")
	}
	if j == -1 {
		if op == "%" {
			return int64(0)
		}
		return r.integers("-", 0, i)
	}
	q, m := i/j, i%j
	if m != 0 && (m < 0) != (j < 0) {
		q, m = q-1, m+j
	}
	if op == "%" {
		return m
	}
	return q
}

func (r *render) floats(op string, f, g float64) any {
	switch op {
	case "+":
		return f + g
	case "-":
		return f - g
	case "*":
		return f * g
	case "**":
		return math.Pow(f, g)
	}
	if g == 0 {
		r.fail("float division by zero")
	}
	if op == "/" {
		return f / g
	}
	m := math.Mod(f, g)
	if m != 0 && (m < 0) != (g < 0) {
		m += g
	}
	if op == "%" {
		return m
	}
	return math.Round((f - m) / g)
}

// signExpr is -x or +x.
type signExpr struct {
	line     int
	negative bool
	x        expr
}

func (e *signExpr) eval(r *render, s *scope) any {
	x := e.x.eval(r, s)
	r.line = e.line
	r.checkDefined(x)
	if n, ok := integer(x); ok {
		if e.negative {
			return r.integers("-", 0, n)
		}
		return n
	}
	f, ok := x.(float64)
	if !ok {
		r.fail("bad operand type for unary sign: '%s'", typeName(x))
	}
	if e.negative {
		return -f
	}
	return f
}
