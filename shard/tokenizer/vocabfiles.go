package tokenizer

import (
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
	if pre == "" {
		pre = "gpt-2"
	}
	m := &pieceMeta{
		strs: map[string]string{keyModel: "gpt2", keyPre: pre}, uints: map[string]uint64{}, bools: map[string]bool{},
		tokens: make([]string, size), types: make([]int32, size), merges: []string{},
	}
	const typeNormal, typeControl, typeUnused = 1, 3, 5
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
	for line := range strings.Lines(string(merges)) {
		line = strings.TrimRight(line, "\r\n")
		if line != "" && !strings.HasPrefix(line, "#version") {
			m.merges = append(m.merges, line)
		}
	}
	t, err := fromMetadata(m)
	if err != nil {
		return nil, fmt.Errorf("vocab.json and merges.txt: %w", err)
	}
	return t, nil
}
