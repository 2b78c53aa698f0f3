package hub

import (
	"cmp"
	"slices"
)

// A span is the bytes [lo, hi).
type span struct{ lo, hi int64 }

// spans is a set of bytes: sorted, and no two touch.
type spans []span

// add adds the bytes of x.
func (s spans) add(x span) spans {
	if x.lo >= x.hi {
		return s
	}
	i, _ := slices.BinarySearchFunc(s, x.lo, func(e span, lo int64) int { return cmp.Compare(e.hi, lo) })
	j := i // s[i:j] touch x
	for ; j < len(s) && s[j].lo <= x.hi; j++ {
		x.lo, x.hi = min(x.lo, s[j].lo), max(x.hi, s[j].hi)
	}
	return slices.Replace(s, i, j, x)
}

// missing returns the bytes of x that s lacks.
func (s spans) missing(x span) []span {
	var out []span
	for _, e := range s {
		if e.hi <= x.lo {
			continue
		}
		if e.lo >= x.hi {
			break
		}
		if x.lo < e.lo {
			out = append(out, span{x.lo, e.lo})
		}
		x.lo = max(x.lo, e.hi)
	}
	if x.lo < x.hi {
		out = append(out, x)
	}
	return out
}

// bytes returns how many bytes the set holds.
func (s spans) bytes() int64 {
	n := int64(0)
	for _, e := range s {
		n += e.hi - e.lo
	}
	return n
}
