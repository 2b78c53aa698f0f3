package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// maxAhead is how many frames of a session may wait for the worker; then its
// streams are read no further, and the senders block. A driver has up to
// MaxInFlight steps under way, after half as many of a replay: what it says of
// the route must not stand behind them unread.
const maxAhead = 2 * hop.MaxInFlight

// A stage is one session's span on this node.
type stage struct {
	node    *Node
	open    hop.Open        // as the driver asked; the route may be another now
	id      shard.SessionID // of the engine's session: a peer may be several stages of one
	held    *Held           // set by admit
	control *hop.Conn
	in      chan work  // capacity maxAhead
	orders  chan order // of the driver; before what waits in in
	log     *sentLog   // set by prepare; nil on the last stage

	done     context.Context // ends with the session
	finish   context.CancelFunc
	released chan struct{} // closed when all memory is free
	watchers sync.WaitGroup

	failure sync.Once // the first failure is the one that is told

	mu           sync.Mutex // guards what follows: the route, as the driver last said
	epoch        shard.Epoch
	turn         context.Context // ends with the epoch
	endTurn      context.CancelFunc
	prev         shard.PeerID
	inbound      *hop.Conn // what steps arrive on; nil until it is there
	inboundEpoch shard.Epoch
	next         *link // nil on the last stage, and until it is there; set by the worker
	opened       bool  // the driver knows that the stage is there
	leaving      *wirepb.Leaving
	filler       *filler

	// Used by the worker alone.
	keyring  *keyring  // nil if the driver shares nothing
	at       shard.Pos // positions that the engine holds
	waiting  bool      // for a Resume: no step runs
	sendFrom shard.Pos // what comes out before it is kept in the log only
	packer   wire.Packer
	payload  []byte
	replayed []uint16      // of a replay: its memory serves the next
	result   engine.Result // of the last small step: its memory serves the next
	sendCost sendCost
	meter    hop.Meter
	steps    uint64
	compute  time.Duration
	queue    time.Duration
	lastPos  shard.Pos    // position of the last logits given; valid if steps > 0
	pending  *wirepb.More // waits for the step before it
}

// work is something for the worker to do: a step, or a request for more logits.
type work struct {
	step   *wirepb.Step
	tokens []shard.Token // first stage
	hidden []uint16      // [count, dim], other stages
	bytes  int
	at     time.Time // when it was read
	more   *wirepb.More
}

// An order of the driver is one of these.
type order struct {
	reroute *hop.Reroute
	resume  *hop.Resume
	fill    *hop.Fill
	close   bool
}

// newStage returns a stage that ends with ctx, or when its finish is called.
func newStage(ctx context.Context, n *Node, open hop.Open, control *hop.Conn) *stage {
	st := &stage{
		node: n, open: open, id: shard.NewSessionID(), control: control, in: make(chan work, maxAhead), orders: make(chan order, 4),
		released: make(chan struct{}), epoch: open.Epoch, prev: open.Prev, waiting: open.Wait,
	}
	st.done, st.finish = context.WithCancel(ctx)
	st.turn, st.endTurn = context.WithCancel(st.done)
	if open.Span.Start == 0 {
		st.inbound = control
	}
	return st
}

func (st *stage) key() stageKey { return stageKey{session: st.open.Session, start: st.open.Span.Start} }

// epochNow returns the newest route that the driver has named.
func (st *stage) epochNow() shard.Epoch {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.epoch
}

// turnOf returns what ends with the route of the given epoch. It reports false
// if there is a newer one.
func (st *stage) turnOf(epoch shard.Epoch) (context.Context, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.turn, epoch == st.epoch
}

// prepare reserves memory, links to the next stage and tells the driver.
func (st *stage) prepare() error {
	keys, ready, err := st.openEngine()
	if err != nil {
		return err
	}
	st.at = ready
	if next := st.open.Next; next != nil {
		st.log = newSentLog(&st.node.logs, st.held.Dim, ready)
		st.recall(keys, ready)
		if !st.open.Unlinked {
			l, err := st.dial(st.done, *next, st.open.Epoch)
			if err != nil {
				return err
			}
			st.setNext(l)
		}
	}
	opened := &wirepb.Opened{Version: hop.Version, Dim: uint32(st.held.Dim), Ready: uint32(ready)}
	if st.open.Next == nil {
		opened.Vocab = uint32(st.held.Vocab)
	}
	if _, err = st.control.Send(wire.KindOpened, opened, nil); err != nil {
		return err
	}
	st.mu.Lock()
	leaving := st.leaving
	st.opened = true
	st.mu.Unlock()
	if leaving != nil {
		_, err = st.control.Send(wire.KindLeaving, leaving, nil)
	}
	return err
}

// setNext makes l the hop to the next stage, in place of the one before.
func (st *stage) setNext(l *link) {
	st.mu.Lock()
	old := st.next
	st.next = l
	st.mu.Unlock()
	old.close()
}

// release gives back all that st holds. Nothing works for st any more.
func (st *stage) release() {
	st.finish()
	st.mu.Lock()
	next, filler := st.next, st.filler
	st.mu.Unlock()
	next.close()
	filler.end()
	st.watchers.Wait()
	st.held.Engine.CloseSession(st.id)
	if st.log != nil {
		st.log.close()
	}
	st.node.remove(st)
	close(st.released)
}

// readControl hands what the driver says to the worker, until the driver is
// gone or the session ends.
func (st *stage) readControl() {
	in := &inbox{st: st}
	for {
		f, err := st.control.Recv()
		if err != nil {
			return // the driver is gone: its session is freed, nobody is told
		}
		switch f.Kind {
		case wire.KindStep:
			if st.open.Span.Start != 0 {
				err = st.control.Invalid("the driver sends steps to the first stage only")
				break
			}
			err = in.put(f)
		case wire.KindMore:
			more := &wirepb.More{}
			if err = st.control.Unmarshal(f, more); err == nil {
				err = st.push(work{more: more})
			}
		case wire.KindReroute, wire.KindResume, wire.KindFill:
			err = st.readOrder(f)
		case wire.KindClose:
			// The worker answers and ends the session; the driver's end of
			// the stream is read until then.
			err = st.order(order{close: true})
		default:
			err = st.control.Invalid("got a frame of kind %d from a driver", f.Kind)
		}
		if err != nil {
			st.fail(err)
			return
		}
	}
}

// push queues w. It fails when the session has ended.
func (st *stage) push(w work) error {
	select {
	case st.in <- w:
		return nil
	case <-st.done.Done():
		return context.Canceled
	}
}

// order hands o to the worker. It fails when the session has ended.
func (st *stage) order(o order) error {
	select {
	case st.orders <- o:
		return nil
	case <-st.done.Done():
		return context.Canceled
	}
}

// fail tells the driver why the session ends, and ends it.
func (st *stage) fail(err error) {
	defer st.finish()
	st.failure.Do(func() {
		if st.done.Err() != nil || errors.Is(err, context.Canceled) {
			return // it has ended already
		}
		stage, ok := errors.AsType[*shard.StageError](err)
		if ok && stage.Code == shard.Unreachable && stage.Peer == st.control.Peer() {
			return // the driver is gone
		}
		st.node.cfg.Logger.Warn().Stringer("session", st.open.Session).Stringer("span", st.open.Span).
			Err(err).Msg("stage failed")
		st.node.refuse(st.control, err)
	})
}

// work runs what arrives until the session ends.
func (st *stage) work() {
	defer st.finish() // before the hop closes, which is no failure then
	for {
		in := st.in
		if st.waiting {
			in = nil
		}
		var err error
		select {
		case <-st.done.Done():
			return
		case o := <-st.orders:
			if o.close {
				// First, so that whoever hears of it finds the memory free.
				st.held.Engine.CloseSession(st.id)
				st.sayClosed()
				return
			}
			err = st.obey(o)
		case w := <-in:
			if w.more != nil {
				err = st.more(w.more)
			} else {
				err = st.step(w)
			}
		}
		if err != nil {
			st.fail(err)
			return
		}
	}
}

// sayClosed answers a Close.
func (st *stage) sayClosed() {
	st.control.Send(wire.KindClosed, &wirepb.Closed{ //nolint:errcheck // the driver may have gone by now
		Steps: st.steps, ComputeUs: uint64(st.compute.Microseconds()), QueueUs: uint64(st.queue.Microseconds()),
		Inbound: st.meter.Message(st.path()),
	}, nil)
}

// path returns what is known of the hop that ends here.
func (st *stage) path() hop.Path {
	st.mu.Lock()
	conn := st.inbound
	st.mu.Unlock()
	if conn != nil {
		return conn.Path()
	}
	return hop.Path{} // no neighbour has linked
}
