package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/shardnode/shardnode/shard"
)

// LoadJSON reads a tokenizer.json. It does not keep b.
func LoadJSON(b []byte) (*Tokenizer, error) {
	t, err := loadJSON(b)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	return t, nil
}

func loadJSON(b []byte) (*Tokenizer, error) {
	var f jsonFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, err
	}
	if f.Model.Type == "" { // files of before 2020
		f.Model.Type = "BPE"
	}
	t := &Tokenizer{bos: none, eos: none}
	if err := t.addStages(&f); err != nil {
		return nil, err
	}
	var err error
	switch f.Model.Type {
	case "BPE":
		err = t.jsonBPE(&f)
	case "Unigram":
		err = t.jsonUnigram(&f)
	default:
		err = fmt.Errorf("model type %q is not supported, want BPE or Unigram", describe(f.Model.Type))
	}
	if err != nil {
		return nil, err
	}
	if err := t.jsonAdded(&f); err != nil {
		return nil, err
	}
	if err := t.jsonDecoder(&f); err != nil {
		return nil, err
	}
	t.findEnds()
	if err := t.jsonPost(f.PostProcessor); err != nil {
		return nil, err
	}
	return t, nil
}

// addStages makes the normalizers and the pre-tokenizers.
func (t *Tokenizer) addStages(f *jsonFile) error {
	n := &stageBuilder{}
	if err := n.addNormalizer(f.Normalizer, 0); err != nil {
		return err
	}
	if err := n.addSplitter(f.PreTokenizer, 0); err != nil {
		return err
	}
	t.normalize, t.split = n.normalizers, n.splitters
	return nil
}

// takeLetters drops a last stage that spells bytes as letters, since the model
// works on bytes, and reports whether there was any such stage.
func (t *Tokenizer) takeLetters() bool {
	found := false
	for i, s := range t.split {
		if _, ok := s.(letterSplit); !ok {
			continue
		}
		found = true
		if i == len(t.split)-1 {
			t.split = t.split[:i]
		} else {
			t.letters = true
		}
	}
	return found
}

func (t *Tokenizer) jsonBPE(f *jsonFile) error {
	m := &f.Model
	if m.ContinuingPrefix != "" || m.EndOfWordSuffix != "" {
		return errors.New("BPE with continuing_subword_prefix or end_of_word_suffix is not supported")
	}
	if len(m.Merges) > maxMerges {
		return fmt.Errorf("%d merges, want at most %d", len(m.Merges), maxMerges)
	}
	vocab, err := m.vocab()
	if err != nil {
		return err
	}
	b := &bpe{
		vocab: vocab, byteLevel: t.takeLetters(), ignoreMerges: m.IgnoreMerges, fuseUnk: m.FuseUnk, unk: none,
	}
	if m.UnkToken != nil {
		if id, ok := vocab[*m.UnkToken]; ok {
			b.unk = id
		}
	}
	b.setBytes(m.ByteFallback)
	if b.merges, err = rankedMerges(vocab, m.Merges); err != nil {
		return err
	}
	size := 0
	for _, id := range vocab {
		size = max(size, int(id)+1)
	}
	t.setTexts(size)
	for text, id := range vocab {
		t.texts[id] = text
	}
	if !b.byteLevel {
		added := map[shard.Token]bool{}
		for _, a := range f.AddedTokens {
			added[shard.Token(a.ID)] = true //nolint:gosec // checked in jsonAdded
		}
		b.setGlue(func(id shard.Token) bool { return added[id] })
	}
	t.model = b
	return nil
}

// rankedMerges returns the table of merges that are listed by rank.
func rankedMerges(vocab map[string]shard.Token, list [][2]string) (mergeTable, error) {
	ms := make([]merge, 0, len(list))
	var joined []byte
	for i, pair := range list {
		left, ok1 := vocab[pair[0]]
		right, ok2 := vocab[pair[1]]
		joined = append(append(joined[:0], pair[0]...), pair[1]...)
		out, ok3 := vocab[string(joined)]
		if !ok1 || !ok2 || !ok3 {
			return mergeTable{}, fmt.Errorf("merge %d, of %q and %q: the vocabulary lacks one of the two or what they make",
				i, describe(pair[0]), describe(pair[1]))
		}
		ms = append(ms, merge{left, right, out, uint32(i)}) //nolint:gosec // at most maxMerges
	}
	return newMergeTable(ms), nil
}

func (t *Tokenizer) jsonUnigram(f *jsonFile) error {
	if t.takeLetters() {
		return errors.New("unigram model behind a ByteLevel pre-tokenizer is not supported")
	}
	texts, scores, err := f.Model.scored()
	if err != nil {
		return err
	}
	m, err := newUnigram(texts, scores, func(shard.Token) bool { return true })
	if err != nil {
		return err
	}
	if id := f.Model.UnkID; id != nil && *id >= 0 && *id < int64(len(texts)) {
		m.unk = shard.Token(*id) //nolint:gosec // within the vocabulary
	}
	m.fallback = f.Model.ByteFallback
	ids := map[byte]shard.Token{}
	for i, text := range texts {
		if b, ok := byteToken(text); ok {
			ids[b] = shard.Token(i) //nolint:gosec // at most maxVocab
		}
	}
	m.setBytes(ids)
	t.setTexts(len(texts))
	copy(t.texts, texts)
	t.model = m
	return nil
}

// setBytes sets the tokens of bytes; there is a fallback only if there are all.
func (m *unigram) setBytes(ids map[byte]shard.Token) {
	m.fallback = m.fallback && len(ids) == len(m.byteIDs)
	for b, id := range ids {
		m.byteIDs[b] = id
	}
}

// setTexts makes room for a vocabulary of n tokens.
func (t *Tokenizer) setTexts(n int) {
	t.texts = append(t.texts, make([]string, max(0, n-len(t.texts)))...)
	t.kinds = append(t.kinds, make([]kind, max(0, n-len(t.kinds)))...)
}

func (t *Tokenizer) jsonAdded(f *jsonFile) error {
	var sets [2]struct{ raw, normalized []addedToken }
	for _, a := range f.AddedTokens {
		if a.ID < 0 || a.ID >= maxVocab {
			return fmt.Errorf("added token %q has id %d, want one below %d", describe(a.Content), a.ID, maxVocab)
		}
		id := shard.Token(a.ID)
		t.setTexts(int(id) + 1)
		t.texts[id] = a.Content
		t.kinds[id] = user
		if a.Special {
			t.kinds[id] = control
		}
		x := addedToken{id: id, text: a.Content, word: a.SingleWord, stripLeft: a.Lstrip, stripRight: a.Rstrip}
		if a.Normalized {
			for _, n := range t.normalize {
				x.text = n(x.text)
			}
		}
		for s := range sets {
			if a.Special && Specials(s) == PlainText {
				continue
			}
			if a.Normalized {
				sets[s].normalized = append(sets[s].normalized, x)
			} else {
				sets[s].raw = append(sets[s].raw, x)
			}
		}
	}
	for s := range sets {
		var err1, err2 error
		t.added[s].raw, err1 = newAddedSet(sets[s].raw)
		t.added[s].normalized, err2 = newAddedSet(sets[s].normalized)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
	}
	return nil
}

// jsonPost finds the tokens that the post-processor puts around a text.
func (t *Tokenizer) jsonPost(p *jsonPost) error {
	if p == nil {
		return nil
	}
	switch p.Type {
	case "Sequence":
		for i := range p.Processors {
			if p.Processors[i].Type == "Sequence" {
				return errors.New("post-processor: a sequence within a sequence is not supported")
			}
			if err := t.jsonPost(&p.Processors[i]); err != nil {
				return err
			}
		}
	case "ByteLevel":
	case "BertProcessing", "RobertaProcessing":
		return t.wrap([]int64{p.Cls.id}, []int64{p.Sep.id})
	case "TemplateProcessing":
		var around [2][]int64
		side := 0
		for _, part := range p.Single {
			if part.Sequence != nil {
				side = 1
			}
			if part.SpecialToken != nil {
				around[side] = append(around[side], p.SpecialTokens[part.SpecialToken.ID].IDs...)
			}
		}
		return t.wrap(around[0], around[1])
	default:
		return fmt.Errorf("post-processor %q is not supported", describe(p.Type))
	}
	return nil
}

// wrap sets what stands before and behind every text.
func (t *Tokenizer) wrap(before, behind []int64) error {
	for _, id := range append(append([]int64{}, before...), behind...) {
		if id < 0 || id >= int64(len(t.texts)) {
			return fmt.Errorf("post-processor: token %d is not in the vocabulary", id)
		}
	}
	if len(before) > 0 {
		t.prefix = nil
		for _, id := range before {
			t.prefix = append(t.prefix, shard.Token(id)) //nolint:gosec // checked above
		}
		t.bos, t.addBOS = t.prefix[0], true
	}
	if len(behind) > 0 {
		t.eos, t.addEOS = shard.Token(behind[0]), true //nolint:gosec // checked above
	}
	return nil
}
