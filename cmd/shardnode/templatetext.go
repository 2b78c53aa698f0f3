package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/tokenizer"
)

// The files of a model folder that say how messages become text.
const (
	tokenizerConfigFile = "tokenizer_config.json"
	templateFile        = "chat_template.jinja"
)

// maxModelTextBytes bounds those files. The largest tokenizer.json known have
// about 35 MB.
const maxModelTextBytes = 256 << 20

// A templateText is the template of a model, and what the model gives it.
type templateText struct {
	source string
	vars   *chat.Dict // special tokens by name: bos_token and others
}

// openTemplate reads the chat template of what MODEL names. With tools, a
// template of its own for tools is preferred.
func openTemplate(ref string, tools bool) (templateText, error) {
	at, err := locateModel(ref)
	switch {
	case err == nil && at.folder:
		return folderTemplate(at.path, tools)
	case strings.HasSuffix(ref, ".jinja") || strings.HasSuffix(ref, ".jinja2"):
		b, err := readBounded(ref, maxModelTextBytes)
		if err != nil {
			return templateText{}, err
		}
		t := templateText{source: string(b), vars: &chat.Dict{}}
		// A file alone does not say. These are the commonest.
		t.vars.Set("bos_token", "<s>")
		t.vars.Set("eos_token", "</s>")
		return t, nil
	}
	file, err := openModel(ref)
	if err != nil {
		return templateText{}, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	t := templateText{source: generate.TemplateSource(file.Meta(), tools), vars: &chat.Dict{}}
	tok, err := tokenizer.FromMetadata(file.Meta())
	if err != nil {
		return t, err
	}
	t.vars.Set("bos_token", "")
	t.vars.Set("eos_token", "")
	if id, ok := tok.BOS(); ok {
		t.vars.Set("bos_token", tok.Piece(id))
	}
	if id, ok := tok.EOS(); ok {
		t.vars.Set("eos_token", tok.Piece(id))
	}
	return t, nil
}

// namedTemplate is one of several templates in tokenizer_config.json.
type namedTemplate struct {
	Name     string `json:"name"`
	Template string `json:"template"`
}

// folderTemplate reads chat_template.jinja, else what tokenizer_config.json
// says, as transformers does it.
func folderTemplate(dir string, tools bool) (templateText, error) {
	t := templateText{vars: &chat.Dict{}}
	config := map[string]json.RawMessage{}
	b, err := readBounded(filepath.Join(dir, tokenizerConfigFile), maxModelTextBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return t, err
	default:
		if err := json.Unmarshal(b, &config); err != nil {
			return t, fmt.Errorf("%s: %w", filepath.Join(dir, tokenizerConfigFile), err)
		}
	}
	for _, name := range []string{"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"} {
		if text, ok := tokenText(config[name]); ok {
			t.vars.Set(name, text)
		}
	}
	b, err = readBounded(filepath.Join(dir, templateFile), maxModelTextBytes)
	if err == nil {
		t.source = string(b)
		return t, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return t, err
	}
	if t.source, err = configTemplate(config["chat_template"], tools); err != nil {
		return t, fmt.Errorf("%s: %w", filepath.Join(dir, tokenizerConfigFile), err)
	}
	if t.source == "" {
		return t, hint(fmt.Errorf("model %s: it has no chat template", dir), "it should have %s, or chat_template in %s", templateFile, tokenizerConfigFile)
	}
	return t, nil
}

// configTemplate reads chat_template of tokenizer_config.json: one template,
// or several with names.
func configTemplate(raw json.RawMessage, tools bool) (string, error) {
	if len(raw) == 0 {
		return "", nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return one, nil
	}
	var several []namedTemplate
	if json.Unmarshal(raw, &several) != nil {
		return "", errors.New("chat_template is neither a text nor a list of named texts")
	}
	want := []string{"default", "tool_use"}
	if tools {
		want = []string{"tool_use", "default"}
	}
	for _, name := range want {
		for _, n := range several {
			if n.Name == name {
				return n.Template, nil
			}
		}
	}
	return "", errors.New(`chat_template has no template called "default"`)
}

// tokenText reads a special token of tokenizer_config.json: its text, or an
// object with it.
func tokenText(raw json.RawMessage) (string, bool) {
	var text *string
	if len(raw) > 0 && json.Unmarshal(raw, &text) == nil && text != nil {
		return *text, true
	}
	var object struct {
		Content *string `json:"content"`
	}
	if len(raw) > 0 && json.Unmarshal(raw, &object) == nil && object.Content != nil {
		return *object.Content, true
	}
	return "", false
}
