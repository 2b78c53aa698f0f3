package folder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// maxVocab bounds a vocabulary. The largest real one has some 262,000 tokens.
const maxVocab = 1 << 21

// The kinds of tokens in tokenizer.ggml.token_type.
const (
	kindNormal  = 1
	kindUnknown = 2
	kindControl = 3
	kindUser    = 4
	kindUnused  = 5
	kindByte    = 6
)

// A vocab is what GGUF files say of a tokenizer.
type vocab struct {
	model  string // tokenizer.ggml.model, "" if there is no tokenizer
	pre    string
	tokens []string
	kinds  []int32
	scores []float32 // nil without
	merges []string

	added          map[string]int // ids of tokens that are cut out of a text
	addBOS, addEOS *bool          // nil if the tokenizer does not say
	config         tokConfig
}

// tokConfig is what is read of tokenizer_config.json.
type tokConfig struct {
	raw      map[string]json.RawMessage
	AddBOS   *bool                 `json:"add_bos_token"`
	AddEOS   *bool                 `json:"add_eos_token"`
	Prefix   *bool                 `json:"add_prefix_space"`
	Template json.RawMessage       `json:"chat_template"`
	Added    map[string]addedToken `json:"added_tokens_decoder"`
}

// An addedToken is one that is cut out of a text.
type addedToken struct {
	ID      int    `json:"id"`
	Content string `json:"content"`
	Special bool   `json:"special"`
}

// vocabulary sets the keys of the tokenizer and of the chat template. A folder
// without tokenizer is one that only token ids can be given to.
func (b *builder) vocabulary(dir string, all []made) error {
	v := &vocab{added: map[string]int{}}
	if err := v.readConfig(dir); err != nil {
		return err
	}
	if err := b.template(dir, v); err != nil {
		return err
	}
	rows := 0
	for i := range all {
		if all[i].Name == "token_embd.weight" {
			rows = all[i].Shape[0]
		}
	}
	if rows == 0 { // a folder of some layers
		rows = b.conf.need("vocab_size")
	}
	if rows < 1 || rows > maxVocab {
		return fmt.Errorf("the embedding has %d rows, want 1 to %d", rows, maxVocab)
	}
	if err := b.readTokenizer(dir, v, rows); err != nil {
		return err
	}
	if v.model == "" {
		return nil
	}
	b.setVocab(v)
	return b.setSpecials(dir, v)
}

// readTokenizer reads the tokenizer from what the folder has it in. A
// tokenizer.json is kept whole as well, since the other keys can't say all of it.
func (b *builder) readTokenizer(dir string, v *vocab, rows int) error {
	text, err := readFile(dir, tokenizerFile, maxTextBytes)
	switch {
	case err == nil:
		if err := v.readJSON(text, rows); err != nil {
			return fmt.Errorf("%s: %w", tokenizerFile, err)
		}
		b.setKey("tokenizer.huggingface.json", string(text))
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if v.model == "gpt2" {
		return nil
	}
	pieces, err := readFile(dir, spmFile, maxTextBytes)
	switch {
	case err == nil:
		if err := v.readPieces(pieces, rows); err != nil {
			return fmt.Errorf("%s: %w", spmFile, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case v.model == "":
		return v.readMerges(dir, rows)
	}
	return nil
}

// readConfig reads tokenizer_config.json, if there is one.
func (v *vocab) readConfig(dir string) error {
	text, err := readFile(dir, tokConfigFile, maxTextBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(json.Unmarshal(text, &v.config.raw), json.Unmarshal(text, &v.config))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", tokConfigFile, err)
	}
	return nil
}

// reset makes room for so many tokens, none of which is known.
func (v *vocab) reset(rows int) {
	v.tokens, v.kinds = make([]string, rows), make([]int32, rows)
	for i := range v.tokens {
		v.tokens[i], v.kinds[i] = fmt.Sprintf("[PAD%d]", i), kindUnused
	}
}

func (v *vocab) token(id int, text string, kind int32) { v.tokens[id], v.kinds[id] = text, kind }

// add takes a token that is cut out of a text.
func (v *vocab) add(a addedToken) {
	if a.ID < 0 || a.ID >= len(v.tokens) {
		return
	}
	v.added[a.Content] = a.ID
	kind, text := int32(kindUser), a.Content
	if a.Special || looksSpecial(text) {
		kind = kindControl
	} else {
		text = strings.ReplaceAll(text, "▁", " ")
	}
	if v.kinds[a.ID] == kindUnknown {
		kind = kindUnknown
	}
	v.token(a.ID, text, kind)
	if v.scores != nil {
		v.scores[a.ID] = -1000
	}
}

// addConfigured takes those that tokenizer_config.json lists.
func (v *vocab) addConfigured() {
	for id, a := range v.config.Added {
		if _, err := fmt.Sscanf(id, "%d", &a.ID); err == nil {
			v.add(a)
		}
	}
}

// looksSpecial reports whether a token ought to be special, though its file does not
// say so (ModelBase.does_token_look_special).
func looksSpecial(s string) bool {
	between := func(a, b string) bool { return strings.HasPrefix(s, a) && strings.HasSuffix(s, b) }
	return slices.Contains([]string{"<pad>", "<mask>", "<2mass>", "[@BOS@]"}, s) ||
		between("<|", "|>") || between("<｜", "｜>") || between("<unused", ">")
}

// readMerges reads vocab.json and merges.txt, if they are there.
func (v *vocab) readMerges(dir string, rows int) error {
	text, err := readFile(dir, vocabFile, maxTextBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var ids map[string]int
	if err := json.Unmarshal(text, &ids); err != nil {
		return fmt.Errorf("%s: %w", vocabFile, err)
	}
	v.reset(rows)
	v.model, v.pre = "gpt2", "gpt-2"
	if class := string(v.config.raw["tokenizer_class"]); strings.Contains(class, "Qwen2") {
		v.pre = "qwen2"
	}
	for text, id := range ids {
		if id >= 0 && id < rows {
			v.token(id, text, kindNormal)
		}
	}
	v.addConfigured()
	if text, err = readFile(dir, mergesFile, maxTextBytes); err != nil {
		return fmt.Errorf("it has %s, and no %s beside it: %w", vocabFile, mergesFile, err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		if line != "" && !strings.HasPrefix(line, "#version") {
			v.merges = append(v.merges, line)
		}
	}
	return nil
}

// setVocab sets the keys of the vocabulary.
func (b *builder) setVocab(v *vocab) {
	b.setKey("tokenizer.ggml.model", v.model)
	b.setKey("tokenizer.ggml.pre", v.pre)
	b.setKey("tokenizer.ggml.tokens", v.tokens)
	if v.scores != nil {
		b.setKey("tokenizer.ggml.scores", v.scores)
	}
	b.setKey("tokenizer.ggml.token_type", v.kinds)
	if v.merges != nil {
		b.setKey("tokenizer.ggml.merges", v.merges)
	}
	switch {
	case v.model != "llama":
	case v.config.Prefix != nil:
		b.setKey("tokenizer.ggml.add_space_prefix", *v.config.Prefix)
	case strings.HasPrefix(b.family.arch, "gemma"):
		b.setKey("tokenizer.ggml.add_space_prefix", false)
	}
}

// template sets the chat template: chat_template.jinja, else what
// tokenizer_config.json has, which may be several.
func (b *builder) template(dir string, v *vocab) error {
	const key = "tokenizer.chat_template"
	text, err := readFile(dir, templateFile, maxTextBytes)
	if err == nil {
		b.setKey(key, string(text))
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(v.config.Template) == 0 || string(v.config.Template) == "null" {
		return nil
	}
	var one string
	if json.Unmarshal(v.config.Template, &one) == nil {
		b.setKey(key, one)
		return nil
	}
	var several []struct {
		Name     string `json:"name"`
		Template string `json:"template"`
	}
	if err := json.Unmarshal(v.config.Template, &several); err != nil {
		return fmt.Errorf("%s: chat_template is neither a text nor a list of named texts", tokConfigFile)
	}
	var names []string
	for _, t := range several {
		if t.Name == "default" {
			b.setKey(key, t.Template)
			continue
		}
		b.setKey(key+"."+t.Name, t.Template)
		names = append(names, t.Name)
	}
	if names != nil {
		b.setKey("tokenizer.chat_templates", names)
	}
	return nil
}
