package grammar

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard"
)

// A Vocabulary is the tokens of a model, by the bytes that they stand for.
type Vocabulary struct {
	words int           // of a mask
	ends  []shard.Token // those that end an answer
	named map[string]shard.Token
	// names are the keys of named by their first byte.
	names [256][]string
	// piece holds the bytes of each token, "" for one that no grammar gives.
	piece []string

	// nodes are the tree of all pieces in the order of their bytes: a node,
	// then those below it.
	nodes []trieNode
	depth int // of the deepest node
	// twin[t] is the next token with the same bytes as t, or -1.
	twin []shard.Token
}

// A trieNode is what pieces have in common up to a byte.
type trieNode struct {
	next  int32       // index after all nodes below this one
	token shard.Token // that ends here, or -1
	depth uint16      // number of bytes from the root
	b     byte        // the last byte
}

// Tokens says what a vocabulary is made of. Its functions are called by
// [NewVocabulary] alone.
type Tokens struct {
	Len     int // ids are 0 to Len-1
	Piece   func(id shard.Token) string
	Control func(id shard.Token) bool // it is no text
	Ends    []shard.Token             // these end an answer
}

// maxPieceBytes bounds the pieces that a grammar gives: a longer one is never
// allowed. The longest known have 512 bytes.
const maxPieceBytes = 1024

// NewVocabulary sorts the tokens of t. It takes about a microsecond a token.
func NewVocabulary(t Tokens) *Vocabulary {
	v := &Vocabulary{
		words: (t.Len + 63) / 64, ends: slices.Clone(t.Ends), named: map[string]shard.Token{},
		piece: make([]string, t.Len), twin: make([]shard.Token, t.Len),
	}
	ids := make([]shard.Token, 0, t.Len)
	for i := range t.Len {
		id := shard.Token(i)
		v.twin[i] = -1
		p := t.Piece(id)
		if t.Control(id) {
			if p != "" {
				if _, twice := v.named[p]; !twice {
					v.named[p] = id
					v.names[p[0]] = append(v.names[p[0]], p)
				}
			}
			p = specialBytes(id)
		} else if strings.Contains(p, specialMark) {
			continue // in no text, and not to be taken for a control token
		}
		if p == "" || len(p) > maxPieceBytes || slices.Contains(t.Ends, id) {
			continue
		}
		v.piece[i] = p
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b shard.Token) int {
		return cmp.Or(cmp.Compare(v.piece[a], v.piece[b]), cmp.Compare(a, b))
	})
	v.build(ids)
	return v
}

// build makes the tree of ids, which are sorted by their pieces.
func (v *Vocabulary) build(ids []shard.Token) {
	v.nodes = append(make([]trieNode, 0, 3*len(ids)+1), trieNode{token: -1})
	open := []int32{0} // the nodes above the next one
	last := ""
	for _, id := range ids {
		p := v.piece[id]
		n := 0
		for n < len(last) && n < len(p) && last[n] == p[n] {
			n++
		}
		if len(last) > 0 && last == p {
			t := v.nodes[open[len(open)-1]].token
			for v.twin[t] >= 0 {
				t = v.twin[t]
			}
			v.twin[t] = id
			continue
		}
		for len(open) > n+1 {
			v.nodes[open[len(open)-1]].next = int32(len(v.nodes))
			open = open[:len(open)-1]
		}
		for ; n < len(p); n++ {
			open = append(open, int32(len(v.nodes)))
			v.nodes = append(v.nodes, trieNode{token: -1, depth: uint16(n + 1), b: p[n]})
		}
		v.nodes[len(v.nodes)-1].token = id
		v.depth = max(v.depth, len(p))
		last = p
	}
	for _, n := range open {
		v.nodes[n].next = int32(len(v.nodes))
	}
}

// special returns the control token that is spelled name.
func (v *Vocabulary) special(name string) (shard.Token, error) {
	if id, ok := v.named[name]; ok {
		return id, nil
	}
	return 0, fmt.Errorf("the model has no control token %q", name)
}

// marked returns text with control tokens in the place of their names.
func (v *Vocabulary) marked(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		n, id := 0, shard.Token(-1)
		for _, name := range v.names[text[0]] {
			if len(name) > n && strings.HasPrefix(text, name) {
				n, id = len(name), v.named[name]
			}
		}
		if id >= 0 {
			b.WriteString(specialBytes(id))
		} else {
			b.WriteByte(text[0])
		}
		text = text[max(n, 1):]
	}
	return b.String()
}

// add puts the token of node n and its twins into mask.
func (v *Vocabulary) add(mask []uint64, n int32) {
	for t := v.nodes[n].token; t >= 0; t = v.twin[t] {
		mask[t/64] |= 1 << (t % 64)
	}
}
