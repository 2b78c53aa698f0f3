package node

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// Serve answers a driver or an upstream neighbour on stream until the session
// ends. peer is who opened the stream, rtt the round trip to it. It closes the
// stream.
func (n *Node) Serve(ctx context.Context, stream io.ReadWriteCloser, peer shard.PeerID, rtt time.Duration) {
	conn := hop.NewConn(stream, peer, 0)
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Closing the stream is what ends a read that waits.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	stopWithNode := context.AfterFunc(n.ctx, func() { cancel(errClosed) })
	defer stopWithNode()

	late := time.AfterFunc(n.cfg.OpenTimeout, func() { cancel(context.DeadlineExceeded) })
	defer late.Stop()
	serve, err := n.begin(ctx, conn, rtt)
	if err != nil {
		// The peer may be gone; then nobody needs the answer.
		conn.Send(wire.KindError, hop.ErrorMessage(err, n.cfg.Self, n.cfg.Name), nil) //nolint:errcheck // see above
		return
	}
	late.Stop()
	serve(cancel)
}

// begin reads the first frame and sets up what it asks for. It returns what
// serves the stream from then on; cancel ends the stream.
func (n *Node) begin(ctx context.Context, conn *hop.Conn, rtt time.Duration) (serve func(cancel context.CancelCauseFunc), err error) {
	f, err := conn.Recv()
	if err != nil {
		return nil, err
	}
	switch f.Kind {
	case wire.KindOpen:
		st, err := n.openStage(ctx, conn, f, rtt)
		if err != nil {
			return nil, err
		}
		return func(cancel context.CancelCauseFunc) { st.run(ctx, cancel) }, nil
	case wire.KindLink:
		st, err := n.acceptLink(ctx, conn, f)
		if err != nil {
			return nil, err
		}
		return func(cancel context.CancelCauseFunc) {
			stop := context.AfterFunc(st.done, func() { cancel(context.Canceled) })
			defer stop()
			st.readSteps(conn, rtt)
		}, nil
	}
	return nil, conn.Invalid("the first frame is of kind %d, want an open or a link", f.Kind)
}

// openStage sets up the stage that the frame f of a driver asks for.
func (n *Node) openStage(ctx context.Context, conn *hop.Conn, f wire.Frame, rtt time.Duration) (*stage, error) {
	var m wirepb.Open
	if err := conn.Unmarshal(f, &m); err != nil {
		return nil, err
	}
	open, err := hop.ParseOpen(&m)
	if err != nil {
		return nil, err
	}
	st := newStage(n, open, conn, rtt)
	if err := n.admit(st); err != nil {
		return nil, err
	}
	if err := st.prepare(ctx); err != nil {
		st.release()
		return nil, err
	}
	return st, nil
}

// acceptLink finds the session that the frame f of a neighbour names.
func (n *Node) acceptLink(ctx context.Context, conn *hop.Conn, f wire.Frame) (*stage, error) {
	var m wirepb.Link
	if err := conn.Unmarshal(f, &m); err != nil {
		return nil, err
	}
	var id shard.SessionID
	if len(m.GetSession()) != len(id) {
		return nil, conn.Invalid("session id of %d bytes, want %d", len(m.GetSession()), len(id))
	}
	copy(id[:], m.GetSession())
	st, err := n.find(ctx, id)
	if err != nil {
		return nil, err
	}
	switch {
	case st.open.Prev != conn.Peer():
		return nil, conn.Invalid("the session has another upstream peer")
	case shard.Epoch(m.GetEpoch()) != st.open.Epoch:
		return nil, &shard.StageError{Span: st.open.Span, Code: shard.Stale, Text: "the link belongs to another route of the session"}
	case !st.linked.CompareAndSwap(false, true):
		return nil, conn.Invalid("the session has an upstream link already")
	}
	_, err = conn.Send(wire.KindLinked, &wirepb.Linked{Version: hop.Version}, nil)
	return st, err
}

// readSteps hands the steps that arrive on a neighbour's conn to the worker.
// A neighbour that breaks off ends the session, and the driver hears who it was.
func (st *stage) readSteps(conn *hop.Conn, rtt time.Duration) {
	in := newInbox(st, rtt)
	for {
		f, err := conn.Recv()
		if errors.Is(err, io.EOF) {
			return // the neighbour has closed the session
		}
		if err == nil && f.Kind != wire.KindStep {
			err = conn.Invalid("got a frame of kind %d on a hop, want a step", f.Kind)
		}
		if err == nil {
			err = in.put(f)
		}
		if err != nil {
			st.fail(err)
			return
		}
	}
}

// An inbox turns frames with steps into work. It belongs to one goroutine.
type inbox struct {
	st     *stage
	packer wire.Packer
}

func newInbox(st *stage, rtt time.Duration) *inbox {
	st.rtt.Store(int64(rtt))
	return &inbox{st: st}
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
	if err := hop.CheckStep(w.step); err != nil {
		return err
	}
	count := int(w.step.GetCount())
	if st.open.Span.Start == 0 {
		if len(f.Payload) != 4*count || w.step.GetCodec() != uint32(wire.CodecNone) {
			return &shard.StageError{Span: st.open.Span, Code: shard.Invalid, Text: "the first stage takes token ids of 4 bytes"}
		}
		w.tokens = make([]shard.Token, count)
		for i := range w.tokens {
			w.tokens[i] = shard.Token(binary.LittleEndian.Uint32(f.Payload[4*i:]))
		}
	} else {
		w.hidden = make([]uint16, count*st.held.Dim)
		if err := in.packer.Decode(w.hidden, wire.Codec(w.step.GetCodec()), f.Payload); err != nil {
			return &shard.StageError{Span: st.open.Span, Code: shard.Invalid, Text: err.Error()}
		}
	}
	return st.push(w)
}
