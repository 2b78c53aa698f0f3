package hop

import (
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/wire"
)

// Protocol is the ALPN name of both kinds of streams; the first frame says
// which it is. Peers share one connection for all their sessions.
const Protocol = "shard-hop/1"

// The versions of the messages that this build speaks. Stages of version 1 end
// when a neighbour does, and know a session by its name alone.
const (
	Version    = 2
	MinVersion = 2
)

// maxKeptBytes bounds the send buffer that a Conn keeps between frames.
const maxKeptBytes = 1 << 20

// A Message is the header of a frame, one of those of package wirepb.
type Message = proto.Message

// A Conn sends and receives frames on one stream.
type Conn struct {
	stream io.ReadWriteCloser
	r      *wire.Reader
	peer   shard.PeerID

	// turn holds one value: whoever has taken it may write, and use buf. It is
	// no mutex because a write may block for long, and tests in virtual time
	// take a goroutine that waits for a mutex for one that works.
	turn chan struct{}
	buf  []byte
}

// NewConn returns a Conn on stream, whose other end is peer. It refuses
// payloads of more than maxPayload bytes (0: [wire.MaxPayloadBytes]).
func NewConn(stream io.ReadWriteCloser, peer shard.PeerID, maxPayload int) *Conn {
	c := &Conn{stream: stream, r: wire.NewReader(stream, maxPayload), peer: peer, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

// Peer returns who is at the other end.
func (c *Conn) Peer() shard.PeerID { return c.peer }

// Path returns what is known now of the way to the other end.
func (c *Conn) Path() Path { return PathOf(c.stream) }

// Send writes one frame and returns its length in bytes. It blocks while the
// other end does not read. A broken stream is a [shard.StageError] with code
// Unreachable.
func (c *Conn) Send(kind wire.Kind, header Message, payload []byte) (int, error) {
	<-c.turn // until it is written: two frames must not interleave
	defer func() { c.turn <- struct{}{} }()
	buf, err := wire.Append(c.buf[:0], kind, header, payload)
	if err != nil {
		return 0, err
	}
	if cap(buf) <= maxKeptBytes {
		c.buf = buf
	}
	if _, err := c.stream.Write(buf); err != nil {
		return 0, c.broken("send", err)
	}
	return len(buf), nil
}

// Recv reads the next frame, valid until the call after. The end of the stream
// is [io.EOF]; a frame of kind error becomes the [shard.StageError] it carries.
func (c *Conn) Recv() (wire.Frame, error) {
	f, err := c.r.Next()
	switch {
	case errors.Is(err, io.EOF):
		return wire.Frame{}, io.EOF
	case errors.Is(err, wire.ErrFrame):
		return wire.Frame{}, &shard.StageError{Peer: c.peer, Code: shard.Invalid, Text: err.Error()}
	case err != nil:
		return wire.Frame{}, c.broken("receive", err)
	}
	if f.Kind == wire.KindError {
		return wire.Frame{}, c.remoteError(f)
	}
	return f, nil
}

// Expect reads the next frame, which must be of the given kind, into header.
// The end of the stream is an error.
func (c *Conn) Expect(kind wire.Kind, header Message) (wire.Frame, error) {
	f, err := c.Recv()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = c.broken("receive", errors.New("the peer closed the stream"))
		}
		return f, err
	}
	if f.Kind != kind {
		return f, c.Invalid("got a frame of kind %d, want %d", f.Kind, kind)
	}
	return f, c.Unmarshal(f, header)
}

// Unmarshal reads the header of f.
func (c *Conn) Unmarshal(f wire.Frame, header Message) error {
	if err := proto.Unmarshal(f.Header, header); err != nil {
		return c.Invalid("header of a frame of kind %d: %v", f.Kind, err)
	}
	return nil
}

// Invalid returns the error of a peer that breaks the protocol.
func (c *Conn) Invalid(format string, args ...any) error {
	return &shard.StageError{Peer: c.peer, Code: shard.Invalid, Text: fmt.Sprintf(format, args...)}
}

func (c *Conn) broken(verb string, err error) error {
	if stage, ok := errors.AsType[*shard.StageError](err); ok {
		return stage
	}
	return &shard.StageError{Peer: c.peer, Code: shard.Unreachable, Text: verb + ": " + err.Error()}
}

// Close closes the stream in both directions.
func (c *Conn) Close() error { return c.stream.Close() }
