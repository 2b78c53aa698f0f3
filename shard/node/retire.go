package node

import (
	"context"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// leaveTime is how long drivers are told that they have to move their sessions
// when the caller does not say.
const leaveTime = 30 * time.Second

// Drain refuses new sessions from now on, asks the drivers of those that run to
// take other peers, and returns when none run any more or ctx has ended.
// Sessions of this peer's own are not moved: they end before it leaves.
func (n *Node) Drain(ctx context.Context) error {
	n.mu.Lock()
	n.draining = true
	var on []*stage
	for _, st := range n.sessions {
		if st.control.Peer() != n.cfg.Self {
			on = append(on, st)
		}
	}
	n.mu.Unlock()
	n.leave(ctx, on, "the peer is leaving")
	return n.Idle(ctx)
}

// leave asks the drivers of stages to move them before ctx ends.
func (n *Node) leave(ctx context.Context, on []*stage, why string) {
	within := leaveTime
	if end, ok := ctx.Deadline(); ok {
		within = max(0, time.Until(end))
	}
	for _, st := range on {
		if !n.enter() {
			return
		}
		go func() {
			defer n.wg.Done()
			st.leave(&wirepb.Leaving{Epoch: uint32(st.epochNow()), Text: why, WithinMs: uint32(min(within, time.Hour).Milliseconds())})
		}()
	}
}

// leave tells the driver that the stage will not be there for long.
func (st *stage) leave(m *wirepb.Leaving) {
	st.mu.Lock()
	opened := st.opened
	st.leaving = m
	st.mu.Unlock()
	if opened { // else open tells
		_, _ = st.control.Send(wire.KindLeaving, m, nil) // a driver that is gone has no session
	}
}

// Retire asks the drivers of the sessions on h, which [Node.Hold] has replaced
// before, to move them, and returns when none runs any more. When ctx ends
// first, it ends those that do, whose drivers hear that the layers have moved,
// and returns how many they were.
func (n *Node) Retire(ctx context.Context, h *Held) (cut int) {
	now, _ := n.on(h)
	n.leave(ctx, now, "the peer will hold other layers")
	for {
		on, changed := n.on(h)
		if len(on) == 0 {
			return cut
		}
		over := ctx.Done()
		if cut > 0 {
			over = nil // they are ending
		}
		select {
		case <-changed:
		case <-over:
			cut = len(on)
			var told sync.WaitGroup
			for _, st := range on {
				told.Go(func() {
					st.fail(&shard.StageError{Span: st.open.Span, Code: shard.NotServing, Text: "the peer now holds other layers"})
				})
			}
			told.Wait()
		}
	}
}

// on returns the sessions that run on h, and what is closed when some session
// comes or goes.
func (n *Node) on(h *Held) ([]*stage, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []*stage
	for _, st := range n.sessions {
		if st.held == h {
			out = append(out, st)
		}
	}
	return out, n.changed
}
