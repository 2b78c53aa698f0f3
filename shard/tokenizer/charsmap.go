package tokenizer

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode"
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
func (c *charsMap) longest(s string) (to string, length int) { return c.find(s, false) }

// shortest is longest for the shortest entry.
func (c *charsMap) shortest(s string) (to string, length int) { return c.find(s, true) }

func (c *charsMap) find(s string, first bool) (to string, length int) {
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
				if length = i + 1; first {
					return to, length
				}
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

// normalizeClusters is normalize as Hugging Face's library does it, character by
// character as people see them: a cluster of less than maxCluster bytes becomes
// what its first bytes have a replacement for; else each code point is looked up
// by itself (tokenizers' normalizers/precompiled.rs).
func (c *charsMap) normalizeClusters(s string) string {
	var b strings.Builder
	one := func(part string) bool {
		to, n := c.shortest(part)
		if n > 0 {
			b.WriteString(to)
		}
		return n > 0
	}
	for i := 0; i < len(s); {
		end := i + clusterBytes(s[i:])
		if end-i < maxCluster && one(s[i:end]) {
			i = end
			continue
		}
		for i < end {
			_, width := utf8.DecodeRuneInString(s[i:])
			if !one(s[i : i+width]) {
				b.WriteString(s[i : i+width])
			}
			i += width
		}
	}
	return b.String()
}

const maxCluster = 6

// clusterBytes returns the length of the first grapheme cluster of s (Unicode
// Standard Annex 29), of those that are shorter than maxCluster: clusters of
// emoji, flags and Hangul letters never are.
func clusterBytes(s string) int {
	r, n := utf8.DecodeRuneInString(s)
	if r == '\r' && strings.HasPrefix(s[n:], "\n") {
		return 2
	}
	for unicode.Is(unicode.Prepended_Concatenation_Mark, r) && n < len(s) {
		next, width := utf8.DecodeRuneInString(s[n:])
		if isControl(next) {
			return n
		}
		r = next
		n += width
	}
	if isControl(r) {
		return n
	}
	for n < len(s) {
		r, width := utf8.DecodeRuneInString(s[n:])
		if !unicode.Is(unicode.M, r) && r != 0x200c && r != 0x200d && r != 0xff9e && r != 0xff9f && (r < 0x1f3fb || r > 0x1f3ff) {
			break
		}
		n += width
	}
	return n
}

// isControl reports whether no mark joins r.
func isControl(r rune) bool {
	return r != 0x200c && r != 0x200d && !unicode.Is(unicode.Prepended_Concatenation_Mark, r) &&
		unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}

// maxMapKey bounds the entries that are looked for; real ones have some 20 bytes.
const maxMapKey = 256
