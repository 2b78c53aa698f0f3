package tokenizer

import (
	"encoding/base64"
	"errors"
	"fmt"

	"golang.org/x/text/unicode/norm"
)

// gpt2Pattern splits text as GPT-2 does, and all that follow it (encoder.py).
const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

// punctuation is the Punctuation pre-tokenizer: ASCII's, and category P.
const punctuation = "[\\p{P}$+<=>^`|~]"

// metaRune is how SentencePiece writes a space.
const metaRune = "▁"

// stageBuilder makes the stages that a tokenizer.json names.
type stageBuilder struct {
	normalizers []normalizer
	splitters   []splitter
}

func (b *stageBuilder) addNormalizer(s *jsonStage, depth int) error { //nolint:gocyclo // one flat case a kind
	if s == nil {
		return nil
	}
	if depth > maxDepth || len(b.normalizers) >= maxStages {
		return errors.New("normalizer: more stages than any real file has")
	}
	add := func(n normalizer) { b.normalizers = append(b.normalizers, n) }
	switch s.Type {
	case "Sequence":
		for i := range s.Normalizers {
			if err := b.addNormalizer(&s.Normalizers[i], depth+1); err != nil {
				return err
			}
		}
	case "NFC", "NFD", "NFKC", "NFKD":
		add(unicodeForm(s.Type))
	case "Lowercase":
		add(lowercase)
	case "Prepend":
		add(prepend(s.Prepend))
	case "Strip":
		add(strip(s.StripLeft, s.StripRight))
	case "StripAccents":
		add(filter(notMark))
	case "Nmt":
		add(nmt)
	case "ByteLevel":
		add(toLetters)
	case "BertNormalizer":
		b.addBert(s)
	case "Replace":
		n, err := replacer(s)
		if err != nil {
			return fmt.Errorf("normalizer Replace: %w", err)
		}
		add(n)
	case "Precompiled":
		raw, err := base64.StdEncoding.DecodeString(s.Charsmap)
		if err != nil {
			return fmt.Errorf("precompiled_charsmap: %w", err)
		}
		if len(raw) == 0 {
			return nil
		}
		c, err := newCharsMap(raw)
		if err != nil {
			return err
		}
		add(c.normalizeClusters)
	default:
		return fmt.Errorf("normalizer %q is not supported", describe(s.Type))
	}
	return nil
}

func (b *stageBuilder) addBert(s *jsonStage) {
	yes := func(v *bool) bool { return v == nil || *v }
	if yes(s.CleanText) {
		b.normalizers = append(b.normalizers, bertClean)
	}
	if yes(s.ChineseChars) {
		b.normalizers = append(b.normalizers, bertChinese)
	}
	if s.StripAccents != nil && *s.StripAccents || s.StripAccents == nil && yes(s.Lowercase) {
		b.normalizers = append(b.normalizers, norm.NFD.String, filter(notAccent))
	}
	if yes(s.Lowercase) {
		b.normalizers = append(b.normalizers, lowercase)
	}
}

// replacer makes the function of a Replace normalizer or decoder.
func replacer(s *jsonStage) (normalizer, error) {
	switch {
	case s.Pattern == nil || s.Pattern.Regex == nil && s.Pattern.String == nil:
		return nil, errors.New("no pattern")
	case s.Pattern.String != nil && *s.Pattern.String == "":
		return nil, errors.New("an empty pattern")
	case s.Pattern.String != nil:
		return replaceAll(*s.Pattern.String, s.Content), nil
	}
	p, err := compile(*s.Pattern.Regex)
	if err != nil {
		return nil, err
	}
	return replacePattern(p, s.Content), nil
}

// addPattern adds a stage that splits at the matches of a regular expression.
func (b *stageBuilder) addPattern(text string, how behavior, invert bool) error {
	p, err := compile(text)
	if err != nil {
		return err
	}
	b.splitters = append(b.splitters, &patternSplit{p: p, behavior: how, invert: invert})
	return nil
}

func (b *stageBuilder) addSplitter(s *jsonStage, depth int) error { //nolint:gocyclo // one flat case a kind
	if s == nil {
		return nil
	}
	if depth > maxDepth || len(b.splitters) >= maxStages {
		return errors.New("pre-tokenizer: more stages than any real file has")
	}
	how, err := parseBehavior(s.Behavior)
	if err != nil {
		return fmt.Errorf("pre-tokenizer %q: %w", describe(s.Type), err)
	}
	switch s.Type {
	case "Sequence":
		for i := range s.PreTokenizers {
			if err := b.addSplitter(&s.PreTokenizers[i], depth+1); err != nil {
				return err
			}
		}
		return nil
	case "Split":
		return b.addSplit(s, how)
	case "ByteLevel":
		return b.addByteLevel(s)
	case "Metaspace":
		return b.addMetaspace(s)
	case "Digits":
		if s.IndividualDigits {
			return b.addPattern(`\p{N}`, isolated, false)
		}
		return b.addPattern(`\p{N}+`, isolated, false)
	case "Punctuation":
		return b.addPattern(punctuation, how, false)
	case "Whitespace":
		return b.addPattern(`\w+|[^\w\s]+`, removed, true)
	case "WhitespaceSplit":
		return b.addPattern(`\s`, removed, false)
	case "BertPreTokenizer":
		return errors.Join(b.addPattern(`\s`, removed, false), b.addPattern(punctuation, isolated, false))
	case "UnicodeScripts":
		b.splitters = append(b.splitters, scriptSplit{})
		return nil
	case "CharDelimiterSplit":
		if s.Delimiter == "" {
			return errors.New("pre-tokenizer CharDelimiterSplit: no delimiter")
		}
		b.splitters = append(b.splitters, &patternSplit{p: literal(s.Delimiter), behavior: removed})
		return nil
	case "FixedLength":
		if s.Length < 1 {
			return fmt.Errorf("pre-tokenizer FixedLength: length %d, want 1 or more", s.Length)
		}
		b.splitters = append(b.splitters, chunkSplit{s.Length})
		return nil
	}
	return fmt.Errorf("pre-tokenizer %q is not supported", describe(s.Type))
}

func (b *stageBuilder) addSplit(s *jsonStage, how behavior) error {
	switch {
	case s.Pattern != nil && s.Pattern.Regex != nil:
		if err := b.addPattern(*s.Pattern.Regex, how, s.Invert); err != nil {
			return fmt.Errorf("pre-tokenizer Split: %w", err)
		}
		return nil
	case s.Pattern != nil && s.Pattern.String != nil && *s.Pattern.String != "":
		x := &patternSplit{p: literal(*s.Pattern.String), behavior: how, invert: s.Invert}
		b.splitters = append(b.splitters, x)
		return nil
	}
	return errors.New("pre-tokenizer Split: no pattern")
}

func (b *stageBuilder) addByteLevel(s *jsonStage) error {
	if s.AddPrefixSpace != nil && *s.AddPrefixSpace {
		b.splitters = append(b.splitters, prefixSplit{})
	}
	if s.UseRegex == nil || *s.UseRegex {
		if err := b.addPattern(gpt2Pattern, isolated, false); err != nil {
			return err
		}
	}
	b.splitters = append(b.splitters, letterSplit{})
	return nil
}

func (b *stageBuilder) addMetaspace(s *jsonStage) error {
	scheme, err := metaScheme(s)
	if err != nil {
		return err
	}
	x := metaSplit{meta: metaRune, prepend: scheme, cut: s.Split == nil || *s.Split}
	if s.Replacement != "" {
		x.meta = s.Replacement
	}
	b.splitters = append(b.splitters, x)
	return nil
}

// metaScheme reads prepend_scheme, or add_prefix_space of older files.
func metaScheme(s *jsonStage) (prependScheme, error) {
	switch s.PrependScheme {
	case "always":
		return prependAlways, nil
	case "first":
		return prependFirst, nil
	case "never":
		return prependNever, nil
	case "":
		if s.AddPrefixSpace != nil && !*s.AddPrefixSpace {
			return prependNever, nil
		}
		return prependAlways, nil
	}
	return 0, fmt.Errorf("prepend_scheme %q, want always, first or never", describe(s.PrependScheme))
}
