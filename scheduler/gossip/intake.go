package gossip

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/shardnode/shardnode/transport"
)

// Types of memberlist's messages, as in its net.go. The others are not used
// here and refused: what a compressed one unfolds to is bounded only by 40 MiB.
const (
	msgPing     = 0
	msgIndirect = 1
	msgAck      = 2
	msgSuspect  = 3
	msgAlive    = 4
	msgDead     = 5
	msgPushPull = 6
	msgCompound = 7
	msgUser     = 8
	msgNack     = 11
	msgChecksum = 12
	msgError    = 13
)

const checksumBytes = 5 // its type, and a CRC-32

// maxItemBytes bounds one value of a stream's message. The largest is a peer
// with an advert of maxAdvertBytes.
const maxItemBytes = 1 << 10

// goodPacket reports whether memberlist may read a packet.
func goodPacket(b []byte) bool {
	if len(b) >= checksumBytes && b[0] == msgChecksum {
		b = b[checksumBytes:]
	}
	if len(b) < 2 || b[0] != msgCompound {
		return goodMessage(b)
	}
	lengths, count := b[2:], int(b[1])
	if len(lengths) < 2*count {
		return false
	}
	parts := lengths[2*count:]
	for i := range count {
		k := int(binary.BigEndian.Uint16(lengths[2*i:]))
		if k > len(parts) || !goodMessage(parts[:k]) {
			return false
		}
		parts = parts[k:]
	}
	return true
}

func goodMessage(b []byte) bool {
	return len(b) > 0 && (b[0] <= msgDead || b[0] == msgUser || b[0] == msgNack)
}

var errIntake = errors.New("gossip: stream does not carry what peers send")

// An intake reads the one message that a stream carries, value by value, and
// ends there. memberlist believes what a message says of its own lengths (of
// peers, it makes room for a million), so they are bounded here.
type intake struct {
	r     *bufio.Reader
	ready []byte // read and checked, not yet taken
	buf   [maxItemBytes]byte
	begun bool
	items int // values still to come
	state int // bytes of removals that follow them
	err   error
}

func newIntake(r io.Reader) *intake { return &intake{r: bufio.NewReader(r)} }

// Read is as [io.Reader]'s. Errors that may pass, as a deadline's does, are
// final: a message is not read twice.
func (in *intake) Read(b []byte) (int, error) {
	for len(in.ready) == 0 && in.err == nil {
		in.err = in.next()
	}
	if len(in.ready) == 0 {
		return 0, in.err
	}
	k := copy(b, in.ready)
	in.ready = in.ready[k:]
	return k, nil
}

// next makes the next value ready.
func (in *intake) next() error {
	if !in.begun {
		return in.begin()
	}
	if in.items == 0 {
		return in.nextState()
	}
	in.items--
	b, err := appendValue(in.buf[:0], in.r)
	in.ready = b
	return err
}

// nextState makes some of the removals ready. What they are is for who takes
// them to check.
func (in *intake) nextState() error {
	if in.state == 0 {
		return io.EOF
	}
	part := in.buf[:min(in.state, len(in.buf))]
	n, err := io.ReadFull(in.r, part)
	in.state -= n
	in.ready = part[:n]
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the message is not whole
	}
	return err
}

// begin reads a message's type and its first value, which says how many follow.
func (in *intake) begin() error {
	kind, err := in.r.ReadByte()
	if err != nil {
		return err
	}
	switch kind {
	case msgPing, msgAck, msgError, msgPushPull:
	default:
		return fmt.Errorf("%w: a message of type %d", errIntake, kind)
	}
	b, err := appendValue(append(in.buf[:0], kind), in.r)
	if err != nil {
		return err
	}
	if kind == msgPushPull {
		if in.items, in.state, err = followers(b[1:]); err != nil {
			return err
		}
	}
	in.begun, in.ready = true, b
	return nil
}

// followers returns how many peers, and how many bytes of removals, follow the
// header of a push-pull: a map of text to numbers and truths.
func followers(b []byte) (peers, state int, err error) {
	if len(b) == 0 || b[0]&0xf0 != 0x80 {
		return 0, 0, errIntake
	}
	fields := int(b[0] & 0x0f)
	b = b[1:]
	for range fields {
		if len(b) == 0 || b[0]&0xe0 != 0xa0 || len(b) < 2+int(b[0]&0x1f) {
			return 0, 0, errIntake
		}
		key := string(b[1:][:b[0]&0x1f])
		b = b[1+len(key):]
		n, width, ok := smallNumber(b)
		if !ok {
			return 0, 0, errIntake
		}
		b = b[width:]
		switch {
		case key == "Nodes" && n <= maxMembers:
			peers = n
		case key == "UserStateLen" && n <= transport.MaxRemovalsBytes:
			state = n
		case key == "Nodes", key == "UserStateLen":
			return 0, 0, fmt.Errorf("%w: %s is %d", errIntake, key, n)
		}
	}
	return peers, state, nil
}

// smallNumber returns the number or truth that b begins with, and its width.
func smallNumber(b []byte) (n, width int, ok bool) {
	switch {
	case b[0] < 0x80:
		return int(b[0]), 1, true
	case b[0] == 0xc2 || b[0] == 0xc3: // false, true
		return int(b[0] & 1), 1, true
	case b[0] == 0xcc && len(b) >= 2:
		return int(b[1]), 2, true
	case (b[0] == 0xcd || b[0] == 0xd1) && len(b) >= 3 && b[1] < 0x80:
		return int(binary.BigEndian.Uint16(b[1:])), 3, true
	}
	return 0, 0, false
}

// appendValue appends the next msgpack value of r to dst, which it does not
// let grow beyond maxItemBytes.
func appendValue(dst []byte, r *bufio.Reader) ([]byte, error) {
	take := func(k int) ([]byte, error) {
		at := len(dst)
		if k > maxItemBytes-at {
			return nil, fmt.Errorf("%w: a value of more than %d bytes", errIntake, maxItemBytes)
		}
		dst = dst[:at+k]
		_, err := io.ReadFull(r, dst[at:])
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the message is not whole
		}
		return dst[at:], err
	}
	for left := 1; left > 0; left-- { // of values, nested ones included
		b, err := take(1)
		if err != nil {
			return nil, err
		}
		shape := shapeOf(b[0])
		length := shape.length
		if shape.width > 0 {
			if b, err = take(shape.width); err != nil {
				return nil, err
			}
			for _, digit := range b {
				length = length<<8 | int(digit)
			}
		}
		if shape.values > 0 {
			left += min(length, maxItemBytes) * shape.values // each has a byte at least: more will not fit
			continue
		}
		if _, err := take(length + shape.more); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// A shape says how a msgpack value goes on after its first byte: a length of
// width bytes if that is not 0, then more+length bytes or values*length values.
type shape struct{ width, length, more, values int }

// shapeOf reads a value's first byte as the table in msgpack's spec.md.
func shapeOf(b byte) shape {
	low := int(b)
	switch {
	case b < 0x80 || b >= 0xe0:
		return shape{}
	case b < 0x90: // maps
		return shape{length: low & 0x0f, values: 2}
	case b < 0xa0: // arrays
		return shape{length: low & 0x0f, values: 1}
	case b < 0xc0: // text
		return shape{length: low & 0x1f}
	case b < 0xc4: // nil, false, true
		return shape{}
	case b < 0xc7: // bytes
		return shape{width: 1 << (low - 0xc4)}
	case b < 0xca: // extensions
		return shape{width: 1 << (low - 0xc7), more: 1}
	case b < 0xcc: // floats
		return shape{length: 4 << (low - 0xca)}
	case b < 0xd0: // numbers
		return shape{length: 1 << (low - 0xcc)}
	case b < 0xd4: // numbers with a sign
		return shape{length: 1 << (low - 0xd0)}
	case b < 0xd9: // extensions of a fixed length
		return shape{length: 1 << (low - 0xd4), more: 1}
	case b < 0xdc: // text
		return shape{width: 1 << (low - 0xd9)}
	case b < 0xde: // arrays
		return shape{width: 2 << (low - 0xdc), values: 1}
	}
	return shape{width: 2 << (low - 0xde), values: 2} // maps
}
