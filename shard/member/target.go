package member

import (
	"slices"
	"time"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
)

// insisted returns the span that m's owner insists on.
func (v *swarmView) insisted(m *gossip.Member) shard.Span {
	switch {
	case m.Peer == v.self:
		return v.inModel(v.pinned)
	case m.Advert.Pinned && m.Advert.Model == v.id && v.promise(m).Len() > 0:
		return v.promise(m)
	case m.Advert.Pinned:
		return v.held(m)
	}
	return shard.Span{}
}

// places returns the view that layers are placed in: it leaves out what this
// member alone has seen, so that all place them alike.
func (v *swarmView) places() scheduler.View {
	seen := v.seen
	v.seen = nil
	defer func() { v.seen = seen }()
	return v.peers(v.insisted)
}

// A decision is what a member should hold next.
type decision struct {
	span  shard.Span
	cause scheduler.Cause
	why   string
}

// target returns the layers that this member should hold, and why: what
// [scheduler.Settle] says, which is the same for everybody with this view.
func (v *swarmView) target() decision {
	if v.pinned.Len() > 0 {
		return decision{v.pinned, scheduler.Joins, "pinned by --layers"}
	}
	return v.targetIn(v.settled())
}

// settled returns what all members should hold.
func (v *swarmView) settled() (scheduler.Targets, error) {
	sv := v.places()
	v.relax(sv)
	return scheduler.Settle(sv, v.params())
}

// targetIn returns what out says for this member, seen from what it holds.
func (v *swarmView) targetIn(out scheduler.Targets, err error) decision {
	if err != nil {
		return decision{v.held(v.me()), scheduler.Keep, err.Error()}
	}
	t, ok := out.Of(scheduler.ID(v.self.String()))
	if !ok {
		return decision{shard.Span{}, scheduler.Keep, "the view lacks this member"}
	}
	span, cause := t.Next(v.held(v.me()))
	why := t.Why
	if cause == scheduler.Standby && t.Cause != scheduler.Standby {
		why = "spare memory holds layers of others a second time, should they go"
	}
	switch {
	case why != "" || span.Len() > 0:
	case len(v.missing(v.held)) > 0:
		why = "other members are loading the layers that are missing"
	default:
		why = "the others hold every layer, and no stage of theirs fits this member's memory"
	}
	return decision{span, cause, why}
}

// me returns this member; one that holds nothing if the view lacks it.
func (v *swarmView) me() *gossip.Member {
	for i := range v.members {
		if v.members[i].Peer == v.self {
			return &v.members[i]
		}
	}
	return &gossip.Member{Peer: v.self}
}

// without takes a member out of the view.
func (v *swarmView) without(peer shard.PeerID) {
	v.members = slices.DeleteFunc(v.members, func(m gossip.Member) bool { return m.Peer == peer })
}

// missing returns the layers that no member has, ascending, where of says what
// a member has.
func (v *swarmView) missing(of func(*gossip.Member) shard.Span) []shard.Span {
	covered := make([]bool, v.model.Layers)
	for i := range v.members {
		s := of(&v.members[i])
		for l := s.Start; l < s.End; l++ {
			covered[l] = true
		}
	}
	var out []shard.Span
	for l, ok := range covered {
		at := shard.Layer(l)
		switch n := len(out); {
		case ok:
		case n > 0 && out[n-1].End == at:
			out[n-1].End++
		default:
			out = append(out, shard.Span{Start: at, End: at + 1})
		}
	}
	return out
}

// mayDrop reports whether this member may let go of what it holds beside next,
// and the first layer that rests on it if not.
func (v *swarmView) mayDrop(next shard.Span) (bool, shard.Layer) {
	return scheduler.MayDrop(v.peers(anywhere), scheduler.ID(v.self.String()), next)
}

// A mind is changed only for a reason that lasts, so that a view that flaps
// moves nothing.
type mind struct {
	want  shard.Span
	cause scheduler.Cause
	since time.Time // when want was first wanted; zero: never

	promises promises

	// The last view that was decided on, and what followed: most changes of
	// adverts change neither.
	tokens int
	at     time.Time     // of the decision
	late   time.Duration // until the next may be made; 0: none is to be made
	peers  []scheduler.Peer
	out    scheduler.Targets
	err    error
}

// decide is [swarmView.target], computed only if the view has changed in what
// matters.
func (m *mind) decide(v *swarmView, now time.Time) decision {
	m.late = 0
	if v.pinned.Len() > 0 {
		return v.target()
	}
	sv := v.places()
	if m.tokens != 0 && slices.EqualFunc(sv.Peers, m.peers, samePlace) {
		return v.targetIn(m.out, m.err)
	}
	if m.late = time.Duration(len(sv.Peers))*decidePace - now.Sub(m.at); m.late > 0 && m.tokens != 0 {
		return v.targetIn(m.out, m.err)
	}
	v.relax(sv)
	m.late, m.at = 0, now
	m.tokens, m.peers = v.tokens, sv.Peers
	m.out, m.err = scheduler.Settle(sv, v.params())
	return v.targetIn(m.out, m.err)
}

// decidePace is how long after a decision the next one is made at the earliest,
// for each member: a decision among 200 takes some 30 ms.
const decidePace = 2 * time.Millisecond

// samePlace reports whether two peers are alike for [scheduler.Settle].
func samePlace(a, b scheduler.Peer) bool {
	return a.ID == b.ID && a.Name == b.Name && a.MemoryBytes == b.MemoryBytes && a.Held == b.Held && a.Planned == b.Planned &&
		a.Pinned == b.Pinned && slices.Equal(a.DecodeMS, b.DecodeMS)
}

// steady returns how long a member that holds layers must want others before
// it moves. A gap is an outage, and gossip has thought for 5 to 10 s before it
// says that somebody is dead; everything else can wait until the dust has
// settled.
func steady(c scheduler.Cause) time.Duration {
	switch c {
	case scheduler.Gap:
		return 500 * time.Millisecond
	case scheduler.Balance:
		return 8 * time.Second
	case scheduler.Standby:
		return 4 * time.Second
	}
	return 2 * time.Second
}

// mournTime is how long after a member was lost nothing moves but to close a
// gap: many come back.
const mournTime = 20 * time.Second

// mourning returns how long the loss of a member is a reason to wait.
func (v *swarmView) mourning(now time.Time) time.Duration {
	wait := time.Duration(0)
	for i := range v.members {
		if m := &v.members[i]; !m.Alive && !m.Left && m.Advert.Model == v.id && m.Advert.Span.Len() > 0 {
			wait = max(wait, mournTime-now.Sub(m.Since))
		}
	}
	return wait
}

// made reports whether d has been wanted for long enough, and if not, how
// long it takes until it has.
func (m *mind) made(d decision, now time.Time) (bool, time.Duration) {
	if m.since.IsZero() || m.want != d.span {
		m.want, m.since = d.span, now
	}
	m.cause = d.cause
	left := steady(m.cause) - now.Sub(m.since)
	return left <= 0, max(left, 0)
}

// promiseTime is how long a promise counts when nothing comes of it.
const promiseTime = 30 * time.Second

// promises remembers since when members have promised what they do not hold.
type promises map[shard.PeerID]promised

type promised struct {
	span  shard.Span
	ready int // of what was promised; more of it renews the promise
	since time.Time
}

// stale returns the members of whose promise nothing has come for too long.
func (p *promises) stale(members []gossip.Member, now time.Time) map[shard.PeerID]bool {
	if *p == nil {
		*p = promises{}
	}
	out := map[shard.PeerID]bool{}
	for i := range members {
		a := &members[i].Advert
		if !members[i].Alive || a.Planned.Len() == 0 || a.Span == a.Planned && a.State == gossip.Serving {
			delete(*p, members[i].Peer)
			continue
		}
		was, ok := (*p)[members[i].Peer]
		if !ok || was.span != a.Planned || was.ready != a.Ready {
			was = promised{a.Planned, a.Ready, now}
			(*p)[members[i].Peer] = was
		}
		if now.Sub(was.since) > promiseTime {
			out[members[i].Peer] = true
		}
	}
	return out
}
