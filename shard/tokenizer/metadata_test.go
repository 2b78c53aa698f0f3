package tokenizer_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/tokenizer"
	"github.com/shardnode/shardnode/tensorio/gguf"
)

// fakeMeta is metadata from a map.
type fakeMeta map[string]any

func get[T any](m fakeMeta, key string) (T, bool) { v, ok := m[key].(T); return v, ok }

func (m fakeMeta) Str(key string) (string, bool)       { return get[string](m, key) }
func (m fakeMeta) Uint(key string) (uint64, bool)      { return get[uint64](m, key) }
func (m fakeMeta) Bool(key string) (bool, bool)        { return get[bool](m, key) }
func (m fakeMeta) Strs(key string) ([]string, bool)    { return get[[]string](m, key) }
func (m fakeMeta) Floats(key string) ([]float32, bool) { return get[[]float32](m, key) }
func (m fakeMeta) Ints(key string) ([]int32, bool)     { return get[[]int32](m, key) }

// metaOf writes a tokenizer.json of byte-level BPE as the metadata that
// llama.cpp's converter makes of it.
func metaOf(tb testing.TB, file []byte, pre string) fakeMeta {
	tb.Helper()
	var f struct {
		AddedTokens []struct {
			ID      int
			Content string
			Special bool
		} `json:"added_tokens"`
		Model struct {
			Vocab  map[string]int
			Merges []string
		}
	}
	readJSON(tb, file, &f)
	size := 0
	for _, id := range f.Model.Vocab {
		size = max(size, id+1)
	}
	for _, a := range f.AddedTokens {
		size = max(size, a.ID+1)
	}
	tokens, types := make([]string, size), make([]int32, size)
	for i := range types {
		types[i] = 5
	}
	for text, id := range f.Model.Vocab {
		tokens[id], types[id] = text, 1
	}
	for _, a := range f.AddedTokens {
		tokens[a.ID], types[a.ID] = a.Content, 4
		if a.Special {
			types[a.ID] = 3
		}
	}
	return fakeMeta{
		"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": tokens,
		"tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": f.Model.Merges,
	}
}

func TestMetadataGivesTheIDsOfTokenizerJSON(t *testing.T) {
	for _, family := range families {
		if family == "phi-3" {
			continue // has scores in GGUF, which tokenizer.json lacks
		}
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			m := metaOf(t, sharedFile(t, "data", "tokenizers", family, "tokenizer.json"), family)
			tok, err := tokenizer.FromMetadata(m)
			if err != nil {
				t.Fatal(err)
			}
			check(t, tok, familyCases(t, family))
		})
	}
}

func openGGUF(tb testing.TB, b []byte) *tokenizer.Tokenizer {
	tb.Helper()
	f, err := gguf.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		tb.Fatal(err)
	}
	tok, err := tokenizer.FromMetadata(f.Meta)
	if err != nil {
		tb.Fatal(err)
	}
	return tok
}

// realModel opens a model of the folder that SHARDNODE_MODELS names.
func realModel(tb testing.TB, name string) *tokenizer.Tokenizer {
	tb.Helper()
	dir := os.Getenv("SHARDNODE_MODELS")
	if dir == "" {
		tb.Skip("SHARDNODE_MODELS is not set")
	}
	f, err := os.Open(filepath.Join(dir, name+".gguf"))
	if err != nil {
		tb.Skip(err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		tb.Fatal(err)
	}
	g, err := gguf.Read(f, info.Size())
	if err != nil {
		tb.Fatal(err)
	}
	tok, err := tokenizer.FromMetadata(g.Meta)
	if err != nil {
		tb.Fatal(err)
	}
	return tok
}

func TestRealModelsGiveTheirVectors(t *testing.T) {
	for _, name := range []string{"gemma3-270m-q4_k_m", "smollm2-135m-instruct-q4_1"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tok := realModel(t, name)
			var f struct{ Vectors []textCase }
			readJSON(t, sharedFile(t, "data", "zoo", "real", name+"-tokenizer.json"), &f)
			check(t, tok, f.Vectors)
			t.Log("ends", tok.Ends())
		})
	}
}

func TestStoryModelAndItsMetadataAgree(t *testing.T) {
	tok := openGGUF(t, sharedFile(t, "kit", "storymodel", "story-q8_0.gguf"))
	var golden struct{ Tokens, Cases []textCase }
	readJSON(t, sharedFile(t, "kit", "storymodel", "golden.json"), &golden)
	check(t, tok, append(golden.Tokens, golden.Cases...))
	if want := []shard.Token{0, 2}; !slices.Equal(tok.Ends(), want) || !tok.AddBOS() {
		t.Errorf("Ends() = %v, AddBOS() = %v; want %v, true", tok.Ends(), tok.AddBOS(), want)
	}
}

func TestSentencePieceFromScoresReadsStories(t *testing.T) {
	tok := openGGUF(t, sharedFile(t, "data", "models", "stories260K-f32.gguf"))
	fromJSON, err := tokenizer.LoadJSON(sharedFile(t, "data", "models", "stories260K-hf", "tokenizer.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct{ IDs []shard.Token }
	readJSON(t, sharedFile(t, "data", "models", "stories260K-golden.json"), &golden)
	text := tok.Decode(golden.IDs)
	const begin = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
	if !strings.HasPrefix(text, begin) {
		t.Errorf("Decode(golden) = %q, want it to begin with %q", text, begin)
	}
	for _, c := range append(familyCases(t, "phi-3"), textCase{Text: text}) {
		got, want := tok.Encode(c.Text, tokenizer.ParseSpecials), fromJSON.Encode(c.Text, tokenizer.ParseSpecials)
		if !slices.Equal(got, want) {
			t.Errorf("Encode(%q) = %v from metadata, %v from tokenizer.json", c.Text, got, want)
		}
	}
}

func TestZooModelsAndTheirTokenizerJSONAgree(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(sharedDir, "data/zoo/zoo/*/*.gguf"))
	if err != nil || len(names) == 0 {
		t.Skip("no zoo on this machine")
	}
	var texts []string
	for _, c := range familyCases(t, "gpt-2") {
		texts = append(texts, c.Text)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		j, err := os.ReadFile(filepath.Join(filepath.Dir(name), "tokenizer.json"))
		if err != nil {
			t.Fatal(err)
		}
		fromJSON, err := tokenizer.LoadJSON(j)
		if err != nil {
			t.Fatal(err)
		}
		tok := openGGUF(t, b)
		for _, text := range texts {
			got, want := tok.Encode(text, tokenizer.ParseSpecials), fromJSON.Encode(text, tokenizer.ParseSpecials)
			if !slices.Equal(got, want) {
				t.Fatalf("%s: Encode(%q) = %v from metadata, %v from tokenizer.json", name, text, got, want)
			}
		}
	}
}
