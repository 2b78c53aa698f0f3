package chat

// macroNode is a macro tag, or the body of a call block.
type macroNode struct {
	line     int
	name     string
	params   []string
	defaults []expr // nil where a parameter has none
	body     []node

	// varargs, kwargs and caller say that the body mentions that name, which
	// allows arguments beyond params.
	varargs, kwargs, caller bool
}

func (m *macroNode) exec(_ *render, s *scope, _ *sink) flow {
	s.set(m.name, &macroValue{m, s})
	return flowOn
}

// macroValue is a macro with the scope it was defined in.
type macroValue struct {
	def   *macroNode
	scope *scope
}

// call binds the arguments, runs the body and returns what it writes.
func (m *macroValue) call(c *callArgs) any {
	r := c.r
	r.enter()
	defer r.leave()
	in := m.scope.inner()
	for i, p := range m.def.params {
		v, named := c.kw.Get(p)
		switch {
		case i < len(c.pos) && named:
			r.fail("macro %s got multiple values for argument %s", quote(m.def.name), quote(p))
		case i < len(c.pos):
			v = c.pos[i]
		case named:
		case m.def.defaults[i] != nil:
			v = m.def.defaults[i].eval(r, in)
		default:
			v = undefined{"parameter " + quote(p) + " was not provided"}
		}
		in.set(p, v)
	}
	m.surplus(c, in)
	line := r.line
	text, _ := capture(r, m.def.body, in)
	r.line = line
	return text
}

// surplus deals with the arguments that are not parameters.
func (m *macroValue) surplus(c *callArgs, in *scope) {
	d := m.def
	extra := &Dict{}
	if c.kw != nil {
		for i, k := range c.kw.keys {
			name, _ := text(k)
			if name == "caller" && d.caller {
				in.set(name, c.kw.values[i])
			} else if !hasName(d.params, name) {
				extra.set(c.r, name, c.kw.values[i])
			}
		}
	}
	if d.caller {
		if _, ok := in.vars["caller"]; !ok {
			in.set("caller", undefined{"No caller defined"})
		}
	}
	var rest []any
	if len(c.pos) > len(d.params) {
		rest = c.pos[len(d.params):]
	}
	if d.varargs {
		in.set("varargs", tuple(rest...))
	} else if len(rest) > 0 {
		c.r.fail("macro %s takes not more than %d argument(s)", quote(d.name), len(d.params))
	}
	if d.kwargs {
		in.set("kwargs", extra)
	} else if extra.Len() > 0 {
		c.r.fail("macro %s takes no keyword argument %s", quote(d.name), c.r.repr(extra.keys[0]))
	}
}

func hasName(names []string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// attr returns an attribute of a macro, and whether there is one of that name.
func (m *macroValue) attr(name string) (any, bool) {
	switch name {
	case "name":
		return m.def.name, true
	case "arguments":
		t := tuple()
		for _, p := range m.def.params {
			t.items = append(t.items, p)
		}
		return t, true
	case "catch_varargs":
		return m.def.varargs, true
	case "catch_kwargs":
		return m.def.kwargs, true
	case "caller":
		return m.def.caller, true
	}
	return nil, false
}

// callBlock is {% call(params) macro(args) %}…{% endcall %}.
type callBlock struct {
	line int
	call *callExpr
	body *macroNode
}

func (b *callBlock) exec(r *render, s *scope, w *sink) flow {
	r.line = b.line
	v := b.call.with(r, s, &macroValue{b.body, s})
	w.write(r, r.str(v))
	return flowOn
}
