package grammar

import "slices"

// A unit is what can be said about the tokens that may follow without knowing
// the whole stack: only its top node, and the loop right below it if there is
// one. The rest of the stack counts where a token leaves the unit; those places
// are few, for most tokens stay inside. Units are computed once for a form.
type unit struct {
	// always are the tokens that end inside the unit, whatever lies below it;
	// with a loop, those for which it is enough that most rounds are left.
	always []uint64
	most   int32
	// within are the tokens of always by the rounds that must be left for each,
	// only with a loop: ascending.
	within []within
	// partly are those of always that do with a number of rounds, as far as they
	// were asked for.
	partly map[int32][]uint64
	// exits are where the unit is left, or its loop was.
	exits []exit
}

type within struct {
	node   int32 // of the vocabulary's tree
	rounds int32
}

// An exit is a node of the vocabulary's tree after whose bytes the unit is left,
// or, if inside says so, after whose bytes its loop is left and the unit is not.
type exit struct {
	node   int32
	rounds int32 // of the loop, exactly; 0 without a loop
	inside bool
}

// unitKey names a unit: its top node, its loop or 0, and the node of the
// vocabulary's tree from which on tokens are looked at.
type unitKey struct{ top, loop, from int32 }

// makeUnit walks the whole tree of tokens below key.from. work counts what it
// costs.
func makeUnit(p *program, v *Vocabulary, key unitKey, work *int) (*unit, error) {
	m := newMachine(p)
	m.work = *work
	defer func() { *work = m.work }()
	below := int32(stackReturn)
	if key.loop != 0 {
		below = m.push(frame{key.loop, 0, stackLoop})
	}
	m.set = append(m.set, m.push(frame{key.top, noCount, below}))
	u := &unit{always: make([]uint64, v.words)}
	var ends []bottoms // of the states of m
	err := v.walk(m, m.intern(), key.from, func(n, s int32) {
		for len(ends) <= int(s) {
			ends = append(ends, m.bottoms(int32(len(ends))))
		}
		u.take(v, n, &ends[s])
	})
	u.sort()
	return u, err
}

// inside returns the tokens that end inside the unit when left rounds of its
// loop are left.
func (u *unit) inside(v *Vocabulary, left int32) []uint64 {
	if left >= u.most {
		return u.always
	}
	mask := u.partly[left]
	if mask == nil {
		mask = make([]uint64, v.words)
		for _, w := range u.within {
			if w.rounds > left {
				break
			}
			v.add(mask, w.node)
		}
		if u.partly == nil || len(u.partly) >= maxPartly {
			u.partly = map[int32][]uint64{}
		}
		u.partly[left] = mask
	}
	return mask
}

// maxPartly bounds the masks that a unit keeps for fewer rounds.
const maxPartly = 64

// sort brings within into the order of the rounds.
func (u *unit) sort() {
	starts := make([]int, u.most+2)
	for _, w := range u.within {
		starts[w.rounds+1]++
	}
	for i := 1; i < len(starts); i++ {
		starts[i] += starts[i-1]
	}
	sorted := make([]within, len(u.within))
	for _, w := range u.within {
		sorted[starts[w.rounds]] = w
		starts[w.rounds]++
	}
	u.within = sorted
}

// bottoms are what the stacks of a state stand on.
type bottoms struct {
	always bool
	rounds int32 // that must be left, of stacks inside the loop; 0: none are
	exits  []exit
}

func (m *machine) bottoms(s int32) bottoms {
	var b bottoms
	for _, top := range m.states[s].tops {
		f, left := m.frames[top], m.frames[top].node < 0
		for f.node >= 0 && f.parent != stackLoop {
			f = m.frames[f.parent]
		}
		switch {
		case f.node >= 0:
			if b.rounds == 0 || f.count+1 < b.rounds {
				b.rounds = f.count + 1
			}
		case f.node == endLeft:
			b.exits = append(b.exits, exit{rounds: f.count, inside: !left})
		case left:
			b.exits = append(b.exits, exit{})
		default:
			b.always = true
		}
	}
	slices.SortFunc(b.exits, func(a, c exit) int {
		if a.rounds != c.rounds {
			return int(a.rounds) - int(c.rounds)
		}
		return toInt(a.inside) - toInt(c.inside)
	})
	b.exits = slices.Compact(b.exits)
	// Where a round is complete, the loop may go on, for which one more must be
	// left, or be left itself, if the rounds so far are enough. One of the two is
	// always so unless there are too many: it is as if that many must be left.
	if i := slices.Index(b.exits, exit{rounds: b.rounds - 1, inside: true}); i >= 0 && b.rounds > 1 {
		b.rounds--
		b.exits = slices.Delete(b.exits, i, i+1)
	}
	return b
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// take notes that the bytes of node n lead to stacks on b.
func (u *unit) take(v *Vocabulary, n int32, b *bottoms) {
	token := v.nodes[n].token >= 0
	if token && (b.always || b.rounds > 0) {
		v.add(u.always, n)
	}
	if token && !b.always && b.rounds > 0 {
		if u.within == nil {
			u.within = make([]within, 0, len(v.piece))
		}
		u.within = append(u.within, within{n, b.rounds})
		u.most = max(u.most, b.rounds)
	}
	for _, e := range b.exits {
		// What is left for good goes on below; what is inside counts as a token.
		if !e.inside || token {
			e.node = n
			u.exits = append(u.exits, e)
		}
	}
}

// walk calls f for every node below from that state s of m leads to, with the
// state after its bytes.
func (v *Vocabulary) walk(m *machine, s, from int32, f func(n, s int32)) error {
	base := int(v.nodes[from].depth)
	path := make([]int32, v.depth+1-base)
	path[0] = s
	end := v.nodes[from].next
	for i := from + 1; i < end; {
		n := &v.nodes[i]
		at := int(n.depth) - base
		to := m.move(path[at-1], n.b)
		if to == stateDead {
			i = n.next
			continue
		}
		if m.work > maxWork || m.ambiguous(to) || len(m.states) > 2*maxStates || len(m.frames) > 2*maxFrames {
			return ErrAmbiguous
		}
		path[at] = to
		f(i, to)
		i++
	}
	return nil
}
