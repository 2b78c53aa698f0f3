package tokenizer

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// LoadVocab reads vocab.json and merges.txt, as GPT-2 and its kin have them,
// split as pre says, which is a name that GGUF files use; "" is gpt-2. These
// files name no special tokens: those of added, by text, are added tokens. It
// does not keep its arguments.
func LoadVocab(vocab, merges []byte, pre string, added map[string]int) (*Tokenizer, error) {
	var ids map[string]int
	if err := json.Unmarshal(vocab, &ids); err != nil {
		return nil, fmt.Errorf("vocab.json: %w", err)
	}
	size := 0
	for _, list := range []map[string]int{ids, added} {
		for text, id := range list {
			if id < 0 || id >= maxVocab {
				return nil, fmt.Errorf("vocab.json: token %q has id %d, want one below %d", describe(text), id, maxVocab)
			}
			size = max(size, id+1)
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("vocab.json: it has no tokens")
	}
	m := &pieceMeta{
		strs: map[string]string{keyModel: "gpt2", keyPre: cmp.Or(pre, "gpt-2")}, uints: map[string]uint64{}, bools: map[string]bool{},
		merges: mergeLines(merges),
	}
	m.setTokens(size, ids, added)
	t, err := fromMetadata(m)
	if err != nil {
		return nil, fmt.Errorf("vocab.json and merges.txt: %w", err)
	}
	return t, nil
}

// setTokens sets the texts and kinds of size tokens.
func (m *pieceMeta) setTokens(size int, ids, added map[string]int) {
	const typeNormal, typeControl, typeUnused = 1, 3, 5
	m.tokens, m.types = make([]string, size), make([]int32, size)
	for i := range m.types {
		m.types[i] = typeUnused
	}
	for text, id := range ids {
		m.tokens[id], m.types[id] = text, typeNormal
		if endTexts[text] || padTexts[text] {
			m.types[id] = typeControl
		}
	}
	for text, id := range added {
		m.tokens[id], m.types[id] = text, typeControl
	}
}

// mergeLines returns the merges of merges.txt, which is not nil.
func mergeLines(b []byte) []string {
	list := []string{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if line != "" && !strings.HasPrefix(line, "#version") {
			list = append(list, line)
		}
	}
	return list
}
