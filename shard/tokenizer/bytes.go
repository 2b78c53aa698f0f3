package tokenizer

import (
	"strings"
	"sync"
	"unicode/utf8"
)

// Byte-level vocabularies spell each byte as one printable character
// (bytes_to_unicode in GPT-2's encoder.py): printable Latin-1 as itself, the
// others as U+0100 and on, in order. We call these characters letters.
type byteLetters struct {
	letter [256]rune
	byteOf [512]int16 // -1: not a letter
}

var letterTable = sync.OnceValue(func() *byteLetters {
	t := &byteLetters{}
	for i := range t.byteOf {
		t.byteOf[i] = -1
	}
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if !(b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae) {
			r = next
			next++
		}
		t.letter[b] = r
		t.byteOf[r] = int16(b)
	}
	return t
})

// toLetters spells the bytes of s as letters.
func toLetters(s string) string {
	t := letterTable()
	var b strings.Builder
	b.Grow(2 * len(s))
	for i := range len(s) {
		b.WriteRune(t.letter[s[i]])
	}
	return b.String()
}

// unletter returns the bytes that the letters of s spell, and false if s has
// a character that is no letter.
func unletter(s string) (string, bool) {
	t := letterTable()
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r >= 512 || t.byteOf[r] < 0 {
			return "", false
		}
		b = append(b, byte(t.byteOf[r]))
	}
	return string(b), true
}

// fromLetters is unletter for text that came from toLetters; characters that
// are no letters are left out.
func fromLetters(s string) string {
	if out, ok := unletter(s); ok {
		return out
	}
	t := letterTable()
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r < 512 && t.byteOf[r] >= 0 {
			b = append(b, byte(t.byteOf[r]))
		}
	}
	return string(b)
}

// byteToken returns the byte that a token such as "<0x0A>" stands for.
func byteToken(text string) (byte, bool) {
	if len(text) != 6 || text[:3] != "<0x" || text[5] != '>' {
		return 0, false
	}
	hi, lo := hexDigit(text[3]), hexDigit(text[4])
	if hi < 0 || lo < 0 {
		return 0, false
	}
	return byte(hi<<4 | lo), true
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}

// nextRune decodes the character at s[i]; a wrong byte is one character of
// width 1.
func nextRune(s string, i int) (rune, int) {
	if c := s[i]; c < utf8.RuneSelf {
		return rune(c), 1
	}
	return utf8.DecodeRuneInString(s[i:])
}
