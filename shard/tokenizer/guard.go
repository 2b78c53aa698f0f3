package tokenizer

import (
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard"
)

// guardMark stands before the text of a control token that a user wrote. It is
// a noncharacter (Unicode Standard, section 23.7): no text for others holds it.
const guardMark = "\ufdd0"

// A guard holds the places of a text where control tokens do not count.
type guard struct {
	places []int // ascending
	set    *addedSet
}

func (g guard) has(i int) bool {
	_, ok := slices.BinarySearch(g.places, i)
	return ok
}

// within reports whether a place of g lies in [lo, hi).
func (g guard) within(lo, hi int) bool {
	i, _ := slices.BinarySearch(g.places, lo)
	return i < len(g.places) && g.places[i] < hi
}

// Guard returns text with an invisible mark before everything in it that
// [ParseSpecials] would take for a control token. Guard what users wrote, put
// it into a chat template, and give the result to [Tokenizer.EncodeGuarded].
func (t *Tokenizer) Guard(text string) string {
	text = strings.ReplaceAll(text, guardMark, "")
	var b strings.Builder
	done := 0
	for i := range len(text) {
		if t.controlAt(text, i) {
			b.WriteString(text[done:i])
			b.WriteString(guardMark)
			done = i
		}
	}
	if done == 0 && b.Len() == 0 {
		return text
	}
	b.WriteString(text[done:])
	return b.String()
}

// controlAt reports whether the text of a token that only ParseSpecials finds
// stands at text[i:].
func (t *Tokenizer) controlAt(text string, i int) bool {
	all, plain := &t.added[ParseSpecials], &t.added[PlainText]
	return all.raw.longer(plain.raw, text, i) || all.normalized.longer(plain.normalized, text, i)
}

// longer reports whether a finds a token at text[i:] that b does not.
func (a *addedSet) longer(b *addedSet, text string, i int) bool {
	if a == nil || !a.first[text[i]] {
		return false
	}
	t, ok := a.find(text, i)
	if !ok || b == nil {
		return ok
	}
	u, ok := b.find(text, i)
	return !ok || t.id != u.id
}

// EncodeGuarded is Encode with [ParseSpecials] of a text with marks of
// [Tokenizer.Guard]: where one stands, control tokens are text, as with
// [PlainText]. The marks themselves leave no trace.
func (t *Tokenizer) EncodeGuarded(text string) []shard.Token {
	g := guard{set: t.added[PlainText].raw}
	if !strings.Contains(text, guardMark) {
		return t.Encode(text, ParseSpecials)
	}
	var b strings.Builder
	for i, part := range strings.Split(text, guardMark) {
		if i > 0 {
			g.places = append(g.places, b.Len())
		}
		b.WriteString(part)
	}
	return t.encode(b.String(), ParseSpecials, g)
}
