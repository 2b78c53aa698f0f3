package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/shardnode/shardnode/shard"
)

// maxSpelling bounds the length of tokens that are made by merging, and with
// it the number of ways to cut them in two.
const maxSpelling = 512

// spellingMerges returns every merge of two tokens of vocab that make a third,
// with the rank of what they make. That is SentencePiece's BPE, which joins
// whichever neighbours make the best token.
func spellingMerges(vocab map[string]shard.Token, rank func(shard.Token) uint32) []merge {
	var ms []merge
	for text, out := range vocab {
		if len(text) > maxSpelling {
			continue
		}
		for i := 1; i < len(text); i++ {
			if !utf8.RuneStart(text[i]) {
				continue
			}
			left, ok := vocab[text[:i]]
			if !ok {
				continue
			}
			if right, ok := vocab[text[i:]]; ok {
				ms = append(ms, merge{left, right, out, rank(out)})
			}
		}
	}
	return ms
}

// scoreRanks returns the rank of each token: the best score has rank 0, and
// tokens of one score share a rank.
func scoreRanks(scores []float32) ([]uint32, error) {
	order := make([]int32, len(scores))
	for i, s := range scores {
		if s != s { // NaN
			return nil, fmt.Errorf("%s: the score of token %d is not a number", keyScores, i)
		}
		order[i] = int32(i) //nolint:gosec // at most maxVocab
	}
	slices.SortFunc(order, func(a, b int32) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return 0
	})
	ranks := make([]uint32, len(scores))
	rank := uint32(0)
	for k, id := range order {
		if k > 0 && scores[id] != scores[order[k-1]] {
			rank++
		}
		ranks[id] = rank
	}
	return ranks, nil
}

// metaScores reads the scores, all 0 if there are none.
func (t *Tokenizer) metaScores(m Metadata) ([]float32, error) {
	scores, ok := m.Floats(keyScores)
	if !ok {
		ints, ok := m.Ints(keyScores)
		if !ok {
			return nil, errors.New(keyScores + " is missing")
		}
		for _, s := range ints {
			scores = append(scores, float32(s))
		}
	}
	if len(scores) < len(t.texts) {
		return nil, fmt.Errorf("%s has %d entries for %d tokens", keyScores, len(scores), len(t.texts))
	}
	return scores[:len(t.texts)], nil
}

// metaSentencePiece makes the model of tokenizer.ggml.model = "llama".
func (t *Tokenizer) metaSentencePiece(m Metadata) error {
	scores, err := t.metaScores(m)
	if err != nil {
		return err
	}
	ranks, err := scoreRanks(scores)
	if err != nil {
		return err
	}
	plain := t.vocab(func(k kind) bool { return k == normal || k == user || k == unused })
	b := &bpe{vocab: plain, unk: t.id(m, keyUnk, 0), fuseUnk: true}
	b.merges = newMergeTable(spellingMerges(plain, func(id shard.Token) uint32 { return ranks[id] }))
	b.setGlue(func(shard.Token) bool { return false })
	b.fallback = true
	ids := t.byteTokens()
	for i := range b.byteIDs {
		id, ok := ids[byte(i)]
		if !ok {
			id, b.fallback = none, false
		}
		b.byteIDs[i] = id
	}
	t.model = b
	if err := t.metaNormalize(m); err != nil {
		return err
	}
	t.spaces(flag(m, keyPrefix, true))
	t.bos, t.eos = t.id(m, keyBOS, 1), t.id(m, keyEOS, 2)
	t.addBOS, t.addEOS = flag(m, keyAddBOS, true), flag(m, keyAddEOS, false)
	return nil
}

// metaUnigram makes the model of tokenizer.ggml.model = "t5".
func (t *Tokenizer) metaUnigram(m Metadata) error {
	scores, err := t.metaScores(m)
	if err != nil {
		return err
	}
	wide := make([]float64, len(scores))
	for i, s := range scores {
		if s != s {
			return fmt.Errorf("%s: the score of token %d is not a number", keyScores, i)
		}
		if wide[i] = float64(s); t.kinds[i] == user {
			wide[i] = 0 // the best there is
		}
	}
	u, err := newUnigram(t.texts, wide, func(id shard.Token) bool {
		k := t.kinds[id]
		return k == normal || k == user || k == unused
	})
	if err != nil {
		return err
	}
	u.unk, u.fallback = t.id(m, keyUnk, 2), true
	u.setBytes(t.byteTokens())
	if err := t.metaNormalize(m); err != nil {
		return err
	}
	t.model = u
	t.spaces(flag(m, keyPrefix, false))
	t.bos, t.eos = t.id(m, keyBOS, none), t.id(m, keyEOS, 1)
	t.addBOS, t.addEOS = flag(m, keyAddBOS, false), flag(m, keyAddEOS, true)
	return nil
}

// metaNormalize adds the normalization that SentencePiece does before it writes
// spaces its own way.
func (t *Tokenizer) metaNormalize(m Metadata) error {
	if raw, ok := m.Ints(keyCharsmap); ok && len(raw) > 0 {
		b := make([]byte, len(raw))
		for i, v := range raw {
			b[i] = byte(v)
		}
		c, err := newCharsMap(b)
		if err != nil {
			return err
		}
		t.normalize = append(t.normalize, c.normalize)
	}
	if flag(m, keySqueeze, false) {
		t.normalize = append(t.normalize, squeeze)
	}
	return nil
}

// squeeze makes one space of many, and none of those at both ends.
func squeeze(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }), " ")
}

// byteTokens returns the tokens that stand for one byte.
func (t *Tokenizer) byteTokens() map[byte]shard.Token {
	ids := map[byte]shard.Token{}
	for i, text := range t.texts {
		if b, ok := byteToken(text); ok && t.kinds[i] == rawByte {
			ids[b] = shard.Token(i) //nolint:gosec // at most maxVocab
		}
	}
	return ids
}

// spaces sets how spaces are written, with one before the text if prefix.
func (t *Tokenizer) spaces(prefix bool) {
	if prefix {
		t.normalize = append(t.normalize, prepend(" "))
		t.start.strip = 1
	}
	t.normalize = append(t.normalize, replaceAll(" ", metaRune))
	t.setPieces(func(s string) string { return strings.ReplaceAll(s, metaRune, " ") })
}

// setPieces works out what each token stands for; text does it for the
// ordinary ones.
func (t *Tokenizer) setPieces(text func(string) string) {
	t.pieces = make([]string, len(t.texts))
	for i, s := range t.texts {
		switch t.kinds[i] {
		case control, user:
			t.pieces[i] = s
		case rawByte:
			if b, ok := byteToken(s); ok {
				t.pieces[i] = string([]byte{b})
				break
			}
			t.pieces[i] = s
		default:
			t.pieces[i] = text(s)
		}
	}
}

// metaAdded makes the sets of tokens that are cut out of a text, and finds
// those that end a generation.
func (t *Tokenizer) metaAdded(m Metadata) error {
	special := make([]bool, len(t.kinds))
	for i, k := range t.kinds {
		special[i] = k == control || k == user && endTexts[t.texts[i]]
	}
	t.findEnds(t.id(m, keyEOT, none), t.id(m, keyEOM, none))
	name, _ := m.Str(keyName)
	name = strings.ToLower(name)
	// Phi-3's special tokens swallow the white space behind them; GGUF files do
	// not say so (llama.cpp goes by the name as well, whatever the vocabulary).
	model, _ := m.Str(keyModel)
	phi3 := model == "llama" && (strings.Contains(name, "phi-3") || strings.Contains(name, "phi3"))
	late := flag(m, keyLate, false)
	var sets [2][]addedToken
	var written []addedToken // looked for in normalized text
	for i, k := range t.kinds {
		if !special[i] && k != user {
			continue
		}
		x := addedToken{id: shard.Token(i), text: t.texts[i]} //nolint:gosec // at most maxVocab
		switch x.text {
		case "<unk>", "<s>", "<|endoftext|>":
		default:
			x.stripRight = phi3
		}
		if !special[i] && late {
			written = append(written, x)
			continue
		}
		if !special[i] {
			sets[PlainText] = append(sets[PlainText], x)
		}
		sets[ParseSpecials] = append(sets[ParseSpecials], x)
	}
	for s := range sets {
		var err1, err2 error
		t.added[s].raw, err1 = newAddedSet(sets[s])
		t.added[s].normalized, err2 = newAddedSet(written)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
	}
	return nil
}
