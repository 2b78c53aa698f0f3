package tokenizer_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/tokenizer"
)

// sharedDir holds the vectors and models that are not in the repository.
const sharedDir = "../../../shared"

// families are the tokenizers with vectors in shared/data/tokenizers.
var families = []string{"falcon", "gpt-2", "llama-bpe", "phi-3", "qwen2", "starcoder"}

// sharedFile reads a file of shared, and skips the test where there is none.
func sharedFile(tb testing.TB, path ...string) []byte {
	tb.Helper()
	name := filepath.Join(append([]string{sharedDir}, path...)...)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		tb.Skipf("no %s on this machine", name)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func readJSON(tb testing.TB, b []byte, into any) {
	tb.Helper()
	if err := json.Unmarshal(b, into); err != nil {
		tb.Fatal(err)
	}
}

func loadFamily(tb testing.TB, family string) *tokenizer.Tokenizer {
	tb.Helper()
	t, err := tokenizer.LoadJSON(sharedFile(tb, "data", "tokenizers", family, "tokenizer.json"))
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// textCase is a text with the ids that Hugging Face's tokenizers give it.
type textCase struct {
	Text    string        `json:"text"`
	IDs     []shard.Token `json:"ids"`
	Dec     *string       `json:"dec"`
	Decoded *string       `json:"decoded"`
	Plain   []shard.Token `json:"ids_special_as_text"`
}

// familyCases returns all the cases of a family.
func familyCases(tb testing.TB, family string) []textCase {
	tb.Helper()
	var vectors []textCase
	readJSON(tb, sharedFile(tb, "data", "tokenizers", family, "vectors.json"), &vectors)
	var ext struct{ Cases []textCase }
	readJSON(tb, sharedFile(tb, "data", "tokenizers", family, "ext.json"), &ext)
	return append(vectors, ext.Cases...)
}

// check compares everything that tok does to the texts with the cases.
func check(t *testing.T, tok *tokenizer.Tokenizer, cases []textCase) {
	t.Helper()
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	bad := 0
	fail := func(format string, args ...any) {
		t.Helper()
		if bad++; bad <= 10 {
			t.Errorf(format, args...)
		}
	}
	for _, c := range cases {
		got := tok.Encode(c.Text, tokenizer.ParseSpecials)
		if !slices.Equal(got, c.IDs) {
			fail("Encode(%q) = %v, want %v", c.Text, got, c.IDs)
		}
		if c.Dec != nil {
			if got := tok.DecodeSpecial(c.IDs); got != *c.Dec {
				fail("DecodeSpecial(%v) = %q, want %q", c.IDs, got, *c.Dec)
			}
		}
		if c.Decoded != nil {
			if got := tok.DecodeSpecial(c.IDs); got != *c.Decoded {
				fail("DecodeSpecial(%v) = %q, want %q", c.IDs, got, *c.Decoded)
			}
		}
		if c.Plain != nil {
			if got := tok.Encode(c.Text, tokenizer.PlainText); !slices.Equal(got, c.Plain) {
				fail("Encode(%q, PlainText) = %v, want %v", c.Text, got, c.Plain)
			}
		}
		if got, want := stream(tok, c.IDs), tok.Decode(c.IDs); got != want {
			fail("pushed %v one by one: %q, at once: %q", c.IDs, got, want)
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d cases wrong", bad, len(cases))
	}
}

func stream(tok *tokenizer.Tokenizer, ids []shard.Token) string {
	d := tok.NewDecoder()
	out := ""
	for _, id := range ids {
		out += d.Push(id)
	}
	return out + d.Flush()
}

func TestFamiliesGiveTheIDsOfHuggingFace(t *testing.T) {
	for _, family := range families {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			check(t, loadFamily(t, family), familyCases(t, family))
		})
	}
}

func TestStoryModelGivesItsGoldenTokens(t *testing.T) {
	tok, err := tokenizer.LoadJSON(sharedFile(t, "kit", "storymodel", "hf", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct{ Tokens, Cases []textCase }
	readJSON(t, sharedFile(t, "kit", "storymodel", "golden.json"), &golden)
	check(t, tok, append(golden.Tokens, golden.Cases...))
	if bos, ok := tok.BOS(); !ok || bos != 0 || !tok.AddBOS() {
		t.Errorf("BOS = %d, %v, added %v; want 0, added", bos, ok, tok.AddBOS())
	}
	if want := []shard.Token{0, 2}; !slices.Equal(tok.Ends(), want) {
		t.Errorf("Ends() = %v, want %v", tok.Ends(), want)
	}
}
