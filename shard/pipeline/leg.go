package pipeline

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// A leg is a stage that is open, with the stream to it.
type leg struct {
	Stage
	conn *hop.Conn

	held     atomic.Int32  // positions that it has said to hold
	logFrom  shard.Pos     // as it last said; of who has the turn
	next     *leg          // what it sends to; of who has the turn
	rerouted chan standing // capacity 1
	answered chan standing // to a Fill; capacity 1
	fill     atomic.Uint32 // epoch of the route to come that it works for; 0: none

	// Guarded by blame.mu.
	fault *shard.StageError // why it is lost
	over  bool              // its stream is not read any more

	// What it measured, for Stats; of who has the turn.
	compute, queue time.Duration
	token          time.Duration // of a step of one token, smoothed
	inbound        *wirepb.Hop
}

// A standing is how far a stage is.
type standing struct {
	epoch         shard.Epoch
	held, logFrom shard.Pos
}

func newLeg(st Stage) *leg {
	return &leg{Stage: st, rerouted: make(chan standing, 1), answered: make(chan standing, 1)}
}

// invite returns what stage i of legs is asked to be in the route with the
// given epoch.
func (s *Session) invite(legs []*leg, i int, epoch shard.Epoch) hop.Open {
	l := legs[i]
	open := hop.Open{
		Session: s.id, Epoch: epoch, Model: s.cfg.Model, KV: s.cfg.KV, Span: l.Span,
		MaxTokens: s.cfg.MaxTokens, Codec: s.cfg.Codec, Prefix: s.prefix.of(legs, i),
	}
	if i > 0 {
		open.Prev = legs[i-1].Peer
	}
	if i+1 < len(legs) {
		open.Next, l.next = &legs[i+1].Neighbour, legs[i+1]
	}
	return open
}

// openLeg opens the stage l as open says.
func (s *Session) openLeg(ctx context.Context, l *leg, open hop.Open) error {
	fail := func(err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		named, _ := s.name(l, err)
		return named
	}
	stream, err := s.cfg.Dial(ctx, l.Neighbour)
	if err != nil {
		return fail(err)
	}
	l.conn = hop.NewConn(stream, l.Peer, 0)
	s.mu.Lock()
	s.open[l] = true
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { _ = l.conn.Close() })
	defer stop()
	if s.ctx.Err() != nil { // hangUp may have missed it
		_ = l.conn.Close()
	}
	if _, err := l.conn.Send(wire.KindOpen, open.Message(), nil); err != nil {
		return fail(err)
	}
	var opened wirepb.Opened
	if _, err := l.conn.Expect(wire.KindOpened, &opened); err != nil {
		return fail(err)
	}
	if !stop() {
		return context.Cause(ctx)
	}
	if err := takeReady(l, open.Prefix, &opened); err != nil {
		return fail(err)
	}
	if open.Next != nil {
		return nil
	}
	vocab := int(opened.GetVocab())
	switch {
	case vocab < 1 || vocab > maxVocab:
		return fail(l.conn.Invalid("a vocabulary of %d tokens, want 1 to %d", vocab, maxVocab))
	case s.vocab != 0 && vocab != s.vocab:
		return fail(l.conn.Invalid("a vocabulary of %d tokens, the session's is %d", vocab, s.vocab))
	}
	if s.vocab == 0 {
		s.vocab = vocab
	}
	return nil
}

// maxVocab bounds what the last stage may say of its vocabulary.
const maxVocab = 1 << 24

// drop closes the stream to l.
func (s *Session) drop(l *leg) {
	s.mu.Lock()
	delete(s.open, l)
	s.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// name returns err, which l gave, with what the route knows of the peer that it
// blames, and that leg: l itself, if it blames nobody of the route.
func (s *Session) name(l *leg, err error) (*shard.StageError, *leg) {
	named := shard.StageError{Code: shard.Unreachable, Text: err.Error()}
	if stage, ok := errors.AsType[*shard.StageError](err); ok {
		named = *stage
	}
	at := s.legOf(named.Peer, l)
	if at != l {
		named.Text += ", says " + l.Name
	}
	named.Peer, named.Name, named.Span = at.Peer, cmp.Or(at.Name, named.Name), at.Span
	return &named, at
}

// legOf returns the leg that a peer is, or if none. A peer may be several: the
// neighbours of or come first.
func (s *Session) legOf(peer shard.PeerID, or *leg) *leg {
	if peer == or.Peer {
		return or
	}
	legs, best := s.legsNow(), or
	for i, l := range legs {
		if l.Peer != peer {
			continue
		}
		if i > 0 && legs[i-1] == or || i+1 < len(legs) && legs[i+1] == or {
			return l
		}
		if best == or {
			best = l
		}
	}
	return best
}

// fault says that err, which l gave, is the end of a stage.
func (s *Session) fault(l *leg, err error) *leg {
	named, about := s.name(l, err)
	s.blame.add(l, about, named)
	return about
}

// read takes what stage l says until its stream ends.
func (s *Session) read(l *leg) {
	defer s.blame.silent(l)
	for {
		f, err := l.conn.Recv()
		if errors.Is(err, io.EOF) {
			err = &shard.StageError{Peer: l.Peer, Code: shard.Unreachable, Text: "the peer closed the session"}
		}
		if err == nil {
			var last bool
			last, err = s.handle(l, f)
			if last {
				return
			}
		}
		if err != nil {
			s.fault(l, err)
			return
		}
	}
}

// handle takes one frame of stage l. It reports true after the last.
func (s *Session) handle(l *leg, f wire.Frame) (last bool, err error) {
	switch f.Kind {
	case wire.KindResult:
		return false, s.takeResult(l, f)
	case wire.KindClosed:
		m := &wirepb.Closed{}
		if !s.closing.Load() {
			return false, l.conn.Invalid("the stage closed the session unasked")
		}
		err := l.conn.Unmarshal(f, m)
		s.closed <- closedStage{leg: l, m: m} // capacity: one a stage
		return true, err
	case wire.KindLost:
		var m wirepb.Lost
		if err := l.conn.Unmarshal(f, &m); err != nil {
			return false, err
		}
		epoch, lost, err := hop.ParseLost(&m)
		if err != nil {
			return false, l.conn.Invalid("%v", err)
		}
		if uint32(epoch) == s.epoch.Load() {
			s.fault(l, lost)
		}
		return false, nil
	case wire.KindRerouted, wire.KindFilled:
		return false, s.takeStanding(l, f)
	case wire.KindLeaving:
		s.mover.leaving(l)
		return false, nil
	}
	return false, l.conn.Invalid("got a frame of kind %d from a stage", f.Kind)
}

// takeResult takes a result of the last stage.
func (s *Session) takeResult(l *leg, f wire.Frame) error {
	if legs := s.legsNow(); l.Span.End != legs[len(legs)-1].Span.End {
		return l.conn.Invalid("a result from a stage that is not the last")
	}
	r := result{m: &wirepb.Result{}, bytes: len(f.Header) + len(f.Payload), at: time.Now()}
	if err := l.conn.Unmarshal(f, r.m); err != nil {
		return err
	}
	if r.m.GetEpoch() < s.epoch.Load() {
		return nil // of an older route
	}
	r.payload = append(r.payload, f.Payload...)
	select {
	case s.results <- r:
		return nil
	default:
		return l.conn.Invalid("more results than steps")
	}
}

// takeStanding takes how far a stage says that it is.
func (s *Session) takeStanding(l *leg, f wire.Frame) error {
	epoch, held, logFrom, err := l.conn.Held(f)
	if err != nil {
		return err
	}
	now, fill := s.epoch.Load(), l.fill.Load()
	at := standing{epoch: epoch, held: held, logFrom: logFrom}
	switch {
	case f.Kind == wire.KindRerouted && uint32(epoch) == now:
		offer(l.rerouted, at)
	case f.Kind == wire.KindFilled && (uint32(epoch) == now || uint32(epoch) == fill):
		offer(l.answered, at) // whoever filled before it is looked at
		l.held.Store(int32(held))
		offer(s.filled, struct{}{})
	}
	return nil
}

// offer sends v unless c is full.
func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}
