package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/shardnode/shardnode/shard"
)

// The form of tokenizer.json, as Hugging Face's tokenizers writes it.

// Bounds on files. The largest real vocabulary has some 262,000 tokens and
// 600,000 merges.
const (
	maxVocab  = 1 << 21
	maxMerges = 1 << 23
	maxStages = 64 // of one pipeline, counted through nested sequences
	maxDepth  = 8  // of nested sequences
)

type jsonFile struct {
	AddedTokens   []jsonAdded `json:"added_tokens"`
	Normalizer    *jsonStage  `json:"normalizer"`
	PreTokenizer  *jsonStage  `json:"pre_tokenizer"`
	PostProcessor *jsonPost   `json:"post_processor"`
	Decoder       *jsonStage  `json:"decoder"`
	Model         jsonModel   `json:"model"`
}

type jsonAdded struct {
	ID         int64  `json:"id"`
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"`
	Lstrip     bool   `json:"lstrip"`
	Rstrip     bool   `json:"rstrip"`
	Normalized bool   `json:"normalized"`
	Special    bool   `json:"special"`
}

// jsonStage is a normalizer, a pre-tokenizer or a decoder: all the fields that
// any of them has.
type jsonStage struct {
	Type             string       `json:"type"`
	Normalizers      []jsonStage  `json:"normalizers"`
	PreTokenizers    []jsonStage  `json:"pretokenizers"`
	Decoders         []jsonStage  `json:"decoders"`
	Pattern          *jsonPattern `json:"pattern"`
	Behavior         string       `json:"behavior"`
	Content          string       `json:"content"`
	Prepend          string       `json:"prepend"`
	Replacement      string       `json:"replacement"`
	PrependScheme    string       `json:"prepend_scheme"`
	Charsmap         string       `json:"precompiled_charsmap"`
	Delimiter        string       `json:"delimiter"`
	Split            *bool        `json:"split"`
	Invert           bool         `json:"invert"`
	IndividualDigits bool         `json:"individual_digits"`
	UseRegex         *bool        `json:"use_regex"`
	AddPrefixSpace   *bool        `json:"add_prefix_space"`
	StripLeft        bool         `json:"strip_left"`
	StripRight       bool         `json:"strip_right"`
	CleanText        *bool        `json:"clean_text"`
	ChineseChars     *bool        `json:"handle_chinese_chars"`
	StripAccents     *bool        `json:"strip_accents"`
	Lowercase        *bool        `json:"lowercase"`
	Start            int          `json:"start"`
	Stop             int          `json:"stop"`
	Length           int          `json:"length"`
}

type jsonPattern struct {
	Regex  *string `json:"Regex"`
	String *string `json:"String"`
}

type jsonPost struct {
	Type       string     `json:"type"`
	Processors []jsonPost `json:"processors"`
	Single     []struct {
		SpecialToken *struct {
			ID string `json:"id"`
		} `json:"SpecialToken"`
		Sequence *struct {
			ID string `json:"id"`
		} `json:"Sequence"`
	} `json:"single"`
	SpecialTokens map[string]struct {
		IDs []int64 `json:"ids"`
	} `json:"special_tokens"`
	Sep jsonNamed `json:"sep"`
	Cls jsonNamed `json:"cls"`
}

// jsonNamed is a token as ["</s>", 2].
type jsonNamed struct{ id int64 }

// UnmarshalJSON reads ["</s>", 2].
func (n *jsonNamed) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var pair []json.RawMessage
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return errors.New("want a token and its id")
	}
	return json.Unmarshal(pair[1], &n.id)
}

type jsonModel struct {
	Type             string          `json:"type"`
	Vocab            json.RawMessage `json:"vocab"`
	Merges           jsonMerges      `json:"merges"`
	UnkToken         *string         `json:"unk_token"`
	UnkID            *int64          `json:"unk_id"`
	ContinuingPrefix string          `json:"continuing_subword_prefix"`
	EndOfWordSuffix  string          `json:"end_of_word_suffix"`
	FuseUnk          bool            `json:"fuse_unk"`
	ByteFallback     bool            `json:"byte_fallback"`
	IgnoreMerges     bool            `json:"ignore_merges"`
}

// jsonMerges are merges as "a b" or ["a", "b"].
type jsonMerges [][2]string

// UnmarshalJSON reads both forms.
func (m *jsonMerges) UnmarshalJSON(b []byte) error {
	var words []string
	if err := json.Unmarshal(b, &words); err == nil {
		*m = make(jsonMerges, len(words))
		for i, w := range words {
			left, right, ok := cutMerge(w)
			if !ok {
				return fmt.Errorf("merge %d is %q, want two tokens with a space between", i, describe(w))
			}
			(*m)[i] = [2]string{left, right}
		}
		return nil
	}
	var pairs [][]string
	if err := json.Unmarshal(b, &pairs); err != nil {
		return err
	}
	*m = make(jsonMerges, len(pairs))
	for i, p := range pairs {
		if len(p) != 2 {
			return fmt.Errorf("merge %d has %d tokens, want 2", i, len(p))
		}
		(*m)[i] = [2]string{p[0], p[1]}
	}
	return nil
}

// cutMerge splits "a b"; the first character belongs to a even if it is a space.
func cutMerge(s string) (left, right string, ok bool) {
	if s == "" {
		return "", "", false
	}
	k := strings.IndexByte(s[1:], ' ')
	if k < 0 || k+2 == len(s) {
		return "", "", false
	}
	return s[:k+1], s[k+2:], true
}

// vocab reads {"text": id, ...}.
func (m *jsonModel) vocab() (map[string]shard.Token, error) {
	if len(m.Vocab) == 0 || !bytes.HasPrefix(bytes.TrimSpace(m.Vocab), []byte("{")) {
		return nil, errors.New(`model.vocab is missing, want {"text": id, ...}`)
	}
	var ids map[string]shard.Token
	if err := json.Unmarshal(m.Vocab, &ids); err != nil {
		return nil, fmt.Errorf("model.vocab: %w", err)
	}
	for text, id := range ids {
		if id < 0 || id >= maxVocab {
			return nil, fmt.Errorf("token %q has id %d, want one below %d", describe(text), id, maxVocab)
		}
	}
	return ids, nil
}

// scored reads [["text", score], ...], the vocabulary of a Unigram model.
func (m *jsonModel) scored() (texts []string, scores []float64, err error) {
	var pairs [][]json.RawMessage
	if err := json.Unmarshal(m.Vocab, &pairs); err != nil {
		return nil, nil, fmt.Errorf("model.vocab: %w", err)
	}
	if len(pairs) > maxVocab {
		return nil, nil, fmt.Errorf("model.vocab has %d tokens, want at most %d", len(pairs), maxVocab)
	}
	texts, scores = make([]string, len(pairs)), make([]float64, len(pairs))
	for i, p := range pairs {
		if len(p) != 2 {
			return nil, nil, fmt.Errorf("token %d: want a text and a score", i)
		}
		if err := errors.Join(json.Unmarshal(p[0], &texts[i]), json.Unmarshal(p[1], &scores[i])); err != nil {
			return nil, nil, fmt.Errorf("token %d: %w", i, err)
		}
	}
	return texts, scores, nil
}
