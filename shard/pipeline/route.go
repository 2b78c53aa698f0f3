package pipeline

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

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
				s.blame.silent(l)
				s.drop(l)
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
		if filled != 0 && slices.Contains(s.mover.legs, next) && !slices.Contains(s.mover.legs, l) {
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
