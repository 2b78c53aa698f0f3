package grammar

import "unicode/utf8"

// until writes any text up to and with the first mark.
func (p *programmer) until(mark string, next int32) int32 {
	text := p.vocab.marked(mark)
	if text != mark || mark == "" {
		// No text has a control token in it, so any may come before.
		end := p.literal(text, next)
		loop := p.add(node{kind: nodeSplit})
		p.nodes[loop].outs = []int32{p.class([]runeRange{{0, utf8.MaxRune}}, loop), end}
		return loop
	}
	states := p.search([]rune(mark))
	last := len(states) - 1
	p.nodes[states[last]] = node{kind: nodeSplit, outs: []int32{next}}
	return states[0]
}

// without writes any text in which mark does not come.
func (p *programmer) without(mark string, next int32) int32 {
	if text := p.vocab.marked(mark); text != mark || mark == "" {
		loop := p.add(node{kind: nodeSplit})
		p.nodes[loop].outs = []int32{p.class([]runeRange{{0, utf8.MaxRune}}, loop), next}
		return loop
	}
	states := p.search([]rune(mark))
	last := len(states) - 1
	for _, s := range states[:last] {
		p.nodes[s].outs = append(p.nodes[s].outs, next)
	}
	p.nodes[states[last]] = node{kind: nodeSplit} // leads nowhere
	return states[0]
}

// search writes the states of Knuth, Morris and Pratt: in state i, the first i
// characters of mark have just been read, and no more of it. The last state is
// left to the caller.
func (p *programmer) search(mark []rune) []int32 {
	states := make([]int32, len(mark)+1)
	for i := range states {
		states[i] = p.add(node{kind: nodeSplit})
	}
	for i := range mark {
		var outs []int32
		other := []runeRange{{0, utf8.MaxRune}}
		for _, r := range mark[:i+1] {
			if len(intersect(other, []runeRange{{r, r}})) == 0 {
				continue // the same character was met before
			}
			other = subtract(other, []runeRange{{r, r}})
			outs = append(outs, p.class([]runeRange{{r, r}}, states[matched(mark, i, r)]))
		}
		p.nodes[states[i]].outs = append(outs, p.class(other, states[0]))
	}
	return states
}

// matched returns how much of mark a text ends with that ended with i
// characters of it and then got r.
func matched(mark []rune, i int, r rune) int {
	text := append(append([]rune{}, mark[:i]...), r)
	for n := min(len(text), len(mark)); n > 0; n-- {
		if string(text[len(text)-n:]) == string(mark[:n]) {
			return n
		}
	}
	return 0
}
