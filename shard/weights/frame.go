package weights

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/shardnode/shardnode/shard"
)

// The protocol, all numbers little-endian. The client starts with greeting,
// which ends in the version. It then sends requests and reads the answers, one
// request at a time:
//
//	request: op u8, model [32]byte, first u32, count u32
//	answer:  status u8, length u32, then length bytes
//
// opManifest has one answer with the encoded manifest (first and count are 0).
// opPieces has one answer for each of the count pieces from first on, in
// order; pieces are numbered through all tensors in the manifest's order. An
// answer other than statusOK has a text for people. After statusInvalid the
// server ends the stream.
const (
	greeting     = "SNWT\x01"
	requestBytes = 1 + len(shard.ModelID{}) + 4 + 4
	answerBytes  = 1 + 4

	// maxRunPieces and maxRunBytes bound what one request asks for. Small
	// tensors are asked for together, large ones piece by piece.
	maxRunPieces = 256
	maxRunBytes  = PieceBytes

	maxTextBytes = 1 << 10
)

const (
	opManifest = 1
	opPieces   = 2
)

type status uint8

const (
	statusOK      status = 0
	statusUnknown status = 1 // the model is not served
	statusLacking status = 2 // the piece is not here
	statusInvalid status = 3 // the request breaks the protocol
)

// request is what a client asks.
type request struct {
	op    uint8
	model shard.ModelID
	first uint32
	count uint32
}

func (r request) append(b []byte) []byte {
	b = append(b, r.op)
	b = append(b, r.model[:]...)
	b = binary.LittleEndian.AppendUint32(b, r.first)
	return binary.LittleEndian.AppendUint32(b, r.count)
}

// parseRequest reads a request of requestBytes bytes. Whether its pieces
// exist is for the server to see.
func parseRequest(b []byte) (request, error) {
	if len(b) != requestBytes {
		return request{}, io.ErrUnexpectedEOF
	}
	r := request{op: b[0], model: shard.ModelID(b[1:])}
	r.first = binary.LittleEndian.Uint32(b[1+len(r.model):])
	r.count = binary.LittleEndian.Uint32(b[5+len(r.model):])
	switch {
	case r.op != opManifest && r.op != opPieces:
		return request{}, fmt.Errorf("operation %d is unknown", r.op)
	case r.op == opManifest && (r.first != 0 || r.count != 0):
		return request{}, fmt.Errorf("a manifest has no pieces %d+%d", r.first, r.count)
	case r.op == opPieces && (r.count == 0 || r.count > maxRunPieces):
		return request{}, fmt.Errorf("%d pieces, want 1 to %d", r.count, maxRunPieces)
	}
	return r, nil
}

// writeAnswer writes an answer with its payload.
func writeAnswer(w io.Writer, s status, payload []byte) error {
	head := binary.LittleEndian.AppendUint32([]byte{byte(s)}, uint32(len(payload)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}

// An answerError is an answer other than statusOK.
type answerError struct {
	status status
	text   string
}

func (e *answerError) Error() string { return e.text }

// readAnswer reads an answer and returns its payload in buf's memory, if it
// fits, of at most limit bytes. Memory beyond buf is taken as bytes arrive.
func readAnswer(r io.Reader, buf []byte, limit int) ([]byte, error) {
	var head [answerBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	s, n := status(head[0]), binary.LittleEndian.Uint32(head[1:])
	if s != statusOK {
		limit = maxTextBytes
	}
	if uint64(n) > uint64(limit) {
		return nil, fmt.Errorf("it sent %d bytes, at most %d were asked for", n, limit)
	}
	var got []byte
	if int(n) <= cap(buf) {
		got = buf[:n]
		if _, err := io.ReadFull(r, got); err != nil {
			return nil, err
		}
	} else {
		var b bytes.Buffer
		if _, err := io.CopyN(&b, r, int64(n)); err != nil {
			return nil, err
		}
		got = b.Bytes()
	}
	if s != statusOK {
		return nil, &answerError{status: s, text: fmt.Sprintf("it says %q", got)}
	}
	return got, nil
}
