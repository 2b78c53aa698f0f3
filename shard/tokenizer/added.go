package tokenizer

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/shardnode/shardnode/shard"
)

// An addedToken is text that is one token wherever it stands.
type addedToken struct {
	id   shard.Token
	text string
	// word asks for no letter or digit on either side; stripLeft and
	// stripRight swallow the white space on that side.
	word, stripLeft, stripRight bool
}

// maxAddedBytes bounds the text of an added token, and with it the time that
// looking for one takes at each place of a text.
const maxAddedBytes = 4096

// An addedSet finds added tokens in a text: the leftmost, and of those the
// longest. A nil set finds none. The tokens form a tree of bytes.
type addedSet struct {
	first  [256]bool
	nodes  []addedNode
	tokens []addedToken
	word   *class
}

type addedNode struct {
	token int32 // index in tokens, -1: none ends here
	next  []addedEdge
}

type addedEdge struct {
	c  byte
	to int32
}

func newAddedSet(tokens []addedToken) (*addedSet, error) {
	if len(tokens) == 0 {
		return nil, nil //nolint:nilnil // a nil set is a set
	}
	a := &addedSet{nodes: []addedNode{{token: -1}}, tokens: tokens, word: wordClass()}
	for k, t := range tokens {
		if t.text == "" {
			continue
		}
		if len(t.text) > maxAddedBytes {
			return nil, fmt.Errorf("added token %d has %d bytes, want at most %d", t.id, len(t.text), maxAddedBytes)
		}
		a.first[t.text[0]] = true
		at := int32(0)
		for i := range len(t.text) {
			to := a.child(at, t.text[i])
			if to < 0 {
				to = int32(len(a.nodes)) //nolint:gosec // bounded by the file's size
				a.nodes = append(a.nodes, addedNode{token: -1})
				a.nodes[at].next = append(a.nodes[at].next, addedEdge{t.text[i], to})
			}
			at = to
		}
		if a.nodes[at].token < 0 {
			a.nodes[at].token = int32(k) //nolint:gosec // at most maxVocab
		}
	}
	return a, nil
}

func (a *addedSet) child(at int32, c byte) int32 {
	for _, e := range a.nodes[at].next {
		if e.c == c {
			return e.to
		}
	}
	return -1
}

// find returns the longest added token that stands at text[i:].
func (a *addedSet) find(text string, i int) (addedToken, bool) {
	best := -1
	at := int32(0)
	for j := i; j < len(text); j++ {
		if at = a.child(at, text[j]); at < 0 {
			break
		}
		k := a.nodes[at].token
		if k >= 0 && (!a.tokens[k].word || a.alone(text, i, j+1)) {
			best = int(k)
		}
	}
	if best < 0 {
		return addedToken{}, false
	}
	return a.tokens[best], true
}

// alone reports whether no part of a word touches text[lo:hi].
func (a *addedSet) alone(text string, lo, hi int) bool {
	if lo > 0 && a.word.has(runeBefore(text, lo)) {
		return false
	}
	r, _ := utf8.DecodeRuneInString(text[hi:])
	return hi == len(text) || !a.word.has(r)
}

// cut calls plain for the stretches of text between added tokens, with whether
// the stretch begins the text, and token for the added tokens, in order.
func (a *addedSet) cut(text string, plain func(part string, first bool), token func(id shard.Token)) {
	a.cutGuarded(text, guard{}, func(lo, hi int) { plain(text[lo:hi], lo == 0) }, token)
}

// cutGuarded is cut; of the tokens at the places of g only those of g's set
// count. plain is told where its stretch is.
func (a *addedSet) cutGuarded(text string, g guard, plain func(lo, hi int), token func(id shard.Token)) {
	start := 0
	for i := 0; a != nil && i < len(text); {
		if !a.first[text[i]] {
			i++
			continue
		}
		set := a
		if len(g.places) > 0 && g.has(i) {
			set = g.set
		}
		if set == nil {
			i++
			continue
		}
		t, ok := set.find(text, i)
		if !ok {
			i++
			continue
		}
		lo, hi := i, i+len(t.text)
		if t.stripLeft {
			lo = start + len(strings.TrimRightFunc(text[start:i], unicode.IsSpace))
		}
		if t.stripRight {
			hi = len(text) - len(strings.TrimLeftFunc(text[hi:], unicode.IsSpace))
		}
		if lo > start {
			plain(start, lo)
		}
		token(t.id)
		i, start = hi, hi
	}
	if start < len(text) {
		plain(start, len(text))
	}
}
