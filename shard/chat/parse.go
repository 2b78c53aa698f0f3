package chat

import "slices"

// node is what stands in a template: it writes to w, and tells whether a
// break or continue is under way.
type node interface {
	exec(r *render, s *scope, w *sink) flow
}

// parser builds the tree of a template (jinja2/parser.py).
type parser struct {
	toks  []token
	at    int
	depth int
	loops int // nested for blocks of this macro, for break and continue

	// uses are the special names that the macro being parsed mentions.
	uses map[string]bool
}

func (p *parser) peek() token { return p.toks[p.at] }

// next returns the current token and moves on; the last token stays.
func (p *parser) next() token {
	t := p.toks[p.at]
	if p.at < len(p.toks)-1 {
		p.at++
	}
	return t
}

func (p *parser) is(k tokenKind, s string) bool {
	t := p.peek()
	return t.kind == k && t.s == s
}

func (p *parser) isOp(s string) bool   { return p.is(tokOp, s) }
func (p *parser) isName(s string) bool { return p.is(tokName, s) }

func (p *parser) skipOp(s string) bool {
	if p.isOp(s) {
		p.at++
		return true
	}
	return false
}

func (p *parser) skipName(s string) bool {
	if p.isName(s) {
		p.at++
		return true
	}
	return false
}

func (p *parser) wantOp(s string) {
	if !p.skipOp(s) {
		syntax(p.peek().line, "expected '%s', found %s", s, p.peek().describe())
	}
}

func (p *parser) wantName(s string) {
	if !p.skipName(s) {
		syntax(p.peek().line, "expected '%s', found %s", s, p.peek().describe())
	}
}

func (p *parser) name() string {
	t := p.next()
	if t.kind != tokName {
		syntax(t.line, "expected a name, found %s", t.describe())
	}
	return t.s
}

func (p *parser) endTag() {
	if t := p.next(); t.kind != tokBlockClose {
		syntax(t.line, "expected '%%}', found %s", t.describe())
	}
}

// down bounds the nesting; the caller defers up.
func (p *parser) down() {
	if p.depth++; p.depth > maxNesting {
		panic(bail{&LimitError{p.peek().line, "nested expressions and blocks", maxNesting}})
	}
}

func (p *parser) up() { p.depth-- }

// chain bounds the operators of one chain.
func (p *parser) chain(n int) {
	if n > maxChain {
		panic(bail{&LimitError{p.peek().line, "operators in one chain", maxChain}})
	}
}

// body parses until a tag whose keyword is one of ends, and leaves the parser
// after that keyword.
func (p *parser) body(ends ...string) (list []node, end string) {
	p.down()
	defer p.up()
	for {
		t := p.next()
		switch t.kind {
		case tokEOF:
			if len(ends) > 0 {
				syntax(t.line, "unexpected end of template, want {%% %s %%}", ends[0])
			}
			return list, ""
		case tokText:
			list = append(list, textNode(t.s))
		case tokVarOpen:
			e := p.tuple(true)
			if c := p.next(); c.kind != tokVarClose {
				syntax(c.line, "expected '}}', found %s", c.describe())
			}
			list = append(list, &printNode{t.line, e})
		case tokBlockOpen:
			kw := p.name()
			if slices.Contains(ends, kw) {
				return list, kw
			}
			list = append(list, p.statement(kw, t.line))
		default:
			syntax(t.line, "unexpected %s", t.describe())
		}
	}
}

// until parses a body and the rest of the tag that ends it.
func (p *parser) until(end string) []node {
	b, _ := p.body(end)
	p.endTag()
	return b
}

func (p *parser) statement(kw string, line int) node {
	switch kw {
	case "if":
		return p.ifBlock(line)
	case "for":
		return p.forBlock(line)
	case "set":
		return p.set(line)
	case "macro":
		return p.macro(line)
	case "call":
		return p.callBlock(line)
	case "filter":
		f := p.filterChain(p.filter())
		p.endTag()
		return &filterBlock{line, f, p.until("endfilter")}
	case "with":
		return p.with(line)
	case "autoescape":
		return p.autoescape(line)
	case "generation":
		p.endTag()
		return &withNode{line: line, body: p.until("endgeneration")}
	case "block":
		return p.block(line)
	case "break":
		return p.jump(kw, line, flowBreak)
	case "continue":
		return p.jump(kw, line, flowContinue)
	case "include", "import", "from", "extends":
		syntax(line, "'%s' needs other templates, and a chat template stands alone", kw)
	}
	syntax(line, "encountered unknown tag '%s'", kw)
	return nil
}

func (p *parser) jump(kw string, line int, f flow) node {
	if p.loops == 0 {
		syntax(line, "'%s' outside of a loop", kw)
	}
	p.endTag()
	return jump(f)
}

// block parses a block tag, which is only a scope where nothing extends it.
func (p *parser) block(line int) node {
	p.name()
	p.endTag()
	b, _ := p.body("endblock")
	if p.peek().kind == tokName {
		p.name()
	}
	p.endTag()
	return &withNode{line: line, body: b}
}

func (p *parser) ifBlock(line int) node {
	n := &ifNode{}
	for {
		cond := p.tuple(false)
		p.endTag()
		body, end := p.body("endif", "else", "elif")
		n.branches = append(n.branches, branch{line, cond, body})
		switch end {
		case "elif":
			line = p.peek().line
			continue
		case "else":
			p.endTag()
			n.orElse = p.until("endif")
		default:
			p.endTag()
		}
		return n
	}
}

func (p *parser) forBlock(line int) node {
	f := &forNode{line: line, target: p.target(true)}
	if f.target.has("loop") {
		syntax(line, "cannot assign to the special loop variable in a for-loop target")
	}
	p.wantName("in")
	f.iter = p.tuple(false)
	if p.skipName("if") {
		f.cond = p.expr()
	}
	f.recursive = p.skipName("recursive")
	p.endTag()
	p.loops++
	var end string
	f.body, end = p.body("endfor", "else")
	p.loops--
	p.endTag()
	if end == "else" {
		f.orElse = p.until("endfor")
	}
	return f
}

func (p *parser) set(line int) node {
	to := p.target(false)
	if p.skipOp("=") {
		e := p.tuple(true)
		p.endTag()
		return &setNode{line, to, e}
	}
	var f []filterCall
	if p.skipOp("|") {
		f = p.filterChain(p.filter())
	}
	p.endTag()
	return &setBlock{line, to, f, p.until("endset")}
}

func (p *parser) with(line int) node {
	w := &withNode{line: line}
	for p.peek().kind != tokBlockClose {
		if len(w.targets) > 0 {
			p.wantOp(",")
		}
		w.targets = append(w.targets, p.target(true))
		p.wantOp("=")
		w.values = append(w.values, p.expr())
	}
	p.endTag()
	w.body = p.until("endwith")
	return w
}

// autoescape parses the statement that templates of pages have; text is not
// escaped in a prompt.
func (p *parser) autoescape(line int) node {
	if on := p.name(); on != "false" && on != "False" {
		syntax(line, "autoescape is for pages: a chat template has it at false")
	}
	p.endTag()
	return &withNode{line: line, body: p.until("endautoescape")}
}

func (p *parser) macro(line int) node {
	m := &macroNode{line: line}
	m.name = p.assignable()
	p.wantOp("(")
	p.signature(m)
	p.endTag()
	p.macroBody(m, "endmacro")
	return m
}

// macroBody parses the body and notes which special names it mentions.
func (p *parser) macroBody(m *macroNode, end string) {
	uses, loops := p.uses, p.loops
	p.uses, p.loops = map[string]bool{}, 0
	m.body = p.until(end)
	m.varargs, m.kwargs = p.uses["varargs"], p.uses["kwargs"]
	m.caller = p.uses["caller"]
	p.uses, p.loops = uses, loops
}

func (p *parser) callBlock(line int) node {
	c := &callBlock{line: line, body: &macroNode{line: line, name: "caller"}}
	if p.skipOp("(") {
		p.signature(c.body)
	}
	e, ok := p.expr().(*callExpr)
	if !ok {
		syntax(line, "expected a call in a call block")
	}
	c.call = e
	p.endTag()
	p.macroBody(c.body, "endcall")
	return c
}

// signature parses the parameters of a macro up to the closing bracket.
func (p *parser) signature(m *macroNode) {
	for !p.skipOp(")") {
		if len(m.params) > 0 {
			p.wantOp(",")
			if p.skipOp(")") {
				return
			}
		}
		m.params = append(m.params, p.assignable())
		var d expr
		if p.skipOp("=") {
			d = p.expr()
		} else if n := len(m.defaults); n > 0 && m.defaults[n-1] != nil {
			syntax(m.line, "non-default argument follows default argument")
		}
		m.defaults = append(m.defaults, d)
	}
}

// assignable parses a name that may be assigned to.
func (p *parser) assignable() string {
	line := p.peek().line
	n := p.name()
	switch n {
	case "true", "false", "none", "True", "False", "None":
		syntax(line, "cannot assign to '%s'", n)
	}
	return n
}

// target parses what a for, set or with assigns to. Only set may assign to an
// attribute (of a namespace).
func (p *parser) target(plain bool) target {
	t := p.targetItem(plain)
	if !p.isOp(",") {
		return t
	}
	list := []target{t}
	for p.skipOp(",") {
		if k := p.peek(); k.kind != tokName && !p.isOp("(") || p.isName("in") {
			break
		}
		list = append(list, p.targetItem(plain))
	}
	return target{list: list}
}

func (p *parser) targetItem(plain bool) target {
	p.down()
	defer p.up()
	if p.skipOp("(") {
		t := p.target(plain)
		p.wantOp(")")
		return t
	}
	t := target{name: p.assignable()}
	if !plain && p.skipOp(".") {
		t.attr = p.name()
	}
	return t
}
