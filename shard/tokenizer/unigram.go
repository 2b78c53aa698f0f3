package tokenizer

import (
	"slices"

	"github.com/shardnode/shardnode/shard"
)

// A unigram model gives a piece the row of tokens with the highest sum of log
// probabilities, by Viterbi's algorithm (Kudo 2018, section 3.2; encode_optimized
// of Hugging Face's tokenizers and of llama.cpp).
type unigram struct {
	tokens   *addedSet // the vocabulary as a tree
	scores   []float64 // [vocab]
	unk      shard.Token
	unkScore float64
	byteIDs  [256]shard.Token
	fallback bool // an unknown character becomes bytes
}

// unkPenalty is how much worse than the worst token an unknown character is.
const unkPenalty = 10.0

// step is the best way to reach a place in a piece.
type step struct {
	score float64
	from  int32
	id    shard.Token
	ok    bool
}

// newUnigram returns the model of the tokens that use says, or an error.
func newUnigram(texts []string, scores []float64, use func(shard.Token) bool) (*unigram, error) {
	m := &unigram{unk: none, scores: scores}
	var tokens []addedToken
	lowest := 0.0
	for i, text := range texts {
		id := shard.Token(i) //nolint:gosec // at most maxVocab
		if text == "" || !use(id) {
			continue
		}
		tokens = append(tokens, addedToken{id: id, text: text})
		lowest = min(lowest, scores[i])
	}
	m.unkScore = lowest - unkPenalty
	var err error
	m.tokens, err = newAddedSet(tokens)
	return m, err
}

// encode appends the tokens of piece to dst.
func (m *unigram) encode(dst []shard.Token, piece string, w *work) []shard.Token {
	if piece == "" {
		return dst
	}
	e := w.cache.slot(piece)
	if e != nil && e.holds(piece) {
		return append(dst, e.ids[:e.n]...)
	}
	w.path = slices.Grow(w.path[:0], len(piece)+1)[:len(piece)+1]
	clear(w.path)
	w.path[0].ok = true
	for i := 0; i < len(piece); {
		_, width := nextRune(piece, i)
		m.reach(w.path, piece, i, width)
		i += width
	}
	at := len(dst)
	wasUnk := false
	for i := len(piece); i > 0; i = int(w.path[i].from) {
		s := w.path[i]
		isUnk := s.id == m.unk
		switch {
		case isUnk && m.fallback:
			for k := i - 1; k >= int(s.from); k-- {
				dst = append(dst, m.byteIDs[piece[k]])
			}
		case s.id != none && (!isUnk || !wasUnk):
			dst = append(dst, s.id)
		}
		wasUnk = isUnk
	}
	slices.Reverse(dst[at:])
	if e != nil {
		e.store(piece, dst[at:])
	}
	return dst
}

// reach extends the best way to i by every token that stands there.
func (m *unigram) reach(path []step, piece string, i, width int) {
	here := path[i].score
	better := func(to int, id shard.Token, score float64) {
		if p := &path[to]; !p.ok || score > p.score {
			*p = step{score: score, from: int32(i), id: id, ok: true} //nolint:gosec // a place in the piece
		}
	}
	whole := false
	at := int32(0)
	for j := i; m.tokens != nil && j < len(piece); j++ {
		if at = m.tokens.child(at, piece[j]); at < 0 {
			break
		}
		if k := m.tokens.nodes[at].token; k >= 0 {
			id := m.tokens.tokens[k].id
			better(j+1, id, here+m.scores[id])
			whole = whole || j+1 == i+width
		}
	}
	if !whole {
		better(i+width, m.unk, here+m.unkScore)
	}
}
