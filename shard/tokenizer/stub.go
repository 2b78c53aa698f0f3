package tokenizer

import (
	"errors"

	"github.com/shardnode/shardnode/shard"
)

// LoadJSON reads a tokenizer.json.
func LoadJSON(b []byte) (*Tokenizer, error) { return nil, errors.New("tokenizer.json: not written yet") }

// Metadata is what FromMetadata reads of a GGUF file.
type Metadata interface {
	Str(key string) (string, bool)
	Uint(key string) (uint64, bool)
	Bool(key string) (bool, bool)
	Strs(key string) ([]string, bool)
	Floats(key string) ([]float32, bool)
	Ints(key string) ([]int32, bool)
}

// FromMetadata reads the tokenizer of a GGUF file.
func FromMetadata(m Metadata) (*Tokenizer, error) { return nil, errors.New("not written yet") }

type normalizer func(string) string
type splitter interface{ split(dst []string, s string, first bool, w *work) []string }
type scan struct{}

func (scan) drop() {}

type step struct{}
type addedSet struct{}

func (a *addedSet) cut(text string, plain func(string, bool), tok func(shard.Token)) { plain(text, true) }
