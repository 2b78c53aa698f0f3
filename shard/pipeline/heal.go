package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/shard"
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

// How long a session goes on to avoid a peer that it has lost, for gossip needs
// about as long to find out, and one that refused it or failed.
const (
	lostTime  = 20 * time.Second
	avoidTime = 5 * time.Second
)

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
	routes   int // tried since then
}

// maxRoutes bounds the routes that a session tries without a result of any: it
// is the session then that something is wrong with.
const maxRoutes = 200

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
	s.healing.planned = false
	if s.healing.routes++; s.healing.routes > maxRoutes {
		return &noRouteError{fmt.Errorf("none of %d routes gave a result", maxRoutes)}
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
	until := ctx
	if len(s.shun) > 0 { // then b is out of date
		soonest := slices.MinFunc(s.shun, func(x, y shunned) int { return x.until.Compare(y.until) }).until
		var stop context.CancelFunc
		until, stop = context.WithDeadline(ctx, soonest.Add(time.Millisecond))
		defer stop()
	}
	route, err := s.cfg.Repair(until, b)
	if err != nil {
		if until.Err() != nil {
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

// avoid has the peer of l not asked again for a while.
func (s *Session) avoid(l *leg, fault *shard.StageError) {
	x := shunned{peer: l.Peer, until: time.Now().Add(avoidTime)}
	switch fault.Code {
	case shard.Unreachable, shard.TimedOut, shard.Stale, shard.Gap:
		x.lost, x.until = true, time.Now().Add(lostTime)
	}
	s.shun = slices.DeleteFunc(s.shun, func(o shunned) bool { return o.peer == x.peer })
	s.shun = append(s.shun, x)
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
