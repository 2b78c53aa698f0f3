package node

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
)

// A filler sends the log of a stage, and what comes to it, to a stage that will
// be its next. It works beside the worker, so that decoding goes on. A step that
// replaces what was sent spoils it: the driver knows, and begins anew.
type filler struct {
	epoch  shard.Epoch
	to     hop.Neighbour
	cancel context.CancelFunc
	keep   atomic.Bool   // the hop is to be handed over
	ended  chan struct{} // closed when it is nobody's
	l      *link         // valid once ended is closed; nil if there is none to hand over
}

// fill starts a filler in place of the one before.
func (st *stage) fill(o hop.Fill) error {
	ctx, cancel := context.WithCancel(st.done)
	f := &filler{epoch: o.Epoch, to: o.Next, cancel: cancel, ended: make(chan struct{})}
	st.mu.Lock()
	old := st.filler
	st.filler = f
	st.mu.Unlock()
	old.end()
	st.watchers.Go(func() {
		defer close(f.ended)
		f.run(ctx, st, o.From)
	})
	return st.tellHeld(wire.KindFilled, o.Epoch)
}

// run links and sends until ctx ends, always whole frames.
func (f *filler) run(ctx context.Context, st *stage, pos shard.Pos) {
	dialing, give := context.WithCancel(st.done)
	defer give()
	// A hop that is to be handed over is still dialed: the next stage may have had
	// all that it needs from before.
	defer context.AfterFunc(ctx, func() {
		if !f.keep.Load() {
			give()
		}
	})()
	l, err := st.dial(dialing, f.to, f.epoch)
	if err != nil {
		st.node.cfg.Logger.Debug().Stringer("session", st.open.Session).Stringer("peer", f.to.Peer).Err(err).Msg("stage to come can't be filled")
		return // the driver sees that it does not fill
	}
	// A hop that is not handed over is closed, which ends a send that blocks.
	stop := context.AfterFunc(ctx, func() {
		if !f.keep.Load() {
			l.close()
		}
	})
	defer stop()
	if err := f.send(ctx, st, l, pos); err == nil && f.keep.Load() {
		f.l = l
		return
	}
	l.close()
}

// send sends what the log has from pos on until ctx ends.
func (f *filler) send(ctx context.Context, st *stage, l *link, pos shard.Pos) error {
	var packer wire.Packer
	var hidden []uint16
	var payload []byte
	for {
		select {
		case <-st.log.wait(pos):
		case <-ctx.Done():
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		var err error
		if hidden, err = st.log.read(pos, hop.SendNothing, replayTokens, hidden); err != nil {
			return err
		}
		m := replayStep(f.epoch, pos, len(hidden)/st.held.Dim)
		var codec wire.Codec
		if payload, codec, err = packer.Encode(payload[:0], wire.Raw, hidden); err != nil {
			return err
		}
		m.Codec, m.SentUnixUs = uint32(codec), time.Now().UnixMicro()
		if m.Count == 0 {
			continue // what was there has been replaced
		}
		if _, err := l.conn.Send(wire.KindStep, m, payload); err != nil {
			return err
		}
		pos += shard.Pos(m.Count)
	}
}

// handOver ends f and returns its hop, nil if that broke or turn ended first.
func (f *filler) handOver(turn context.Context) *link {
	f.keep.Store(true)
	f.cancel()
	select {
	case <-f.ended:
		if l := f.l; l != nil && !l.broken.Load() {
			return l
		}
		f.l.close()
	case <-turn.Done():
		// It sends to a peer that does not read; the session's end closes that.
	}
	return nil
}

// end ends f and closes its hop.
func (f *filler) end() {
	if f != nil {
		f.cancel()
	}
}
