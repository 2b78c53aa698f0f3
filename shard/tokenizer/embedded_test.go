package tokenizer

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/shard"
)

func TestPreNamesAreThoseOfTheFamilies(t *testing.T) {
	for family, want := range map[string]string{
		"gpt-2": "gpt-2", "llama-bpe": "llama-bpe", "qwen2": "qwen2", "starcoder": "starcoder", "phi-3": "", "falcon": "",
	} {
		b, err := os.ReadFile(filepath.Join("../../../shared/data/tokenizers", family, "tokenizer.json"))
		if err != nil {
			t.Skip("needs the shared folder beside the project: ", err)
		}
		if got := PreName(b); got != want {
			t.Errorf("%s splits as %q, want %q", family, got, want)
		}
	}
}

// withJSON is metadata with a whole tokenizer.json.
type withJSON struct {
	text string
	ids  map[string]uint64
	yes  map[string]bool
}

func (w withJSON) Str(key string) (string, bool)   { return w.text, key == keyJSON }
func (w withJSON) Uint(key string) (uint64, bool)  { n, ok := w.ids[key]; return n, ok }
func (w withJSON) Bool(key string) (bool, bool)    { b, ok := w.yes[key]; return b, ok }
func (w withJSON) Strs(string) ([]string, bool)    { return nil, false }
func (w withJSON) Floats(string) ([]float32, bool) { return nil, false }
func (w withJSON) Ints(string) ([]int32, bool)     { return nil, false }

func TestAnEmbeddedTokenizerIsThatOfItsFile(t *testing.T) {
	const text = `{"added_tokens":[{"id":3,"content":"<s>","special":true},{"id":4,"content":"<end>","special":true}],
		"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
		"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}}`
	file, err := LoadJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	m := withJSON{text: text, ids: map[string]uint64{keyBOS: 3, keyEOS: 4}, yes: map[string]bool{keyAddBOS: true}}
	got, err := FromMetadata(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"ab", "aba<s>b", ""} {
		if !slices.Equal(got.Encode(s, ParseSpecials), file.Encode(s, ParseSpecials)) || !slices.Equal(got.Encode(s, PlainText), file.Encode(s, PlainText)) {
			t.Errorf("%q has other tokens than with the file", s)
		}
	}
	if !slices.Equal(got.Prefix(), []shard.Token{3}) || !got.IsEnd(4) || file.AddBOS() {
		t.Errorf("it begins with %v, token 4 ends: %v", got.Prefix(), got.IsEnd(4))
	}
	if _, err := FromMetadata(withJSON{text: "{"}); err == nil {
		t.Error("damaged JSON makes a tokenizer")
	}
}
