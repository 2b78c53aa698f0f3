package tokenizer

import (
	"github.com/shardnode/shardnode/shard"
)

// A bpe is a vocabulary with an order of merges. It serves byte-level BPE,
// where every byte has a token, and SentencePiece's BPE, where characters
// have, with bytes to fall back to.
type bpe struct {
	vocab        map[string]shard.Token
	merges       mergeTable
	byteLevel    bool
	ignoreMerges bool // a piece that is a token is that token (Llama 3)
	wholeLines   bool // so is a run of newlines (Gemma 4)
	fuseUnk      bool
	unk          shard.Token
	// byteIDs are the tokens of single bytes, none where there is none: letters
	// in byte-level vocabularies, else "<0x0A>", which all exist if fallback.
	byteIDs  [256]shard.Token
	fallback bool
	// glue holds the characters after which some token goes on with a '▁'. At
	// all other places a '▁' begins a word that can be encoded alone. nil: do
	// not cut at all.
	glue map[rune]bool
}

// encode appends the tokens of piece to dst.
func (m *bpe) encode(dst []shard.Token, piece string, w *work) []shard.Token {
	if m.byteLevel || m.glue == nil {
		return m.encodeWord(dst, piece, w)
	}
	start, prev := 0, rune(-1)
	for i, r := range piece {
		if r == '▁' && i > start && prev != '▁' && !m.glue[prev] {
			dst = m.encodeWord(dst, piece[start:i], w)
			start = i
		}
		prev = r
	}
	return m.encodeWord(dst, piece[start:], w)
}

func (m *bpe) encodeWord(dst []shard.Token, word string, w *work) []shard.Token {
	if word == "" {
		return dst
	}
	e := w.cache.slot(word)
	if e != nil && e.holds(word) {
		return append(dst, e.ids[:e.n]...)
	}
	at := len(dst)
	id, whole := none, false
	if m.ignoreMerges || m.wholeLines && word[0] == '\n' {
		if m.byteLevel {
			id, whole = m.vocab[toLetters(word)]
		} else {
			id, whole = m.vocab[word]
		}
	}
	switch {
	case whole:
		dst = append(dst, id)
	case m.byteLevel:
		w.merge.start()
		for i := range len(word) {
			if id := m.byteIDs[word[i]]; id != none {
				w.merge.add(id)
			}
		}
		dst = w.merge.run(dst, &m.merges)
	default:
		w.merge.start()
		m.addCharacters(word, &w.merge)
		dst = w.merge.run(dst, &m.merges)
	}
	if e != nil {
		e.store(word, dst[at:])
	}
	return dst
}

// addCharacters hands the characters of word to s, as bytes or as unknown
// where they have no token.
func (m *bpe) addCharacters(word string, s *merger) {
	wasUnk := false
	for i := 0; i < len(word); {
		_, width := nextRune(word, i)
		c := word[i : i+width]
		i += width
		id, ok := m.vocab[c]
		switch {
		case ok:
			s.add(id)
			wasUnk = false
		case m.fallback:
			for k := range len(c) {
				s.add(m.byteIDs[c[k]])
			}
			wasUnk = false
		case m.unk != none:
			if !wasUnk || !m.fuseUnk {
				s.add(m.unk)
			}
			wasUnk = true
		}
	}
}

// setGlue looks through the vocabulary for tokens that have a '▁' behind
// another character.
func (m *bpe) setGlue(skip func(shard.Token) bool) {
	if _, ok := m.vocab["▁"]; !ok {
		return // a '▁' may be part of a run of unknown characters
	}
	m.glue = map[rune]bool{}
	for text, id := range m.vocab {
		if skip(id) {
			continue
		}
		prev := rune(-1)
		for _, r := range text {
			if r == '▁' && prev >= 0 && prev != '▁' {
				m.glue[prev] = true
			}
			prev = r
		}
	}
}

// setBytes fills byteIDs.
func (m *bpe) setBytes(wantFallback bool) {
	t := letterTable()
	m.fallback = wantFallback
	for b := range 256 {
		name := string(t.letter[b])
		if !m.byteLevel {
			const hex = "0123456789ABCDEF"
			name = "<0x" + hex[b>>4:b>>4+1] + hex[b&15:b&15+1] + ">"
		}
		id, ok := m.vocab[name]
		if !ok {
			id = none
			m.fallback = false
		}
		m.byteIDs[b] = id
	}
}
