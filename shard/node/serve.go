package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// Serve answers a driver or an upstream neighbour on stream until the session
// ends. peer is who opened the stream. It closes the stream.
func (n *Node) Serve(ctx context.Context, stream io.ReadWriteCloser, peer shard.PeerID) {
	conn := hop.NewConn(stream, peer, 0)
	defer conn.Close()
	if !n.enter() {
		return
	}
	defer n.wg.Done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Closing the stream is what ends a read that waits.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	stopWithNode := context.AfterFunc(n.ctx, func() { cancel(errClosed) })
	defer stopWithNode()

	late := time.AfterFunc(n.cfg.OpenTimeout, func() { cancel(context.DeadlineExceeded) })
	defer late.Stop()
	begun := func() {
		late.Stop()
		stopWithNode()
	}
	if err := n.serve(ctx, conn, begun); err != nil {
		n.refuse(conn, err)
	}
}

// refuse tells a peer why it is not served, unless it does not listen.
func (n *Node) refuse(conn *hop.Conn, err error) {
	stop := time.AfterFunc(tellTimeout, func() { _ = conn.Close() })
	defer stop.Stop()
	// The peer may be gone; then nobody needs the answer.
	_, _ = conn.Send(wire.KindError, hop.ErrorMessage(err, n.cfg.Self, n.cfg.Name), nil)
}

// serve reads the first frame and does what it asks for, until the session
// ends. An error is why it did not begin. It calls begun when the session has
// taken over: from then on that ends with the node, and bounds its own waits.
func (n *Node) serve(ctx context.Context, conn *hop.Conn, begun func()) error {
	f, err := conn.Recv()
	if err != nil {
		return err
	}
	switch f.Kind {
	case wire.KindOpen:
		return n.serveDriver(ctx, conn, f, begun)
	case wire.KindLink:
		return n.serveNeighbour(ctx, conn, f, begun)
	}
	return conn.Invalid("the first frame is of kind %d, want an open or a link", f.Kind)
}

// serveDriver is the stage that the frame f of a driver asks for.
func (n *Node) serveDriver(ctx context.Context, conn *hop.Conn, f wire.Frame, begun func()) error {
	var m wirepb.Open
	if err := conn.Unmarshal(f, &m); err != nil {
		return err
	}
	open, err := hop.ParseOpen(&m)
	if err != nil {
		return err
	}
	st := newStage(ctx, n, open, conn)
	defer st.finish()
	old, err := n.admit(st)
	if err != nil {
		return err
	}
	defer st.release()
	leave := context.AfterFunc(n.ctx, func() {
		st.fail(&shard.StageError{Span: open.Span, Code: shard.NotServing, Text: "the peer has left"})
	})
	defer leave()
	begun()
	// The driver is listened to from the start: when it goes, or gives the
	// route up because another stage refused, nothing here waits any longer.
	stop := context.AfterFunc(st.done, func() { _ = conn.Close() })
	defer stop()
	var reader sync.WaitGroup
	defer reader.Wait()
	defer st.finish()
	reader.Go(func() {
		defer st.finish()
		st.readControl()
	})
	if old != nil {
		old.finish()
		select { // its memory is needed
		case <-old.released:
		case <-st.done.Done():
			return nil
		}
	}
	if err := st.prepare(); err != nil {
		st.fail(err)
		return nil // it has been told
	}
	st.work()
	return nil
}

// serveNeighbour takes the steps of the neighbour whose frame f names a session.
func (n *Node) serveNeighbour(ctx context.Context, conn *hop.Conn, f wire.Frame, begun func()) error {
	st, err := n.acceptLink(ctx, conn, f)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(st.done, func() { _ = conn.Close() })
	defer stop()
	begun()
	st.readSteps(conn)
	return nil
}

// reason returns what err says of itself, without the peer.
func reason(err error) string {
	if stage, ok := errors.AsType[*shard.StageError](err); ok {
		return stage.Text
	}
	return err.Error()
}

// An inbox turns frames with steps into work. It belongs to one goroutine.
type inbox struct {
	st     *stage
	packer wire.Packer
}

// put checks and decodes a step and hands it to the worker. It blocks while
// the worker has enough to do, which in the end stops the sender.
func (in *inbox) put(f wire.Frame) error {
	now := time.Now()
	st := in.st
	w := work{step: &wirepb.Step{}, bytes: len(f.Header) + len(f.Payload), at: now}
	if err := st.control.Unmarshal(f, w.step); err != nil {
		return err
	}
	if shard.Epoch(w.step.GetEpoch()) != st.epochNow() {
		return nil // a frame of an older route (ARCHITECTURE §3.2)
	}
	if err := hop.CheckStep(w.step); err != nil {
		return err
	}
	count := int(w.step.GetCount())
	if end := int(w.step.GetPos()) + count; end > st.open.MaxTokens {
		return &shard.StageError{Span: st.open.Span, Code: shard.TooLong, Text: fmt.Sprintf("step to position %d: %d are reserved", end, st.open.MaxTokens)}
	}
	var err error
	if st.open.Span.Start == 0 {
		w.tokens, err = st.tokens(f.Payload, w.step)
	} else {
		w.hidden, err = in.hidden(f.Payload, w.step)
	}
	if err != nil {
		return err
	}
	return st.push(w)
}

// tokens reads the payload of a step for the first stage.
func (st *stage) tokens(payload []byte, m *wirepb.Step) ([]shard.Token, error) {
	count := int(m.GetCount())
	if len(payload) != 4*count || m.GetCodec() != uint32(wire.CodecNone) {
		return nil, st.invalid("%d tokens in %d bytes with codec %d: the first stage takes ids of 4 bytes", count, len(payload), m.GetCodec())
	}
	out := make([]shard.Token, count)
	for i := range out {
		out[i] = shard.Token(binary.LittleEndian.Uint32(payload[4*i:]))
	}
	return out, nil
}

// hidden decodes the payload of a step for a later stage.
func (in *inbox) hidden(payload []byte, m *wirepb.Step) ([]uint16, error) {
	codec, n := wire.Codec(m.GetCodec()), int(m.GetCount())*in.st.held.Dim
	if codec == wire.Raw && len(payload) != 2*n {
		return nil, in.st.invalid("hidden states of %d bytes, want %d", len(payload), 2*n) // before memory is taken
	}
	out := make([]uint16, n)
	if err := in.packer.Decode(out, codec, payload); err != nil {
		return nil, in.st.invalid("%v", err)
	}
	return out, nil
}

// invalid returns the error of a message that breaks the protocol.
func (st *stage) invalid(format string, args ...any) error {
	return &shard.StageError{Span: st.open.Span, Code: shard.Invalid, Text: fmt.Sprintf(format, args...)}
}
