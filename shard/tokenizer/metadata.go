package tokenizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"github.com/shardnode/shardnode/shard"
)

// Metadata is what [FromMetadata] reads of a GGUF file.
type Metadata interface {
	Str(key string) (string, bool)
	Uint(key string) (uint64, bool)
	Bool(key string) (bool, bool)
	Strs(key string) ([]string, bool)
	Floats(key string) ([]float32, bool)
	// Ints returns an array of integers of any width.
	Ints(key string) ([]int32, bool)
}

// The keys of GGUF's tokenizer metadata (gguf.md, "Tokenizer").
const (
	keyModel    = "tokenizer.ggml.model"
	keyPre      = "tokenizer.ggml.pre"
	keyTokens   = "tokenizer.ggml.tokens"
	keyScores   = "tokenizer.ggml.scores"
	keyTypes    = "tokenizer.ggml.token_type"
	keyMerges   = "tokenizer.ggml.merges"
	keyBOS      = "tokenizer.ggml.bos_token_id"
	keyEOS      = "tokenizer.ggml.eos_token_id"
	keyEOT      = "tokenizer.ggml.eot_token_id"
	keyEOM      = "tokenizer.ggml.eom_token_id"
	keyUnk      = "tokenizer.ggml.unknown_token_id"
	keyAddBOS   = "tokenizer.ggml.add_bos_token"
	keyAddEOS   = "tokenizer.ggml.add_eos_token"
	keyPrefix   = "tokenizer.ggml.add_space_prefix"
	keySqueeze  = "tokenizer.ggml.remove_extra_whitespaces"
	keyCharsmap = "tokenizer.ggml.precompiled_charsmap"
	keyName     = "general.name"
	// keyLate is ours, for what is not read from GGUF: user-defined tokens are
	// looked for in normalized text, as SentencePiece does.
	keyLate = "shardnode.late_user_tokens"
)

// fileKinds are the kinds of tokenizer.ggml.token_type, by number: undefined,
// normal, unknown, control, user-defined, unused, byte.
var fileKinds = [...]kind{normal, normal, control, control, user, unused, rawByte}

// FromMetadata makes the tokenizer of a GGUF file, whose metadata it does not keep.
func FromMetadata(m Metadata) (*Tokenizer, error) {
	t, err := fromMetadata(m)
	if err != nil {
		return nil, fmt.Errorf("tokenizer of the GGUF file: %w", err)
	}
	return t, nil
}

func fromMetadata(m Metadata) (*Tokenizer, error) {
	if text, ok := m.Str(keyJSON); ok {
		return fromEmbedded(m, text)
	}
	name, ok := m.Str(keyModel)
	if !ok {
		return nil, errors.New(keyModel + " is missing")
	}
	t := &Tokenizer{bos: none, eos: none}
	if err := t.metaTokens(m); err != nil {
		return nil, err
	}
	var err error
	switch name {
	case "gpt2", "gemma4":
		err = t.metaBPE(m, name)
	case "llama":
		err = t.metaSentencePiece(m)
	case "t5":
		err = t.metaUnigram(m)
	default:
		err = fmt.Errorf("%s %q is not supported, want gpt2, llama, t5 or gemma4", keyModel, describe(name))
	}
	if err != nil {
		return nil, err
	}
	return t, t.metaAdded(m)
}

// metaTokens reads the vocabulary.
func (t *Tokenizer) metaTokens(m Metadata) error {
	tokens, ok := m.Strs(keyTokens)
	if !ok || len(tokens) == 0 {
		return errors.New(keyTokens + " is missing")
	}
	if len(tokens) > maxVocab {
		return fmt.Errorf("%d tokens, want at most %d", len(tokens), maxVocab)
	}
	t.setTexts(len(tokens))
	for i, text := range tokens {
		t.texts[i] = strings.Clone(text) // the metadata may be mapped memory
		if text == "" {
			t.texts[i] = fmt.Sprintf("[EMPTY_%d]", i) // as llama.cpp calls it
		}
	}
	types, ok := m.Ints(keyTypes)
	if !ok {
		return nil
	}
	if len(types) < len(tokens) {
		return fmt.Errorf("%s has %d entries for %d tokens", keyTypes, len(types), len(tokens))
	}
	for i := range tokens {
		if k := types[i]; k >= 0 && int(k) < len(fileKinds) {
			t.kinds[i] = fileKinds[k]
		}
	}
	return nil
}

// vocab returns the ids of all texts that use says; of two tokens of one text
// the first counts.
func (t *Tokenizer) vocab(use func(kind) bool) map[string]shard.Token {
	ids := make(map[string]shard.Token, len(t.texts))
	for i, text := range slices.Backward(t.texts) {
		if use(t.kinds[i]) {
			ids[text] = shard.Token(i) //nolint:gosec // at most maxVocab
		}
	}
	return ids
}

// flag reads a boolean that has a default.
func flag(m Metadata, key string, byDefault bool) bool {
	if v, ok := m.Bool(key); ok {
		return v
	}
	return byDefault
}

// id reads the id of a special token; an id outside the vocabulary is no id.
func (t *Tokenizer) id(m Metadata, key string, byDefault shard.Token) shard.Token {
	if v, ok := m.Uint(key); ok && v < uint64(len(t.texts)) {
		return shard.Token(v) //nolint:gosec // within the vocabulary
	}
	if t.has(byDefault) {
		return byDefault
	}
	return none
}

func (t *Tokenizer) metaBPE(m Metadata, model string) error {
	pre, ok := m.Str(keyPre)
	if model == "gemma4" {
		pre, ok = "gemma4", true
	}
	if !ok || pre == "" {
		pre = "default"
		t.warnings = append(t.warnings, keyPre+" is missing, so the text may be split in other places than the model "+
			"learned, which makes answers worse; convert the model anew")
	}
	p, err := findPreset(pre)
	if err != nil {
		return err
	}
	if t.split, err = p.stages(); err != nil {
		return err
	}
	t.takeLetters()
	if p.nfc {
		t.normalize = append(t.normalize, norm.NFC.String)
	}
	if p.meta {
		t.normalize = append(t.normalize, replaceAll(" ", metaRune))
	}
	b := &bpe{
		vocab: t.vocab(func(k kind) bool { return k != control }), byteLevel: !p.meta, ignoreMerges: p.ignoreMerges,
		wholeLines: p.meta, unk: t.id(m, keyUnk, none),
	}
	b.setBytes(p.meta)
	if b.merges, err = metaMerges(m, b.vocab, t.guess(b.vocab)); err != nil {
		return err
	}
	t.model = b
	t.setPieces(func(s string) string {
		if p.meta {
			return strings.ReplaceAll(s, metaRune, " ")
		}
		return lettersToText(s)
	})
	// 11 is <|endoftext|> of Falcon, for which llama.cpp began to read this kind.
	fallback := none
	if t.IsControl(11) {
		fallback = 11
	}
	t.bos, t.eos = t.id(m, keyBOS, fallback), t.id(m, keyEOS, fallback)
	t.addBOS, t.addEOS = flag(m, keyAddBOS, p.addBOS), flag(m, keyAddEOS, false)
	return nil
}

// guess returns a function that reports whether a token is the one that vocab
// has for a text. It may say no to one that is.
func (t *Tokenizer) guess(vocab map[string]shard.Token) func(shard.Token, []byte) bool {
	n := 0
	for _, k := range t.kinds {
		if k != control {
			n++
		}
	}
	if n != len(vocab) { // two tokens of one text
		return func(shard.Token, []byte) bool { return false }
	}
	return func(id shard.Token, text []byte) bool {
		return int(id) < len(t.texts) && t.kinds[id] != control && t.texts[id] == string(text)
	}
}

// metaMerges reads the merges. Without any (Kimi K2), every token is made of
// any two that spell it, the lowest id first, as tiktoken does.
func metaMerges(m Metadata, vocab map[string]shard.Token, spells func(shard.Token, []byte) bool) (mergeTable, error) {
	list, ok := m.Strs(keyMerges)
	if !ok {
		if pre, _ := m.Str(keyPre); pre != "kimi-k2" {
			return mergeTable{}, errors.New(keyMerges + " is missing")
		}
		return newMergeTable(spellingMerges(vocab, func(id shard.Token) uint32 { return uint32(id) })), nil
	}
	if len(list) > maxMerges {
		return mergeTable{}, fmt.Errorf("%d merges, want at most %d", len(list), maxMerges)
	}
	ms := make([]merge, 0, len(list))
	var joined []byte
	out := shard.Token(0)
	for rank, text := range list {
		l, r, ok := cutMerge(text)
		if !ok {
			return mergeTable{}, fmt.Errorf("merge %d is %q, want two tokens with a space between", rank, describe(text))
		}
		left, ok1 := vocab[l]
		right, ok2 := vocab[r]
		joined = append(append(joined[:0], l...), r...)
		// Merges are mostly in the order of the tokens that they make.
		ok3 := true
		switch {
		case spells(out, joined):
		case spells(out+1, joined):
			out++
		default:
			out, ok3 = vocab[string(joined)]
		}
		if ok1 && ok2 && ok3 { // a merge of what is no token can never happen
			ms = append(ms, merge{left, right, out, uint32(rank)}) //nolint:gosec // at most maxMerges
		}
	}
	return newMergeTable(ms), nil
}
