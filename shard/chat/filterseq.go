package chat

import (
	"slices"
	"strconv"
	"strings"
)

func lengthFilter(v any, c *callArgs) any { return int64(c.r.length(v)) }

// joined is Python's sep.join: strict refuses items that are not strings, as
// the method does and the filter does not.
func (r *render) joined(v any, sep string, strict bool) string {
	var b strings.Builder
	for i, x := range r.items(v) {
		s, ok := text(x)
		if !ok {
			if strict {
				r.fail("sequence item %d: expected str instance, %s found", i, typeName(x))
			}
			s = r.str(x)
		}
		if i > 0 {
			b.WriteString(sep)
		}
		b.WriteString(s)
		r.step(1 + (len(s)+len(sep))/bytesPerStep)
		if b.Len() > maxStringBytes {
			r.limit("bytes in a string", maxStringBytes)
		}
	}
	return b.String()
}

func joinFilter(v any, c *callArgs) any {
	if path := c.arg(1, "attribute", nil); path != nil {
		l := &List{}
		for _, x := range c.r.items(v) {
			l.items = append(l.items, c.r.path(x, path))
		}
		v = l
	}
	return c.r.joined(v, c.r.str(c.arg(0, "d", "")), false)
}

// path follows a dotted path of attributes and indexes from v.
func (r *render) path(v, path any) any { return r.pathOr(v, path, nil) }

// pathOr is path with a default for each attribute that is not there.
func (r *render) pathOr(v, path, def any) any {
	or := func(v any) any {
		if def != nil && isUndefined(v) {
			return def
		}
		return v
	}
	if n, ok := integer(path); ok {
		return or(r.index(v, n))
	}
	for _, k := range strings.Split(r.str(path), ".") {
		if n, err := strconv.ParseUint(k, 10, 32); err == nil {
			v = or(r.index(v, int64(n)))
		} else {
			v = or(r.index(v, k))
		}
	}
	return v
}

func listFilter(v any, c *callArgs) any {
	items := c.r.items(v)
	c.r.growItems(len(items))
	return &List{items: slices.Clone(items)}
}

func itemsFilter(v any, c *callArgs) any {
	switch d := v.(type) {
	case *Dict:
		return &iter{d.pairs(c.r)}
	case undefined:
		return &iter{}
	}
	c.r.fail("Can only get item pairs from a mapping.")
	return nil
}

func first(v any, c *callArgs) any {
	if it, ok := v.(*iter); ok && len(it.items) > 0 {
		x := it.items[0]
		it.items = it.items[1:]
		return x
	}
	if a := c.r.items(v); len(a) > 0 {
		return a[0]
	}
	return undefined{"No first item, sequence was empty."}
}

func last(v any, c *callArgs) any {
	if _, ok := v.(*iter); ok {
		c.r.fail("'generator' object is not reversible")
	}
	if a := c.r.items(v); len(a) > 0 {
		return a[len(a)-1]
	}
	return undefined{"No last item, sequence was empty."}
}

func reverse(v any, c *callArgs) any {
	a := slices.Clone(c.r.items(v))
	c.r.growItems(len(a))
	slices.Reverse(a)
	if _, ok := text(v); ok {
		return like(v, c.r.joined(&List{items: a}, "", false))
	}
	return &iter{a}
}

// mapFilter applies a filter to every item, or looks up an attribute of it.
func mapFilter(v any, c *callArgs) any {
	out := &iter{}
	if !truth(v) {
		return out
	}
	path, byPath := c.kw.Get("attribute")
	var f filter
	rest := &callArgs{r: c.r, kw: c.kw}
	if !byPath || len(c.pos) > 0 {
		name := c.str(0, "filter")
		if f = c.r.filters[name]; f == nil {
			c.r.fail("No filter named %s.", quote(name))
		}
		rest.pos = c.pos[min(1, len(c.pos)):]
	}
	for _, x := range c.r.items(v) {
		c.r.step(1)
		if f != nil {
			out.items = append(out.items, f(x, rest))
			continue
		}
		out.items = append(out.items, c.r.pathOr(x, path, c.arg(-1, "default", nil)))
	}
	return out
}

// selectBy makes select, reject, selectattr and rejectattr.
func selectBy(byAttr, want bool) filter {
	return func(v any, c *callArgs) any {
		out := &iter{}
		if !truth(v) {
			return out
		}
		args := c.pos
		var path any
		if byAttr {
			path = c.need(0, "attribute")
			args = args[min(1, len(args)):]
		}
		var t test
		rest := &callArgs{r: c.r, kw: c.kw}
		if len(args) > 0 {
			name := c.r.str(args[0])
			if t = c.r.tests[name]; t == nil {
				c.r.fail("No test named %s.", quote(name))
			}
			rest.pos = args[1:]
		}
		for _, x := range c.r.items(v) {
			c.r.step(1)
			y := x
			if byAttr {
				y = c.r.path(x, path)
			}
			ok := truth(y)
			if t != nil {
				ok = t(y, rest)
			}
			if ok == want {
				out.items = append(out.items, x)
			}
		}
		return out
	}
}

// sorted returns items in the order of their keys; equal ones keep theirs.
func (r *render) sorted(items []any, key func(any) any, reverse bool) []any {
	type keyed struct{ key, item any }
	r.growItems(len(items))
	a := make([]keyed, len(items))
	for i, x := range items {
		a[i] = keyed{key(x), x}
	}
	slices.SortStableFunc(a, func(x, y keyed) int {
		if reverse {
			return r.compare(y.key, x.key, "<")
		}
		return r.compare(x.key, y.key, "<")
	})
	out := make([]any, len(a))
	for i, k := range a {
		out[i] = k.item
	}
	return out
}

// sortKey returns the key of an item: attributes of it if path says so, in
// lower case unless case matters.
func (r *render) sortKey(path any, caseSensitive bool) func(any) any {
	fold := func(v any) any {
		if s, ok := text(v); ok && !caseSensitive {
			return strings.ToLower(s)
		}
		return v
	}
	s, isText := text(path)
	if isText && strings.Contains(s, ",") {
		parts := strings.Split(s, ",")
		return func(x any) any {
			k := &List{}
			for _, p := range parts {
				k.items = append(k.items, fold(r.path(x, p)))
			}
			return k
		}
	}
	return func(x any) any {
		if path != nil {
			x = r.path(x, path)
		}
		return fold(x)
	}
}

func sortFilter(v any, c *callArgs) any {
	key := c.r.sortKey(c.arg(2, "attribute", nil), truth(c.arg(1, "case_sensitive", false)))
	return &List{items: c.r.sorted(c.r.items(v), key, truth(c.arg(0, "reverse", false)))}
}

func dictSort(v any, c *callArgs) any {
	c.r.checkDefined(v)
	d, ok := v.(*Dict)
	if !ok {
		c.r.fail("'%s' object has no attribute 'items'", typeName(v))
	}
	by := int64(0)
	switch c.arg(1, "by", "key") {
	case "key":
	case "value":
		by = 1
	default:
		c.r.fail("You can only sort by either 'key' or 'value'")
	}
	key := c.r.sortKey(by, truth(c.arg(0, "case_sensitive", false)))
	return &List{items: c.r.sorted(d.pairs(c.r), key, truth(c.arg(2, "reverse", false)))}
}

func unique(v any, c *callArgs) any {
	key := c.r.sortKey(c.arg(1, "attribute", nil), truth(c.arg(0, "case_sensitive", false)))
	seen, out := &Dict{}, &iter{}
	for _, x := range c.r.items(v) {
		k := key(x)
		if _, ok := seen.lookup(c.r, k); !ok {
			seen.set(c.r, k, nil)
			out.items = append(out.items, x)
		}
	}
	return out
}

// groupBy sorts items by an attribute and groups those that share it.
func groupBy(v any, c *callArgs) any {
	path := c.need(0, "attribute")
	lookup := func(x any) any { return c.r.pathOr(x, path, c.arg(1, "default", nil)) }
	fold := c.r.sortKey(nil, truth(c.arg(2, "case_sensitive", false)))
	key := func(x any) any { return fold(lookup(x)) }
	out := &List{}
	var group *List
	var last any
	for _, x := range c.r.sorted(c.r.items(v), key, false) {
		if k := key(x); group == nil || !c.r.equal(k, last) {
			group, last = &List{}, k
			out.items = append(out.items, &List{
				items: []any{lookup(x), group}, kind: kindTuple, names: []string{"grouper", "list"},
			})
		}
		group.items = append(group.items, x)
	}
	return out
}

// batch cuts a sequence into lists of n items, the last filled up if asked.
func batch(v any, c *callArgs) any {
	n := int(min(max(c.int(0, "linecount", 1), 1), maxItems))
	out := &iter{}
	for part := range slices.Chunk(c.r.items(v), n) {
		l := &List{items: slices.Clone(part)}
		c.r.growItems(len(part))
		if fill := c.arg(1, "fill_with", nil); fill != nil {
			c.r.growItems(n)
			for len(l.items) < n {
				l.items = append(l.items, fill)
			}
		}
		out.items = append(out.items, l)
	}
	return out
}

// sliceFilter cuts a sequence into n lists of about the same length.
func sliceFilter(v any, c *callArgs) any {
	n := int(c.int(0, "slices", 1))
	if n < 1 || n > maxItems {
		c.r.fail("slice: want 1 to %d slices, not %d", maxItems, n)
	}
	items := c.r.items(v)
	c.r.growItems(n)
	size, extra := len(items)/n, len(items)%n
	out := &iter{}
	for i := range n {
		lo := i*size + min(i, extra)
		hi := lo + size
		if i < extra {
			hi++
		}
		l := &List{items: slices.Clone(items[lo:hi])}
		if fill := c.arg(1, "fill_with", nil); fill != nil && i >= extra {
			l.items = append(l.items, fill)
		}
		out.items = append(out.items, l)
	}
	return out
}

// extreme makes min (sign -1) and max (sign 1).
func extreme(sign int) filter {
	return func(v any, c *callArgs) any {
		items := c.r.items(v)
		if len(items) == 0 {
			return undefined{"No aggregated item, sequence was empty."}
		}
		key := c.r.sortKey(c.arg(1, "attribute", nil), truth(c.arg(0, "case_sensitive", false)))
		best, bestKey := items[0], key(items[0])
		for _, x := range items[1:] {
			if k := key(x); c.r.compare(k, bestKey, "<")*sign > 0 {
				best, bestKey = x, k
			}
		}
		return best
	}
}

func sum(v any, c *callArgs) any {
	total := c.arg(1, "start", int64(0))
	path := c.arg(0, "attribute", nil)
	for _, x := range c.r.items(v) {
		c.r.step(1)
		if path != nil {
			x = c.r.path(x, path)
		}
		if _, ok := text(x); ok {
			c.r.noOperator("-", total, x)
		}
		total = c.r.operate("+", total, x)
	}
	return total
}
