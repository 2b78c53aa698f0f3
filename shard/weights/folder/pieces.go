package folder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// errPieces says that tokenizer.model can't be read.
var errPieces = errors.New("it is no SentencePiece model, or damaged: download it again")

// readPieces reads a tokenizer.model: a message of protocol buffers whose field 1 is
// repeated and a piece, with its text (1), score (2) and type (3)
// (sentencepiece_model.proto).
func (v *vocab) readPieces(b []byte, rows int) error {
	v.reset(rows)
	v.model, v.pre, v.merges = "llama", "default", nil
	v.scores = make([]float32, rows)
	for i := range v.scores {
		v.scores[i] = -10000
	}
	id := 0
	for len(b) > 0 {
		field, value, rest, err := protoField(b)
		if err != nil {
			return err
		}
		if b = rest; field != 1 || value.bytes == nil {
			continue
		}
		if id < rows {
			if err := v.piece(id, value.bytes); err != nil {
				return fmt.Errorf("piece %d: %w", id, err)
			}
		}
		if id++; id > maxVocab {
			return fmt.Errorf("it has more than %d pieces", maxVocab)
		}
	}
	if id == 0 {
		return errPieces
	}
	v.addConfigured()
	return nil
}

// kindOfPiece are the kinds of tokens by the types of pieces.
var kindOfPiece = map[uint64]int32{1: kindNormal, 2: kindUnknown, 3: kindControl, 4: kindUser, 5: kindUnused, 6: kindByte}

// piece reads one piece.
func (v *vocab) piece(id int, b []byte) error {
	text, kind, score := "", int32(kindNormal), float32(0)
	for len(b) > 0 {
		field, value, rest, err := protoField(b)
		if err != nil {
			return err
		}
		b = rest
		switch field {
		case 1:
			text = string(value.bytes)
		case 2:
			score = math.Float32frombits(uint32(value.number)) //nolint:gosec // of 32 bits
		case 3:
			if k, ok := kindOfPiece[value.number]; ok {
				kind = k
			}
		}
	}
	v.token(id, text, kind)
	v.scores[id] = score
	if kind == kindControl || kind == kindUser {
		v.added[text] = id
	}
	return nil
}

// protoValue is a value of a field.
type protoValue struct {
	number uint64
	bytes  []byte // nil for numbers
}

// protoField reads the next field of a message (protobuf.dev, "Encoding").
func protoField(b []byte) (field uint64, v protoValue, rest []byte, err error) {
	tag, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, v, nil, errPieces
	}
	b = b[n:]
	switch tag & 7 {
	case 0:
		if v.number, n = binary.Uvarint(b); n <= 0 {
			return 0, v, nil, errPieces
		}
	case 1:
		if n = 8; len(b) < n {
			return 0, v, nil, errPieces
		}
		v.number = binary.LittleEndian.Uint64(b)
	case 2:
		size, k := binary.Uvarint(b)
		if k <= 0 || size > uint64(len(b)-k) {
			return 0, v, nil, errPieces
		}
		n = k + int(size) //nolint:gosec // at most len(b)
		v.bytes = b[k:n:n]
	case 5:
		if n = 4; len(b) < n {
			return 0, v, nil, errPieces
		}
		v.number = uint64(binary.LittleEndian.Uint32(b))
	default:
		return 0, v, nil, errPieces
	}
	return tag >> 3, v, b[n:], nil
}
