package tokenizer

import (
	"fmt"
	"strings"
)

// A splitter is one stage of pre-tokenization. It appends the pieces of s to
// dst; first says that s begins the whole text.
type splitter interface {
	split(dst []string, s string, first bool, w *work) []string
}

// A behavior says what becomes of the matches of a pattern.
type behavior uint8

const (
	isolated behavior = iota // pieces of their own
	removed
	mergedWithPrevious
	mergedWithNext
	contiguous // like isolated, neighbouring matches as one
)

func parseBehavior(name string) (behavior, error) {
	switch name {
	case "", "Isolated", "isolated":
		return isolated, nil
	case "Removed", "removed":
		return removed, nil
	case "MergedWithPrevious", "merged_with_previous":
		return mergedWithPrevious, nil
	case "MergedWithNext", "merged_with_next":
		return mergedWithNext, nil
	case "Contiguous", "contiguous":
		return contiguous, nil
	}
	return 0, fmt.Errorf("split behavior %q, want Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous", name)
}

// patternSplit splits at the matches of a pattern; invert takes what does not
// match for matches.
type patternSplit struct {
	p        *pattern
	behavior behavior
	invert   bool
}

func (x *patternSplit) split(dst []string, s string, _ bool, w *work) []string {
	w.scan.reset(x.p)
	if x.behavior != isolated {
		return x.splitOther(dst, s, w)
	}
	last := 0
	for i := x.p.skip(s, 0); i < len(s); i = x.p.skip(s, i) {
		end := x.p.match(s, i, &w.scan)
		if end <= i {
			_, width := nextRune(s, i)
			i += width
			continue
		}
		if last < i {
			dst = append(dst, s[last:i])
		}
		dst = append(dst, s[i:end])
		i, last = end, end
	}
	if last < len(s) {
		dst = append(dst, s[last:])
	}
	return dst
}

// splitOther is split for all behaviors but isolated. It follows
// NormalizedString::split of Hugging Face's tokenizers.
func (x *patternSplit) splitOther(dst []string, s string, w *work) []string {
	start := 0 // of the piece that is growing
	grown := 0 // its end
	wasMatch := false
	flush := func() {
		if grown > start {
			dst = append(dst, s[start:grown])
		}
		start = grown
	}
	part := func(hi int, match bool) {
		match = match != x.invert
		switch x.behavior {
		case removed:
			if match {
				flush()
				start = hi
			} else {
				flush()
			}
		case mergedWithPrevious:
			if !match || wasMatch {
				flush()
			}
		case mergedWithNext:
			if match || !wasMatch {
				flush()
			}
		default:
			if match != wasMatch {
				flush()
			}
		}
		grown = hi
		wasMatch = match
	}
	for i := 0; i < len(s); {
		lo, hi, ok := x.p.find(s, i, &w.scan)
		if !ok {
			part(len(s), false)
			break
		}
		if lo > i {
			part(lo, false)
		}
		part(hi, true)
		i = hi
	}
	flush()
	return dst
}

// letterSplit spells each piece in byte letters, for the stages behind it.
type letterSplit struct{}

func (letterSplit) split(dst []string, s string, _ bool, _ *work) []string {
	return append(dst, toLetters(s))
}

// prefixSplit puts a space before each piece that has none.
type prefixSplit struct{}

func (prefixSplit) split(dst []string, s string, _ bool, _ *work) []string {
	if s == "" || s[0] == ' ' {
		return append(dst, s)
	}
	return append(dst, " "+s)
}

// prependScheme says before which pieces Metaspace puts its character.
type prependScheme uint8

const (
	prependAlways prependScheme = iota
	prependFirst
	prependNever
)

// metaSplit writes spaces as a visible character and, if cut, begins a piece
// at each.
type metaSplit struct {
	meta    string
	prepend prependScheme
	cut     bool
}

func (x metaSplit) split(dst []string, s string, first bool, _ *work) []string {
	s = strings.ReplaceAll(s, " ", x.meta)
	if (x.prepend == prependAlways || x.prepend == prependFirst && first) && !strings.HasPrefix(s, x.meta) {
		s = x.meta + s
	}
	for x.cut {
		k := -1
		if len(s) > len(x.meta) {
			k = strings.Index(s[1:], x.meta)
		}
		if k < 0 {
			break
		}
		dst = append(dst, s[:k+1])
		s = s[k+1:]
	}
	return append(dst, s)
}

// chunkSplit cuts pieces of a fixed number of characters.
type chunkSplit struct{ runes int }

func (x chunkSplit) split(dst []string, s string, _ bool, _ *work) []string {
	n, start := 0, 0
	for i := range s {
		if n == x.runes {
			dst = append(dst, s[start:i])
			start, n = i, 0
		}
		n++
	}
	return append(dst, s[start:])
}
