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
	// Knuth, Morris and Pratt: state i has just read the first i characters of
	// the mark, and no more of it.
	runes := []rune(mark)
	states := make([]int32, len(runes)+1)
	for i := range runes {
		states[i] = p.add(node{kind: nodeSplit})
	}
	states[len(runes)] = next
	for i := range runes {
		var outs []int32
		other := []runeRange{{0, utf8.MaxRune}}
		for k := range runes[:i+1] {
			r := runes[k]
			if len(intersect(other, []runeRange{{r, r}})) == 0 {
				continue // the same character was met before
			}
			other = subtract(other, []runeRange{{r, r}})
			outs = append(outs, p.class([]runeRange{{r, r}}, states[matched(runes, i, r)]))
		}
		p.nodes[states[i]].outs = append(outs, p.class(other, states[0]))
	}
	return states[0]
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
