package tokenizer

import (
	"strings"
	"unicode/utf8"

	"github.com/shardnode/shardnode/shard"
)

// A startRule says what the decoder does to the beginning of a text, which is
// how the space comes off again that encoding put there.
type startRule struct {
	// strip is the number of leading spaces to take from the text.
	strip int
	// dropRune is a character to take out of the first token's text wherever
	// it stands (the Metaspace decoder); the text is in firstTexts.
	dropMeta bool
}

// Piece returns the bytes that id stands for, special tokens as their text.
// It may hold a part of a character only. It is "" for an unknown id.
func (t *Tokenizer) Piece(id shard.Token) string {
	if !t.has(id) {
		return ""
	}
	return t.pieces[id]
}

// Decode returns the text of ids without control tokens: what a person should
// read. Bytes that are no UTF-8 become U+FFFD, one for each maximal part of a
// character (as the Unicode Standard, section 3.9, recommends). Ids outside
// the vocabulary are left out.
func (t *Tokenizer) Decode(ids []shard.Token) string { return decodeAll(t.NewDecoder(), ids) }

// DecodeSpecial is Decode with the text of control tokens.
func (t *Tokenizer) DecodeSpecial(ids []shard.Token) string {
	return decodeAll(t.NewSpecialDecoder(), ids)
}

func decodeAll(d *Decoder, ids []shard.Token) string {
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(d.Push(id))
	}
	b.WriteString(d.Flush())
	return b.String()
}

// A Decoder turns tokens into text as they come, and never splits a
// character. What its calls return, joined, is what [Tokenizer.Decode] returns
// for all the tokens. It is for one goroutine.
type Decoder struct {
	t       *Tokenizer
	special bool
	strip   int  // spaces still to be taken from the beginning
	began   bool // a token was seen
	held    [utf8.UTFMax]byte
	n       int // bytes in held: the beginning of a character
}

// NewDecoder returns a decoder that leaves control tokens out. after are the
// tokens before the first one that will be pushed, of which the last counts:
// when it is a piece of text, the text goes on and keeps its leading space;
// with none, or after a control token, a new text begins.
func (t *Tokenizer) NewDecoder(after ...shard.Token) *Decoder {
	d := &Decoder{t: t, strip: t.start.strip}
	if len(after) > 0 && !t.IsControl(after[len(after)-1]) {
		d.strip, d.began = 0, true
	}
	return d
}

// NewSpecialDecoder returns a decoder that shows control tokens as their text.
func (t *Tokenizer) NewSpecialDecoder(after ...shard.Token) *Decoder {
	d := t.NewDecoder(after...)
	d.special = true
	return d
}

// Push returns the text that id completes, which may be "".
func (d *Decoder) Push(id shard.Token) string {
	if !d.t.has(id) || !d.special && d.t.kinds[id] == control {
		return ""
	}
	s := d.t.pieces[id]
	if !d.began {
		d.began = true
		if d.t.start.dropMeta {
			s = strings.ReplaceAll(s, " ", "")
		}
	}
	for d.strip > 0 && s != "" {
		if s[0] != ' ' {
			d.strip = 0
			break
		}
		s = s[1:]
		d.strip--
	}
	if d.n == 0 && utf8.ValidString(s) {
		return s
	}
	return d.repair(s)
}

// repair is the slow way: s joins what is held, and its whole characters come back.
func (d *Decoder) repair(s string) string {
	all := string(d.held[:d.n]) + s
	d.n = 0
	var b strings.Builder
	for all != "" {
		r, width := utf8.DecodeRuneInString(all)
		if r != utf8.RuneError || width > 1 {
			b.WriteString(all[:width])
			all = all[width:]
			continue
		}
		if !utf8.FullRuneInString(all) {
			d.n = copy(d.held[:], all)
			break
		}
		b.WriteRune(utf8.RuneError)
		all = all[badPrefix(all):]
	}
	return b.String()
}

// Flush returns what is held of a character that never became whole, as one
// U+FFFD, and "" if nothing is held. The decoder can go on after it.
func (d *Decoder) Flush() string {
	if d.n == 0 {
		return ""
	}
	d.n = 0
	return string(utf8.RuneError)
}

// badPrefix returns the length of the longest beginning of a character at the
// start of s, which begins with bytes that are no character; at least 1.
func badPrefix(s string) int {
	for n := min(len(s), utf8.UTFMax-1); n > 1; n-- {
		if !utf8.FullRuneInString(s[:n]) {
			return n
		}
	}
	return 1
}
