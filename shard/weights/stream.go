package weights

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

// A stream is a client's stream to one peer. It is closed when ctx ends or
// nothing arrives for too long.
type stream struct {
	io.ReadWriteCloser
	stall   time.Duration
	timer   *time.Timer // runs while an answer is awaited
	unhook  func() bool
	stalled atomic.Bool // the timer fired
}

// dial opens a stream and greets.
func dial(ctx context.Context, peer Peer, stall time.Duration) (*stream, error) {
	opening, cancel := context.WithTimeout(ctx, stall)
	defer cancel()
	raw, err := peer.Open(opening)
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	s := &stream{ReadWriteCloser: raw, stall: stall}
	s.unhook = context.AfterFunc(ctx, func() { _ = raw.Close() })
	s.timer = time.AfterFunc(stall, func() {
		s.stalled.Store(true)
		_ = raw.Close() // reading and writing fail then
	})
	if _, err := s.Write([]byte(greeting)); err != nil {
		err = s.cause(err)
		s.end()
		return nil, err
	}
	return s, nil
}

// Read reads and gives the peer more time.
func (s *stream) Read(b []byte) (int, error) {
	n, err := s.ReadWriteCloser.Read(b)
	if n > 0 {
		s.await()
	}
	return n, err
}

// ask writes a request.
func (s *stream) ask(r request) error {
	s.await()
	if _, err := s.Write(r.append(make([]byte, 0, requestBytes))); err != nil {
		return s.cause(err)
	}
	return nil
}

// await says that an answer is awaited from now on.
func (s *stream) await() { s.timer.Reset(s.stall) }

// rest says that no answer is awaited.
func (s *stream) rest() { s.timer.Stop() }

// cause replaces err if the stream failed because its peer was silent.
func (s *stream) cause(err error) error {
	if s.stalled.Load() {
		return fmt.Errorf("it sent nothing for %v", s.stall)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it ended the stream: %w", err)
	}
	return err
}

// end closes the stream.
func (s *stream) end() {
	s.unhook()
	s.timer.Stop()
	_ = s.Close() // nothing is left to be written
}
