package tokenizer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// LoadSentencePiece reads SentencePiece's own file, tokenizer.model (its
// src/sentencepiece_model.proto), of models of kind BPE and Unigram. It does not
// keep b.
func LoadSentencePiece(b []byte) (*Tokenizer, error) {
	m, err := readPieces(b)
	if err == nil {
		var t *Tokenizer
		if t, err = fromMetadata(m); err == nil {
			return t, nil
		}
	}
	return nil, fmt.Errorf("tokenizer.model: %w", err)
}

// pieceMeta is what a SentencePiece file says, as the metadata that a GGUF file
// made of it has.
type pieceMeta struct {
	strs  map[string]string
	uints map[string]uint64
	bools map[string]bool

	tokens []string
	scores []float32
	types  []int32
	merges []string
	chars  []int32 // the compiled normalization table
}

// Str returns a text.
func (m *pieceMeta) Str(key string) (string, bool) { v, ok := m.strs[key]; return v, ok }

// Uint returns a number.
func (m *pieceMeta) Uint(key string) (uint64, bool) { v, ok := m.uints[key]; return v, ok }

// Bool returns a switch.
func (m *pieceMeta) Bool(key string) (v, ok bool) { v, ok = m.bools[key]; return v, ok }

// Strs returns the tokens or the merges.
func (m *pieceMeta) Strs(key string) ([]string, bool) {
	switch key {
	case keyTokens:
		return m.tokens, true
	case keyMerges:
		return m.merges, m.merges != nil
	}
	return nil, false
}

// Floats returns the scores.
func (m *pieceMeta) Floats(key string) ([]float32, bool) {
	return m.scores, key == keyScores && m.scores != nil
}

// Ints returns the kinds of the tokens or the normalization table.
func (m *pieceMeta) Ints(key string) ([]int32, bool) {
	switch key {
	case keyTypes:
		return m.types, m.types != nil
	case keyCharsmap:
		return m.chars, m.chars != nil
	}
	return nil, false
}

// The numbers of fields in sentencepiece_model.proto.
const (
	fieldPieces     = 1
	fieldTrainer    = 2
	fieldNormalizer = 3

	pieceText  = 1
	pieceScore = 2
	pieceType  = 3

	trainerModelType = 3
	trainerSuffix    = 24 // treat_whitespace_as_suffix
	trainerUnk       = 40
	trainerBOS       = 41
	trainerEOS       = 42

	normalizerTable   = 2
	normalizerPrefix  = 3 // add_dummy_prefix
	normalizerSqueeze = 4 // remove_extra_whitespaces
	normalizerEscape  = 5
)

// maxTableBytes bounds the normalization table; the largest known has 240 KB.
const maxTableBytes = 16 << 20

// readPieces reads a SentencePiece file.
func readPieces(b []byte) (*pieceMeta, error) {
	m := &pieceMeta{
		strs:  map[string]string{},
		uints: map[string]uint64{keyUnk: 0, keyBOS: 1, keyEOS: 2},
		bools: map[string]bool{keyPrefix: true, keySqueeze: true, keyLate: true},
	}
	spec := pieceSpec{kind: 1, escape: true} // the defaults of the proto
	err := eachField(b, func(f protoField) error {
		switch f.number {
		case fieldPieces:
			return m.addPiece(f.data)
		case fieldTrainer:
			return eachField(f.data, func(f protoField) error { return m.setTrainer(f, &spec) })
		case fieldNormalizer:
			return eachField(f.data, func(f protoField) error { return m.setNormalizer(f, &spec) })
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	switch {
	case len(m.tokens) == 0:
		return nil, errors.New("it has no pieces: it is no SentencePiece file")
	case spec.suffix || !spec.escape:
		return nil, errors.New("white space as a suffix, or not escaped, is not supported")
	case spec.kind == 1:
		m.strs[keyModel] = "t5"
		m.bools[keyAddBOS], m.bools[keyAddEOS] = false, true
	case spec.kind == 2:
		m.strs[keyModel] = "llama"
	default:
		return nil, fmt.Errorf("model type %d is not supported, want 1 (Unigram) or 2 (BPE)", spec.kind)
	}
	return m, nil
}

// pieceSpec is what a file says and the metadata of a GGUF file have no key for.
type pieceSpec struct {
	kind           uint64
	suffix, escape bool
}

// setTrainer reads a field of the trainer's settings.
func (m *pieceMeta) setTrainer(f protoField, spec *pieceSpec) error {
	switch f.number {
	case trainerModelType:
		spec.kind = f.value
	case trainerSuffix:
		spec.suffix = f.value != 0
	case trainerUnk:
		m.uints[keyUnk] = f.value
	case trainerBOS:
		m.uints[keyBOS] = f.value
	case trainerEOS:
		m.uints[keyEOS] = f.value
	}
	return nil
}

// setNormalizer reads a field of the normalizer's settings.
func (m *pieceMeta) setNormalizer(f protoField, spec *pieceSpec) error {
	switch f.number {
	case normalizerTable:
		if len(f.data) > maxTableBytes {
			return fmt.Errorf("normalization table of %d bytes, want at most %d", len(f.data), maxTableBytes)
		}
		m.chars = make([]int32, len(f.data))
		for i, c := range f.data {
			m.chars[i] = int32(c)
		}
	case normalizerPrefix:
		m.bools[keyPrefix] = f.value != 0
	case normalizerSqueeze:
		m.bools[keySqueeze] = f.value != 0
	case normalizerEscape:
		spec.escape = f.value != 0
	}
	return nil
}

// addPiece reads one piece.
func (m *pieceMeta) addPiece(b []byte) error {
	if len(m.tokens) >= maxVocab {
		return fmt.Errorf("more than %d pieces", maxVocab)
	}
	text, score, kind := "", float32(0), int32(1)
	err := eachField(b, func(f protoField) error {
		switch f.number {
		case pieceText:
			text = string(f.data)
		case pieceScore:
			score = math.Float32frombits(uint32(f.value)) //nolint:gosec // four bytes
		case pieceType:
			kind = int32(min(f.value, math.MaxInt32)) //nolint:gosec // bounded
		}
		return nil
	})
	m.tokens = append(m.tokens, text)
	m.scores = append(m.scores, score)
	m.types = append(m.types, kind)
	return err
}

// A protoField is one field of a protobuf message: data of those with a length,
// else value.
type protoField struct {
	number, value uint64
	data          []byte
}

var errProto = errors.New("the file is damaged, or no SentencePiece file")

// eachField calls do for the fields of a message.
func eachField(b []byte, do func(protoField) error) error {
	number := func() (uint64, bool) {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return 0, false
		}
		b = b[n:]
		return v, true
	}
	for len(b) > 0 {
		key, ok := number()
		if !ok {
			return errProto
		}
		f := protoField{number: key >> 3}
		switch size := uint64(0); key & 7 {
		case 0:
			if f.value, ok = number(); !ok {
				return errProto
			}
		case 2:
			if size, ok = number(); !ok || size > uint64(len(b)) {
				return errProto
			}
			f.data, b = b[:size], b[size:]
		case 5:
			if len(b) < 4 {
				return errProto
			}
			f.value, b = uint64(binary.LittleEndian.Uint32(b)), b[4:]
		case 1:
			if len(b) < 8 {
				return errProto
			}
			f.value, b = binary.LittleEndian.Uint64(b), b[8:]
		default:
			return errProto
		}
		if err := do(f); err != nil {
			return err
		}
	}
	return nil
}
