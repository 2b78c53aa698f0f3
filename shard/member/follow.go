package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
)

// follow keeps the member's layers what the view says they should be, until
// ctx ends.
func (m *Member) follow(ctx context.Context) {
	if !m.founds() {
		m.meet(ctx) // which model needs help is seen when all are
	}
	err := m.stock.learn(ctx)
	if err == nil {
		if m.founds() {
			m.meet(ctx)
		}
		err = m.keepUp(ctx)
	}
	if err != nil && ctx.Err() == nil {
		m.cfg.Logger.Info().Err(err).Msg("member can't serve") // Failed returns it
		m.set(func() { m.fatal, m.status = err, err.Error() })
	}
}

// meetTime is how long a member that has others to meet waits for them before
// it decides as if it were alone.
const meetTime = 3 * time.Second

// sightTime is how long a member that sees another looks for more.
const sightTime = 200 * time.Millisecond

// meet waits for the first sight of others: what they hold decides what this
// member should.
func (m *Member) meet(ctx context.Context) {
	if len(m.cfg.Seeds) == 0 {
		return
	}
	alone := func() bool {
		return !slices.ContainsFunc(m.gossip.View(), func(g gossip.Member) bool { return g.Alive && g.Peer != m.cfg.Node.ID() })
	}
	late := time.NewTimer(meetTime)
	defer late.Stop()
	for {
		changed := m.Changed()
		if !alone() {
			// The first sight of a swarm brings all its members, one after the other.
			select {
			case <-time.After(sightTime):
			case <-ctx.Done():
			}
			return
		}
		m.say("looking for other members")
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-late.C:
			return
		}
	}
}

// heed has whoever waits look again when the view changes, and keeps the counts
// in the advert up to date, until ctx ends.
func (m *Member) heed(ctx context.Context) {
	timer := time.NewTicker(tick)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.gossip.Changed():
		case <-timer.C:
		}
		m.set(func() {})
	}
}

// A retryError is a failure that may pass by itself: it is tried again.
type retryError struct{ err error }

func (e *retryError) Error() string { return e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// What went wrong is tried again, each time after twice as long.
const (
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
)

// keepUp carries out one decision after the other.
func (m *Member) keepUp(ctx context.Context) error {
	var d mind
	var notBefore time.Time
	retry := firstRetry
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := m.Changed()
		wait := tick
		switch {
		case m.cfg.Client:
			m.say("using the swarm, holding no layers")
		case m.rests(ctx):
		case time.Now().Before(notBefore):
			wait = time.Until(notBefore)
		default:
			var err error
			wait, err = m.settle(ctx, &d)
			if _, again := errors.AsType[*retryError](err); again && ctx.Err() == nil {
				m.say("%v; trying again in %v", err, retry)
				notBefore, wait, err = time.Now().Add(retry), retry, nil
				retry = min(2*retry, lastRetry)
			} else if err == nil && wait == 0 {
				retry = firstRetry
			}
			if err != nil {
				return err
			}
		}
		if wait <= 0 {
			wait = tick
		}
		timer.Reset(min(wait, tick))
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-timer.C:
		}
	}
}

// settle brings the layers in memory to what they should be, and returns when
// it should be asked again at the latest; 0: when there is a reason to.
func (m *Member) settle(ctx context.Context, mind *mind) (time.Duration, error) {
	m.mu.Lock()
	draining, loaded := m.state == gossip.Draining, m.loaded
	m.mu.Unlock()
	if draining {
		return 0, nil
	}
	m.gauge(ctx, loaded)
	v := m.view()
	v.stale = mind.promises.stale(v.members, time.Now())
	d := mind.decide(v, time.Now())
	switch {
	case d.span.Len() == 0:
		if loaded == nil {
			m.say("waiting: %s", d.why)
		}
		return mind.late, nil
	case loaded == nil:
	case loaded.Span == d.span:
		mind.made(d, time.Now())
		m.say("%s", v.serving(d.span))
		return mind.late, nil
	default:
		sure, wait := mind.made(d, time.Now())
		if d.cause != scheduler.Gap {
			wait = max(wait, v.mourning(time.Now()))
		}
		if !sure || wait > 0 {
			return wait, nil
		}
		if why := m.stuck(v, loaded, d); why != "" {
			m.say("%s; %s", v.serving(loaded.Span), why)
			return 0, nil
		}
	}
	return m.carryOut(ctx, d, loaded)
}

// carryOut does what was decided.
func (m *Member) carryOut(ctx context.Context, d decision, loaded *Loaded) (time.Duration, error) {
	m.cfg.Notify("layers %v: %s", d.span, d.why)
	m.set(func() { m.target, m.ready = d.span, 0 })
	moving, stop := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { m.overtake(moving, stop, d) })
	err := m.move(moving, d)
	overtaken := errors.Is(err, errOvertaken) || errors.Is(context.Cause(moving), errOvertaken)
	stop(nil)
	watch.Wait()
	if err == nil {
		return time.Millisecond, nil // the view has changed meanwhile
	}
	// What was promised is not kept: others may plan without it.
	m.set(func() {
		m.target = shard.Span{}
		if m.loaded != nil {
			m.target = m.loaded.Span
		}
		loaded = m.loaded
	})
	switch {
	case ctx.Err() != nil:
		return 0, err
	case overtaken:
		return time.Millisecond, nil
	case loaded != nil:
		return 0, &retryError{fmt.Errorf("layers %v stay, %v can't be loaded: %w", loaded.Span, d.span, err)}
	}
	return 0, err
}

// errOvertaken ends a move that something more urgent has overtaken.
var errOvertaken = errors.New("a gap is more urgent")

// overtake ends the move of d when this member is needed for a gap that d does
// not close.
func (m *Member) overtake(ctx context.Context, stop context.CancelCauseFunc, d decision) {
	if d.cause == scheduler.Gap {
		return
	}
	var mind mind
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(tick / 2):
		}
		now := mind.decide(m.view(), time.Now())
		if sure, _ := mind.made(now, time.Now()); sure && now.cause == scheduler.Gap && !d.span.Covers(now.span) {
			stop(errOvertaken)
			return
		}
	}
}

// serving says what a member does that holds span.
func (v *swarmView) serving(span shard.Span) string {
	text := fmt.Sprintf("serving layers %v", span)
	if missing := v.missing(v.held); len(missing) > 0 {
		text += fmt.Sprintf("; nobody holds layers %v yet: no answers until a member with memory for them joins", spansText(missing))
	}
	return text
}

func spansText(spans []shard.Span) string {
	var parts []string
	for _, s := range spans {
		parts = append(parts, s.String())
	}
	return strings.Join(parts, ", ")
}

// view returns what decisions are made from. The model must be known.
func (m *Member) view() *swarmView {
	m.mu.Lock()
	about := m.about
	m.mu.Unlock()
	return m.viewOf(about)
}

// viewOf returns what routes of sessions of a model are made from.
func (m *Member) viewOf(about *About) *swarmView {
	m.mu.Lock()
	seen := m.seen.slower()
	m.mu.Unlock()
	return &swarmView{
		self: m.cfg.Node.ID(), id: about.ID, pinned: m.cfg.Pinned, ends: m.ends(), members: m.gossip.View(), seen: seen,
		context: about.Config.Context, kv: m.cfg.KV, model: about.plan,
	}
}
