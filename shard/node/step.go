package node

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// step runs one step and passes its result on.
func (st *stage) step(w work) error {
	m := w.step
	turn, current := st.turnOf(shard.Epoch(m.GetEpoch()))
	if !current {
		return nil // the session has taken another route since it came
	}
	st.meter.Add(w.bytes, wire.Codec(m.GetCodec()), m.GetSentUnixUs(), w.at)
	last := st.open.Next == nil
	hashes, err := hop.ParseHashes(m.GetChain())
	if err != nil {
		return err
	}
	s := engine.Step{
		Session: st.id, Pos: shard.Pos(m.GetPos()), Tokens: w.tokens, Hidden: w.hidden, Keys: st.keyring.keys(hashes),
		Reuse: &st.result,
	}
	if last {
		s.Want, s.Summary = engine.Want(m.GetWant()), hop.Request(m)
		if s.Full = m.GetFull(); s.Full {
			// All logits travel as floats, not as a Dist of the whole vocabulary.
			s.Summary.Full, s.Summary.K = false, 0
		}
	}
	before := min(st.at, s.Pos)
	res, err := st.held.Engine.Step(turn, s)
	st.result = engine.Result{} // after an error its memory is the engine's
	if err != nil {
		st.at = before
		if turn.Err() != nil && st.done.Err() == nil {
			return nil // the session takes another route
		}
		return err
	}
	if m.GetCount() == 1 { // what follows decode is decode; all else may be large
		st.result = res
	}
	st.at = s.Pos + shard.Pos(m.GetCount())
	st.steps++
	st.compute += res.Compute
	st.queue += res.Queue
	m.Times = append(m.Times, &wirepb.StageTime{
		ComputeUs: uint32(res.Compute.Microseconds()), QueueUs: uint32(res.Queue.Microseconds()),
	})
	if err := st.pass(m, res); err != nil || last {
		return err
	}
	return st.remember(s.Pos, s.Keys)
}

// pass sends what came out of the step m to who is next.
func (st *stage) pass(m *wirepb.Step, res engine.Result) error {
	var err error
	switch {
	case st.open.Next != nil:
		err = st.sendHidden(m, res.Hidden)
	case m.GetReplay():
		st.lastPos = st.at - 1
		if more := st.pending; more != nil && int64(more.GetPos()) == int64(st.lastPos) {
			st.pending = nil
			err = st.more(more)
		}
	default:
		st.lastPos = st.at - 1
		err = st.sendResult(m, res)
	}
	if err == nil && m.GetReplay() {
		err = st.tellHeld(wire.KindFilled, shard.Epoch(m.GetEpoch()))
	}
	return err
}

// sendHidden keeps hidden states in the log and passes them to the next stage.
func (st *stage) sendHidden(m *wirepb.Step, hidden []uint16) error {
	payload, err := st.encode(m, hidden)
	if err != nil {
		return err
	}
	if err := st.log.put(shard.Pos(m.GetPos()), int(m.GetCount()), wire.Codec(m.GetCodec()), payload); err != nil {
		st.node.cfg.Logger.Warn().Stringer("session", st.open.Session).Stringer("span", st.open.Span).Err(err).
			Msg("log of a session is incomplete, more has to be computed again if the next stage is lost")
	}
	if st.at <= st.sendFrom {
		return nil // the next stage has them
	}
	st.send(m, payload)
	return nil
}

// encode returns the payload of m, valid until the next call, and says in m
// what it is.
func (st *stage) encode(m *wirepb.Step, hidden []uint16) ([]byte, error) {
	codec, raw, began := st.open.Codec, 2*len(hidden), time.Now()
	if codec == wire.CodecNone {
		codec = st.sendCost.codec(raw)
	}
	payload, codec, err := st.packer.Encode(st.payload[:0], codec, hidden)
	if err != nil {
		return nil, err
	}
	st.payload = payload
	packed := time.Now()
	st.sendCost.packed(raw, len(payload), packed.Sub(began), codec)
	m.Codec, m.SentUnixUs = uint32(codec), packed.UnixMicro()
	return payload, nil
}

// send passes a frame to the next stage. When that is not there any more the
// driver hears of it, and what is computed until there is a new route is in the
// log. It reports whether the frame was sent.
func (st *stage) send(m *wirepb.Step, payload []byte) bool {
	next := st.next // the worker alone sets it
	if next == nil || next.broken.Load() {
		return false
	}
	began := time.Now()
	n, err := next.conn.Send(wire.KindStep, m, payload)
	if err == nil {
		st.sendCost.sent(n, time.Since(began))
		return true
	}
	if next.broken.CompareAndSwap(false, true) {
		if _, current := st.turnOf(shard.Epoch(m.GetEpoch())); current {
			st.lost(next.to.Peer, err)
		}
	}
	return false
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
	epoch := shard.Epoch(m.GetEpoch())
	turn, current := st.turnOf(epoch)
	if !current {
		return nil
	}
	if st.open.Next == nil && int64(m.GetPos()) >= int64(st.at) {
		st.pending = m // the replay of that position is on its way
		return nil
	}
	if st.open.Next != nil || st.steps == 0 || shard.Pos(m.GetPos()) != st.lastPos {
		return st.control.Invalid("more logits of position %d: the last stage keeps those of %d", m.GetPos(), st.lastPos)
	}
	logits, err := st.held.Engine.More(turn, st.id)
	if err != nil {
		if turn.Err() != nil && st.done.Err() == nil {
			return nil
		}
		return err
	}
	out := &wirepb.Result{Epoch: uint32(epoch), Pos: m.GetPos(), Count: 1, Rows: 1, SentUnixUs: time.Now().UnixMicro()}
	_, err = st.control.Send(wire.KindResult, out, appendFloats(nil, logits))
	return err
}

// appendFloats appends v as little-endian float32.
func appendFloats(dst []byte, v []float32) []byte {
	dst = slices.Grow(dst, 4*len(v))
	for _, x := range v {
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
	}
	return dst
}
