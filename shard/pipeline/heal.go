package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// Broken says what of a route is left, for [Config.Repair].
type Broken struct {
	// Route is the route as it was.
	Route []Stage
	// Kept says of each stage whether it may stay. One that is in the new
	// route with the same peer and span keeps what it has computed.
	Kept []bool
	// Lost are peers that do not answer, lately. They are for routes that
	// can't be without them: a peer may have been late only.
	Lost []shard.PeerID
	// Avoid are peers that refused the session, failed, or leave.
	Avoid []shard.PeerID
	// Tokens is how many positions a stage has to reserve, and Held how many of
	// these a new one has to compute first.
	Tokens int
	Held   shard.Pos
	// Cause is what happened first; nil if stages only leave.
	Cause *shard.StageError
	// Leaving says that no stage is lost yet: those that are not kept serve on
	// until the others are there.
	Leaving bool
}

// shunTime is how long a session goes on to avoid a peer that it has lost.
// Gossip needs about as long to find out.
const shunTime = 20 * time.Second

// A shunned peer is not asked again for a while.
type shunned struct {
	peer  shard.PeerID
	until time.Time
	lost  bool // it does not answer; else it refused or failed
}

// A healing is what a session goes through until it gives results again.
type healing struct {
	began    time.Time // when it last gave one, or was asked
	at       shard.Pos
	lost     []Stage
	replayed int
	planned  bool
}

// errPeerTimeout ends the wait for peers.
var errPeerTimeout = errors.New("no route in time")

// roundWait is the first pause between two tries to repair a route; it doubles.
const (
	roundWait    = 20 * time.Millisecond
	maxRoundWait = time.Second
)

// heal brings the session to a route that is whole. When ctx ends first, the
// next call goes on. An error that is not ctx's has ended the session.
func (s *Session) heal(ctx context.Context) error {
	user := ctx
	ctx, stop := context.WithTimeoutCause(ctx, s.cfg.PeerTimeout, errPeerTimeout)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stopWithSession := context.AfterFunc(s.ctx, func() { cancel(context.Cause(s.ctx)) })
	defer stopWithSession()
	s.mover.spoil()
	_, cause := s.blame.lost()
	for wait := roundWait; ; wait = min(2*wait, maxRoundWait) {
		err := s.round(ctx)
		switch {
		case err == nil:
			return nil
		case s.ctx.Err() != nil:
			return context.Cause(s.ctx)
		case user.Err() != nil:
			return context.Cause(user)
		case ctx.Err() != nil:
			return s.end(s.unhealed(cause, fmt.Errorf("no other route within %v: %w", s.cfg.PeerTimeout, err)))
		}
		if none, ok := errors.AsType[*noRouteError](err); ok {
			return s.end(s.unhealed(cause, none.error))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// unhealed returns why a session ends that lost a stage because of cause and
// was not repaired because of err.
func (s *Session) unhealed(cause *shard.StageError, err error) error {
	if cause == nil {
		return err
	}
	return fmt.Errorf("%w; %w", cause, err)
}

// end ends the session because of err, and returns why it has ended.
func (s *Session) end(err error) error {
	s.blame.settle(err)
	return context.Cause(s.ctx)
}

// A noRouteError is an error of Config.Repair.
type noRouteError struct{ error }

// round tries once to repair the route.
func (s *Session) round(ctx context.Context) error {
	lost, cause := s.blame.lost()
	if s.healing == nil {
		s.healing = &healing{began: s.pace.last(time.Now()), at: s.agreed()}
		if len(s.sent) == 0 {
			s.healing.began = time.Now()
		}
	}
	for l, fault := range lost {
		s.drop(l)
		s.avoid(l, fault)
		if !slices.ContainsFunc(s.healing.lost, func(st Stage) bool { return st.Peer == l.Peer && st.Span == l.Span }) {
			s.healing.lost = append(s.healing.lost, l.Stage)
		}
	}
	b := s.broken()
	if len(lost) == 0 { // the route is silent, or was not finished: whoever does not answer now is lost
		within := lateTime
		if slices.Contains(b.Kept, false) {
			within = s.cfg.OpenTimeout
		}
		return s.reroute(ctx, b.Route, within, 0)
	}
	b.Cause = cause
	route, err := s.cfg.Repair(ctx, b)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		return &noRouteError{err}
	}
	if err := s.checkRoute(route); err != nil {
		return &noRouteError{err}
	}
	return s.reroute(ctx, route, s.cfg.OpenTimeout, 0)
}

// broken returns what is left of the route.
func (s *Session) broken() Broken {
	b := Broken{Tokens: s.cfg.MaxTokens, Held: s.agreed()}
	for _, l := range s.legsNow() {
		b.Route = append(b.Route, l.Stage)
		b.Kept = append(b.Kept, s.blame.stays(l))
	}
	now := time.Now()
	s.shun = slices.DeleteFunc(s.shun, func(x shunned) bool { return now.After(x.until) })
	for _, x := range s.shun {
		if x.lost {
			b.Lost = append(b.Lost, x.peer)
		} else {
			b.Avoid = append(b.Avoid, x.peer)
		}
	}
	return b
}

// checkRoute returns an error unless route covers the layers of the session.
func (s *Session) checkRoute(route []Stage) error {
	legs := s.legsNow()
	if err := contiguous(route); err != nil {
		return err
	}
	end := legs[len(legs)-1].Span.End
	if n := len(route); n == 0 || n > hop.MaxStages || route[n-1].Span.End != end {
		return fmt.Errorf("pipeline: a new route of %d stages, want 1 to %d that end with layer %d", n, hop.MaxStages, end)
	}
	return nil
}

// avoid has the peer of l not asked again for a while.
func (s *Session) avoid(l *leg, fault *shard.StageError) {
	x := shunned{peer: l.Peer, until: time.Now().Add(shunTime)}
	switch fault.Code {
	case shard.Unreachable, shard.TimedOut, shard.Stale, shard.Gap:
		x.lost = true
	}
	s.shun = slices.DeleteFunc(s.shun, func(o shunned) bool { return o.peer == x.peer })
	s.shun = append(s.shun, x)
}

// agreed returns how many positions all stages have the same of: those before
// the first step that has no result.
func (s *Session) agreed() shard.Pos {
	for _, f := range s.sent {
		if f.step != nil {
			return shard.Pos(f.step.GetPos())
		}
	}
	return s.held
}

// reroute brings the session to route, in which stages that are there already
// keep what they have. filled is the epoch of the stages to come that are open
// already, 0 for none.
func (s *Session) reroute(ctx context.Context, route []Stage, within time.Duration, filled shard.Epoch) error {
	old := s.legsNow()
	s.whole = false
	// What was said of the old route is of no interest any more.
	s.epochs++
	epoch := s.epochs
	s.epoch.Store(uint32(epoch))
	for len(s.results) > 0 {
		<-s.results
	}
	legs := s.match(old, route, filled)
	s.setLegs(legs)
	s.blame.begin(legs)
	s.prefix.upto(s.agreed() - 1)
	err := s.arrange(ctx, legs, epoch, within, filled)
	for _, l := range old {
		if !slices.Contains(legs, l) {
			s.drop(l)
		}
	}
	if err != nil {
		return err
	}
	return s.resume(ctx, legs, epoch)
}

// match returns the legs of route: those of old that go on, those that are to
// come, and new ones.
func (s *Session) match(old []*leg, route []Stage, filled shard.Epoch) []*leg {
	have := slices.Clone(old)
	if filled != 0 {
		have = append(have, s.mover.legs...)
	}
	var out []*leg
	for _, st := range route {
		i := slices.IndexFunc(have, func(l *leg) bool {
			return l.Peer == st.Peer && l.Span == st.Span && s.blame.stays(l)
		})
		if i < 0 {
			out = append(out, newLeg(st))
			continue
		}
		out = append(out, have[i])
		have = slices.Delete(have, i, i+1)
	}
	return out
}

func (s *Session) setLegs(legs []*leg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.legs = legs
}

// arrange has every stage of legs open and in the route with the given epoch.
func (s *Session) arrange(ctx context.Context, legs []*leg, epoch shard.Epoch, within time.Duration, filled shard.Epoch) error {
	broken := s.blame.state()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make([]chan struct{}, len(legs))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for i, l := range legs {
		done[i] = make(chan struct{})
		enter := s.joiner(legs, i, epoch, filled)
		wg.Go(func() {
			if err := enter(ctx); err == nil {
				close(done[i])
			} else if ctx.Err() == nil {
				s.fault(l, err)
			}
		})
	}
	late := time.NewTimer(within)
	defer late.Stop()
	for i := len(legs) - 1; i >= 0; i-- {
		select {
		case <-done[i]:
		case <-broken:
			_, fault := s.blame.lost()
			return fault
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-late.C:
			// A stage waits for the next one, so the last that is missing is
			// at fault.
			s.fault(legs[i], &shard.StageError{Peer: legs[i].Peer, Code: shard.TimedOut, Text: fmt.Sprintf("the stage did not answer within %v", within)})
			_, fault := s.blame.lost()
			return fault
		}
	}
	return nil
}

// joiner returns what brings stage i of legs into the route.
func (s *Session) joiner(legs []*leg, i int, epoch shard.Epoch, filled shard.Epoch) func(context.Context) error {
	l := legs[i]
	if l.conn == nil {
		open := s.invite(legs, i, epoch)
		open.Wait = true
		return func(ctx context.Context) error {
			if err := s.openLeg(ctx, l, open); err != nil {
				return err
			}
			s.readers.Go(func() { s.read(l) })
			return nil
		}
	}
	r := hop.Reroute{Epoch: epoch, Lineage: s.prefix.lineage(legs, i)}
	if i > 0 {
		r.Prev = legs[i-1].Peer
	}
	if i+1 < len(legs) {
		next := legs[i+1]
		r.Next, r.Relink = &next.Neighbour, l.next != next
		if f := next.fill.Load(); filled != 0 && f == uint32(filled) && l.fill.Load() == f && r.Relink {
			r.Filled = filled
		}
		l.next = next
	}
	select { // of a route before
	case <-l.rerouted:
	default:
	}
	return func(ctx context.Context) error {
		if _, err := l.conn.Send(wire.KindReroute, r.Message(), nil); err != nil {
			return err
		}
		select {
		case at := <-l.rerouted:
			if at.epoch != epoch {
				return l.conn.Invalid("the stage answered a reroute of epoch %d, want %d", at.epoch, epoch)
			}
			l.held.Store(int32(at.held))
			l.logFrom = at.logFrom
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// needs returns for each stage the first position that it needs to be sent
// again, of those before agreed, and agreed after the last: what it lacks
// itself, or what the next one lacks and it has no log of.
func needs(held, logFrom []shard.Pos, agreed shard.Pos) []shard.Pos {
	n := len(held)
	from := make([]shard.Pos, n+1)
	from[n] = agreed
	for i := n - 1; i >= 0; i-- {
		from[i] = min(held[i], agreed)
		if next := from[i+1]; next < from[i] && logFrom[i] > next {
			from[i] = next
		}
	}
	return from
}

// resume has the stages replay what others lack, and sends again what has no
// result yet.
func (s *Session) resume(ctx context.Context, legs []*leg, epoch shard.Epoch) error {
	agreed := s.agreed()
	var held, logFrom []shard.Pos
	for _, l := range legs {
		held, logFrom = append(held, shard.Pos(l.held.Load())), append(logFrom, l.logFrom)
	}
	from := needs(held, logFrom, agreed)
	for i, l := range legs {
		l.held.Store(int32(from[i]))
		r := hop.Resume{Epoch: epoch, SendFrom: from[i+1]}
		if from[i+1] < from[i] {
			r.ReplayFrom, r.ReplayTo = from[i+1], from[i]
		}
		if _, err := l.conn.Send(wire.KindResume, r.Message(), nil); err != nil {
			return s.lostIn(l, err)
		}
	}
	if s.healing != nil {
		s.healing.replayed = max(s.healing.replayed, int(agreed-slices.Min(from)))
	}
	if err := s.replay(ctx, legs[0], from[0], agreed, epoch); err != nil {
		return err
	}
	s.whole = true
	for _, f := range s.sent {
		if err := s.sendFrame(ctx, f); err != nil {
			return err
		}
	}
	if len(s.sent) == 0 {
		s.healed(time.Now())
	}
	return nil
}

// lostIn says that l is lost because of err while a route is made, and returns
// why.
func (s *Session) lostIn(l *leg, err error) error {
	if ended := s.broke(l, err); ended != nil {
		return ended
	}
	_, fault := s.blame.lost()
	return fault
}

// replay sends the first stage the tokens [pos, end) again. It goes no further
// ahead than steps do, so that another route is heard of in between.
func (s *Session) replay(ctx context.Context, l *leg, pos, end shard.Pos, epoch shard.Epoch) error {
	broken := s.blame.state()
	chunk := shard.Pos(max(s.cfg.ChunkTokens, 64))
	for pos < end {
		if pos >= shard.Pos(l.held.Load())+hop.MaxInFlight/2*chunk {
			select {
			case <-s.filled:
			case <-broken:
				_, fault := s.blame.lost()
				return fault
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			continue
		}
		n := min(chunk, end-pos)
		m := &wirepb.Step{Epoch: uint32(epoch), Pos: uint32(pos), Count: uint32(n), Replay: true, SentUnixUs: time.Now().UnixMicro()}
		if _, err := l.conn.Send(wire.KindStep, m, tokenBytes(s.history[pos:pos+n])); err != nil {
			return s.lostIn(l, err)
		}
		pos += n
	}
	return nil
}

// healed notes that the session gives results again.
func (s *Session) healed(now time.Time) {
	h := s.healing
	if h == nil {
		return
	}
	s.healing = nil
	route := s.Route()
	for _, lost := range h.lost {
		r := Recovery{At: h.at, Lost: lost, Pause: now.Sub(h.began), ReplayedTokens: h.replayed, Planned: h.planned}
		for _, st := range route {
			if st.Span.Overlap(lost.Span).Len() > 0 {
				r.Replacement = append(r.Replacement, st)
			}
		}
		s.mu.Lock()
		s.stats.recoveries = append(s.stats.recoveries, r)
		s.mu.Unlock()
		if s.cfg.Healed != nil {
			s.cfg.Healed(r)
		}
	}
}

// A pace is how long a token takes, to know when a route is late.
type pace struct {
	began    time.Time     // when the oldest frame without a result was sent, or the last result came
	perToken time.Duration // 0 while it is not known
	alarms   int           // since the last result
}

// add notes that a frame of so many tokens was answered.
func (p *pace) add(tokens int, now time.Time) {
	took := now.Sub(p.began) / time.Duration(tokens)
	if took > p.perToken {
		p.perToken = took
	} else {
		p.perToken -= (p.perToken - took) / 8
	}
	p.began, p.alarms = now, 0
}

// last returns when the session last gave a sign of life, at the latest now.
func (p *pace) last(now time.Time) time.Time {
	if p.began.IsZero() {
		return now
	}
	return p.began
}

// Times of a route that is late.
const (
	leastPatience = 5 * time.Second // without any result
	lateTime      = 3 * time.Second // to say how far a stage is, when it is asked
	lateFactor    = 20              // times what it took before
)

// patience returns how long to wait for a result.
func (s *Session) patience() time.Duration {
	if s.cfg.Repair == nil || s.pace.perToken == 0 {
		return s.cfg.StepTimeout
	}
	tokens := 0
	for _, f := range s.sent {
		tokens += max(1, len(f.tokens))
	}
	d := max(leastPatience, lateFactor*time.Duration(tokens)*s.pace.perToken)
	return min(d<<min(s.pace.alarms, 8), s.cfg.StepTimeout)
}

// late does what is to do when no result has come for too long though every
// peer is connected: the stages are asked how far they are, and those that say
// nothing are lost.
func (s *Session) late(ctx context.Context) error {
	if s.cfg.Repair == nil {
		legs := s.legsNow()
		last := legs[len(legs)-1]
		return s.broke(last, &shard.StageError{
			Peer: last.Peer, Code: shard.TimedOut,
			Text: fmt.Sprintf("no result within %v, though every peer of the route is connected", s.cfg.StepTimeout),
		})
	}
	s.pace.alarms++
	return s.heal(ctx)
}
