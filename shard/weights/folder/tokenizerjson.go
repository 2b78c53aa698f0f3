package folder

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/shardnode/shardnode/shard/tokenizer"
)

// jsonTokenizer is what is read of tokenizer.json here.
type jsonTokenizer struct {
	Model struct {
		Type         string          `json:"type"`
		Vocab        json.RawMessage `json:"vocab"`
		Merges       json.RawMessage `json:"merges"`
		ByteFallback bool            `json:"byte_fallback"`
		UnkToken     *string         `json:"unk_token"`
	} `json:"model"`
	Added []addedToken `json:"added_tokens"`
	Post  *struct {
		jsonProcessor
		Processors []jsonProcessor `json:"processors"`
	} `json:"post_processor"`
}

type jsonProcessor struct {
	Type   string `json:"type"`
	Single []struct {
		SpecialToken *struct {
			ID string `json:"id"`
		} `json:"SpecialToken"`
	} `json:"single"`
}

// readJSON reads tokenizer.json for a vocabulary of so many tokens.
func (v *vocab) readJSON(text []byte, rows int) error {
	if _, err := tokenizer.LoadJSON(text); err != nil {
		return err
	}
	var f jsonTokenizer
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	v.reset(rows)
	if err := v.readTexts(&f); err != nil {
		return err
	}
	for _, a := range f.Added {
		v.add(a)
	}
	v.ends(&f)
	v.pre = "default"
	if v.model != "gpt2" {
		return nil
	}
	if name := tokenizer.PreName(text); name != "" {
		v.pre = name
	}
	return v.readJSONMerges(f.Model.Merges)
}

// readTexts reads the model of a tokenizer.json.
func (v *vocab) readTexts(f *jsonTokenizer) error {
	if f.Model.Type == "Unigram" {
		return v.readScored(f)
	}
	var ids map[string]int
	if err := json.Unmarshal(f.Model.Vocab, &ids); err != nil {
		return err
	}
	v.model = "gpt2"
	if f.Model.ByteFallback { // merges of SentencePiece, the lower ids first
		v.model = "llama"
		v.scores = make([]float32, len(v.tokens))
	}
	for text, id := range ids {
		if id < 0 || id >= len(v.tokens) {
			continue
		}
		v.token(id, text, pieceKind(text, f.Model.ByteFallback))
		if v.scores != nil {
			v.scores[id] = float32(-id)
		}
		if f.Model.UnkToken != nil && text == *f.Model.UnkToken && v.scores != nil {
			v.kinds[id] = kindUnknown
		}
	}
	return nil
}

// readScored reads the vocabulary of a Unigram model: [["text", score], ...].
func (v *vocab) readScored(f *jsonTokenizer) error {
	v.model = "t5"
	var pairs [][2]any
	if err := json.Unmarshal(f.Model.Vocab, &pairs); err != nil {
		return err
	}
	v.scores = make([]float32, len(v.tokens))
	for i, p := range pairs[:min(len(pairs), len(v.tokens))] {
		text, ok := p[0].(string)
		score, isNumber := p[1].(float64)
		if !ok || !isNumber {
			return fmt.Errorf("token %d is no text with a score", i)
		}
		v.token(i, text, pieceKind(text, f.Model.ByteFallback))
		v.scores[i] = float32(score)
	}
	return nil
}

// pieceKind returns the kind of a token of SentencePiece.
func pieceKind(text string, bytes bool) int32 {
	if bytes && len(text) == 6 && strings.HasPrefix(text, "<0x") && text[5] == '>' {
		return kindByte
	}
	return kindNormal
}

// ends finds out whether texts begin and end with tokens of their own.
func (v *vocab) ends(f *jsonTokenizer) {
	if f.Post == nil {
		return
	}
	no, yes := false, true
	for _, p := range append(f.Post.Processors, f.Post.jsonProcessor) {
		switch {
		case p.Type == "ByteLevel" && v.addBOS == nil:
			v.addBOS, v.addEOS = &no, &no
		case p.Type == "TemplateProcessing" && len(p.Single) > 1:
			if p.Single[0].SpecialToken != nil {
				v.addBOS = &yes
			}
			if p.Single[len(p.Single)-1].SpecialToken != nil {
				v.addEOS = &yes
			}
		}
	}
}

// readJSONMerges reads merges as "a b" or ["a", "b"].
func (v *vocab) readJSONMerges(raw json.RawMessage) error {
	if json.Unmarshal(raw, &v.merges) == nil {
		return nil
	}
	var pairs [][2]string
	if err := json.Unmarshal(raw, &pairs); err != nil {
		return fmt.Errorf("merges: %w", err)
	}
	v.merges = make([]string, len(pairs))
	for i, p := range pairs { // a space within would look like the one between
		v.merges[i] = strings.ReplaceAll(p[0], " ", "Ġ") + " " + strings.ReplaceAll(p[1], " ", "Ġ")
	}
	return nil
}
