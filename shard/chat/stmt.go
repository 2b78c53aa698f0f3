package chat

// flow tells what a node did to the loop around it.
type flow byte

const (
	flowOn flow = iota
	flowBreak
	flowContinue
)

// run executes nodes until one breaks or continues the loop around them.
func run(r *render, nodes []node, s *scope, w *sink) flow {
	for _, n := range nodes {
		r.step(1)
		if f := n.exec(r, s, w); f != flowOn {
			return f
		}
	}
	return flowOn
}

// capture executes nodes and returns what they write.
func capture(r *render, nodes []node, s *scope) (string, flow) {
	w := &sink{}
	f := run(r, nodes, s, w)
	return w.String(), f
}

type textNode string

func (t textNode) exec(r *render, _ *scope, w *sink) flow {
	w.write(r, string(t))
	return flowOn
}

type printNode struct {
	line int
	e    expr
}

func (p *printNode) exec(r *render, s *scope, w *sink) flow {
	r.line = p.line
	w.write(r, r.str(p.e.eval(r, s)))
	return flowOn
}

// jump is a break or continue tag.
type jump flow

func (j jump) exec(*render, *scope, *sink) flow { return flow(j) }

type ifNode struct {
	branches []branch
	orElse   []node
}

type branch struct {
	line int
	cond expr
	body []node
}

func (n *ifNode) exec(r *render, s *scope, w *sink) flow {
	for _, b := range n.branches {
		r.line = b.line
		if truth(b.cond.eval(r, s)) {
			return run(r, b.body, s, w)
		}
	}
	return run(r, n.orElse, s, w)
}

// target is what is assigned to: a name, an attribute of a namespace, or a
// list of targets.
type target struct {
	name, attr string
	list       []target
}

// has reports whether t assigns to the variable name.
func (t target) has(name string) bool {
	for _, x := range t.list {
		if x.has(name) {
			return true
		}
	}
	return t.list == nil && t.name == name
}

func (t target) assign(r *render, s *scope, v any) {
	switch {
	case t.list != nil:
		items := r.items(v)
		if n := len(items); n < len(t.list) {
			r.fail("not enough values to unpack (expected %d, got %d)", len(t.list), n)
		} else if n > len(t.list) {
			r.fail("too many values to unpack (expected %d)", len(t.list))
		}
		for i, to := range t.list {
			to.assign(r, s, items[i])
		}
	case t.attr != "":
		x, _ := s.get(t.name)
		ns, ok := x.(*namespace)
		if !ok {
			r.fail("cannot assign attribute on non-namespace object")
		}
		ns.attrs.set(r, t.attr, v)
	default:
		s.set(t.name, v)
	}
}

type setNode struct {
	line int
	to   target
	e    expr
}

func (n *setNode) exec(r *render, s *scope, _ *sink) flow {
	r.line = n.line
	n.to.assign(r, s, n.e.eval(r, s))
	return flowOn
}

// setBlock is {% set x | filters %}…{% endset %}.
type setBlock struct {
	line    int
	to      target
	filters []filterCall
	body    []node
}

func (n *setBlock) exec(r *render, s *scope, _ *sink) flow {
	text, f := capture(r, n.body, s.inner())
	if f != flowOn {
		return f
	}
	r.line = n.line
	n.to.assign(r, s, r.applyAll(s, text, n.filters))
	return flowOn
}

type filterBlock struct {
	line    int
	filters []filterCall
	body    []node
}

func (n *filterBlock) exec(r *render, s *scope, w *sink) flow {
	text, f := capture(r, n.body, s.inner())
	if f != flowOn {
		return f
	}
	r.line = n.line
	w.write(r, r.str(r.applyAll(s, text, n.filters)))
	return flowOn
}

func (r *render) applyAll(s *scope, v any, filters []filterCall) any {
	for _, f := range filters {
		v = f.apply(r, s, v)
	}
	return v
}

// withNode is a with, generation or block tag: a scope of its own.
type withNode struct {
	line    int
	targets []target
	values  []expr
	body    []node
}

func (n *withNode) exec(r *render, s *scope, w *sink) flow {
	r.line = n.line
	in := s.inner()
	for i, t := range n.targets {
		t.assign(r, in, n.values[i].eval(r, s))
	}
	return run(r, n.body, in, w)
}
