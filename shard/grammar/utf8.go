package grammar

import "unicode/utf8"

// class writes one character of set: a node for each first byte's kind.
func (p *programmer) class(set []runeRange, next int32) int32 {
	n := node{kind: nodeByte}
	for _, r := range set {
		p.split(r, func(lo, hi []byte) {
			n.edges = append(n.edges, p.tail(lo, hi, next))
		})
	}
	return p.add(n)
}

// tail returns the edge for the byte sequences between lo and hi, of which each
// byte may be chosen alone.
func (p *programmer) tail(lo, hi []byte, next int32) edge {
	for i := len(lo) - 1; i > 0; i-- {
		next = p.add(node{kind: nodeByte, edges: []edge{{lo[i], hi[i], next}}})
	}
	return edge{lo[0], hi[0], next}
}

// split cuts r into ranges whose UTF-8 is a product of byte ranges. Surrogates,
// which UTF-8 has not, are left out.
func (p *programmer) split(r runeRange, emit func(lo, hi []byte)) {
	if r.lo > r.hi {
		return
	}
	for _, cut := range []rune{0x7f, 0x7ff, 0xd7ff, 0xdfff, 0xffff} {
		if r.lo <= cut && r.hi > cut {
			p.split(runeRange{r.lo, cut}, emit)
			p.split(runeRange{cut + 1, r.hi}, emit)
			return
		}
	}
	if r.lo >= 0xd800 && r.hi <= 0xdfff {
		return
	}
	for shift := 6; shift <= 18; shift += 6 {
		if r.hi < 0x80 {
			break
		}
		m := rune(1)<<shift - 1
		if r.lo&^m == r.hi&^m {
			break
		}
		if r.lo&m != 0 {
			p.split(runeRange{r.lo, r.lo | m}, emit)
			p.split(runeRange{r.lo | m + 1, r.hi}, emit)
			return
		}
		if r.hi&m != m {
			p.split(runeRange{r.lo, r.hi&^m - 1}, emit)
			p.split(runeRange{r.hi &^ m, r.hi}, emit)
			return
		}
	}
	emit(utf8.AppendRune(nil, r.lo), utf8.AppendRune(nil, r.hi))
}
