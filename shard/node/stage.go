package node

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// maxAhead is how many frames of a session may wait for the worker; then its
// streams are read no further, and the senders block.
const maxAhead = hop.MaxInFlight

// A stage is one session's span on this node.
type stage struct {
	node    *Node
	open    hop.Open
	held    *Held // set by admit
	control *hop.Conn
	keyring *keyring                 // set by prepare; nil if the driver shares nothing
	next    *hop.Conn                // nil on the last stage
	inbound atomic.Pointer[hop.Conn] // what steps arrive on; set once
	in      chan work                // capacity maxAhead

	done   context.Context // ends with the session
	finish context.CancelFunc

	failure sync.Once // the first failure is the one that is told

	// Used by the worker alone.
	packer   wire.Packer
	payload  []byte
	result   engine.Result // of the last small step: its memory serves the next
	sendCost sendCost
	meter    hop.Meter
	steps    uint64
	compute  time.Duration
	queue    time.Duration
	lastPos  shard.Pos // position of the last logits given; valid if steps > 0
}

// work is something for the worker to do: a step, or (step == nil) a request
// for more logits or the end of the session.
type work struct {
	step   *wirepb.Step
	tokens []shard.Token // first stage
	hidden []uint16      // [count, dim], other stages
	bytes  int
	at     time.Time // when it was read
	more   *wirepb.More
	close  bool
}

// newStage returns a stage that ends with ctx, or when its finish is called.
func newStage(ctx context.Context, n *Node, open hop.Open, control *hop.Conn) *stage {
	st := &stage{node: n, open: open, control: control, in: make(chan work, maxAhead)}
	st.done, st.finish = context.WithCancel(ctx)
	if open.Span.Start == 0 {
		st.inbound.Store(control)
	}
	return st
}

// prepare reserves memory, links to the next stage and tells the driver.
func (st *stage) prepare() error {
	ready, err := st.openEngine()
	if err != nil {
		return err
	}
	if st.open.Next != nil {
		if err := st.link(); err != nil {
			return err
		}
	}
	opened := &wirepb.Opened{Version: hop.Version, Dim: uint32(st.held.Dim), Ready: uint32(ready)}
	if st.open.Next == nil {
		opened.Vocab = uint32(st.held.Vocab)
	}
	_, err = st.control.Send(wire.KindOpened, opened, nil)
	return err
}

// link opens the hop to the next stage.
func (st *stage) link() error {
	if st.node.cfg.Dial == nil {
		return st.invalid("this peer is alone and reaches no next stage")
	}
	// Less time than the driver gives us, so that it hears whom we wait for.
	ctx, cancel := context.WithTimeout(st.done, st.node.cfg.OpenTimeout*3/4)
	defer cancel()
	stream, err := st.node.cfg.Dial(ctx, *st.open.Next)
	if err != nil {
		return st.unlinked(ctx, err)
	}
	conn := hop.NewConn(stream, st.open.Next.Peer, 0)
	st.next = conn // release closes it
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	_, err = conn.Send(wire.KindLink, &wirepb.Link{
		Version: hop.Version, Session: st.open.Session[:], Epoch: uint32(st.open.Epoch),
	}, nil)
	if err == nil {
		_, err = conn.Expect(wire.KindLinked, &wirepb.Linked{})
	}
	if err == nil && stop() {
		return nil
	}
	return st.unlinked(ctx, err)
}

// unlinked returns the error of a next stage that could not be linked to
// within ctx.
func (st *stage) unlinked(ctx context.Context, err error) error {
	next := &shard.StageError{Peer: st.open.Next.Peer, Name: st.open.Next.Name, Code: shard.Unreachable}
	switch {
	case st.done.Err() != nil:
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

// release gives back all that st holds. Nothing works for st any more.
func (st *stage) release() {
	st.finish()
	if st.next != nil {
		_ = st.next.Close()
	}
	st.held.Engine.CloseSession(st.open.Session)
	st.node.remove(st)
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
		case wire.KindClose:
			// The worker answers and ends the session; the driver's end of
			// the stream is read until then.
			err = st.push(work{close: true})
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
	if st.next != nil {
		// A neighbour says nothing after Linked but what went wrong. It may
		// also read nothing: closing the hop ends a send that blocks.
		stop := context.AfterFunc(st.done, func() { _ = st.next.Close() })
		defer stop()
		var watch sync.WaitGroup
		defer watch.Wait()
		watch.Go(st.watchNext)
	}
	defer st.finish() // before the hop closes, which is no failure then
	for {
		select {
		case <-st.done.Done():
			return
		case w := <-st.in:
			var err error
			switch {
			case w.close:
				// First, so that whoever hears of it finds the memory free.
				st.held.Engine.CloseSession(st.open.Session)
				st.sayClosed()
				return
			case w.more != nil:
				err = st.more(w.more)
			default:
				err = st.step(w)
			}
			if err != nil {
				st.fail(err)
				return
			}
		}
	}
}

// watchNext waits for what the next stage says: nothing, or what went wrong.
func (st *stage) watchNext() {
	_, err := st.next.Recv()
	switch {
	case errors.Is(err, io.EOF):
		// It has closed the session, and the driver knows why.
	case err != nil:
		st.fail(err)
	default:
		st.fail(st.next.Invalid("the next stage talks back on a hop"))
	}
}

// step runs one step and passes its result on.
func (st *stage) step(w work) error {
	m := w.step
	st.meter.Add(w.bytes, wire.Codec(m.GetCodec()), m.GetSentUnixUs(), w.at)
	last := st.open.Next == nil
	hashes, err := hop.ParseHashes(m.GetChain())
	if err != nil {
		return err
	}
	s := engine.Step{
		Session: st.open.Session, Pos: shard.Pos(m.GetPos()), Tokens: w.tokens, Hidden: w.hidden, Keys: st.keyring.keys(hashes),
		Reuse: &st.result,
	}
	if last {
		s.Want, s.Summary = engine.Want(m.GetWant()), hop.Request(m)
		if s.Full = m.GetFull(); s.Full {
			// All logits travel as floats, not as a Dist of the whole vocabulary.
			s.Summary.Full, s.Summary.K = false, 0
		}
	}
	res, err := st.held.Engine.Step(st.done, s)
	if err != nil {
		return err
	}
	st.result = engine.Result{}
	if m.GetCount() == 1 { // what follows decode is decode; all else may be large
		st.result = res
	}
	st.steps++
	st.compute += res.Compute
	st.queue += res.Queue
	m.Times = append(m.Times, &wirepb.StageTime{
		ComputeUs: uint32(res.Compute.Microseconds()), QueueUs: uint32(res.Queue.Microseconds()),
	})
	if last {
		st.lastPos = s.Pos + shard.Pos(m.GetCount()) - 1
		return st.sendResult(m, res)
	}
	return st.sendHidden(m, res.Hidden)
}

// sendHidden passes hidden states to the next stage.
func (st *stage) sendHidden(m *wirepb.Step, hidden []uint16) error {
	codec, raw, began := st.open.Codec, 2*len(hidden), time.Now()
	if codec == wire.CodecNone {
		codec = st.sendCost.codec(raw)
	}
	payload, codec, err := st.packer.Encode(st.payload[:0], codec, hidden)
	if err != nil {
		return err
	}
	st.payload = payload
	packed := time.Now()
	st.sendCost.packed(raw, len(payload), packed.Sub(began), codec)
	m.Codec, m.SentUnixUs = uint32(codec), packed.UnixMicro()
	n, err := st.next.Send(wire.KindStep, m, payload)
	st.sendCost.sent(n, time.Since(packed))
	return err
}

// sendResult answers the driver.
func (st *stage) sendResult(m *wirepb.Step, res engine.Result) error {
	out := &wirepb.Result{Epoch: m.GetEpoch(), Pos: m.GetPos(), Count: m.GetCount(), Times: m.GetTimes()}
	for _, d := range res.Dists {
		out.Dists = append(out.Dists, hop.DistMessage(d))
	}
	if len(res.Logits) > 0 {
		out.Rows = uint32(len(res.Logits) / st.held.Vocab)
	}
	out.SentUnixUs = time.Now().UnixMicro()
	_, err := st.control.Send(wire.KindResult, out, appendFloats(nil, res.Logits))
	if _, ok := errors.AsType[*shard.StageError](err); err != nil && !ok {
		return st.invalid("more logits are wanted than fit an answer: %v", err)
	}
	return err
}

// more sends all logits of the last position.
func (st *stage) more(m *wirepb.More) error {
	if shard.Epoch(m.GetEpoch()) != st.open.Epoch {
		return nil
	}
	if st.open.Next != nil || st.steps == 0 || shard.Pos(m.GetPos()) != st.lastPos {
		return st.control.Invalid("more logits of position %d: the last stage keeps those of %d", m.GetPos(), st.lastPos)
	}
	logits, err := st.held.Engine.More(st.done, st.open.Session)
	if err != nil {
		return err
	}
	out := &wirepb.Result{Epoch: uint32(st.open.Epoch), Pos: m.GetPos(), Count: 1, Rows: 1, SentUnixUs: time.Now().UnixMicro()}
	_, err = st.control.Send(wire.KindResult, out, appendFloats(nil, logits))
	return err
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
	if conn := st.inbound.Load(); conn != nil {
		return conn.Path()
	}
	return hop.Path{} // no neighbour has linked
}

// appendFloats appends v as little-endian float32.
func appendFloats(dst []byte, v []float32) []byte {
	dst = slices.Grow(dst, 4*len(v))
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}
