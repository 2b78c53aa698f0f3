package tokenizer_test

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/tokenizer"
)

// oracle is a file of testdata, made by testdata/oracle.py.
type oracle struct {
	Tokenizer json.RawMessage // tokenizer.json
	Model     []int           // else the bytes of tokenizer.model
	Hello     []shard.Token   // of "Hello world" with the post-processor
	Cases     []textCase
}

// oracles returns the files of testdata by name.
func oracles(tb testing.TB) map[string]oracle {
	tb.Helper()
	paths, err := filepath.Glob("testdata/*.json.gz")
	if err != nil || len(paths) < 25 {
		tb.Fatalf("%d files in testdata, %v", len(paths), err)
	}
	all := map[string]oracle{}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			tb.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			tb.Fatal(err)
		}
		var o oracle
		if err := json.NewDecoder(z).Decode(&o); err != nil {
			tb.Fatal(err)
		}
		_ = f.Close() // it was only read
		all[strings.TrimSuffix(filepath.Base(path), ".json.gz")] = o
	}
	return all
}

func (o *oracle) load(tb testing.TB) *tokenizer.Tokenizer {
	tb.Helper()
	var tok *tokenizer.Tokenizer
	var err error
	if o.Model != nil {
		b := make([]byte, len(o.Model))
		for i, c := range o.Model {
			b[i] = byte(c)
		}
		tok, err = tokenizer.LoadSentencePiece(b)
	} else {
		tok, err = tokenizer.LoadJSON(o.Tokenizer)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return tok
}

func TestManyKindsGiveTheIDsOfTheirOracles(t *testing.T) {
	for name, o := range oracles(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tok := o.load(t)
			if o.Model != nil {
				checkPlain(t, tok, o.Cases)
				return
			}
			check(t, tok, o.Cases)
			got := slices.Concat(tok.Prefix(), tok.Encode("Hello world", tokenizer.PlainText))
			if eos, ok := tok.EOS(); ok && tok.AddEOS() {
				got = append(got, eos)
			}
			if !slices.Equal(got, o.Hello) {
				t.Errorf("with what the post-processor adds: %v, want %v", got, o.Hello)
			}
		})
	}
}

// checkPlain compares what Google's sentencepiece does, which knows special
// tokens by their ids only. Its decoder takes more spaces away than were put
// there when a text has the character that stands for one.
func checkPlain(t *testing.T, tok *tokenizer.Tokenizer, cases []textCase) {
	t.Helper()
	for _, c := range cases {
		if got := tok.Encode(c.Text, tokenizer.PlainText); !slices.Equal(got, c.IDs) {
			t.Errorf("Encode(%q, PlainText) = %v, want %v", c.Text, got, c.IDs)
		}
		if c.Decoded == nil || strings.Contains(c.Text, "▁") {
			continue
		}
		if got := tok.Decode(c.IDs); got != *c.Decoded {
			t.Errorf("Decode(%v) = %q, want %q", c.IDs, got, *c.Decoded)
		}
	}
}

func TestFamiliesHaveNames(t *testing.T) {
	all := oracles(t)
	for name, want := range map[string]string{
		"o200k": "byte-level BPE", "gemma2": "SentencePiece BPE", "sentencepiece-unigram": "SentencePiece Unigram",
	} {
		o := all[name]
		if got := o.load(t).Family(); got != want {
			t.Errorf("Family() of %s = %q, want %q", name, got, want)
		}
	}
}

// vocab.json and merges.txt of a byte-level BPE give what tokenizer.json gives.
func TestVocabAndMergesAreATokenizer(t *testing.T) {
	all := oracles(t)
	o := all["refact"]
	var f struct {
		Model struct {
			Vocab  map[string]int
			Merges []json.RawMessage
		}
	}
	readJSON(t, o.Tokenizer, &f)
	vocab, err := json.Marshal(f.Model.Vocab)
	if err != nil {
		t.Fatal(err)
	}
	merges := "#version: 0.2\r\n"
	for _, raw := range f.Model.Merges {
		var pair []string
		readJSON(t, raw, &pair)
		merges += strings.Join(pair, " ") + "\r\n"
	}
	tok, err := tokenizer.LoadVocab(vocab, []byte(merges), "refact", nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, tok, o.Cases)
	for _, bad := range []string{"", "{}", `{"a":-1}`, `{"a":99999999}`, "[]"} {
		if _, err := tokenizer.LoadVocab([]byte(bad), nil, "", nil); err == nil {
			t.Errorf("LoadVocab(%q) gives no error", bad)
		}
	}
}

func FuzzLoadSentencePiece(f *testing.F) {
	for name, o := range oracles(f) {
		if strings.HasPrefix(name, "sentencepiece-bpe") {
			b := make([]byte, len(o.Model))
			for i, c := range o.Model {
				b[i] = byte(c)
			}
			f.Add(b)
		}
	}
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, b []byte) {
		tok, err := tokenizer.LoadSentencePiece(b)
		if err == nil {
			tok.Decode(tok.Encode("Hello <s> world\n\n 12", tokenizer.ParseSpecials))
		}
	})
}
