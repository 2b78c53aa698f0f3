package grammar

import (
	"errors"
	"fmt"
	"slices"
)

// A program is an expression as states of a machine with a stack.
type program struct {
	nodes []node
	start int32
}

// A node is one state.
type node struct {
	kind nodeKind
	// edges are where a byte leads, of kind nodeByte.
	edges []edge
	// outs are where one may go without a byte, of kind nodeSplit.
	outs []int32
	// body is where a called rule, or a loop's body, begins.
	body int32
	// next is where it goes on after that.
	next int32
	// min and max bound how often a loop's body comes.
	min, max int32
}

type nodeKind uint8

const (
	nodeReturn nodeKind = iota // the end of a rule or of a loop's body
	nodeByte
	nodeSplit
	nodeCall
	nodeLoop
)

// An edge leads on with a byte of lo to hi.
type edge struct {
	lo, hi byte
	next   int32
}

const (
	// maxNodes bounds a program: 20 times the largest schema met in practice.
	maxNodes = 200_000
	// maxRepeat bounds the numbers in {m,n}.
	maxRepeat = 1 << 20
	// maxUnrolled is the number of copies up to which a repetition is written
	// out instead of being counted.
	maxUnrolled = 3
	// maxEmptyLoop bounds the repetition of what may be empty.
	maxEmptyLoop = 256
)

var errTooLarge = errors.New("the grammar is too large")

// A programmer writes a program.
type programmer struct {
	program
	facts
	vocab *Vocabulary
	rules map[*Expr]int32 // where a rule begins
	todo  []*Expr         // rules whose bodies are not written yet
}

// compile writes the program of root.
func compile(root *Expr, v *Vocabulary) (*program, error) {
	f, err := study(root)
	if err != nil {
		return nil, err
	}
	p := &programmer{facts: f, vocab: v, rules: map[*Expr]int32{}}
	p.nodes = []node{{kind: nodeReturn}}
	if p.start, err = p.write(root, 0); err != nil {
		return nil, err
	}
	for len(p.todo) > 0 {
		r := p.todo[len(p.todo)-1]
		p.todo = p.todo[:len(p.todo)-1]
		at, err := p.write(r.subs[0], 0)
		if err != nil {
			return nil, err
		}
		p.nodes[p.rules[r]] = node{kind: nodeSplit, outs: []int32{at}}
	}
	return &p.program, nil
}

func (p *programmer) add(n node) int32 {
	p.nodes = append(p.nodes, n)
	return int32(len(p.nodes) - 1)
}

// write writes e so that next follows, and returns where it begins.
func (p *programmer) write(e *Expr, next int32) (int32, error) {
	if len(p.nodes) > maxNodes {
		return 0, errTooLarge
	}
	switch e.kind {
	case kindLiteral, kindSpecial:
		return p.literal(e.lit, next), nil
	case kindNamed:
		id, err := p.vocab.special(e.lit)
		return p.literal(specialBytes(id), next), err
	case kindMarked:
		return p.literal(p.vocab.marked(e.lit), next), nil
	case kindUntil:
		return p.until(e.lit, next), nil
	case kindWithout:
		return p.without(e.lit, next), nil
	case kindClass:
		return p.class(e.set, next), nil
	case kindSeq:
		var err error
		for _, s := range slices.Backward(e.subs) {
			if next, err = p.write(s, next); err != nil {
				return 0, err
			}
		}
		return next, nil
	case kindAlt:
		return p.alt(e, next)
	case kindRepeat:
		return p.repeat(e, next)
	}
	if n := p.short(e, maxInlined); n >= 0 {
		return p.write(e.subs[0], next)
	}
	at, ok := p.rules[e]
	if !ok {
		at = p.add(node{})
		p.rules[e] = at
		p.todo = append(p.todo, e)
	}
	return p.add(node{kind: nodeCall, body: at, next: next}), nil
}

// maxInlined is the number of parts up to which a rule without repetition is
// written where it is called. A rule such as "one character of a string" must
// stand in the loop around it, or every character would leave a unit.
const maxInlined = 60

// maxCounted is the number of repetitions that a rule may have and still be
// written where it is called.
const maxCounted = 8

// short returns what is left of budget after e, and less than 0 if e has more
// parts, repeats without a small limit, or names itself.
func (p *programmer) short(e *Expr, budget int) int {
	budget--
	if e.kind == kindUntil || e.kind == kindWithout || e.kind == kindRepeat && (e.max == NoLimit || e.max > maxCounted) {
		return -1
	}
	for _, s := range e.subs {
		if budget < 0 {
			return budget
		}
		budget = p.short(s, budget)
	}
	return budget
}

func (p *programmer) literal(text string, next int32) int32 {
	for _, b := range slices.Backward([]byte(text)) {
		next = p.add(node{kind: nodeByte, edges: []edge{{b, b, next}}})
	}
	return next
}

func (p *programmer) alt(e *Expr, next int32) (int32, error) {
	n := node{kind: nodeSplit}
	for _, s := range e.subs {
		if !p.productive[s] {
			continue
		}
		at, err := p.write(s, next)
		if err != nil {
			return 0, err
		}
		n.outs = append(n.outs, at)
	}
	if len(n.outs) == 1 {
		return n.outs[0], nil
	}
	return p.add(n), nil
}

func (p *programmer) repeat(e *Expr, next int32) (int32, error) {
	body, lo, hi := e.subs[0], e.min, e.max
	switch {
	case lo < 0 || lo > maxRepeat || hi > maxRepeat || hi != NoLimit && hi < lo:
		return 0, fmt.Errorf("repetition {%d,%d}: want {m,n} with m <= n <= %d", lo, hi, maxRepeat)
	case hi == 0 || !p.productive[body]:
		return next, nil
	case p.nullable[body]:
		lo = 0
		if hi > maxEmptyLoop {
			return 0, fmt.Errorf("what is repeated up to %d times may be empty: want at most %d", hi, maxEmptyLoop)
		}
	}
	if hi == NoLimit {
		loop := p.add(node{kind: nodeSplit})
		at, err := p.write(body, loop)
		if err != nil {
			return 0, err
		}
		p.nodes[loop].outs = []int32{at, next}
		return p.times(body, lo, lo, loop)
	}
	return p.times(body, lo, hi, next)
}

// times writes lo to hi times body.
func (p *programmer) times(body *Expr, lo, hi int, next int32) (int32, error) {
	if hi == 0 {
		return next, nil
	}
	if hi > maxUnrolled {
		at, err := p.write(body, 0)
		return p.add(node{kind: nodeLoop, body: at, next: next, min: int32(lo), max: int32(hi)}), err
	}
	end := next
	for i := hi; i > 0; i-- {
		at, err := p.write(body, next)
		if err != nil {
			return 0, err
		}
		if next = at; i > lo {
			next = p.add(node{kind: nodeSplit, outs: []int32{at, end}})
		}
	}
	return next, nil
}
