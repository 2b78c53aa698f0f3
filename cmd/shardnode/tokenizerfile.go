package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/shardnode/shardnode/shard/tokenizer"
)

// The files of a model folder that say how text becomes tokens.
const (
	tokenizerFile = "tokenizer.json"
	piecesFile    = "tokenizer.model" // of SentencePiece
	vocabFile     = "vocab.json"
	mergesFile    = "merges.txt"
	addedFile     = "added_tokens.json"
)

// openTokenizer reads the tokenizer of what MODEL names, which need not have
// weights: a folder with tokenizer.json, tokenizer.model, or vocab.json and
// merges.txt will do, and so will one of the first two by itself.
func openTokenizer(ref string) (*tokenizer.Tokenizer, error) {
	path := ref
	if at, err := locateModel(ref); err == nil && at.folder {
		// A model is fed as its own metadata say, which know more than files of
		// pieces do.
		if _, err := os.Stat(filepath.Join(at.path, tokenizerFile)); errors.Is(err, fs.ErrNotExist) {
			if file, err := openModel(ref); err == nil {
				defer file.Close() //nolint:errcheck // it was only read
				return tokenizer.FromMetadata(file.Meta())
			}
		}
		found, tok, err := folderTokenizer(at.path)
		if err != nil || found {
			return tok, err
		}
		return nil, hint(fmt.Errorf("model %s: it has no %s, %s or %s", ref, tokenizerFile, piecesFile, vocabFile),
			"give a .gguf file, one of these, or a folder with one")
	}
	load := tokenizer.LoadJSON
	switch {
	case strings.HasSuffix(path, ".json"):
	case strings.HasSuffix(path, ".model"):
		load = tokenizer.LoadSentencePiece
	default:
		file, err := openModel(ref)
		if err != nil {
			return nil, err
		}
		defer file.Close() //nolint:errcheck // it was only read
		return tokenizer.FromMetadata(file.Meta())
	}
	b, err := readBounded(path, maxModelTextBytes)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", ref, unwrapPath(err))
	}
	tok, err := load(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return tok, nil
}

// folderTokenizer reads the tokenizer of a folder, if it has one.
func folderTokenizer(dir string) (found bool, tok *tokenizer.Tokenizer, err error) {
	for _, kind := range []struct {
		name string
		load func([]byte) (*tokenizer.Tokenizer, error)
	}{
		{tokenizerFile, tokenizer.LoadJSON},
		{piecesFile, tokenizer.LoadSentencePiece},
		{vocabFile, func(vocab []byte) (*tokenizer.Tokenizer, error) { return vocabTokenizer(dir, vocab) }},
	} {
		path := filepath.Join(dir, kind.name)
		b, err := readBounded(path, maxModelTextBytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			tok, err = kind.load(b)
		}
		if err != nil {
			return true, nil, fmt.Errorf("%s: %w", path, unwrapPath(err))
		}
		return true, tok, nil
	}
	return false, nil, nil
}

// vocabTokenizer makes the tokenizer of vocab.json with the files beside it.
func vocabTokenizer(dir string, vocab []byte) (*tokenizer.Tokenizer, error) {
	merges, err := readBounded(filepath.Join(dir, mergesFile), maxModelTextBytes)
	if err != nil {
		return nil, err
	}
	added := map[string]int{}
	if b, err := readBounded(filepath.Join(dir, addedFile), maxModelTextBytes); err == nil {
		if err := json.Unmarshal(b, &added); err != nil {
			return nil, fmt.Errorf("%s: %w", addedFile, err)
		}
	}
	var config struct {
		Class string `json:"tokenizer_class"`
	}
	pre := ""
	if b, err := os.ReadFile(filepath.Join(dir, tokenizerConfigFile)); err == nil && json.Unmarshal(b, &config) == nil {
		if strings.HasPrefix(config.Class, "Qwen2") {
			pre = "qwen2"
		}
	}
	return tokenizer.LoadVocab(vocab, merges, pre, added)
}
