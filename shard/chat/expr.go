package chat

type literal struct{ v any }

func (l literal) eval(r *render, _ *scope) any {
	r.step(1)
	return l.v
}

type nameExpr struct {
	line int
	name string
}

func (n *nameExpr) eval(r *render, s *scope) any {
	r.step(1)
	if v, ok := s.get(n.name); ok {
		return v
	}
	return undefined{quote(n.name) + " is undefined"}
}

// listExpr is a list or tuple display.
type listExpr struct {
	items []expr
	kind  listKind
}

func (l *listExpr) eval(r *render, s *scope) any {
	r.step(1)
	items := make([]any, len(l.items))
	for i, e := range l.items {
		items[i] = e.eval(r, s)
	}
	return &List{items: items, kind: l.kind}
}

type dictExpr struct{ pairs [][2]expr }

func (d *dictExpr) eval(r *render, s *scope) any {
	r.step(1)
	out := &Dict{}
	for _, p := range d.pairs {
		k := p[0].eval(r, s)
		out.set(r, k, p[1].eval(r, s))
	}
	return out
}

// condExpr is yes if cond else no; no may be nil.
type condExpr struct{ cond, yes, no expr }

func (c *condExpr) eval(r *render, s *scope) any {
	if truth(c.cond.eval(r, s)) {
		return c.yes.eval(r, s)
	}
	if c.no == nil {
		return undefined{"the inline if-expression evaluated to false and no else section was defined"}
	}
	return c.no.eval(r, s)
}

// logicExpr is a and b, or a or b: the operand that decides, not a boolean.
type logicExpr struct {
	a, b expr
	or   bool
}

func (l *logicExpr) eval(r *render, s *scope) any {
	a := l.a.eval(r, s)
	if truth(a) == l.or {
		return a
	}
	return l.b.eval(r, s)
}

type notExpr struct{ x expr }

func (n *notExpr) eval(r *render, s *scope) any { return !truth(n.x.eval(r, s)) }

// compareExpr is a chain: a < b < c holds if both do; b is evaluated once.
type compareExpr struct {
	first expr
	rest  []comparand
}

type comparand struct {
	op string
	e  expr
}

func (c *compareExpr) eval(r *render, s *scope) any {
	a := c.first.eval(r, s)
	for _, x := range c.rest {
		b := x.e.eval(r, s)
		if !r.holds(x.op, a, b) {
			return false
		}
		a = b
	}
	return true
}

// holds evaluates one comparison.
func (r *render) holds(op string, a, b any) bool {
	switch op {
	case "==":
		return r.equal(a, b)
	case "!=":
		return !r.equal(a, b)
	case "in":
		return r.contains(b, a)
	case "not in":
		return !r.contains(b, a)
	}
	switch c := r.compare(a, b, op); op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	default:
		return c >= 0
	}
}

// argList is the arguments of a call in the source.
type argList struct {
	pos    []expr
	names  []string
	named  []expr
	star   expr // of *args, or nil
	starKw expr // of **kwargs, or nil
}

// callArgs is the arguments of a call. kw is nil when there are none by name.
type callArgs struct {
	r   *render
	pos []any
	kw  *Dict
}

func (a *argList) eval(r *render, s *scope) *callArgs {
	c := &callArgs{r: r}
	for _, e := range a.pos {
		c.pos = append(c.pos, e.eval(r, s))
	}
	if a.star != nil {
		more := r.items(a.star.eval(r, s))
		r.growItems(len(c.pos) + len(more))
		c.pos = append(c.pos, more...)
	}
	if len(a.names) > 0 || a.starKw != nil {
		c.kw = &Dict{}
	}
	for i, n := range a.names {
		c.kw.Set(n, a.named[i].eval(r, s))
	}
	if a.starKw != nil {
		d, ok := a.starKw.eval(r, s).(*Dict)
		if !ok {
			r.fail("argument after ** must be a mapping")
		}
		for i, k := range d.keys {
			c.kw.set(r, k, d.values[i])
		}
	}
	return c
}

// arg returns argument i, or the one of that name, or def.
func (c *callArgs) arg(i int, name string, def any) any {
	if i >= 0 && i < len(c.pos) {
		return c.pos[i]
	}
	if v, ok := c.kw.Get(name); ok {
		return v
	}
	return def
}

// has reports whether argument i, or one of that name, was given.
func (c *callArgs) has(i int, name string) bool {
	_, named := c.kw.Get(name)
	return i < len(c.pos) || named
}

// need returns argument i, which must be there.
func (c *callArgs) need(i int, name string) any {
	if !c.has(i, name) {
		c.r.fail("missing argument '%s'", name)
	}
	return c.arg(i, name, nil)
}

// str returns argument i, which must be a string.
func (c *callArgs) str(i int, name string) string {
	v := c.need(i, name)
	s, ok := text(v)
	if !ok {
		c.r.checkDefined(v)
		c.r.fail("argument '%s' must be str, not %s", name, typeName(v))
	}
	return s
}

// int returns argument i, which must be an integer if it is given.
func (c *callArgs) int(i int, name string, def int64) int64 {
	v := c.arg(i, name, def)
	n, ok := integer(v)
	if !ok {
		c.r.checkDefined(v)
		c.r.fail("argument '%s' must be int, not %s", name, typeName(v))
	}
	return n
}

type callExpr struct {
	line int
	f    expr
	args argList
}

func (e *callExpr) eval(r *render, s *scope) any { return e.with(r, s, nil) }

// with calls with a caller, unless that is nil.
func (e *callExpr) with(r *render, s *scope, caller any) any {
	r.step(1)
	f := e.f.eval(r, s)
	c := e.args.eval(r, s)
	if caller != nil {
		if c.kw == nil {
			c.kw = &Dict{}
		}
		c.kw.set(r, "caller", caller)
	}
	r.line = e.line
	return r.call(f, c)
}

func (r *render) call(f any, c *callArgs) any {
	switch f := f.(type) {
	case function:
		return f(c)
	case *macroValue:
		return f.call(c)
	case *loopVar:
		return f.call(c)
	}
	r.checkDefined(f)
	r.fail("'%s' object is not callable", typeName(f))
	return nil
}

// filterCall is a filter with its arguments.
type filterCall struct {
	line int
	name string
	args argList
}

func (f *filterCall) apply(r *render, s *scope, v any) any {
	r.line = f.line
	fn := r.filters[f.name]
	if fn == nil {
		r.fail("No filter named %s.", quote(f.name))
	}
	c := f.args.eval(r, s)
	r.step(1)
	r.line = f.line
	return fn(v, c)
}

type filterExpr struct {
	x expr
	f filterCall
}

func (e *filterExpr) eval(r *render, s *scope) any { return e.f.apply(r, s, e.x.eval(r, s)) }

// testExpr is x is name(args).
type testExpr struct {
	line    int
	x       expr
	negated bool
	name    string
	args    argList
}

func (t *testExpr) eval(r *render, s *scope) any {
	x := t.x.eval(r, s)
	r.line = t.line
	fn := r.tests[t.name]
	if fn == nil {
		r.fail("No test named %s.", quote(t.name))
	}
	r.step(1)
	return fn(x, t.args.eval(r, s)) != t.negated
}
