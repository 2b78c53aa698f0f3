package grammar

import (
	"encoding/binary"
	"errors"
	"slices"
)

// A machine runs a program. It gives every stack and every set of stacks that
// it meets a number, and remembers where bytes lead, so that what is met again
// costs a look-up.
type machine struct {
	prog   *program
	frames []frame
	known  map[frame]int32
	states []state
	named  map[string]int32 // states by their frames
	work   int              // nodes entered since it was last set to 0

	// scratch of one step
	seen map[visit]bool
	set  []int32
	key  []byte
}

// A frame is the top of a stack, and by its parent the whole stack. The top of
// a running stack is a node that wants a byte; below it stand calls and loops.
type frame struct {
	node   int32 // where to go on; of a loop, the loop; or one of the ends
	count  int32 // of a loop, how often its body was complete; noCount of a call
	parent int32 // the stack below
}

const noCount = -1

// Ends, as the node of a frame: what lies at the bottom of stacks.
const (
	endDone   = -1 // the whole text is complete
	endReturn = -2 // a unit is left: see unit.go
	endLeft   = -3 // the same, after count rounds of the unit's loop
	endLoop   = -4 // below the loop of a unit
)

// The stacks that every machine begins with.
const (
	stackDone   = 0
	stackReturn = 1
	stackLoop   = 2
)

type visit struct{ node, parent int32 }

// A state is the set of all stacks that the text so far may have led to.
type state struct {
	tops []int32 // frames, ascending
	// moves[b] is the state after byte b, or one of the two below.
	moves []int32
}

const (
	stateDead    = 0  // no stack: the text is not of the form
	stateUnknown = -1 // not computed yet
)

const (
	// maxStates and maxFrames bound what a machine remembers: about 40 MB.
	maxStates = 16_384
	maxFrames = 1 << 20
	// maxTops bounds the stacks of one state: more are a grammar that says the
	// same in too many ways.
	maxTops = 1024
	// maxWork bounds the nodes that are entered for one mask: about a second. The
	// masks of schemas take some thousands.
	maxWork = 1 << 22
)

// ErrAmbiguous says that a grammar can be read in too many ways at once. It may
// show only in the midst of an answer.
var ErrAmbiguous = errors.New("the grammar can be read in too many ways: make its alternatives differ earlier")

func newMachine(p *program) *machine {
	m := &machine{prog: p, known: map[frame]int32{}, named: map[string]int32{}, seen: map[visit]bool{}}
	m.push(frame{node: endDone, count: noCount, parent: -1})
	m.push(frame{node: endReturn, count: noCount, parent: -1})
	m.push(frame{node: endLoop, count: noCount, parent: -1})
	m.intern() // the dead state
	return m
}

// full reports whether a machine should make room for a fresh one.
func (m *machine) full() bool { return len(m.states) > maxStates || len(m.frames) > maxFrames }

// push returns the stack with f on top.
func (m *machine) push(f frame) int32 {
	id, ok := m.known[f]
	if !ok {
		id = int32(len(m.frames))
		m.frames = append(m.frames, f)
		m.known[f] = id
	}
	return id
}

// enter adds to m.set all stacks that node leads to over parent without a byte.
func (m *machine) enter(node, parent int32) {
	m.work++
	n := &m.prog.nodes[node]
	switch n.kind {
	case nodeByte:
		m.set = append(m.set, m.push(frame{node, noCount, parent}))
		return
	case nodeReturn:
		m.leave(parent)
		return
	}
	if len(m.set) > maxTops || m.seen[visit{node, parent}] {
		return
	}
	m.seen[visit{node, parent}] = true
	switch n.kind {
	case nodeSplit:
		for _, out := range n.outs {
			m.enter(out, parent)
		}
	case nodeCall:
		// A call at the end of a rule needs no return.
		if m.prog.nodes[n.next].kind != nodeReturn {
			parent = m.push(frame{n.next, noCount, parent})
		}
		m.enter(n.body, parent)
	case nodeLoop:
		if n.min == 0 {
			m.enter(n.next, parent)
		}
		m.enter(n.body, m.push(frame{node, 0, parent}))
	}
}

// leave goes on in stack, whose top is what was called before.
func (m *machine) leave(stack int32) {
	f := m.frames[stack]
	if f.node < 0 { // an end
		m.set = append(m.set, stack)
		return
	}
	if f.count == noCount {
		m.enter(f.node, f.parent)
		return
	}
	if len(m.set) > maxTops || m.seen[visit{-1, stack}] {
		return
	}
	m.seen[visit{-1, stack}] = true
	n := &m.prog.nodes[f.node]
	count := f.count + 1
	if f.parent == stackLoop { // of a unit: any count
		m.enter(n.next, m.push(frame{endLeft, count, -1}))
		m.enter(n.body, m.push(frame{f.node, count, stackLoop}))
		return
	}
	if count >= n.min {
		m.enter(n.next, f.parent)
	}
	if count < n.max {
		m.enter(n.body, m.push(frame{f.node, count, f.parent}))
	}
}

// intern returns the state of the stacks in m.set, which it empties.
func (m *machine) intern() int32 {
	slices.Sort(m.set)
	m.set = slices.Compact(m.set)
	m.key = m.key[:0]
	for _, id := range m.set {
		m.key = binary.LittleEndian.AppendUint32(m.key, uint32(id))
	}
	id, ok := m.named[string(m.key)]
	if !ok {
		id = int32(len(m.states))
		m.states = append(m.states, state{tops: slices.Clone(m.set)})
		m.named[string(m.key)] = id
	}
	m.set = m.set[:0]
	clear(m.seen)
	return id
}

// first returns the state before any byte.
func (m *machine) first() int32 {
	m.enter(m.prog.start, stackDone)
	return m.intern()
}

// after returns the state in which stack goes on once what lay on it is complete.
func (m *machine) after(stack int32) int32 {
	m.leave(stack)
	return m.intern()
}

// move returns the state after byte b in state s.
func (m *machine) move(s int32, b byte) int32 {
	if moves := m.states[s].moves; moves != nil && moves[b] != stateUnknown {
		return moves[b]
	}
	return m.learn(s, b)
}

// learn computes what move remembers.
func (m *machine) learn(s int32, b byte) int32 {
	for _, top := range m.states[s].tops {
		f := m.frames[top]
		if f.node < 0 {
			continue
		}
		for _, e := range m.prog.nodes[f.node].edges {
			if b >= e.lo && b <= e.hi {
				m.enter(e.next, f.parent)
			}
		}
	}
	to := m.intern()
	if m.states[s].moves == nil {
		moves := make([]int32, 256)
		for i := range moves {
			moves[i] = stateUnknown
		}
		m.states[s].moves = moves
	}
	m.states[s].moves[b] = to
	return to
}

// ambiguous reports whether too many stacks stand for s.
func (m *machine) ambiguous(s int32) bool { return len(m.states[s].tops) > maxTops }

// done reports whether the text that led to s is complete.
func (m *machine) done(s int32) bool {
	tops := m.states[s].tops
	return len(tops) > 0 && tops[0] == stackDone
}

// adopt returns the state of m that is state s of old.
func (m *machine) adopt(old *machine, s int32) int32 {
	var chain []frame
	for _, top := range old.states[s].tops {
		chain = chain[:0]
		id := top
		for ; id > stackLoop; id = old.frames[id].parent {
			chain = append(chain, old.frames[id])
		}
		for _, f := range slices.Backward(chain) {
			f.parent = id
			id = m.push(f)
		}
		m.set = append(m.set, id)
	}
	return m.intern()
}
