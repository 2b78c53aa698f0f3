package chat

// test is a test: v is what stands before is, c the arguments.
type test func(v any, c *callArgs) bool

// tests are Jinja's tests.
var tests = map[string]test{
	"defined":   func(v any, _ *callArgs) bool { return !isUndefined(v) },
	"undefined": func(v any, _ *callArgs) bool { return isUndefined(v) },
	"none":      func(v any, _ *callArgs) bool { return v == nil },
	"string":    func(v any, _ *callArgs) bool { _, ok := text(v); return ok },
	"boolean":   isType[bool],
	"integer":   isType[int64],
	"float":     isType[float64],
	"number":    func(v any, _ *callArgs) bool { _, ok := number(v); return ok },
	"mapping":   isType[*Dict],
	"iterable":  iterable,
	"sequence":  sequence,
	"callable":  callable,
	"true":      func(v any, _ *callArgs) bool { return v == true },
	"false":     func(v any, _ *callArgs) bool { return v == false },
	"escaped":   isType[markup],
	"filter":    func(v any, c *callArgs) bool { s, _ := text(v); return c.r.filters[s] != nil },
	"test":      func(v any, c *callArgs) bool { s, _ := text(v); return c.r.tests[s] != nil },
	"upper":     func(v any, c *callArgs) bool { return isUpper(c.r.str(v)) },
	"lower":     func(v any, c *callArgs) bool { return isLower(c.r.str(v)) },
	"odd":       func(v any, c *callArgs) bool { return c.r.remainder(v, int64(2)) == 1 },
	"even":      func(v any, c *callArgs) bool { return c.r.remainder(v, int64(2)) == 0 },

	"divisibleby": func(v any, c *callArgs) bool { return c.r.remainder(v, c.need(0, "num")) == 0 },

	"in":     func(v any, c *callArgs) bool { return c.r.contains(c.need(0, "seq"), v) },
	"sameas": func(v any, c *callArgs) bool { return same(c.r, v, c.need(0, "other")) },

	"eq": holds("=="), "==": holds("=="), "equalto": holds("=="),
	"ne": holds("!="), "!=": holds("!="),
	"lt": holds("<"), "<": holds("<"), "lessthan": holds("<"),
	"le": holds("<="), "<=": holds("<="),
	"gt": holds(">"), ">": holds(">"), "greaterthan": holds(">"),
	"ge": holds(">="), ">=": holds(">="),
}

func isType[T any](v any, _ *callArgs) bool { _, ok := v.(T); return ok }

func holds(op string) test {
	return func(v any, c *callArgs) bool { return c.r.holds(op, v, c.need(0, "other")) }
}

func iterable(v any, c *callArgs) bool {
	return sequence(v, c) || isType[*List](v, c) || isType[*iter](v, c) || isType[*loopVar](v, c)
}

// sequence holds for what has a length and items: a view of a dict has no
// items by index.
func sequence(v any, _ *callArgs) bool {
	switch v := v.(type) {
	case *List:
		return !v.isView()
	case *Dict, string, markup, undefined:
		return true
	}
	return false
}

func callable(v any, _ *callArgs) bool {
	switch v.(type) {
	case function, *macroValue, *loopVar, undefined:
		return true
	}
	return false
}

// same is Python's `is`, for values where that is defined.
func same(r *render, a, b any) bool {
	switch a.(type) {
	case *List, *Dict, *iter, *namespace, *loopVar, *macroValue:
		return a == b
	}
	return typeName(a) == typeName(b) && r.equal(a, b)
}

func (r *render) remainder(v, by any) float64 {
	f, ok := number(r.operate("%", v, by))
	if !ok {
		r.fail("not all arguments converted during string formatting")
	}
	return f
}
