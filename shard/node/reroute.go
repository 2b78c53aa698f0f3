package node

import (
	"context"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// replayTokens is how many positions of a log travel in one frame, however they
// were sent at first: a stage computes many at a time much faster than one by
// one.
const replayTokens = 64

// readOrder takes a frame of the driver that is about the route.
func (st *stage) readOrder(f wire.Frame) error {
	switch f.Kind {
	case wire.KindReroute:
		var m wirepb.Reroute
		if err := st.control.Unmarshal(f, &m); err != nil {
			return err
		}
		r, err := hop.ParseReroute(&m, &st.open)
		if err != nil {
			return err
		}
		return st.takeRoute(r)
	case wire.KindResume:
		var m wirepb.Resume
		if err := st.control.Unmarshal(f, &m); err != nil {
			return err
		}
		r, err := hop.ParseResume(&m)
		if err != nil {
			return err
		}
		return st.order(order{resume: &r})
	default:
		var m wirepb.Fill
		if err := st.control.Unmarshal(f, &m); err != nil {
			return err
		}
		fill, err := hop.ParseFill(&m)
		if err != nil {
			return err
		}
		if st.open.Next == nil {
			return st.control.Invalid("the last stage has nobody to fill")
		}
		return st.order(order{fill: &fill})
	}
}

// takeRoute ends what belongs to the route before r: the step that runs, a send
// or a dial that waits. Then the worker goes on with r.
func (st *stage) takeRoute(r hop.Reroute) error {
	st.mu.Lock()
	if r.Epoch <= st.epoch {
		st.mu.Unlock()
		return st.control.Invalid("reroute of epoch %d, the session is at %d", r.Epoch, st.epochNow())
	}
	st.epoch, st.prev = r.Epoch, r.Prev
	st.endTurn()
	st.turn, st.endTurn = context.WithCancel(st.done)
	inbound, next := st.inbound, st.next
	if inbound != nil && st.open.Span.Start > 0 && inbound.Peer() != r.Prev {
		st.inbound = nil
	} else {
		inbound = nil
	}
	st.mu.Unlock()
	if inbound != nil {
		_ = inbound.Close()
	}
	if next != nil && !keeps(next, r) {
		next.close()
	}
	st.node.wake() // the neighbours' links may be waiting
	return st.order(order{reroute: &r})
}

// keeps reports whether the hop l serves the route r.
func keeps(l *link, r hop.Reroute) bool {
	return !r.Relink && r.Filled == 0 && r.Next != nil && l.to.Peer == r.Next.Peer && !l.broken.Load()
}

// obey does what the driver orders.
func (st *stage) obey(o order) error {
	switch {
	case o.reroute != nil:
		return st.reroute(*o.reroute)
	case o.resume != nil:
		return st.resume(*o.resume)
	case o.fill != nil:
		return st.fill(*o.fill)
	}
	return nil
}

// reroute brings the stage into the route r and says what it holds.
func (st *stage) reroute(r hop.Reroute) error {
	turn, current := st.turnOf(r.Epoch)
	if !current {
		return nil
	}
	st.waiting, st.sendFrom = true, hop.SendNothing
	if r.Lineage != nil {
		st.keyring = newKeyring(st.control.Peer(), st.open.Model, st.open.Span, *r.Lineage)
	}
	if r.Next != nil {
		if err := st.relink(turn, r); err != nil {
			if turn.Err() == nil {
				st.lost(r.Next.Peer, err)
			}
			return nil // the driver finds another route
		}
	}
	return st.tellHeld(wire.KindRerouted, r.Epoch)
}

// relink brings the hop to the next stage to where r says.
func (st *stage) relink(turn context.Context, r hop.Reroute) error {
	st.mu.Lock()
	f := st.filler
	st.filler = nil
	st.mu.Unlock()
	if f != nil && f.epoch == r.Filled && f.to.Peer == r.Next.Peer {
		if l := f.handOver(turn); l != nil {
			st.setNext(l)
			return nil
		}
	}
	f.end()
	if st.next != nil && keeps(st.next, r) {
		return nil
	}
	// A filler that was not linked yet has had little to fill.
	l, err := st.dial(turn, *r.Next, r.Epoch)
	if err != nil {
		return err
	}
	st.setNext(l)
	return nil
}

// tellHeld says what the stage holds.
func (st *stage) tellHeld(kind wire.Kind, epoch shard.Epoch) error {
	logFrom := st.at
	if st.log != nil {
		logFrom = min(st.at, st.log.from())
	}
	_, err := st.control.Send(kind, &wirepb.Rerouted{Epoch: uint32(epoch), Held: uint32(st.at), LogFrom: uint32(logFrom)}, nil)
	return err
}

// resume replays what the next stage lacks and lets steps through.
func (st *stage) resume(r hop.Resume) error {
	turn, current := st.turnOf(r.Epoch)
	if !current {
		return nil
	}
	st.waiting, st.sendFrom = false, r.SendFrom
	if st.log == nil {
		return nil
	}
	for pos := r.ReplayFrom; pos < r.ReplayTo && turn.Err() == nil; {
		var err error
		st.replayed, err = st.log.read(pos, r.ReplayTo, replayTokens, st.replayed)
		if err != nil {
			return err
		}
		count := len(st.replayed) / st.held.Dim
		if count == 0 {
			return st.invalid("a replay up to position %d is wanted, the log ends at %d", r.ReplayTo, pos)
		}
		m := replayStep(r.Epoch, pos, count)
		payload, err := st.encode(m, st.replayed)
		if err != nil {
			return err
		}
		if !st.send(m, payload) {
			return nil // the driver knows
		}
		pos += shard.Pos(count)
	}
	return nil
}

func replayStep(epoch shard.Epoch, pos shard.Pos, count int) *wirepb.Step {
	return &wirepb.Step{Epoch: uint32(epoch), Pos: uint32(pos), Count: uint32(count), Replay: true}
}
