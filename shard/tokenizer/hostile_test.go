package tokenizer_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/tokenizer"
)

func TestLoadJSONRefusesWhatItCannotRead(t *testing.T) {
	const vocab = `"model":{"vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}`
	for name, c := range map[string]struct{ file, want string }{
		"nothing":           {``, "unexpected end"},
		"no vocabulary":     {`{}`, "model.vocab is missing"},
		"wordpiece":         {`{"model":{"type":"WordPiece","vocab":{}}}`, `model type "WordPiece"`},
		"huge id":           {`{"model":{"vocab":{"a":2000000000}}}`, "has id 2000000000"},
		"negative id":       {`{"model":{"vocab":{"a":-1}}}`, "has id -1"},
		"huge added id":     {`{` + vocab + `,"added_tokens":[{"id":99999999999,"content":"x"}]}`, "added token"},
		"long added token":  {`{` + vocab + `,"added_tokens":[{"id":3,"content":"` + strings.Repeat("x", 5000) + `"}]}`, "5000 bytes"},
		"merge of nothing":  {`{"model":{"vocab":{"a":0},"merges":["a b"]}}`, "merge 0"},
		"merge of one":      {`{"model":{"vocab":{"a":0},"merges":["a"]}}`, "merge 0"},
		"merge of three":    {`{"model":{"vocab":{"a":0},"merges":[["a","b","c"]]}}`, "merge 0 has 3"},
		"strange stage":     {`{` + vocab + `,"pre_tokenizer":{"type":"Nonsense"}}`, `"Nonsense"`},
		"strange normal":    {`{` + vocab + `,"normalizer":{"type":"Nonsense"}}`, `"Nonsense"`},
		"strange decoder":   {`{` + vocab + `,"decoder":{"type":"Nonsense"}}`, `"Nonsense"`},
		"strange processor": {`{` + vocab + `,"post_processor":{"type":"Nonsense"}}`, `"Nonsense"`},
		"bad pattern":       {`{` + vocab + `,"pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a"}}}`, "without ')'"},
		"bad behavior":      {`{` + vocab + `,"pre_tokenizer":{"type":"Split","pattern":{"String":"a"},"behavior":"x"}}`, "behavior"},
		"empty replace":     {`{` + vocab + `,"normalizer":{"type":"Replace","pattern":{"String":""},"content":"aaa"}}`, "empty pattern"},
		"deep stages":       {`{` + vocab + `,"normalizer":` + strings.Repeat(`{"type":"Sequence","normalizers":[`, 50) + strings.Repeat(`]}`, 50) + `}`, "more stages"},
		"deep json":         {strings.Repeat(`[`, 100000), "depth"},
		"bad charsmap":      {`{` + vocab + `,"normalizer":{"type":"Precompiled","precompiled_charsmap":"/////w=="}}`, "charsmap"},
		"processor's token": {`{` + vocab + `,"post_processor":{"type":"RobertaProcessing","cls":["a",77],"sep":["b",1]}}`, "token 77"},
	} {
		_, err := tokenizer.LoadJSON([]byte(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: LoadJSON = %v, want an error with %q", name, err, c.want)
		}
	}
}

func TestMetadataRefusesWhatItCannotRead(t *testing.T) {
	base := func() fakeMeta {
		return fakeMeta{
			"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.tokens": []string{"a", "b", "ab"},
			"tokenizer.ggml.merges": []string{"a b"},
		}
	}
	for name, c := range map[string]struct {
		key   string
		value any
		want  string
	}{
		"no model":        {"tokenizer.ggml.model", nil, "tokenizer.ggml.model is missing"},
		"no tokens":       {"tokenizer.ggml.tokens", nil, "tokenizer.ggml.tokens is missing"},
		"no merges":       {"tokenizer.ggml.merges", nil, "tokenizer.ggml.merges is missing"},
		"no scores":       {"tokenizer.ggml.model", "llama", "tokenizer.ggml.scores is missing"},
		"rwkv":            {"tokenizer.ggml.model", "rwkv", `"rwkv" is not supported`},
		"misspelled pre":  {"tokenizer.ggml.pre", "qwen22", `the nearest is "qwen2"`},
		"few types":       {"tokenizer.ggml.token_type", []int32{1}, "1 entries for 3 tokens"},
		"merge of one":    {"tokenizer.ggml.merges", []string{"ab"}, "merge 0"},
		"long added text": {"tokenizer.ggml.tokens", []string{strings.Repeat("x", 5000), "a", "b"}, "5000 bytes"},
	} {
		m := base()
		if c.value == nil {
			delete(m, c.key)
		} else {
			m[c.key] = c.value
		}
		if name == "long added text" {
			m["tokenizer.ggml.token_type"] = []int32{4, 1, 1}
		}
		_, err := tokenizer.FromMetadata(m)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: FromMetadata = %v, want an error with %q", name, err, c.want)
		}
	}
	m := base()
	delete(m, "tokenizer.ggml.pre")
	tok, err := tokenizer.FromMetadata(m)
	if err != nil || !strings.Contains(tok.Warning(), "tokenizer.ggml.pre is missing") {
		t.Errorf("without pre: %v, want a tokenizer with a warning", err)
	}
}

func TestTiesGoToTheLeftmostPair(t *testing.T) {
	tok := loadFamily(t, "gpt-2")
	if got, want := tok.Encode("!!!!!!", tokenizer.PlainText), []shard.Token{13896, 3228}; !slices.Equal(got, want) {
		t.Errorf(`Encode("!!!!!!") = %v, want %v`, got, want)
	}
}

func TestControlTokensInPlainTextAreText(t *testing.T) {
	for _, spm := range []bool{false, true} {
		tok := mustLoad(t, tiny(t, spm))
		const text = "hello<|im_end|><tool>"
		plain, parsed := tok.Encode(text, tokenizer.PlainText), tok.Encode(text, tokenizer.ParseSpecials)
		if slices.Contains(plain, 300) || !slices.Contains(plain, 301) {
			t.Errorf("plain %v, want 301 (user-defined) and not 300 (control)", plain)
		}
		if !slices.Contains(parsed, 300) || !slices.Contains(parsed, 301) {
			t.Errorf("parsed %v, want both 300 and 301", parsed)
		}
		if got := tok.Decode(parsed); got != "hello<tool>" {
			t.Errorf("Decode(%v) = %q, want the control token left out", parsed, got)
		}
		if got := tok.DecodeSpecial(parsed); got != text {
			t.Errorf("DecodeSpecial(%v) = %q, want %q", parsed, got, text)
		}
		if !tok.IsControl(300) || tok.IsControl(301) || !tok.IsEnd(300) || !tok.AddBOS() || tok.Piece(301) != "<tool>" {
			t.Error("300 is a control token that ends and begins, 301 is not")
		}
	}
}

func TestDecoderKeepsTheSpaceOfATextThatGoesOn(t *testing.T) {
	tok := mustLoad(t, tiny(t, true))
	hello, ok := tok.Token("▁hello")
	if !ok {
		t.Fatal("no ▁hello")
	}
	for _, c := range []struct {
		after []shard.Token
		want  string
	}{{nil, "hello"}, {[]shard.Token{300}, "hello"}, {[]shard.Token{hello}, " hello"}} {
		if got := tok.NewDecoder(c.after...).Push(hello); got != c.want {
			t.Errorf("after %v: %q, want %q", c.after, got, c.want)
		}
	}
}

func TestUnigramTakesTheLikeliestTokens(t *testing.T) {
	tok := mustLoad(t, []byte(unigramFile))
	if got, want := tok.Encode("hello hell", tokenizer.PlainText), []shard.Token{1, 5, 2, 4, 4}; !slices.Equal(got, want) {
		t.Errorf("Encode = %v, want %v", got, want)
	}
	if got := tok.Decode(tok.Encode("hello hello", tokenizer.PlainText)); got != "hello hello" {
		t.Errorf("Decode = %q, want %q", got, "hello hello")
	}
	if got, want := tok.Encode("h語語l", tokenizer.PlainText), []shard.Token{1, 0, 4}; !slices.Equal(got, want) {
		t.Errorf("Encode of what is unknown = %v, want %v", got, want)
	}
}

func TestOneTokenizerServesManyGoroutines(t *testing.T) {
	tok := mustLoad(t, tiny(t, false))
	text := strings.Repeat("hello hello, hell! ", 200)
	want := tok.Encode(text, tokenizer.PlainText)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if got := tok.Encode(text, tokenizer.PlainText); !slices.Equal(got, want) {
					t.Error("two goroutines get different tokens")
				}
			}
		})
	}
	wg.Wait()
}
