package folder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// specials are the special tokens by their names in configs, and what GGUF calls
// them.
var specials = []struct{ name, key string }{
	{"bos", "tokenizer.ggml.bos_token_id"},
	{"eos", "tokenizer.ggml.eos_token_id"},
	{"unk", "tokenizer.ggml.unknown_token_id"},
	{"sep", "tokenizer.ggml.seperator_token_id"},
	{"pad", "tokenizer.ggml.padding_token_id"},
}

// setSpecials sets the ids of special tokens: by tokenizer_config.json, else by
// config.json or generation_config.json, which may list further tokens that end an
// answer.
func (b *builder) setSpecials(dir string, v *vocab) error {
	generate := &conf{raw: map[string]json.RawMessage{}}
	text, err := readFile(dir, generateFile, maxConfigBytes)
	if err == nil {
		generate, err = parseConf(text)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", generateFile, err)
	}
	eos := -1
	for _, s := range specials {
		id, ok := v.named(s.name)
		for _, c := range []*conf{b.conf, generate} {
			if !ok {
				id, ok = firstID(c.raw[s.name+"_token_id"], len(v.tokens))
			}
		}
		if !ok {
			continue
		}
		b.setKey(s.key, uint32(id)) //nolint:gosec // within the vocabulary
		if s.name == "eos" {
			eos = id
		}
	}
	var ids []int
	if json.Unmarshal(generate.raw["eos_token_id"], &ids) == nil {
		for _, id := range ids {
			if id != eos && id >= 0 && id < len(v.tokens) {
				b.setKey("tokenizer.ggml.eot_token_id", uint32(id)) //nolint:gosec // within the vocabulary
				break
			}
		}
	}
	b.setFlag("tokenizer.ggml.add_bos_token", v.addBOS, v.config.AddBOS)
	b.setFlag("tokenizer.ggml.add_eos_token", v.addEOS, v.config.AddEOS)
	return nil
}

// setFlag sets a key to the first of values that is not nil.
func (b *builder) setFlag(key string, values ...*bool) {
	for _, x := range values {
		if x != nil {
			b.setKey(key, *x)
			return
		}
	}
}

// named returns the id of a special token by its text in tokenizer_config.json.
func (v *vocab) named(name string) (int, bool) {
	raw := v.config.raw[name+"_token"]
	var text string
	if json.Unmarshal(raw, &text) != nil || text == "" {
		var object struct {
			Content string `json:"content"`
		}
		if json.Unmarshal(raw, &object) != nil || object.Content == "" {
			return 0, false
		}
		text = object.Content
	}
	id, ok := v.added[text]
	if !ok {
		id = slices.Index(v.tokens, text)
		ok = id >= 0
	}
	return id, ok
}

// firstID reads an id, or the first of several, within a vocabulary.
func firstID(raw json.RawMessage, size int) (int, bool) {
	if len(raw) == 0 || string(raw) == "null" {
		return 0, false
	}
	var id int
	if json.Unmarshal(raw, &id) != nil {
		var ids []int
		if json.Unmarshal(raw, &ids) != nil || len(ids) == 0 {
			return 0, false
		}
		id = ids[0]
	}
	return id, id >= 0 && id < size
}
