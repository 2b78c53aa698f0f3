package grammar

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/shardnode/shardnode/shard"
)

// A Form is a grammar made ready for a vocabulary.
type Form struct {
	prog  *program
	vocab *Vocabulary

	mu      sync.Mutex // guards what follows
	machine *machine
	units   map[unitKey]*unit
	masks   map[int32][]uint64 // of the machine's states
}

// Compile makes e ready for v.
func (v *Vocabulary) Compile(e *Expr) (*Form, error) {
	p, err := compile(e, v)
	if err != nil {
		return nil, err
	}
	f := &Form{prog: p, vocab: v, machine: newMachine(p), units: map[unitKey]*unit{}, masks: map[int32][]uint64{}}
	if s := f.machine.first(); f.machine.ambiguous(s) {
		return nil, ErrAmbiguous
	}
	return f, nil
}

const (
	// maxMasks and maxUnits bound what a form remembers: 16 KiB each for a
	// vocabulary of 128k tokens, and more for units with many exits.
	maxMasks = 256
	maxUnits = 512
	// bigTree is the number of nodes from which on looking at a part of the
	// vocabulary's tree is worth a unit.
	bigTree = 8192
)

// A Matcher follows one answer.
type Matcher struct {
	form    *Form
	machine *machine // of which at is a state
	at      int32
	ended   bool
}

// ErrNotOfForm is returned by [Matcher.Accept] for a token that may not come.
var ErrNotOfForm = errors.New("the token is not of the form")

// Start returns a matcher before the first token.
func (f *Form) Start() *Matcher {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &Matcher{form: f, machine: f.machine, at: f.machine.first()}
}

// settle brings m to the form's machine, which is replaced when it is full. The
// form is locked.
func (m *Matcher) settle() {
	f := m.form
	if f.machine.full() {
		f.machine = newMachine(f.prog)
		f.masks = map[int32][]uint64{}
	}
	if m.machine != f.machine {
		m.at = f.machine.adopt(m.machine, m.at)
		m.machine = f.machine
	}
}

// CanEnd reports whether the answer may end here.
func (m *Matcher) CanEnd() bool {
	m.form.mu.Lock()
	defer m.form.mu.Unlock()
	return m.ended || m.machine.done(m.at)
}

// Complete reports whether nothing may follow but the end.
func (m *Matcher) Complete() bool {
	m.form.mu.Lock()
	defer m.form.mu.Unlock()
	return m.ended || m.machine.done(m.at) && len(m.machine.states[m.at].tops) == 1
}

// Accept takes the next token. It returns [ErrNotOfForm], and changes nothing,
// if the token may not come.
func (m *Matcher) Accept(id shard.Token) error {
	f := m.form
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.ended || id < 0 || int(id) >= len(f.vocab.piece) {
		return ErrNotOfForm
	}
	m.settle()
	if slices.Contains(f.vocab.ends, id) {
		if !m.machine.done(m.at) {
			return ErrNotOfForm
		}
		m.ended = true
		return nil
	}
	to, piece := m.at, f.vocab.piece[id]
	for i := range len(piece) {
		to = m.machine.move(to, piece[i])
	}
	if piece == "" || to == stateDead {
		return ErrNotOfForm
	}
	if m.machine.ambiguous(to) {
		return ErrAmbiguous
	}
	m.at = to
	return nil
}

// Mask returns the tokens that may come next: bit i%64 of word i/64 is token i.
// The caller must not change it; it stays as it is.
func (m *Matcher) Mask() ([]uint64, error) {
	f := m.form
	f.mu.Lock()
	defer f.mu.Unlock()
	m.settle()
	if mask, ok := f.masks[m.at]; ok && !m.ended {
		return mask, nil
	}
	mask := make([]uint64, f.vocab.words)
	if m.ended || m.machine.done(m.at) {
		for _, id := range f.vocab.ends {
			mask[id/64] |= 1 << (id % 64)
		}
	}
	if m.ended {
		return mask, nil
	}
	f.machine.work = 0
	fill := filler{Form: f, mask: mask, seen: map[visit]bool{}}
	if err := fill.state(m.at, 0); err != nil {
		return nil, fmt.Errorf("grammar: %w", err)
	}
	if len(f.masks) >= maxMasks {
		clear(f.masks)
	}
	f.masks[m.at] = mask
	return mask, nil
}

// A filler fills one mask.
type filler struct {
	*Form
	mask []uint64
	seen map[visit]bool // states, and the nodes of the tree from which they were followed
}

// state adds the tokens below node from of the tree that state s allows after
// the bytes of from.
func (f *filler) state(s, from int32) error {
	if f.seen[visit{s, from}] {
		return nil
	}
	f.seen[visit{s, from}] = true
	if f.vocab.nodes[from].next-from < bigTree {
		return f.vocab.walk(f.machine, s, from, func(n, _ int32) { f.vocab.add(f.mask, n) })
	}
	for _, top := range f.machine.states[s].tops {
		if err := f.stack(top, from); err != nil {
			return err
		}
	}
	return nil
}

// stack adds what one stack allows.
func (f *filler) stack(top, from int32) error {
	fr := f.machine.frames[top]
	if fr.node < 0 {
		return nil
	}
	key := unitKey{top: fr.node, from: from}
	below := fr.parent
	loop := f.machine.frames[below]
	counted := loop.count != noCount
	var n node
	if counted {
		key.loop, below = loop.node, loop.parent
		n = f.prog.nodes[loop.node]
	}
	u, err := f.unit(key)
	if err != nil {
		return err
	}
	for i, w := range u.inside(f.vocab, n.max-loop.count) {
		f.mask[i] |= w
	}
	after := int32(stateUnknown)
	for _, e := range u.exits {
		if rounds := loop.count + e.rounds; counted && (rounds < n.min || rounds > n.max) {
			continue
		}
		f.vocab.add(f.mask, e.node)
		if e.inside || below == stackDone {
			continue
		}
		if after == stateUnknown {
			after = f.machine.after(below)
		}
		if err := f.state(after, e.node); err != nil {
			return err
		}
	}
	return nil
}

// unit returns the unit of key, which it makes if need be.
func (f *filler) unit(key unitKey) (*unit, error) {
	if u := f.units[key]; u != nil {
		return u, nil
	}
	u, err := makeUnit(f.prog, f.vocab, key, &f.machine.work)
	if err != nil {
		return nil, err
	}
	if len(f.units) >= maxUnits {
		clear(f.units)
	}
	f.units[key] = u
	return u, nil
}
