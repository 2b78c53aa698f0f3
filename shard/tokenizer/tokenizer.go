package tokenizer

import (
	"slices"
	"strings"
	"sync"

	"github.com/shardnode/shardnode/shard"
)

// Specials says what to do with the text of special tokens inside a text.
type Specials int

const (
	// PlainText takes "<|im_end|>" in a text as nine characters of text. Use it
	// for everything that a user or a document wrote.
	PlainText Specials = iota
	// ParseSpecials takes it as the token. Use it for rendered templates.
	ParseSpecials
)

// none is the id of a token that the vocabulary does not have.
const none shard.Token = -1

// A kind says what a token is for.
type kind uint8

const (
	normal  kind = iota
	control      // means something to the model and is nothing to read
	user         // added text that is always one token
	unused       // in the vocabulary, never made
	rawByte      // one byte, for text without tokens of its own
)

// A model turns one piece of text into tokens.
type model interface {
	// encode appends the tokens of piece to dst.
	encode(dst []shard.Token, piece string, w *work) []shard.Token
}

// A Tokenizer turns text into tokens and back. It is safe for concurrent use.
type Tokenizer struct {
	model     model
	normalize []normalizer
	split     []splitter
	letters   bool // pieces leave split as byte letters, not as text

	// added holds the tokens that are cut out of a text before the model sees
	// it, for PlainText and for ParseSpecials.
	added [2]struct{ raw, normalized *addedSet }

	texts  []string // [vocab], as the vocabulary spells them
	kinds  []kind   // [vocab]
	pieces []string // [vocab], the bytes that they stand for
	start  startRule

	bos, eos       shard.Token
	prefix         []shard.Token // what stands before every text
	addBOS, addEOS bool
	ends           []shard.Token
	warnings       []string

	pool sync.Pool // of *work
}

// work is the memory of one call of Encode.
type work struct {
	a, b  []string
	merge merger
	cache cache
	path  []step
	scan  scan
}

// Encode returns the tokens of text. It adds no begin or end token.
func (t *Tokenizer) Encode(text string, s Specials) []shard.Token { return t.encode(text, s, guard{}) }

// encode is Encode; at the places of g, control tokens are text.
func (t *Tokenizer) encode(text string, s Specials, g guard) []shard.Token {
	w, _ := t.pool.Get().(*work)
	if w == nil {
		w = &work{}
	}
	ids := make([]shard.Token, 0, len(text)/4+8)
	set := &t.added[PlainText]
	if s == ParseSpecials {
		set = &t.added[ParseSpecials]
	}
	token := func(id shard.Token) { ids = append(ids, id) }
	set.raw.cutGuarded(text, g, func(lo, hi int) {
		normalized := set.normalized
		if g.within(lo, hi) {
			// Places move when a text is normalized, so that here the whole
			// stretch is plain.
			normalized = t.added[PlainText].normalized
		}
		part := text[lo:hi]
		for _, n := range t.normalize {
			part = n(part)
		}
		normalized.cut(part, func(part string, head bool) {
			ids = t.encodeText(ids, part, lo == 0 && head, w)
		}, token)
	}, token)
	w.shrink()
	t.pool.Put(w)
	return ids
}

// encodeText appends the tokens of a part of the text without added tokens.
func (t *Tokenizer) encodeText(ids []shard.Token, part string, first bool, w *work) []shard.Token {
	w.a = append(w.a[:0], part)
	for _, sp := range t.split {
		w.b = w.b[:0]
		for i, p := range w.a {
			w.b = sp.split(w.b, p, first && i == 0, w)
		}
		w.a, w.b = w.b, w.a
	}
	for _, p := range w.a {
		if t.letters {
			p = fromLetters(p)
		}
		ids = t.model.encode(ids, p, w)
	}
	return ids
}

// maxKept is the most that a pooled buffer keeps between calls, in elements.
const maxKept = 1 << 14

// shrink drops what one huge text left behind.
func (w *work) shrink() {
	clear(w.a[:cap(w.a)])
	clear(w.b[:cap(w.b)])
	if cap(w.a) > maxKept || cap(w.b) > maxKept {
		w.a, w.b = nil, nil
	}
	w.merge.shrink()
	if cap(w.path) > maxKept {
		w.path = nil
	}
	w.scan.drop()
}

// Len returns the number of tokens in the vocabulary: ids are in [0, Len).
// A model may have more rows of logits than that.
func (t *Tokenizer) Len() int { return len(t.texts) }

// BOS returns the token that begins a text, if the vocabulary names one.
func (t *Tokenizer) BOS() (shard.Token, bool) { return t.bos, t.bos != none }

// EOS returns the token that ends a text, if the vocabulary names one. See
// [Tokenizer.Ends] for all tokens that end a generation.
func (t *Tokenizer) EOS() (shard.Token, bool) { return t.eos, t.eos != none }

// AddBOS reports whether the model wants BOS before every text that does not
// have it yet. It is false when there is no BOS.
func (t *Tokenizer) AddBOS() bool { return t.addBOS && t.bos != none }

// Prefix returns the tokens that the model wants before every text: mostly BOS
// or none. The caller must not change the slice.
func (t *Tokenizer) Prefix() []shard.Token {
	switch {
	case !t.AddBOS():
		return nil
	case len(t.prefix) > 0:
		return t.prefix
	}
	return []shard.Token{t.bos}
}

// AddEOS reports whether the model wants EOS after every text.
func (t *Tokenizer) AddEOS() bool { return t.addEOS && t.eos != none }

// Ends returns the tokens that end a generation, in ascending order. The
// caller must not change the slice.
func (t *Tokenizer) Ends() []shard.Token { return t.ends }

// IsEnd reports whether id ends a generation.
func (t *Tokenizer) IsEnd(id shard.Token) bool {
	_, ok := slices.BinarySearch(t.ends, id)
	return ok
}

// IsControl reports whether id is a control token: it means something to the
// model and [Tokenizer.Decode] leaves it out.
func (t *Tokenizer) IsControl(id shard.Token) bool {
	return t.has(id) && t.kinds[id] == control
}

// Token returns the token that the vocabulary spells text, such as
// "<|im_end|>". It is for finding special tokens; ordinary tokens are spelled
// in the vocabulary's own way ("Ġthe", "▁the").
func (t *Tokenizer) Token(text string) (shard.Token, bool) {
	if i := slices.Index(t.texts, text); i >= 0 {
		return shard.Token(i), true //nolint:gosec // at most maxVocab
	}
	return none, false
}

// Family returns what kind of tokenizer it is, for people: "byte-level BPE",
// "SentencePiece BPE" or "SentencePiece Unigram".
func (t *Tokenizer) Family() string {
	switch m := t.model.(type) {
	case *unigram:
		return "SentencePiece Unigram"
	case *bpe:
		if !m.byteLevel {
			return "SentencePiece BPE"
		}
	}
	return "byte-level BPE"
}

// Warning returns what a person should know about this tokenizer, such as
// metadata that is missing; "" when all is well.
func (t *Tokenizer) Warning() string { return strings.Join(t.warnings, "; ") }

func (t *Tokenizer) has(id shard.Token) bool { return id >= 0 && int(id) < len(t.texts) }
