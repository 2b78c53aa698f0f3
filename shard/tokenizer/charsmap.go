package tokenizer

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"
)

// A charsMap is SentencePiece's precompiled normalization table: a double
// array trie (Darts) of byte strings, whose values are offsets of replacements
// that end in a zero byte (sentencepiece, src/normalizer.cc).
type charsMap struct {
	units []uint32
	texts string
}

func newCharsMap(b []byte) (*charsMap, error) {
	if len(b) < 4 {
		return nil, errors.New("precompiled charsmap is shorter than its header")
	}
	n := uint64(binary.LittleEndian.Uint32(b))
	if n%4 != 0 || n == 0 || n+4 > uint64(len(b)) {
		return nil, errors.New("precompiled charsmap says its table is longer than itself")
	}
	c := &charsMap{units: make([]uint32, n/4), texts: string(b[4+n:])}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(b[4+4*i:])
	}
	return c, nil
}

// longest returns the replacement of the longest entry at the start of s, and
// the entry's length, 0 if there is none.
func (c *charsMap) longest(s string) (to string, length int) {
	at := c.offset(c.units[0])
	for i := range len(s) {
		if s[i] == 0 {
			break
		}
		at ^= uint32(s[i])
		if int64(at) >= int64(len(c.units)) {
			break
		}
		u := c.units[at]
		if u&(1<<31|0xff) != uint32(s[i]) {
			break
		}
		at ^= c.offset(u)
		if u>>8&1 == 1 && int64(at) < int64(len(c.units)) {
			v := c.units[at] & (1<<31 - 1)
			if int64(v) <= int64(len(c.texts)) {
				to, _, _ = strings.Cut(c.texts[v:], "\x00")
				length = i + 1
			}
		}
	}
	return to, length
}

// offset is the distance to the children of a unit (darts_clone's unit).
func (c *charsMap) offset(u uint32) uint32 { return u >> 10 << (u & (1 << 9) >> 6) }

func (c *charsMap) normalize(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		if to, n := c.longest(s[i:min(len(s), i+maxMapKey)]); n > 0 {
			b.WriteString(to)
			i += n
			continue
		}
		_, width := utf8.DecodeRuneInString(s[i:])
		b.WriteString(s[i : i+width])
		i += width
	}
	return b.String()
}

// maxMapKey bounds the entries that are looked for; real ones have some 20 bytes.
const maxMapKey = 256
