package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// A mover moves a session off stages whose peers leave, before they do: others
// are opened and filled beside the route, which goes on meanwhile, and then the
// route changes between two steps. It has one goroutine, from the first word of
// a peer that leaves until the session ends.
type mover struct {
	s       *Session
	tasks   chan func() // for whoever drives the session, while it waits for a result
	wake    chan struct{}
	spoiled atomic.Bool // what stages to come were filled with is not right any more
	legs    []*leg      // the stages to come; of who has the turn
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex // guards what follows
	leave  map[*leg]bool
	begun  bool
	closed bool
}

func (m *mover) init(s *Session) {
	m.s, m.tasks, m.wake, m.leave = s, make(chan func()), make(chan struct{}, 1), map[*leg]bool{}
	m.ctx, m.cancel = context.WithCancel(s.ctx)
}

// leaving notes that the peer of l will be gone.
func (m *mover) leaving(l *leg) {
	if m.s.cfg.Repair == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.leave[l] = true
	if !m.begun {
		m.begun = true
		m.running.Go(m.run)
	}
	offer(m.wake, struct{}{})
}

// end ends the mover.
func (m *mover) end() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.running.Wait()
}

// spoil says that the stages to come hold other positions than the session.
func (m *mover) spoil() { m.spoiled.Store(true) }

// do has f called by whoever has the turn to drive the session, and returns
// its error.
func (m *mover) do(f func() error) error {
	done := make(chan error, 1)
	select {
	case <-m.s.turn:
		defer m.s.give()
		return f()
	case m.tasks <- func() { done <- f() }:
		return <-done
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
}

// Pauses between two tries to move.
const (
	moveWait    = 100 * time.Millisecond
	maxMoveWait = 2 * time.Second
)

func (m *mover) run() {
	for {
		select {
		case <-m.wake:
		case <-m.ctx.Done():
			return
		}
		for wait := moveWait; ; wait = min(2*wait, maxMoveWait) {
			again, err := m.move()
			if !again || m.ctx.Err() != nil {
				break
			}
			if err == nil {
				wait = moveWait
				continue
			}
			select {
			case <-time.After(wait):
			case <-m.ctx.Done():
			}
		}
	}
}

// A move is one try to move a session.
type move struct {
	base  shard.Epoch // of the route that is left
	epoch shard.Epoch // under which the stages to come are filled
	gone  []Stage     // whose peers leave
	route []Stage
	legs  []*leg // of route; those to come have no stream yet
	opens map[*leg]hop.Open
	from  map[*leg]shard.Pos // what the stages to come are filled with first
}

// move moves the session off the peers that leave now. It reports whether there
// were any.
func (m *mover) move() (again bool, err error) {
	var b Broken
	mv := &move{opens: map[*leg]hop.Open{}, from: map[*leg]shard.Pos{}}
	if err := m.do(func() error { b = m.begin(mv); return nil }); err != nil || len(mv.gone) == 0 {
		return false, err
	}
	if mv.route, err = m.s.cfg.Repair(m.ctx, b); err != nil {
		return true, err
	}
	if err := m.do(func() error { return m.invite(mv) }); err != nil {
		return true, err
	}
	err = m.fill(mv)
	if err == nil {
		err = m.do(func() error { return m.switchOver(mv) })
	}
	if err != nil {
		for l := range mv.opens {
			if !slices.Contains(m.s.legsNow(), l) {
				m.s.drop(l)
			}
		}
	}
	return true, err
}

// begin looks at who leaves.
func (m *mover) begin(mv *move) Broken {
	s := m.s
	b := s.broken()
	b.Leaving = true
	mv.base = shard.Epoch(s.epoch.Load())
	m.spoiled.Store(!s.whole)
	m.mu.Lock()
	defer m.mu.Unlock()
	legs := s.legsNow()
	for l := range m.leave {
		if !slices.Contains(legs, l) {
			delete(m.leave, l)
		}
	}
	for i, l := range legs {
		if m.leave[l] {
			mv.gone = append(mv.gone, l.Stage)
			b.Kept[i] = false
			b.Avoid = append(b.Avoid, l.Peer)
		}
	}
	for i, l := range legs { // all its stages
		if slices.ContainsFunc(mv.gone, func(st Stage) bool { return st.Peer == l.Peer }) && b.Kept[i] {
			mv.gone = append(mv.gone, l.Stage)
			b.Kept[i] = false
		}
	}
	return b
}

var errSpoiled = errors.New("the session changed meanwhile")

// current returns an error unless the session is on the route that mv leaves.
func (m *mover) current(mv *move) error {
	if !m.s.whole || m.s.healing != nil || shard.Epoch(m.s.epoch.Load()) != mv.base || m.spoiled.Load() {
		return errSpoiled
	}
	return nil
}

// invite makes the stages to come.
func (m *mover) invite(mv *move) error {
	s := m.s
	if err := m.current(mv); err != nil {
		return err
	}
	if err := s.checkRoute(mv.route); err != nil {
		return err
	}
	s.epochs++
	mv.epoch = s.epochs
	s.prefix.upto(s.agreed() - 1)
	mv.legs = s.match(s.legsNow(), mv.route, 0)
	for i, l := range mv.legs {
		if l.conn != nil {
			continue
		}
		open := s.invite(mv.legs, i, mv.epoch)
		open.Wait = true
		if i+1 < len(mv.legs) && mv.legs[i+1].conn != nil {
			open.Unlinked = true // that one has its link from the stage that leaves
			l.next = nil
		}
		l.fill.Store(uint32(mv.epoch))
		mv.opens[l] = open
		if i > 0 {
			mv.legs[i-1].fill.Store(uint32(mv.epoch))
		}
	}
	return nil
}

// fill opens the stages to come and has them filled until they lack few
// positions.
func (m *mover) fill(mv *move) error {
	s := m.s
	ctx, cancel := context.WithTimeout(m.ctx, s.cfg.OpenTimeout)
	defer cancel()
	errs := make(chan error, len(mv.opens))
	for l, open := range mv.opens {
		m.running.Go(func() {
			err := s.openLeg(ctx, l, open)
			if err == nil {
				s.readers.Go(func() { s.read(l) })
			}
			errs <- err
		})
	}
	var failed error
	for range mv.opens {
		if err := <-errs; err != nil && failed == nil {
			failed = err
			cancel()
		}
	}
	if failed != nil {
		return failed
	}
	for i := len(mv.legs) - 1; i >= 0; i-- {
		if err := m.start(ctx, mv, i); err != nil {
			return err
		}
	}
	return m.follow(mv)
}

// start has stage i of mv begin to fill or to be filled, if it is to.
func (m *mover) start(ctx context.Context, mv *move, i int) error {
	l := mv.legs[i]
	_, comes := mv.opens[l]
	var next *leg
	if i+1 < len(mv.legs) {
		if _, ok := mv.opens[mv.legs[i+1]]; ok {
			next = mv.legs[i+1]
		}
	}
	switch {
	case comes:
		mv.from[l] = shard.Pos(l.held.Load())
		r := hop.Resume{Epoch: mv.epoch, SendFrom: hop.SendNothing}
		if next != nil {
			mv.from[l] = min(mv.from[l], mv.from[next])
			r.SendFrom = mv.from[next]
		}
		l.held.Store(int32(mv.from[l]))
		_, err := l.conn.Send(wire.KindResume, r.Message(), nil)
		return err
	case next == nil:
		return nil
	}
	select { // of a fill before
	case <-l.answered:
	default:
	}
	f := hop.Fill{Epoch: mv.epoch, Next: next.Neighbour, From: mv.from[next]}
	if _, err := l.conn.Send(wire.KindFill, f.Message(), nil); err != nil {
		return err
	}
	select {
	case at := <-l.answered:
		if at.logFrom > f.From {
			return fmt.Errorf("%s has what it sent from position %d on only", l.Name, at.logFrom)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// nearly is how many positions a stage to come may lack, of those that have
// been answered, when the route changes.
const nearly = 4

// follow waits until the stages to come have all but few positions. It sends
// the first stage what it needs.
func (m *mover) follow(mv *move) error {
	s := m.s
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	first := mv.legs[0]
	sent := mv.from[first]
	for {
		s.mu.Lock()
		done := s.done
		s.mu.Unlock()
		lacks := shard.Pos(0)
		for l := range mv.opens {
			if !s.blame.stays(l) {
				return fmt.Errorf("%s is lost before it was part of the route", l.Name)
			}
			lacks = max(lacks, done-shard.Pos(l.held.Load()))
		}
		if err := m.ctx.Err(); err != nil {
			return err
		}
		if m.spoiled.Load() {
			return errSpoiled
		}
		if lacks <= nearly {
			return nil
		}
		if _, ok := mv.opens[first]; ok {
			var err error
			if sent, err = m.feed(first, sent, mv.epoch); err != nil {
				return err
			}
		}
		select {
		case <-look.C:
		case <-m.ctx.Done():
		}
	}
}

// feed sends a first stage to come tokens from pos on, as many as it has time
// for, and returns the position after them.
func (m *mover) feed(l *leg, pos shard.Pos, epoch shard.Epoch) (shard.Pos, error) {
	s := m.s
	chunk := shard.Pos(max(s.cfg.ChunkTokens, 64))
	for pos < shard.Pos(l.held.Load())+hop.MaxInFlight/2*chunk {
		s.mu.Lock()
		tokens := slices.Clone(s.history[min(pos, s.held):min(pos+chunk, s.held)])
		s.mu.Unlock()
		if len(tokens) == 0 {
			break
		}
		step := &wirepb.Step{Epoch: uint32(epoch), Pos: uint32(pos), Count: uint32(len(tokens)), Replay: true, SentUnixUs: time.Now().UnixMicro()}
		if _, err := l.conn.Send(wire.KindStep, step, tokenBytes(tokens)); err != nil {
			return pos, err
		}
		pos += shard.Pos(len(tokens))
	}
	return pos, nil
}

// switchTime bounds how long the stages may take to change the route.
const switchTime = 5 * time.Second

// switchOver changes the route.
func (m *mover) switchOver(mv *move) error {
	s := m.s
	if err := m.current(mv); err != nil {
		return err
	}
	for l := range mv.opens {
		if !s.blame.stays(l) {
			return fmt.Errorf("%s is lost before it was part of the route", l.Name)
		}
		m.legs = append(m.legs, l)
	}
	defer func() { m.legs = nil }()
	s.healing = &healing{began: time.Now(), at: s.agreed(), lost: mv.gone, planned: true}
	if len(s.sent) > 0 {
		s.healing.began = s.pace.last(time.Now())
	}
	ctx, cancel := context.WithTimeout(m.ctx, switchTime)
	defer cancel()
	return s.reroute(ctx, mv.route, switchTime, mv.epoch)
}
