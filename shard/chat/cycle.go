package chat

// A cycler is what cycler(a, b, …) makes: its items, one after the other, over
// and over.
type cycler struct {
	items []any
	at    int
}

func (r *render) cycler(c *callArgs) any {
	if len(c.pos) == 0 {
		r.fail("at least one item has to be provided")
	}
	return &cycler{items: c.pos}
}

func (x *cycler) attr(name string) (any, bool) {
	switch name {
	case "next":
		return function(func(*callArgs) any {
			v := x.items[x.at]
			x.at = (x.at + 1) % len(x.items)
			return v
		}), true
	case "current":
		return x.items[x.at], true
	case "reset":
		return function(func(*callArgs) any {
			x.at = 0
			return nil
		}), true
	}
	return nil, false
}

// joiner makes a function that gives nothing at its first call, and the
// separator at all others.
func (r *render) joiner(c *callArgs) any {
	sep, called := c.arg(0, "sep", ", "), false
	return function(func(*callArgs) any {
		if !called {
			called = true
			return ""
		}
		return sep
	})
}
