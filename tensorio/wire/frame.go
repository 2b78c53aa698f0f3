package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

// A Kind says what a frame is. Kinds cross the network and are never
// renumbered.
type Kind uint8

// The kinds of frames, each with the message of package wirepb that is its
// header.
const (
	KindOpen   Kind = 1  // Open: be a stage of a session
	KindOpened Kind = 2  // Opened
	KindLink   Kind = 3  // Link: first frame of a hop between stages
	KindLinked Kind = 4  // Linked
	KindStep   Kind = 5  // Step: tokens or hidden states
	KindResult Kind = 6  // Result: logits
	KindError  Kind = 7  // Error
	KindMore   Kind = 8  // More: all logits, please
	KindClose  Kind = 9  // Close
	KindClosed Kind = 10 // Closed

	KindLost     Kind = 11 // Lost: a stage lost a neighbour
	KindReroute  Kind = 12 // Reroute: the session takes another route
	KindRerouted Kind = 13 // Rerouted
	KindResume   Kind = 14 // Resume: replay, then go on
	KindLeaving  Kind = 15 // Leaving: the peer will be gone
	KindFill     Kind = 16 // Fill: fill a stage to come
	KindFilled   Kind = 17 // Filled: so much is there
)

// Bounds of a frame.
const (
	// prefixBytes is the length of what precedes the header:
	// payload length u32, header length u16, kind u8, flags u8, little-endian.
	prefixBytes = 8
	// MaxHeaderBytes is the longest header, given by its 16-bit length.
	MaxHeaderBytes = 1<<16 - 1
	// MaxPayloadBytes bounds a payload: 256 rows of a vocabulary of 65,536
	// full logits, or 2,048 hidden states of 16,384 values. A sender cuts
	// larger steps.
	MaxPayloadBytes = 64 << 20
	// readStepBytes is how much a reader takes at a time of a payload that
	// has not arrived yet, so that a length alone never takes memory.
	readStepBytes = 1 << 20
)

// ErrFrame is returned for bytes that can never become a frame.
var ErrFrame = errors.New("not a frame")

// A Frame is one message on a stream. Header and Payload share the memory of
// whoever parsed it.
type Frame struct {
	Kind    Kind
	Header  []byte // protobuf, see package wirepb
	Payload []byte
}

// Append adds a frame with the given header and payload to dst. It fails when
// the header or the payload is too long.
func Append(dst []byte, kind Kind, header proto.Message, payload []byte) ([]byte, error) {
	at := len(dst)
	dst = append(dst, make([]byte, prefixBytes)...)
	dst, err := proto.MarshalOptions{}.MarshalAppend(dst, header)
	if err != nil {
		return dst[:at], fmt.Errorf("frame of kind %d: %w", kind, err)
	}
	headerLen := len(dst) - at - prefixBytes
	if headerLen > MaxHeaderBytes {
		return dst[:at], fmt.Errorf("frame of kind %d: header has %d bytes, want at most %d", kind, headerLen, MaxHeaderBytes)
	}
	if len(payload) > MaxPayloadBytes {
		return dst[:at], fmt.Errorf("frame of kind %d: payload has %d bytes, want at most %d", kind, len(payload), MaxPayloadBytes)
	}
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(payload)))
	binary.LittleEndian.PutUint16(dst[at+4:], uint16(headerLen))
	dst[at+6] = byte(kind)
	return append(dst, payload...), nil
}

// parsePrefix checks the first 8 bytes of a frame.
func parsePrefix(b []byte, maxPayload int) (kind Kind, headerLen, payloadLen int, err error) {
	payload := binary.LittleEndian.Uint32(b)
	headerLen = int(binary.LittleEndian.Uint16(b[4:]))
	kind = Kind(b[6])
	if b[7] != 0 {
		return 0, 0, 0, fmt.Errorf("%w: flags are %#x, want 0", ErrFrame, b[7])
	}
	if kind == 0 {
		return 0, 0, 0, fmt.Errorf("%w: kind is 0", ErrFrame)
	}
	if int64(payload) > int64(maxPayload) {
		return 0, 0, 0, fmt.Errorf("%w: payload has %d bytes, want at most %d", ErrFrame, payload, maxPayload)
	}
	return kind, headerLen, int(payload), nil
}

// Parse reads a frame from the start of b and returns it and its length. The
// frame shares memory with b. It returns [io.ErrUnexpectedEOF] when b is too
// short, and an [ErrFrame] when b can never become a frame.
func Parse(b []byte) (Frame, int, error) {
	if len(b) < prefixBytes {
		return Frame{}, 0, io.ErrUnexpectedEOF
	}
	kind, headerLen, payloadLen, err := parsePrefix(b, MaxPayloadBytes)
	if err != nil {
		return Frame{}, 0, err
	}
	end := prefixBytes + headerLen + payloadLen
	if len(b) < end {
		return Frame{}, 0, io.ErrUnexpectedEOF
	}
	body := prefixBytes + headerLen
	return Frame{Kind: kind, Header: b[prefixBytes:body:body], Payload: b[body:end:end]}, end, nil
}

// A Reader reads frames from a stream. It belongs to one goroutine.
type Reader struct {
	r          *bufio.Reader
	maxPayload int
	prefix     [prefixBytes]byte
	buf        []byte // header, then payload, of the frame last read
}

// NewReader returns a Reader of r that refuses payloads above maxPayload bytes
// (0: [MaxPayloadBytes]).
func NewReader(r io.Reader, maxPayload int) *Reader {
	if maxPayload == 0 {
		maxPayload = MaxPayloadBytes
	}
	return &Reader{r: bufio.NewReaderSize(r, 8<<10), maxPayload: maxPayload}
}

// Next reads the next frame. The frame is valid until the call after. At the
// end of the stream between frames it returns [io.EOF], within a frame
// [io.ErrUnexpectedEOF].
func (r *Reader) Next() (Frame, error) {
	if _, err := io.ReadFull(r.r, r.prefix[:]); err != nil {
		return Frame{}, err
	}
	kind, headerLen, payloadLen, err := parsePrefix(r.prefix[:], r.maxPayload)
	if err != nil {
		return Frame{}, err
	}
	if err := r.fill(headerLen + payloadLen); err != nil {
		return Frame{}, err
	}
	return Frame{
		Kind:    kind,
		Header:  r.buf[:headerLen:headerLen],
		Payload: r.buf[headerLen : headerLen+payloadLen],
	}, nil
}

// fill reads n bytes into r.buf, growing it only as bytes arrive.
func (r *Reader) fill(n int) error {
	for have := 0; have < n; {
		step := min(n-have, readStepBytes)
		if cap(r.buf) < have+step {
			grown := make([]byte, have+step, min(n, 2*(have+step)))
			copy(grown, r.buf[:have])
			r.buf = grown
		}
		r.buf = r.buf[:have+step]
		if _, err := io.ReadFull(r.r, r.buf[have:]); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		have += step
	}
	return nil
}
