package main

import (
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// readOracle reads a file of the tokenizer's test data.
func readOracle(t *testing.T, name string, into any) {
	t.Helper()
	f, err := os.Open(filepath.Join("../../shard/tokenizer/testdata", name+".json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(into); err != nil {
		t.Fatal(err)
	}
}

func TestTokenizeReadsEveryFormOfATokenizer(t *testing.T) {
	var pieces struct {
		Model []int
		Cases []struct {
			Text string
			IDs  []int
		}
	}
	readOracle(t, "sentencepiece-bpe-bytes", &pieces)
	b := make([]byte, len(pieces.Model))
	for i, c := range pieces.Model {
		b[i] = byte(c)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, piecesFile)
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{dir, file} {
		var got struct{ IDs []int }
		if err := json.Unmarshal([]byte(mustCommand(t, "tokenize", ref, "--json", "--text", pieces.Cases[0].Text)), &got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.IDs, pieces.Cases[0].IDs) {
			t.Errorf("tokenize %s gives %v, want %v", ref, got.IDs, pieces.Cases[0].IDs)
		}
	}

	dir = t.TempDir()
	for name, text := range map[string]string{
		vocabFile: `{"H":0,"i":1,"Hi":2,"Ġ":3}`, mergesFile: "#version: 0.2\nH i\n", addedFile: `{"<|x|>":4}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := mustCommand(t, "tokenize", dir, "--json", "--special", "--text", "Hi Hi<|x|>"); !strings.Contains(got, `"ids":[2,3,2,4]`) {
		t.Errorf("tokenize of vocab.json and merges.txt gives %s", got)
	}
	_, stderr, code := command(t, "", "tokenize", t.TempDir(), "--text", "x")
	if code != exitFailed || !strings.Contains(stderr, "tokenizer.model") {
		t.Errorf("tokenize of an empty folder: exit status %d, %s", code, stderr)
	}
}
