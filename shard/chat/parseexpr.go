package chat

import (
	"slices"
	"strconv"
)

// expr is an expression of a template.
type expr interface {
	eval(r *render, s *scope) any
}

// tuple parses an expression, or several with commas between them, which make
// a tuple. Where an if may follow (in for and if tags), inline says that it
// belongs to the expression.
func (p *parser) tuple(inline bool) expr {
	parse := p.expr
	if !inline {
		parse = p.or
	}
	e := parse()
	if !p.isOp(",") {
		return e
	}
	items := []expr{e}
	for p.skipOp(",") {
		k := p.peek().kind
		if k == tokBlockClose || k == tokVarClose || p.isOp(")") || p.isName("recursive") {
			break
		}
		items = append(items, parse())
	}
	return &listExpr{items, kindTuple}
}

func (p *parser) expr() expr {
	p.down()
	defer p.up()
	e := p.or()
	for n := 0; p.skipName("if"); n++ {
		p.chain(n)
		c := &condExpr{cond: p.or(), yes: e}
		if p.skipName("else") {
			c.no = p.expr()
		}
		e = c
	}
	return e
}

func (p *parser) or() expr {
	e := p.and()
	for n := 0; p.skipName("or"); n++ {
		p.chain(n)
		e = &logicExpr{e, p.and(), true}
	}
	return e
}

func (p *parser) and() expr {
	e := p.not()
	for n := 0; p.skipName("and"); n++ {
		p.chain(n)
		e = &logicExpr{e, p.not(), false}
	}
	return e
}

func (p *parser) not() expr {
	p.down()
	defer p.up()
	if p.skipName("not") {
		return &notExpr{p.not()}
	}
	return p.comparison()
}

var comparisons = []string{"==", "!=", "<", ">", "<=", ">="}

func (p *parser) comparison() expr {
	c := &compareExpr{first: p.sum()}
	for {
		t := p.peek()
		op := ""
		switch {
		case t.kind == tokOp && slices.Contains(comparisons, t.s):
			op = p.next().s
		case p.skipName("in"):
			op = "in"
		case p.isName("not") && p.toks[p.at+1].kind == tokName && p.toks[p.at+1].s == "in":
			p.at += 2
			op = "not in"
		default:
			if len(c.rest) == 0 {
				return c.first
			}
			return c
		}
		p.chain(len(c.rest))
		c.rest = append(c.rest, comparand{op, p.sum()})
	}
}

// binary parses a chain of operators that bind equally, from the left.
func (p *parser) binary(operand func() expr, ops ...string) expr {
	e := operand()
	for n := 0; ; n++ {
		t := p.peek()
		if t.kind != tokOp || !slices.Contains(ops, t.s) {
			return e
		}
		p.chain(n)
		p.at++
		e = &binaryExpr{t.line, t.s, e, operand()}
	}
}

// Jinja's operators from loose to tight: + -, ~, * / // %, **, sign.
func (p *parser) sum() expr     { return p.binary(p.concat, "+", "-") }
func (p *parser) concat() expr  { return p.binary(p.product, "~") }
func (p *parser) product() expr { return p.binary(p.power, "*", "/", "//", "%") }
func (p *parser) power() expr   { return p.binary(p.filtered, "**") }

// filtered parses a signed operand with its filters and tests: -5|abs is 5.
func (p *parser) filtered() expr { return p.suffixes(p.unary()) }

func (p *parser) unary() expr {
	p.down()
	defer p.up()
	t := p.peek()
	if p.skipOp("-") || p.skipOp("+") {
		return &signExpr{t.line, t.s == "-", p.unary()}
	}
	return p.postfix(p.primary())
}

// suffixes parses the filters, tests and calls that follow an operand.
func (p *parser) suffixes(e expr) expr {
	for n := 0; ; n++ {
		p.chain(n)
		switch {
		case p.skipOp("|"):
			e = &filterExpr{e, p.filter()}
		case p.skipName("is"):
			e = p.test(e)
		case p.isOp("("):
			t := p.next()
			e = &callExpr{t.line, e, p.args()}
		default:
			return e
		}
	}
}

// filter parses the name and arguments of a filter.
func (p *parser) filter() filterCall {
	f := filterCall{line: p.peek().line, name: p.dotted()}
	if p.skipOp("(") {
		f.args = p.args()
	}
	return f
}

func (p *parser) filterChain(first filterCall) []filterCall {
	list := []filterCall{first}
	for p.skipOp("|") {
		list = append(list, p.filter())
	}
	return list
}

func (p *parser) dotted() string {
	n := p.name()
	for p.skipOp(".") {
		n += "." + p.name()
	}
	return n
}

func (p *parser) test(e expr) expr {
	t := &testExpr{line: p.peek().line, x: e, negated: p.skipName("not")}
	t.name = p.dotted()
	if p.skipOp("(") {
		t.args = p.args()
		return t
	}
	switch k := p.peek(); k.kind {
	case tokName:
		switch k.s {
		case "else", "or", "and", "if", "recursive":
			return t
		case "is":
			syntax(k.line, "you cannot chain multiple tests with is")
		}
	case tokString, tokInt, tokFloat:
	case tokOp:
		if k.s != "[" && k.s != "{" {
			return t
		}
	default:
		return t
	}
	t.args.pos = []expr{p.postfix(p.primary())}
	return t
}

// args parses the arguments of a call up to the closing bracket.
func (p *parser) args() (a argList) {
	for n := 0; !p.skipOp(")"); n++ {
		if n > 0 {
			p.wantOp(",")
			if p.skipOp(")") {
				return a
			}
		}
		t := p.peek()
		switch {
		case p.skipOp("**"):
			a.starKw = p.expr()
		case p.skipOp("*"):
			a.star = p.expr()
		case t.kind == tokName && p.toks[p.at+1].kind == tokOp && p.toks[p.at+1].s == "=":
			p.at += 2
			a.names = append(a.names, t.s)
			a.named = append(a.named, p.expr())
		default:
			if a.names != nil || a.starKw != nil || a.star != nil {
				syntax(t.line, "invalid syntax for function call expression")
			}
			a.pos = append(a.pos, p.expr())
		}
	}
	return a
}

func (p *parser) postfix(e expr) expr {
	for n := 0; ; n++ {
		p.chain(n)
		t := p.peek()
		switch {
		case p.skipOp("."):
			e = p.attribute(e, t.line)
		case p.skipOp("["):
			e = p.subscript(e, t.line)
		case p.skipOp("("):
			e = &callExpr{t.line, e, p.args()}
		default:
			return e
		}
	}
}

func (p *parser) attribute(e expr, line int) expr {
	t := p.next()
	switch t.kind {
	case tokName:
		return &attrExpr{line, e, t.s}
	case tokInt:
		return &indexExpr{line, e, literal{parseInt(t)}}
	}
	syntax(t.line, "expected name or number, found %s", t.describe())
	return nil
}

// subscript parses what stands in x[…]: an index, a slice, or several.
func (p *parser) subscript(e expr, line int) expr {
	var items []expr
	for !p.skipOp("]") {
		if len(items) > 0 {
			p.wantOp(",")
		}
		items = append(items, p.subscripted())
	}
	if len(items) == 1 {
		if sl, ok := items[0].(*sliceExpr); ok {
			sl.line, sl.x = line, e
			return sl
		}
		return &indexExpr{line, e, items[0]}
	}
	for _, i := range items {
		if _, ok := i.(*sliceExpr); ok {
			syntax(line, "a slice stands alone in its brackets")
		}
	}
	return &indexExpr{line, e, &listExpr{items, kindTuple}}
}

func (p *parser) subscripted() expr {
	sl := &sliceExpr{}
	if !p.isOp(":") {
		e := p.expr()
		if !p.isOp(":") {
			return e
		}
		sl.bounds[0] = e
	}
	for i := 1; i < 3 && p.skipOp(":"); i++ {
		if !p.isOp(":") && !p.isOp("]") && !p.isOp(",") {
			sl.bounds[i] = p.expr()
		}
	}
	return sl
}

func parseInt(t token) int64 {
	base := 10
	if len(t.s) > 2 && t.s[0] == '0' && !isDigit(t.s[1]) {
		base = 0
	}
	n, err := strconv.ParseInt(t.s, base, 64)
	if err != nil {
		syntax(t.line, "number %s is too large", t.s)
	}
	return n
}

func (p *parser) primary() expr {
	t := p.next()
	switch t.kind {
	case tokString:
		s := t.s
		for p.peek().kind == tokString {
			s += p.next().s
		}
		return literal{s}
	case tokInt:
		return literal{parseInt(t)}
	case tokFloat:
		f, err := strconv.ParseFloat(t.s, 64)
		if err != nil {
			syntax(t.line, "number %s is too large", t.s)
		}
		return literal{f}
	case tokName:
		return p.constant(t)
	case tokOp:
		switch t.s {
		case "(":
			if p.skipOp(")") {
				return &listExpr{nil, kindTuple}
			}
			e := p.tuple(true)
			p.wantOp(")")
			return e
		case "[":
			return p.list()
		case "{":
			return p.dict()
		}
	}
	syntax(t.line, "unexpected %s", t.describe())
	return nil
}

func (p *parser) constant(t token) expr {
	switch t.s {
	case "true", "True":
		return literal{true}
	case "false", "False":
		return literal{false}
	case "none", "None":
		return literal{nil}
	case "varargs", "kwargs", "caller":
		if p.uses != nil {
			p.uses[t.s] = true
		}
	}
	return &nameExpr{t.line, t.s}
}

func (p *parser) list() expr {
	l := &listExpr{}
	for !p.skipOp("]") {
		if len(l.items) > 0 {
			p.wantOp(",")
			if p.skipOp("]") {
				break
			}
		}
		l.items = append(l.items, p.expr())
	}
	return l
}

func (p *parser) dict() expr {
	d := &dictExpr{}
	for !p.skipOp("}") {
		if len(d.pairs) > 0 {
			p.wantOp(",")
			if p.skipOp("}") {
				break
			}
		}
		k := p.expr()
		p.wantOp(":")
		d.pairs = append(d.pairs, [2]expr{k, p.expr()})
	}
	return d
}
