package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// A link is a hop to a next stage.
type link struct {
	to     hop.Neighbour
	conn   *hop.Conn
	broken atomic.Bool
	stop   func() bool // stops waiting for the session's end
}

// close ends the hop.
func (l *link) close() {
	if l != nil {
		l.broken.Store(true)
		l.stop()
		_ = l.conn.Close()
	}
}

// dial opens the hop to the stage to, of the route with the given epoch. It
// returns when ctx ends.
func (st *stage) dial(ctx context.Context, to hop.Neighbour, epoch shard.Epoch) (*link, error) {
	if st.node.cfg.Dial == nil {
		return nil, st.invalid("this peer is alone and reaches no next stage")
	}
	// Less time than the driver gives us, so that it hears whom we wait for.
	ctx, cancel := context.WithTimeout(ctx, st.node.cfg.OpenTimeout*3/4)
	defer cancel()
	stream, err := st.node.cfg.Dial(ctx, to)
	if err != nil {
		return nil, st.unlinked(ctx, to, err)
	}
	conn := hop.NewConn(stream, to.Peer, 0)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	_, err = conn.Send(wire.KindLink, &wirepb.Link{
		Version: hop.Version, Session: st.open.Session[:], Epoch: uint32(epoch), Start: uint32(st.open.Span.End),
	}, nil)
	if err == nil {
		_, err = conn.Expect(wire.KindLinked, &wirepb.Linked{})
	}
	if !stop() || err != nil {
		_ = conn.Close()
		return nil, st.unlinked(ctx, to, err)
	}
	l := &link{to: to, conn: conn}
	// The next stage may read nothing: closing the hop ends a send that blocks.
	l.stop = context.AfterFunc(st.done, func() { _ = conn.Close() })
	st.watchers.Go(func() { st.watch(l) })
	return l, nil
}

// unlinked returns the error of a next stage that could not be linked to
// within ctx.
func (st *stage) unlinked(ctx context.Context, to hop.Neighbour, err error) error {
	next := &shard.StageError{Peer: to.Peer, Name: to.Name, Code: shard.Unreachable}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Canceled
	case ctx.Err() != nil:
		next.Code, next.Text = shard.TimedOut, "it did not answer "+st.node.cfg.Name
		return next
	}
	if stage, ok := errors.AsType[*shard.StageError](err); ok && stage.Code != shard.Unreachable {
		return err // it is what the next stage says
	}
	next.Text = fmt.Sprintf("from %s: %s", st.node.cfg.Name, reason(err))
	return next
}

// watch waits for what the next stage says: nothing, or what went wrong.
func (st *stage) watch(l *link) {
	_, err := l.conn.Recv()
	if err == nil {
		err = l.conn.Invalid("the next stage talks back on a hop")
	}
	if !l.broken.CompareAndSwap(false, true) {
		return // it is known, or was closed here
	}
	if errors.Is(err, io.EOF) {
		return // it has closed the session, and the driver knows why
	}
	st.mu.Lock()
	current := st.next == l
	st.mu.Unlock()
	if current {
		st.lost(l.to.Peer, err)
	}
}

// lost tells the driver that a neighbour is not there any more. The stage waits
// for a route around it.
func (st *stage) lost(peer shard.PeerID, err error) {
	if st.done.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	fault := &shard.StageError{Code: shard.Unreachable, Text: reason(err)}
	if stage, ok := errors.AsType[*shard.StageError](err); ok {
		fault.Code = stage.Code
		if !stage.Peer.IsZero() && stage.Peer != st.node.cfg.Self {
			peer = stage.Peer
		}
	}
	st.node.cfg.Logger.Debug().Stringer("session", st.open.Session).Stringer("span", st.open.Span).Stringer("peer", peer).
		Err(err).Msg("neighbour lost, waiting for a new route")
	// If the driver is gone as well, so is the session.
	_, _ = st.control.Send(wire.KindLost, hop.LostMessage(st.epochNow(), peer, fault), nil)
}

// readSteps hands the steps that arrive on a neighbour's conn to the worker. A
// neighbour that breaks off is the driver's to replace.
func (st *stage) readSteps(conn *hop.Conn) {
	in := inbox{st: st}
	for {
		f, err := conn.Recv()
		if errors.Is(err, io.EOF) {
			return // the neighbour has closed the session
		}
		if err == nil && f.Kind != wire.KindStep {
			err = conn.Invalid("got a frame of kind %d on a hop, want a step", f.Kind)
		}
		if err == nil {
			if err = in.put(f); shard.CodeOf(err) == shard.Invalid {
				err = conn.Invalid("%s", reason(err)) // the fault is the neighbour's
			}
		}
		if err == nil {
			continue
		}
		st.mu.Lock()
		current := st.inbound == conn
		st.mu.Unlock()
		if current {
			st.lost(conn.Peer(), err)
		}
		return
	}
}

// acceptLink finds the session that the frame f of a neighbour names.
func (n *Node) acceptLink(ctx context.Context, conn *hop.Conn, f wire.Frame) (*stage, error) {
	var m wirepb.Link
	if err := conn.Unmarshal(f, &m); err != nil {
		return nil, err
	}
	var key stageKey
	if len(m.GetSession()) != len(key.session) {
		return nil, conn.Invalid("session id of %d bytes, want %d", len(m.GetSession()), len(key.session))
	}
	copy(key.session[:], m.GetSession())
	key.start = shard.Layer(min(m.GetStart(), 1<<30))
	// Less time than the neighbour gives us, so that it hears why.
	ctx, stop := context.WithTimeout(ctx, n.cfg.OpenTimeout/2)
	defer stop()
	epoch := shard.Epoch(m.GetEpoch())
	st, err := n.find(ctx, key, epoch)
	if err != nil {
		return nil, err
	}
	if err := st.takeLink(conn, epoch); err != nil {
		return nil, err
	}
	_, err = conn.Send(wire.KindLinked, &wirepb.Linked{Version: hop.Version}, nil)
	return st, err
}

// takeLink makes conn what steps arrive on, in place of a hop of an older route.
func (st *stage) takeLink(conn *hop.Conn, epoch shard.Epoch) error {
	st.mu.Lock()
	old := st.inbound
	switch {
	case st.prev.IsZero() || st.prev != conn.Peer():
		st.mu.Unlock()
		return conn.Invalid("the session has another upstream peer")
	case epoch != st.epoch:
		st.mu.Unlock()
		return &shard.StageError{Span: st.open.Span, Code: shard.Stale, Text: "the link belongs to another route of the session"}
	case old != nil && st.inboundEpoch == epoch:
		st.mu.Unlock()
		return conn.Invalid("the session has an upstream link already")
	}
	st.inbound, st.inboundEpoch = conn, epoch
	st.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
	return nil
}
