package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// A pattern finds the pieces of a text. Patterns of the usual shape, which is
// alternatives of simple items in a row, run directly (alts); all others run
// on a small machine (prog, in machine.go). Both remember where they failed,
// so that no text makes them slow.
type pattern struct {
	alts  []alternative
	slots int // number of windows that alts need
	first [2]uint64
	prog  *program
}

type alternative struct {
	items []item
	// first are the ASCII characters that the alternative can begin with; all
	// others may be looked at in full.
	first [2]uint64
}

type itemKind uint8

const (
	itemClass itemKind = iota // min to max characters of set
	itemGroup                 // one of words, or nothing if min is 0
	itemAhead                 // the next character is in set
	itemNot                   // it is not, or there is none
	itemEnd                   // the end of the text
)

type item struct {
	kind     itemKind
	set      *class
	min, max int
	poss     bool
	slot     int // of its window, -1: it needs none
	words    [][]*class
}

// scan is what a pattern remembers of one text.
type scan struct {
	windows []window
	memo    memo
}

// A window tells where an item "class, any number of times" led nowhere: the
// characters of [start, end) are all in the class, the one at end is not, and
// if the item stops at any of [failed, end] the rest of the alternative fails.
// What follows depends only on where it begins, so this holds for every start.
type window struct{ start, end, failed int }

func (s *scan) reset(p *pattern) {
	if cap(s.windows) < p.slots {
		s.windows = make([]window, p.slots)
	}
	s.windows = s.windows[:p.slots]
	for i := range s.windows {
		s.windows[i] = window{start: -1, end: -1, failed: -1}
	}
	if p.prog != nil {
		s.memo.reset()
	}
}

func (s *scan) drop() {
	if s.memo.pages != nil {
		s.memo.reset()
	}
}

// compile reads a pattern and chooses how to run it.
func compile(text string) (*pattern, error) {
	tree, err := parsePattern(text)
	if err != nil {
		return nil, err
	}
	p := &pattern{}
	if p.simple(tree) {
		return p, nil
	}
	prog, err := newProgram(tree)
	if err != nil {
		return nil, err
	}
	return &pattern{prog: prog}, nil
}

// literal returns the pattern that finds text itself.
func literal(text string) *pattern {
	var word []*class
	for _, r := range text {
		c := &class{}
		c.addRune(r, false)
		word = append(word, c.finish())
	}
	p := &pattern{}
	p.add([]item{{kind: itemGroup, min: 1, slot: -1, words: [][]*class{word}}})
	return p
}

// match returns the end of the match that begins at i, -1 if there is none.
// Every call on one text uses the same s.
func (p *pattern) match(text string, i int, s *scan) int {
	if p.prog != nil {
		return p.prog.match(text, i, &s.memo)
	}
	c := text[i]
	for k := range p.alts {
		a := &p.alts[k]
		if c < utf8.RuneSelf && a.first[c>>6]>>(c&63)&1 == 0 {
			continue
		}
		if end := s.items(text, i, a.items); end >= 0 {
			return end
		}
	}
	return -1
}

// items matches all of its from i on.
func (s *scan) items(text string, i int, its []item) int {
	for k := range its {
		it := &its[k]
		switch it.kind {
		case itemEnd:
			if i < len(text) {
				return -1
			}
		case itemAhead, itemNot:
			in := false
			if i < len(text) {
				r, _ := nextRune(text, i)
				in = it.set.has(r)
			}
			if in != (it.kind == itemAhead) {
				return -1
			}
		case itemGroup:
			return s.group(text, i, its[k:])
		case itemClass:
			if it.min == 1 && it.max == 1 {
				if i == len(text) {
					return -1
				}
				r, width := nextRune(text, i)
				if !it.set.has(r) {
					return -1
				}
				i += width
				continue
			}
			return s.run(text, i, its[k:])
		}
	}
	return i
}

func (s *scan) group(text string, i int, its []item) int {
	for _, word := range its[0].words {
		j := i
		for _, set := range word {
			if j == len(text) {
				j = -1
				break
			}
			r, width := nextRune(text, j)
			if !set.has(r) {
				j = -1
				break
			}
			j += width
		}
		if j < 0 {
			continue
		}
		if end := s.items(text, j, its[1:]); end >= 0 {
			return end
		}
	}
	if its[0].min == 0 {
		return s.items(text, i, its[1:])
	}
	return -1
}

// run matches a repeated class, and the rest of the items behind it.
func (s *scan) run(text string, i int, its []item) int {
	it := &its[0]
	if it.slot >= 0 {
		return s.windowRun(text, i, its)
	}
	j, low := i, i
	for n := 0; n < it.max && j < len(text); n++ {
		r, width := nextRune(text, j)
		if !it.set.has(r) {
			break
		}
		j += width
		if n+1 == it.min {
			low = j
		}
	}
	if it.min > 0 && low == i {
		return -1
	}
	if len(its) == 1 {
		return j
	}
	for {
		if end := s.items(text, j, its[1:]); end >= 0 {
			return end
		}
		if j == low || it.poss {
			return -1
		}
		j = before(text, j)
	}
}

// reach returns where the characters of it end that begin at i, the lowest end
// that is long enough (-1 if none is), and whether w has met that end before.
func (w *window) reach(text string, i int, it *item) (j, low int, known bool) {
	j, low = i, -1
	for n := 0; ; n++ {
		if n == it.min {
			low = j
		}
		if n >= it.min && w.start <= j && j <= w.end {
			return w.end, low, true
		}
		if j == len(text) {
			return j, low, false
		}
		r, width := nextRune(text, j)
		if !it.set.has(r) {
			return j, low, false
		}
		j += width
	}
}

// windowRun is run for items without a limit, which could otherwise go over
// the same long stretch of text again and again.
func (s *scan) windowRun(text string, i int, its []item) int {
	it, w := &its[0], &s.windows[its[0].slot]
	j, low, known := w.reach(text, i, it)
	if low < 0 {
		return -1
	}
	if known {
		w.start = min(w.start, i)
		if low >= w.failed {
			return -1
		}
		if w.failed <= w.end {
			j = before(text, w.failed)
		}
	} else {
		*w = window{start: i, end: j, failed: j + 1}
	}
	for {
		if end := s.items(text, j, its[1:]); end >= 0 {
			return end
		}
		w.failed = j
		if it.poss {
			w.failed = w.start // it may stop nowhere else
		}
		if j == low || it.poss {
			return -1
		}
		j = before(text, j)
	}
}

// before returns where the character that ends at j begins.
func before(text string, j int) int {
	if text[j-1] < utf8.RuneSelf {
		return j - 1
	}
	_, width := utf8.DecodeLastRuneInString(text[:j])
	return j - width
}

// simple turns the tree into alts, and reports whether that can be done.
func (p *pattern) simple(tree *node) bool {
	alts := []*node{tree}
	if tree.op == opAlt {
		alts = tree.subs
	}
	for _, a := range alts {
		parts := []*node{a}
		if a.op == opCat {
			parts = a.subs
		}
		var its []item
		for _, part := range parts {
			it, ok := simpleItem(part)
			if !ok {
				return false
			}
			its = append(its, it)
		}
		if len(its) == 0 {
			return false
		}
		p.add(its)
	}
	return true
}

// add appends an alternative.
func (p *pattern) add(its []item) {
	a := alternative{items: its}
	for k := range its {
		it := &its[k]
		it.slot = -1
		if it.kind == itemClass && it.max == unbounded && k < len(its)-1 {
			it.slot = p.slots
			p.slots++
		}
	}
	for _, it := range its {
		switch it.kind {
		case itemClass:
			a.first[0] |= it.set.ascii[0]
			a.first[1] |= it.set.ascii[1]
		case itemGroup:
			for _, word := range it.words {
				a.first[0] |= word[0].ascii[0]
				a.first[1] |= word[0].ascii[1]
			}
		default:
			a.first = [2]uint64{^uint64(0), ^uint64(0)}
		}
		if it.min > 0 {
			break
		}
	}
	if its[len(its)-1].min == 0 && canBeEmpty(its) {
		a.first = [2]uint64{^uint64(0), ^uint64(0)}
	}
	p.alts = append(p.alts, a)
	p.first[0] |= a.first[0]
	p.first[1] |= a.first[1]
}

// skip returns the first place at or after i where a match may begin.
func (p *pattern) skip(text string, i int) int {
	if p.prog != nil {
		return i
	}
	for i < len(text) {
		c := text[i]
		if c >= utf8.RuneSelf || p.first[c>>6]>>(c&63)&1 != 0 {
			break
		}
		i++
	}
	return i
}

func canBeEmpty(its []item) bool {
	for _, it := range its {
		if it.min > 0 {
			return false
		}
	}
	return true
}

func simpleItem(n *node) (item, bool) {
	switch n.op {
	case opClass:
		return item{kind: itemClass, set: n.set, min: 1, max: 1}, true
	case opEnd:
		return item{kind: itemEnd}, true
	case opLook:
		kind := itemAhead
		if n.negate {
			kind = itemNot
		}
		return item{kind: kind, set: n.subs[0].set}, n.subs[0].op == opClass
	case opRepeat:
		sub := n.subs[0]
		if n.lazy {
			return item{}, false
		}
		if sub.op == opClass {
			return item{kind: itemClass, set: sub.set, min: n.min, max: n.max, poss: n.poss}, true
		}
		if n.min != 0 || n.max != 1 || n.poss {
			return item{}, false
		}
		words, ok := simpleWords(sub)
		return item{kind: itemGroup, words: words}, ok
	case opAlt, opCat:
		words, ok := simpleWords(n)
		return item{kind: itemGroup, min: 1, words: words}, ok
	}
	return item{}, false
}

// simpleWords returns the alternatives of n if all are rows of characters.
func simpleWords(n *node) ([][]*class, bool) {
	alts := []*node{n}
	if n.op == opAlt {
		alts = n.subs
	}
	var words [][]*class
	for _, a := range alts {
		parts := []*node{a}
		if a.op == opCat {
			parts = a.subs
		}
		if len(parts) == 0 {
			return nil, false
		}
		var word []*class
		for _, part := range parts {
			if part.op != opClass {
				if part.op == opAlt || part.op == opCat { // "'(?:[sd]|ll)": the alternatives within
					inner, ok := simpleWords(part)
					if !ok || part != parts[len(parts)-1] {
						return nil, false
					}
					for _, tail := range inner {
						words = append(words, append(append([]*class{}, word...), tail...))
					}
					word = nil
					continue
				}
				return nil, false
			}
			word = append(word, part.set)
		}
		if word != nil {
			words = append(words, word)
		}
	}
	return words, len(words) > 0
}

// find returns the first match at or after i that takes text, ok false if
// there is none.
func (p *pattern) find(text string, i int, s *scan) (lo, hi int, ok bool) {
	for i = p.skip(text, i); i < len(text); i = p.skip(text, i) {
		if end := p.match(text, i, s); end > i {
			return i, end, true
		}
		_, width := nextRune(text, i)
		i += width
	}
	return 0, 0, false
}

// describe returns the start of a pattern for an error.
func describe(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) > 60 {
		return text[:60] + "..."
	}
	return text
}
