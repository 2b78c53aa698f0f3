package tokenizer

import "fmt"

// The machine runs patterns of any shape by backtracking. A state is a place
// in the program and one in the text. Whether a state leads to a match does
// not depend on how it was reached, so a state that failed once is never
// tried again, by any later start either: the work is bounded by the size of
// the program times the length of the text.

type instrOp uint8

const (
	doClass  instrOp = iota // take one character of set
	doSplit                 // go on at x; if that fails, at y
	doJump                  // go on at x
	doLook                  // run the part from x; go on behind if it matches (negate: does not)
	doAtomic                // run the part from x, once, and go on where it ended
	doBehind
	doEnd
	doBegin
	doWord
	doMatch
)

type instr struct {
	op     instrOp
	negate bool
	x, y   int
	split  int // number of this split
	set    *class
}

type program struct {
	code   []instr
	splits int
	word   *class
}

// maxInstrs bounds a program. The longest real pattern has some 300.
const maxInstrs = 4096

func newProgram(tree *node) (*program, error) {
	p := &program{word: wordClass()}
	if err := p.emit(tree); err != nil {
		return nil, err
	}
	_, err := p.put(instr{op: doMatch})
	return p, err
}

func (p *program) put(in instr) (int, error) {
	if len(p.code) >= maxInstrs {
		return 0, fmt.Errorf("pattern needs more than %d steps", maxInstrs)
	}
	if in.op == doSplit {
		in.split = p.splits
		p.splits++
	}
	p.code = append(p.code, in)
	return len(p.code) - 1, nil
}

func (p *program) emit(n *node) error {
	switch n.op {
	case opClass:
		_, err := p.put(instr{op: doClass, set: n.set})
		return err
	case opCat:
		for _, s := range n.subs {
			if err := p.emit(s); err != nil {
				return err
			}
		}
		return nil
	case opAlt:
		return p.emitAlt(n)
	case opRepeat:
		if n.poss {
			return p.emitPart(doAtomic, false, &node{op: opRepeat, subs: n.subs, min: n.min, max: n.max})
		}
		return p.emitRepeat(n)
	case opLook:
		return p.emitPart(doLook, n.negate, n.subs[0])
	case opBehind:
		_, err := p.put(instr{op: doBehind, set: n.set, negate: n.negate})
		return err
	case opEnd:
		_, err := p.put(instr{op: doEnd})
		return err
	case opBegin:
		_, err := p.put(instr{op: doBegin})
		return err
	}
	_, err := p.put(instr{op: doWord, negate: n.negate})
	return err
}

func (p *program) emitAlt(n *node) error {
	var jumps []int
	for k, s := range n.subs {
		split, last := -1, k == len(n.subs)-1
		var err error
		if !last {
			if split, err = p.put(instr{op: doSplit}); err != nil {
				return err
			}
			p.code[split].x = split + 1
		}
		if err := p.emit(s); err != nil {
			return err
		}
		if last {
			break
		}
		jump, err := p.put(instr{op: doJump})
		if err != nil {
			return err
		}
		jumps = append(jumps, jump)
		p.code[split].y = len(p.code)
	}
	for _, j := range jumps {
		p.code[j].x = len(p.code)
	}
	return nil
}

// emitPart emits n as a program of its own within this one.
func (p *program) emitPart(op instrOp, negate bool, n *node) error {
	at, err := p.put(instr{op: op, negate: negate})
	if err != nil {
		return err
	}
	p.code[at].x = at + 1
	if err := p.emit(n); err != nil {
		return err
	}
	_, err = p.put(instr{op: doMatch})
	p.code[at].y = len(p.code)
	return err
}

func (p *program) emitRepeat(n *node) error {
	sub := n.subs[0]
	for range n.min {
		if err := p.emit(sub); err != nil {
			return err
		}
	}
	fork := func() (int, error) { return p.put(instr{op: doSplit}) }
	aim := func(split, body, out int) {
		p.code[split].x, p.code[split].y = body, out
		if n.lazy {
			p.code[split].x, p.code[split].y = out, body
		}
	}
	if n.max == unbounded {
		if canMatchEmpty(sub) {
			return fmt.Errorf("a repeat without limit of something that can be empty is not supported")
		}
		split, err := fork()
		if err != nil {
			return err
		}
		if err := p.emit(sub); err != nil {
			return err
		}
		_, err = p.put(instr{op: doJump, x: split})
		aim(split, split+1, len(p.code))
		return err
	}
	var splits []int
	for range n.max - n.min {
		split, err := fork()
		if err != nil {
			return err
		}
		splits = append(splits, split)
		if err := p.emit(sub); err != nil {
			return err
		}
	}
	for _, split := range splits {
		aim(split, split+1, len(p.code))
	}
	return nil
}

func canMatchEmpty(n *node) bool {
	switch n.op {
	case opClass:
		return false
	case opCat:
		for _, s := range n.subs {
			if !canMatchEmpty(s) {
				return false
			}
		}
		return true
	case opAlt:
		for _, s := range n.subs {
			if canMatchEmpty(s) {
				return true
			}
		}
		return false
	case opRepeat:
		return n.min == 0 || canMatchEmpty(n.subs[0])
	}
	return true
}

// memo is what the machine knows of one text.
type memo struct {
	pages [][]uint64 // [pos/64][2*split]: bits of failed states, then of those that matched in a look
	free  [][]uint64
	stack []choice
	trail []visit
}

type choice struct{ pc, pos, trail int }

type visit struct{ split, pos int }

func (m *memo) reset() {
	for i, p := range m.pages {
		if p != nil && len(m.free) < 64 {
			m.free = append(m.free, p)
		}
		m.pages[i] = nil
	}
	m.pages = m.pages[:0]
	if cap(m.pages) > maxKept {
		m.pages = nil
	}
}

// page returns the page of pos.
func (m *memo) page(p *program, pos int) []uint64 {
	k := pos >> 6
	for len(m.pages) <= k {
		m.pages = append(m.pages, nil)
	}
	if m.pages[k] == nil {
		if n := len(m.free); n > 0 && cap(m.free[n-1]) >= 2*p.splits {
			m.pages[k] = m.free[n-1][:2*p.splits]
			clear(m.pages[k])
			m.free = m.free[:n-1]
		} else {
			m.pages[k] = make([]uint64, 2*p.splits)
		}
	}
	return m.pages[k]
}

func (p *program) match(text string, i int, m *memo) int { return p.run(text, 0, i, m, false) }

// run returns where the part from pc on ends when it begins at pos, -1 if it
// does not match. look says that only whether it matches is asked; the end may
// then be wrong.
func (p *program) run(text string, pc, pos int, m *memo, look bool) int {
	bottom, trailBottom := len(m.stack), len(m.trail)
	for {
		in := &p.code[pc]
		var ok bool
		switch in.op {
		case doSplit:
			page, bit := m.page(p, pos), uint64(1)<<(pos&63)
			if look && page[2*in.split+1]&bit != 0 {
				return p.matched(m, bottom, trailBottom, pos, look)
			}
			if page[2*in.split]&bit != 0 {
				break // this way has failed before
			}
			page[2*in.split] |= bit // failed, unless it turns out to be on the way to a match
			m.trail = append(m.trail, visit{in.split, pos})
			m.stack = append(m.stack, choice{in.y, pos, len(m.trail)})
			pc = in.x
			continue
		case doMatch:
			return p.matched(m, bottom, trailBottom, pos, look)
		default:
			pc, pos, ok = p.simpleStep(text, pc, pos, m)
		}
		if ok {
			continue
		}
		if len(m.stack) == bottom {
			m.trail = m.trail[:trailBottom]
			return -1
		}
		c := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		m.trail = m.trail[:c.trail]
		pc, pos = c.pc, c.pos
	}
}

// matched takes the mark of failure from the states on the way here.
func (p *program) matched(m *memo, bottom, trailBottom, pos int, look bool) int {
	for _, v := range m.trail[trailBottom:] {
		page, bit := m.page(p, v.pos), uint64(1)<<(v.pos&63)
		page[2*v.split] &^= bit
		if look {
			page[2*v.split+1] |= bit
		}
	}
	m.trail = m.trail[:trailBottom]
	m.stack = m.stack[:bottom]
	return pos
}

// simpleStep does an instruction that has only one way to go on.
func (p *program) simpleStep(text string, pc, pos int, m *memo) (nextPC, nextPos int, ok bool) {
	in := &p.code[pc]
	switch in.op {
	case doClass:
		if pos == len(text) {
			return pc, pos, false
		}
		r, width := nextRune(text, pos)
		return pc + 1, pos + width, in.set.has(r)
	case doJump:
		return in.x, pos, true
	case doLook:
		return in.y, pos, p.run(text, in.x, pos, m, true) >= 0 != in.negate
	case doAtomic:
		end := p.run(text, in.x, pos, m, false)
		return in.y, end, end >= 0
	case doBehind:
		return pc + 1, pos, (pos > 0 && in.set.has(runeBefore(text, pos))) != in.negate
	case doEnd:
		return pc + 1, pos, pos == len(text)
	case doBegin:
		return pc + 1, pos, pos == 0
	case doWord:
		left := pos > 0 && p.word.has(runeBefore(text, pos))
		right := false
		if pos < len(text) {
			r, _ := nextRune(text, pos)
			right = p.word.has(r)
		}
		return pc + 1, pos, (left != right) != in.negate
	}
	panic("tokenizer: instruction out of place")
}

func runeBefore(text string, pos int) rune {
	r, _ := nextRune(text, before(text, pos))
	return r
}
