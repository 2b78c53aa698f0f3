package tokenizer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/shard/tokenizer"
)

// english is some 1 MB of prose, tables and a little code, which repeats itself
// after some 170 KB.
func english(tb testing.TB) string {
	tb.Helper()
	var b strings.Builder
	b.Write(sharedFile(tb, "research", "scheduler.md"))
	b.Write(sharedFile(tb, "research", "transport.md"))
	b.Write(sharedFile(tb, "STYLE.md"))
	b.Write(sharedFile(tb, "kit", "storymodel", "samples.md"))
	b.Write(sharedFile(tb, "kit", "storymodel", "corpus.py"))
	text := b.String()
	return strings.Repeat(text, 1+1<<20/len(text))
}

func BenchmarkEncode(b *testing.B) {
	for _, family := range families {
		b.Run(family, func(b *testing.B) {
			tok, text := loadFamily(b, family), english(b)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tok.Encode(text, tokenizer.ParseSpecials)
			}
		})
	}
	for _, name := range []string{"gemma3-270m-q4_k_m", "smollm2-135m-instruct-q4_1"} {
		b.Run(name, func(b *testing.B) {
			tok, text := realModel(b, name), english(b)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tok.Encode(text, tokenizer.ParseSpecials)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	tok, text := loadFamily(b, "llama-bpe"), english(b)
	ids := tok.Encode(text, tokenizer.PlainText)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		tok.Decode(ids)
	}
}

func BenchmarkLoadJSON(b *testing.B) {
	file := sharedFile(b, "data", "tokenizers", "llama-bpe", "tokenizer.json")
	for b.Loop() {
		if _, err := tokenizer.LoadJSON(file); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNoTextIsSlow gives every family 256 KB of what makes naive
// tokenizers take quadratic time.
func TestNoTextIsSlow(t *testing.T) {
	const size = 1 << 18
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	texts := map[string]string{
		"letters": fill("a"), "spaces": fill(" "), "spaces and a letter": fill(" ") + "x", "newlines": fill("\n"),
		"newlines and spaces": fill("\n ") + "x", "capitals": fill("A"), "capitals and a mark": fill("A") + "!",
		"digits": fill("7"), "quotes": fill("'"), "angles": fill("<"), "marks": fill("!") + "a", "zeros": fill("\x00"),
		"wrong bytes": fill("\xe2"), "tabs and letters": fill("\t\ta"), "ideographs": fill("語"), "emoji": fill("🙂"),
		"metaspaces": fill("▁"), "ab": fill("ab"), "half a special": fill("<|im_"), "long s": fill("'ſ"),
		"combining": "e" + fill("\u0301"), "spaces then line": fill("    \n"),
	}
	const limit = 10 * time.Second // some 100 ms on a machine that does nothing else
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, family := range []string{"falcon", "llama-bpe", "phi-3"} {
		tok := loadFamily(t, family)
		for name, text := range texts {
			start := time.Now()
			tok.Encode(text, tokenizer.ParseSpecials)
			took := time.Since(start)
			if took > limit {
				t.Errorf("%s: 256 KB of %s took %v, want at most %v", family, name, took, limit)
			}
		}
	}
}
