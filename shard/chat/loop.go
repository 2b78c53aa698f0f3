package chat

type forNode struct {
	line      int
	target    target
	iter      expr
	cond      expr // nil: all items
	recursive bool
	body      []node
	orElse    []node
}

func (f *forNode) exec(r *render, s *scope, w *sink) flow {
	r.line = f.line
	return f.loop(r, s, w, f.iter.eval(r, s), 0)
}

// loop runs the body over the items of v. depth counts the calls of a
// recursive loop.
func (f *forNode) loop(r *render, s *scope, w *sink, v any, depth int) flow {
	items := f.kept(r, s, r.items(v))
	if len(items) == 0 {
		return run(r, f.orElse, s.inner(), w)
	}
	l := &loopVar{items: items, depth: depth, node: f, scope: s}
	for i, x := range items {
		r.step(1)
		r.line = f.line
		l.at = i
		in := s.inner()
		in.set("loop", l)
		f.target.assign(r, in, x)
		if run(r, f.body, in, w) == flowBreak {
			break
		}
	}
	return flowOn
}

// kept returns the items for which the loop's condition holds.
func (f *forNode) kept(r *render, s *scope, items []any) []any {
	if f.cond == nil {
		return items
	}
	var kept []any
	for _, x := range items {
		in := s.inner()
		f.target.assign(r, in, x)
		if truth(f.cond.eval(r, in)) {
			kept = append(kept, x)
		}
	}
	return kept
}

// loopVar is the variable loop.
type loopVar struct {
	items []any
	at    int // index of the current item
	depth int
	node  *forNode
	scope *scope // around the loop

	changed []any // the last arguments of loop.changed, nil before the first
}

// attr returns an attribute of loop, and whether there is one of that name.
func (l *loopVar) attr(name string) (any, bool) {
	n := len(l.items)
	switch name {
	case "index":
		return int64(l.at + 1), true
	case "index0":
		return int64(l.at), true
	case "revindex":
		return int64(n - l.at), true
	case "revindex0":
		return int64(n - l.at - 1), true
	case "first":
		return l.at == 0, true
	case "last":
		return l.at == n-1, true
	case "length":
		return int64(n), true
	case "depth":
		return int64(l.depth + 1), true
	case "depth0":
		return int64(l.depth), true
	case "previtem":
		return l.item(l.at-1, "there is no previous item"), true
	case "nextitem":
		return l.item(l.at+1, "there is no next item"), true
	case "cycle":
		return function(l.cycle), true
	case "changed":
		return function(l.hasChanged), true
	}
	return nil, false
}

// item returns item i, or an undefined value with the message absent.
func (l *loopVar) item(i int, absent string) any {
	if i < 0 || i >= len(l.items) {
		return undefined{absent}
	}
	return l.items[i]
}

func (l *loopVar) cycle(c *callArgs) any {
	if len(c.pos) == 0 {
		c.r.fail("no items for cycling given")
	}
	return c.pos[l.at%len(c.pos)]
}

func (l *loopVar) hasChanged(c *callArgs) any {
	now := append([]any{}, c.pos...)
	same := l.changed != nil && c.r.equal(&List{items: l.changed}, &List{items: now})
	l.changed = now
	return !same
}

// call runs a recursive loop over the items of its argument.
func (l *loopVar) call(c *callArgs) any {
	if !l.node.recursive {
		c.r.fail("the loop must have the 'recursive' marker to be called recursively")
	}
	c.r.enter()
	defer c.r.leave()
	w := &sink{}
	l.node.loop(c.r, l.scope, w, c.need(0, "iterable"), l.depth+1)
	return w.String()
}
