package chat

// method makes a function of a method that takes no notice of arguments.
func method(f func(r *render) any) function {
	return func(c *callArgs) any { return f(c.r) }
}

// dictAttr returns a method of a dict. Those that change it are forbidden.
func dictAttr(d *Dict, name string) (any, bool) {
	switch name {
	case "get":
		return function(func(c *callArgs) any {
			if v, ok := d.lookup(c.r, c.need(0, "key")); ok {
				return v
			}
			return c.arg(1, "default", nil)
		}), true
	case "items":
		return method(func(r *render) any { return &List{items: d.pairs(r), kind: kindItems} }), true
	case "keys":
		return method(func(*render) any { return &List{items: d.keys, kind: kindKeys} }), true
	case "values":
		return method(func(*render) any { return &List{items: d.values, kind: kindValues} }), true
	case "copy":
		return method(func(r *render) any {
			r.growItems(d.Len())
			return d
		}), true
	case "pop", "popitem", "update", "setdefault", "clear":
		return unsafeAttr(d, name), true
	}
	return nil, false
}

// listAttr returns a method of a list, or a named item of a named tuple.
func listAttr(l *List, name string) (any, bool) {
	for i, n := range l.names {
		if n == name {
			return l.items[i], true
		}
	}
	if l.kind > kindTuple {
		return nil, false
	}
	switch name {
	case "index":
		return function(func(c *callArgs) any {
			x := c.need(0, "value")
			for i, y := range l.items {
				if c.r.equal(x, y) {
					return int64(i)
				}
			}
			c.r.fail("%s is not in list", c.r.repr(x))
			return nil
		}), true
	case "count":
		return function(func(c *callArgs) any {
			x, n := c.need(0, "value"), int64(0)
			for _, y := range l.items {
				if c.r.equal(x, y) {
					n++
				}
			}
			return n
		}), true
	}
	if l.kind != kindList {
		return nil, false
	}
	switch name {
	case "copy":
		return method(func(*render) any { return l }), true
	case "append", "pop", "insert", "extend", "remove", "clear", "reverse", "sort":
		return unsafeAttr(l, name), true
	}
	return nil, false
}
