package tokenizer

import "unicode"

// scriptSplit is the UnicodeScripts pre-tokenizer: a piece ends where the script
// changes. Kana count as Han, and a space belongs to what stands before it
// (pre_tokenizers/unicode_scripts of Hugging Face's tokenizers).
type scriptSplit struct{}

// anyScript is that of a space and of what is not assigned, noScript that of a text's start.
const (
	noScript  = ""
	anyScript = "Any"
	hanScript = "Han"
)

func (scriptSplit) split(dst []string, s string, _ bool, _ *work) []string {
	last, start := noScript, len(s) // what has no script and stands first is left out there
	for i, r := range s {
		script := scriptOf(r)
		if script == anyScript {
			continue
		}
		if script != last {
			if start < i {
				dst = append(dst, s[start:i])
			}
			start = i
		}
		last = script
	}
	if start < len(s) {
		dst = append(dst, s[start:])
	}
	return dst
}

// scriptOf returns the name of a character's script.
func scriptOf(r rune) string {
	switch {
	case r == ' ':
		return anyScript
	case r < 0x80 && (r|0x20 < 'a' || r|0x20 > 'z'):
		return "Common"
	case r < 0x80:
		return "Latin"
	case r == 0x30fc || unicode.In(r, unicode.Hiragana, unicode.Katakana, unicode.Han):
		return hanScript
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return anyScript
}
