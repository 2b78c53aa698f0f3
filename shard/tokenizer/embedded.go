package tokenizer

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard"
)

// keyJSON holds a whole tokenizer.json (gguf.md, "Hugging Face"): what the other
// keys only describe.
const keyJSON = "tokenizer.huggingface.json"

// fromEmbedded makes a tokenizer of the tokenizer.json in text. What the other keys
// say of the ends of a text counts.
func fromEmbedded(m Metadata, text string) (*Tokenizer, error) {
	t, err := loadJSON([]byte(text))
	if err != nil {
		return nil, err
	}
	if bos := t.id(m, keyBOS, none); bos != none {
		t.bos = bos
	}
	if eos := t.id(m, keyEOS, none); eos != none {
		t.eos = eos
	}
	t.addBOS, t.addEOS = flag(m, keyAddBOS, t.addBOS), flag(m, keyAddEOS, t.addEOS)
	if !t.addBOS || len(t.prefix) > 0 && t.prefix[0] != t.bos {
		t.prefix = nil
	}
	for _, id := range []shard.Token{t.bos, t.eos} {
		if t.has(id) && t.kinds[id] == normal {
			t.kinds[id] = control
		}
	}
	t.findEnds(t.id(m, keyEOT, none), t.id(m, keyEOM, none))
	return t, nil
}

// plainNames are presets in the order in which they are tried first, of those
// that are alike.
var plainNames = []string{"gpt-2", "llama-bpe", "qwen2", "starcoder", "deepseek-v3", "gpt-4o", "tekken", "command-r", "smollm", "dbrx", "bloom"}

// PreName returns the name in tokenizer.ggml.pre for what a tokenizer.json does
// before its model, "" if there is none.
func PreName(b []byte) string {
	var f jsonFile
	if json.Unmarshal(b, &f) != nil {
		return ""
	}
	nfc := strings.Contains(normalizers(f.Normalizer), "NFC")
	split, ok := patterns(nil, f.PreTokenizer, 0)
	if !ok {
		return ""
	}
	best, bestScore := "", -1
	all := presets()
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range append(slices.Clone(plainNames), names...) {
		p := all[name]
		if !slices.Equal(p.split, split) || p.meta {
			continue
		}
		score := 0
		if p.nfc == nfc {
			score += 2
		}
		if p.ignoreMerges == f.Model.IgnoreMerges {
			score++
		}
		if score > bestScore {
			best, bestScore = name, score
		}
	}
	return best
}

// normalizers returns the types of a normalizer and those within.
func normalizers(s *jsonStage) string {
	if s == nil {
		return ""
	}
	text := s.Type
	for i := range s.Normalizers {
		text += " " + s.Normalizers[i].Type
	}
	return text
}

// patterns appends the patterns that a pre-tokenizer splits by. It is false if
// there is something else to it.
func patterns(to []stage, s *jsonStage, depth int) ([]stage, bool) {
	ok := true
	switch {
	case s == nil || depth > maxDepth:
		return to, s == nil
	case s.Type == "Sequence":
		for i := range s.PreTokenizers {
			var fits bool
			to, fits = patterns(to, &s.PreTokenizers[i], depth+1)
			ok = ok && fits
		}
		return to, ok
	case s.Type == "ByteLevel":
		if s.UseRegex == nil || *s.UseRegex {
			to = append(to, gpt2Stage)
		}
		return to, true
	case s.Type == "Digits" && s.IndividualDigits:
		return append(to, digitStage), true
	case s.Type == "Split" && s.Pattern != nil && s.Pattern.Regex != nil:
		return append(to, stage(*s.Pattern.Regex)), true
	}
	return to, false
}
