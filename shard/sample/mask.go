package sample

import (
	"math/bits"

	"github.com/shardnode/shardnode/shard"
)

// A Mask is a set of token ids: those that may come next, for example under a
// grammar. The zero Mask is empty. A nil *Mask allows every id.
type Mask struct {
	words []uint64
	n     int
}

// NewMask returns the set of the given ids. Negative ids are left out.
func NewMask(ids ...shard.Token) *Mask {
	m := &Mask{}
	for _, id := range ids {
		m.Add(id)
	}
	return m
}

// MaskOf returns the set whose bits are words: bit i%64 of words[i/64] is id i.
// It keeps words, which must not change while the set is in use.
func MaskOf(words []uint64) *Mask {
	m := &Mask{words: words}
	for _, w := range words {
		m.n += bits.OnesCount64(w)
	}
	return m
}

// Add adds id to m. Negative ids, and those above any vocabulary, are left out.
func (m *Mask) Add(id shard.Token) {
	if id < 0 || id >= maxVocab {
		return
	}
	w := int(id) / 64
	for len(m.words) <= w {
		m.words = append(m.words, 0)
	}
	if bit := uint64(1) << (id % 64); m.words[w]&bit == 0 {
		m.words[w] |= bit
		m.n++
	}
}

// Clear empties m and keeps its memory.
func (m *Mask) Clear() {
	clear(m.words)
	m.n = 0
}

// Len returns the number of ids in m.
func (m *Mask) Len() int { return m.n }

// Has reports whether id is in m.
func (m *Mask) Has(id shard.Token) bool {
	return id >= 0 && int(id)/64 < len(m.words) && m.words[id/64]>>(id%64)&1 != 0
}

// appendIDs appends the ids of m to dst, ascending.
func (m *Mask) appendIDs(dst []shard.Token) []shard.Token {
	for w, word := range m.words {
		for ; word != 0; word &= word - 1 {
			dst = append(dst, shard.Token(w*64+bits.TrailingZeros64(word)))
		}
	}
	return dst
}
