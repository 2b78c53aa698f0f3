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
const maxAhead = 2

// A stage is one session's span on this node.
type stage struct {
	node    *Node
	open    hop.Open
	held    *Held // set by admit
	control *hop.Conn
	next    *hop.Conn // nil on the last stage
	in      chan work // capacity maxAhead
	linked  atomic.Bool
	rtt     atomic.Int64 // of the inbound hop, nanoseconds

	done   context.Context // ends with the session
	finish context.CancelFunc

	failure sync.Once // the first failure is the one that is told

	// Used by the worker alone.
	packer  wire.Packer
	payload []byte
	meter   *hop.Meter
	steps   uint64
	compute time.Duration
	queue   time.Duration
	lastPos shard.Pos // position of the last logits given; valid if steps > 0
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

func newStage(n *Node, open hop.Open, control *hop.Conn, rtt time.Duration) *stage {
	done, finish := context.WithCancel(context.Background())
	st := &stage{node: n, open: open, control: control, in: make(chan work, maxAhead), done: done, finish: finish}
	st.rtt.Store(int64(rtt))
	return st
}

// prepare reserves memory, links to the next stage and tells the driver.
func (st *stage) prepare(ctx context.Context) error {
	if err := st.held.Engine.Open(st.open.Session, st.open.Span, st.open.MaxTokens); err != nil {
		return err
	}
	if st.open.Next != nil {
		if err := st.link(ctx); err != nil {
			return err
		}
	}
	opened := &wirepb.Opened{Version: hop.Version, Dim: uint32(st.held.Dim)}
	if st.open.Next == nil {
		opened.Vocab = uint32(st.held.Vocab)
	}
	_, err := st.control.Send(wire.KindOpened, opened, nil)
	return err
}

// link opens the hop to the next stage.
func (st *stage) link(ctx context.Context) error {
	if st.node.cfg.Dial == nil {
		return &shard.StageError{Span: st.open.Span, Code: shard.Invalid, Text: "this peer is alone and reaches no next stage"}
	}
	stream, err := st.node.cfg.Dial(ctx, *st.open.Next)
	if err != nil {
		return &shard.StageError{
			Peer: st.open.Next.Peer, Name: st.open.Next.Name, Code: shard.Unreachable,
			Text: fmt.Sprintf("from %s: %v", st.node.cfg.Name, err),
		}
	}
	conn := hop.NewConn(stream, st.open.Next.Peer, 0)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	_, err = conn.Send(wire.KindLink, &wirepb.Link{
		Version: hop.Version, Session: st.open.Session[:], Epoch: uint32(st.open.Epoch),
	}, nil)
	if err == nil {
		_, err = conn.Expect(wire.KindLinked, &wirepb.Linked{})
	}
	if err != nil {
		conn.Close()
		return err
	}
	st.next = conn
	return nil
}

// release gives back all that st holds.
func (st *stage) release() {
	st.finish()
	if st.next != nil {
		st.next.Close()
	}
	st.held.Engine.CloseSession(st.open.Session)
	st.node.remove(st)
}

// run serves the session until it ends. cancel ends ctx, which closes the
// driver's stream.
func (st *stage) run(ctx context.Context, cancel context.CancelCauseFunc) {
	defer st.release()
	stop := context.AfterFunc(st.done, func() { cancel(context.Canceled) })
	defer stop()
	stopDone := context.AfterFunc(ctx, st.finish)
	defer stopDone()

	var worker sync.WaitGroup
	worker.Go(func() {
		defer st.finish()
		st.work(ctx)
	})
	st.readControl()
	st.finish()
	worker.Wait()
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
		st.control.Send(wire.KindError, hop.ErrorMessage(err, st.node.cfg.Self, st.node.cfg.Name), nil) //nolint:errcheck // the driver may be gone
	})
	st.finish()
}

// work runs what arrives until the session ends.
func (st *stage) work(ctx context.Context) {
	if st.next != nil {
		// A neighbour says nothing after Linked but what went wrong.
		var watch sync.WaitGroup
		defer watch.Wait()
		defer st.next.Close()
		watch.Go(func() {
			if _, err := st.next.Recv(); err != nil && !errors.Is(err, io.EOF) {
				st.fail(err)
			}
		})
	}
	st.meter = hop.NewMeter(time.Duration(st.rtt.Load()))
	for {
		select {
		case <-st.done.Done():
			return
		case w := <-st.in:
			var err error
			switch {
			case w.close:
				st.sayClosed()
				return
			case w.more != nil:
				err = st.more(ctx, w.more)
			default:
				err = st.step(ctx, w)
			}
			if err != nil {
				st.fail(err)
				return
			}
		}
	}
}

// step runs one step and passes its result on.
func (st *stage) step(ctx context.Context, w work) error {
	m := w.step
	if shard.Epoch(m.GetEpoch()) != st.open.Epoch {
		return nil // a frame of an older route (ARCHITECTURE §3.2)
	}
	st.meter.Add(w.bytes, wire.Codec(m.GetCodec()), m.GetSentUnixUs(), w.at)
	last := st.open.Next == nil
	s := engine.Step{Session: st.open.Session, Pos: shard.Pos(m.GetPos()), Tokens: w.tokens, Hidden: w.hidden}
	if last {
		s.Want, s.Summary = engine.Want(m.GetWant()), hop.Request(m)
		if s.Full = m.GetFull(); s.Full {
			// All logits travel as floats, not as a Dist of the whole vocabulary.
			s.Summary.Full, s.Summary.K = false, 0
		}
	}
	res, err := st.held.Engine.Step(ctx, s)
	if err != nil {
		return err
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
	payload, codec, err := st.packer.Encode(st.payload[:0], st.open.Codec, hidden)
	if err != nil {
		return err
	}
	st.payload = payload
	m.Codec, m.SentUnixUs = uint32(codec), time.Now().UnixMicro()
	_, err = st.next.Send(wire.KindStep, m, payload)
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
	_, err := st.control.Send(wire.KindResult, out, appendFloats(st.payload[:0], res.Logits))
	return err
}

// more sends all logits of the last position.
func (st *stage) more(ctx context.Context, m *wirepb.More) error {
	if st.open.Next != nil || st.steps == 0 || shard.Pos(m.GetPos()) != st.lastPos {
		return st.control.Invalid("more logits of position %d: the last stage keeps those of %d", m.GetPos(), st.lastPos)
	}
	logits, err := st.held.Engine.More(ctx, st.open.Session)
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
		Inbound: st.meter.Message(),
	}, nil)
}

// appendFloats appends v as little-endian float32.
func appendFloats(dst []byte, v []float32) []byte {
	dst = slices.Grow(dst, 4*len(v))
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}
