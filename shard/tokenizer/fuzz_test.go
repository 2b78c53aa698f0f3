package tokenizer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/tokenizer"
)

// tiny is a small tokenizer.json: byte-level if model is "", else with pieces
// of SentencePiece's kind.
func tiny(tb testing.TB, spm bool) []byte {
	tb.Helper()
	vocab := map[string]int{}
	put := func(s string) {
		if _, ok := vocab[s]; !ok {
			vocab[s] = len(vocab)
		}
	}
	f := map[string]any{}
	if spm {
		for b := range 256 {
			put(fmt.Sprintf("<0x%02X>", b))
		}
		for _, s := range []string{"<unk>", "▁", "h", "e", "l", "o", "he", "ll", "hell", "hello", "▁hello", "▁▁"} {
			put(s)
		}
		f["normalizer"] = json.RawMessage(`{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]}`)
		f["decoder"] = json.RawMessage(`{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}`)
		f["model"] = map[string]any{
			"type": "BPE", "vocab": vocab, "unk_token": "<unk>", "byte_fallback": true, "fuse_unk": true,
			"merges": []string{"h e", "l l", "he ll", "hell o", "▁ hello", "▁ ▁"},
		}
	} else {
		next := 256
		for b := range 256 {
			r := rune(b)
			if !(b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae) {
				r = rune(next)
				next++
			}
			put(string(r))
		}
		for _, s := range []string{"he", "ll", "hell", "hello", "Ġhello", "ĠĠ"} {
			put(s)
		}
		f["pre_tokenizer"] = json.RawMessage(`{"type":"ByteLevel","add_prefix_space":false}`)
		f["decoder"] = json.RawMessage(`{"type":"ByteLevel"}`)
		f["model"] = map[string]any{
			"type": "BPE", "vocab": vocab, "merges": [][2]string{{"h", "e"}, {"l", "l"}, {"he", "ll"}, {"hell", "o"}, {"Ġ", "hello"}, {"Ġ", "Ġ"}},
		}
	}
	f["added_tokens"] = []map[string]any{
		{"id": 300, "content": "<|im_end|>", "special": true}, {"id": 301, "content": "<tool>"},
	}
	f["post_processor"] = json.RawMessage(`{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<|im_end|>"}},{"Sequence":{"id":"A"}}],"special_tokens":{"<|im_end|>":{"ids":[300]}}}`)
	b, err := json.Marshal(f)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

const unigramFile = `{"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0],["▁",-3],["▁he",-2],["llo",-2.5],["l",-4],["hello",-1]]},
"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true},
"decoder":{"type":"Metaspace","replacement":"▁","prepend_scheme":"always"}}`

func mustLoad(tb testing.TB, b []byte) *tokenizer.Tokenizer {
	tb.Helper()
	tok, err := tokenizer.LoadJSON(b)
	if err != nil {
		tb.Fatal(err)
	}
	return tok
}

// FuzzLoadJSON reads any file; one that is read must work.
func FuzzLoadJSON(f *testing.F) {
	f.Add([]byte(unigramFile), "hello  he")
	f.Add([]byte(`{"model":{"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},"normalizer":{"type":"Lowercase"}}`), "ABab")
	f.Add([]byte(`{"model":{"vocab":{"a":0},"merges":[]},"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(?:a|b)+?(?=c)"},"behavior":"Removed"}}`), "abc")
	f.Add([]byte(`{"model":{"vocab":{"a":2097151}}}`), "a")
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		if len(b) > 1<<16 || len(text) > 1<<12 {
			return
		}
		tok, err := tokenizer.LoadJSON(b)
		if err != nil {
			return
		}
		for _, s := range []tokenizer.Specials{tokenizer.PlainText, tokenizer.ParseSpecials} {
			ids := tok.Encode(text, s)
			for _, id := range ids {
				if id < 0 || int(id) >= tok.Len() {
					t.Fatalf("Encode(%q) has id %d, want ids in [0,%d)", text, id, tok.Len())
				}
			}
			if got := tok.DecodeSpecial(ids); !utf8.ValidString(got) {
				t.Fatalf("DecodeSpecial(%v) = %q, want UTF-8", ids, got)
			}
		}
	})
}

// FuzzRoundTrip checks that text comes back from its tokens.
func FuzzRoundTrip(f *testing.F) {
	f.Add("hello  hello <|im_end|> <tool>\x00 é 語")
	f.Add("\xe2\x82 x")
	f.Add("<0x41>")
	byteLevel, spm := mustLoad(f, tiny(f, false)), mustLoad(f, tiny(f, true))
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<14 {
			return
		}
		want := string(bytes.ToValidUTF8([]byte(text), []byte("\ufffd")))
		if want != text {
			for _, tok := range []*tokenizer.Tokenizer{byteLevel, spm} {
				if got := tok.DecodeSpecial(tok.Encode(text, tokenizer.PlainText)); !utf8.ValidString(got) {
					t.Fatalf("%q comes back as %q, want UTF-8", text, got)
				}
			}
			return
		}
		for _, s := range []tokenizer.Specials{tokenizer.PlainText, tokenizer.ParseSpecials} {
			ids := byteLevel.Encode(text, s)
			if got := byteLevel.DecodeSpecial(ids); got != text {
				t.Fatalf("byte level: %q comes back as %q", text, got)
			}
			if s == tokenizer.PlainText && slices.Contains(ids, 300) {
				t.Fatalf("plain text %q has a control token: %v", text, ids)
			}
		}
		if strings.Contains(text, "▁") || strings.Contains(text, "<tool>") || strings.Contains(text, "<|im_end|>") {
			return
		}
		if got := spm.DecodeSpecial(spm.Encode(text, tokenizer.PlainText)); got != text {
			t.Fatalf("sentencepiece: %q comes back as %q", text, got)
		}
	})
}

// FuzzDecoder pushes any tokens: what comes is UTF-8, and the same at once.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte{0xe2, 0x82, 0xac, 0x41, 0xf0, 0x9f})
	tok := mustLoad(f, tiny(f, true)) // its first 256 tokens are the bytes
	f.Fuzz(func(t *testing.T, b []byte) {
		ids := make([]shard.Token, len(b))
		for i, c := range b {
			ids[i] = shard.Token(c)
		}
		d := tok.NewSpecialDecoder(300)
		got := ""
		for _, id := range ids {
			part := d.Push(id)
			if !utf8.ValidString(part) {
				t.Fatalf("Push(%d) = %q, want UTF-8", id, part)
			}
			got += part
		}
		got += d.Flush()
		if want := tok.DecodeSpecial(ids); got != want {
			t.Fatalf("%v: pushed %q, at once %q", ids, got, want)
		}
		if utf8.Valid(b) && got != strings.TrimPrefix(string(b), " ") {
			t.Fatalf("Decode(%q) = %q", b, got)
		}
	})
}
