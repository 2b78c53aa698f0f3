package member

import (
	"cmp"
	"fmt"
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
		return v.pinned
	case m.Advert.Pinned && m.Advert.Model == v.id:
		return v.promised(m)
	}
	return shard.Span{}
}

// target returns the layers that this member should hold, and why. It keeps
// what it holds while every layer has a holder, or will have one: layers move
// to close a gap, or when others hold the same (DESIGN.md).
func (v *swarmView) target() (shard.Span, string) {
	if v.pinned.Len() > 0 {
		return v.pinned, "pinned by --layers"
	}
	mine := v.held(v.me())
	gaps, twice := v.missing(v.promised), v.surplus()
	if mine.Len() > 0 && len(gaps) == 0 && !twice[v.self] {
		return mine, "every layer has a holder"
	}
	res, err := v.planAround(twice)
	if err == nil {
		return v.share(mine, res.Layout)
	}
	if mine.Len() > 0 && len(gaps) == 0 {
		return mine, "others hold the same, and there is no other place for it"
	}
	if layout := v.extend(gaps); layout != nil {
		return v.share(mine, layout)
	}
	if res, again := scheduler.Plan(v.peers(v.insisted), v.params()); again == nil {
		return v.share(mine, res.Layout)
	}
	if more := v.fill(gaps); more.Len() > 0 && (mine.Len() == 0 || twice[v.self]) {
		return more, "as many of the missing layers as fit; " + err.Error()
	}
	return mine, "the members are too small for the model together: " + err.Error()
}

// planAround plans with everybody where they are, but for those who hold what
// others hold too, and those who hold all.
func (v *swarmView) planAround(twice map[shard.PeerID]bool) (scheduler.Result, error) {
	v.relax()
	return scheduler.Plan(v.peers(func(m *gossip.Member) shard.Span {
		if s := v.promised(m); m.Advert.Pinned || !twice[m.Peer] && s.Len() < v.model.Layers {
			return s
		}
		return shard.Span{}
	}), v.params())
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

// share returns what layout gives this member.
func (v *swarmView) share(mine shard.Span, layout scheduler.Layout) (shard.Span, string) {
	for _, a := range layout {
		if a.Peer != scheduler.ID(v.self.String()) {
			continue
		}
		if mine.Len() > 0 && mine.Covers(a.Span) {
			return mine, "it covers the plan's share"
		}
		if len(layout) == 1 {
			return a.Span, "no other member holds them"
		}
		return a.Span, fmt.Sprintf("its share among %d members", len(layout))
	}
	if mine.Len() > 0 {
		return mine, "the plan does without this member"
	}
	return v.standBy(layout)
}

// standBy returns the stage that a member which is not needed holds a second
// time: the one with the fewest holders of those that fit it.
func (v *swarmView) standBy(layout scheduler.Layout) (shard.Span, string) {
	me := v.me()
	var best shard.Span
	least := 0
	for _, a := range layout {
		n := 0
		for i := range v.members {
			if v.members[i].Peer != v.self && v.promised(&v.members[i]).Covers(a.Span) {
				n++
			}
		}
		if v.fits(me, a.Span) && (best.Len() == 0 || n < least) {
			best, least = a.Span, n
		}
	}
	if best.Len() == 0 {
		return best, "the others hold every layer, and no stage of theirs fits this member's memory"
	}
	return best, "a second holder, should the first one go"
}

// missing returns the layers that no member has, ascending, where of says what
// a member has.
func (v *swarmView) missing(of func(*gossip.Member) shard.Span) []shard.Span {
	covered := make([]bool, v.model.Layers)
	for i := range v.members {
		cover(covered, of(&v.members[i]))
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

// cover marks the layers of s.
func cover(covered []bool, s shard.Span) {
	for l := s.Start; l < s.End; l++ {
		covered[l] = true
	}
}

// surplus returns the members that hold only what others hold too. Those that
// hold all layers don't count: they are for whoever comes. Of several alike
// the lowest id is none, so that all members agree who must stay.
func (v *swarmView) surplus() map[shard.PeerID]bool {
	var parts []*gossip.Member
	for i := range v.members {
		if n := v.promised(&v.members[i]).Len(); n > 0 && n < v.model.Layers {
			parts = append(parts, &v.members[i])
		}
	}
	slices.SortFunc(parts, func(a, b *gossip.Member) int { return cmp.Compare(b.Peer.String(), a.Peer.String()) })
	out := map[shard.PeerID]bool{}
	for _, m := range parts {
		if m.Advert.Pinned {
			continue
		}
		covered := make([]bool, v.model.Layers)
		for _, other := range parts {
			if other != m && !out[other.Peer] {
				cover(covered, v.promised(other))
			}
		}
		s := v.promised(m)
		out[m.Peer] = !slices.Contains(covered[s.Start:s.End], false)
	}
	return out
}

// extend closes gaps by their neighbours alone, who keep what they hold; nil
// if that can't be done. The gap is cut where the slower of the two is fastest.
func (v *swarmView) extend(gaps []shard.Span) scheduler.Layout {
	now := map[shard.PeerID]shard.Span{}
	for i := range v.members {
		if s := v.promised(&v.members[i]); s.Len() > 0 {
			now[v.members[i].Peer] = s
		}
	}
	grown := map[shard.PeerID]bool{}
	for _, gap := range gaps {
		left := v.neighbour(now, func(s shard.Span) bool { return s.End == gap.Start })
		right := v.neighbour(now, func(s shard.Span) bool { return s.Start == gap.End })
		cut, ok := v.cut(gap, left, right, now)
		if !ok {
			return nil
		}
		if left != nil && cut > gap.Start {
			now[left.Peer], grown[left.Peer] = shard.Span{Start: now[left.Peer].Start, End: cut}, true
		}
		if right != nil && cut < gap.End {
			now[right.Peer], grown[right.Peer] = shard.Span{Start: cut, End: now[right.Peer].End}, true
		}
	}
	var out scheduler.Layout
	for peer := range grown {
		out = append(out, scheduler.Assignment{Peer: scheduler.ID(peer.String()), Span: now[peer]})
	}
	slices.SortFunc(out, func(a, b scheduler.Assignment) int { return cmp.Compare(a.Span.Start, b.Span.Start) })
	return out
}

// neighbour returns the member that may grow and whose span is beside a gap;
// of several the one with the lowest id; nil if there is none.
func (v *swarmView) neighbour(now map[shard.PeerID]shard.Span, beside func(shard.Span) bool) *gossip.Member {
	var best *gossip.Member
	for i := range v.members {
		m := &v.members[i]
		s, ok := now[m.Peer]
		if !ok || m.Advert.Pinned || !beside(s) {
			continue
		}
		if best == nil || m.Peer.String() < best.Peer.String() {
			best = m
		}
	}
	return best
}

// cut returns where left's part of the gap ends and right's begins. Either may
// be nil.
func (v *swarmView) cut(gap shard.Span, left, right *gossip.Member, now map[shard.PeerID]shard.Span) (shard.Layer, bool) {
	best, found, least := gap.Start, false, time.Duration(0)
	for at := gap.Start; at <= gap.End; at++ {
		if left == nil && at > gap.Start || right == nil && at < gap.End {
			continue
		}
		slow, ok := time.Duration(0), true
		grow := func(m *gossip.Member, s shard.Span) {
			ok = ok && v.fits(m, s)
			slow = max(slow, time.Duration(s.Len())*cmp.Or(m.Advert.Decode, time.Millisecond))
		}
		if left != nil {
			grow(left, shard.Span{Start: now[left.Peer].Start, End: at})
		}
		if right != nil {
			grow(right, shard.Span{Start: at, End: now[right.Peer].End})
		}
		if ok && (!found || slow < least) {
			best, found, least = at, true, slow
		}
	}
	return best, found
}

// fill returns as much of the missing layers as fits this member, when the
// members are too small together for the whole model: of all gaps the one that
// it can take the most of, from its beginning.
func (v *swarmView) fill(gaps []shard.Span) shard.Span {
	me := v.me()
	var best shard.Span
	for _, gap := range gaps {
		s := shard.Span{Start: gap.Start, End: gap.Start}
		for s.End < gap.End && v.fits(me, shard.Span{Start: s.Start, End: s.End + 1}) {
			s.End++
		}
		if s.Len() > best.Len() {
			best = s
		}
	}
	return best
}

// fits reports whether the layers of s fit m's memory.
func (v *swarmView) fits(m *gossip.Member, s shard.Span) bool {
	tokens := int64(v.params().ContextTokens)
	need := int64(s.Len()) * tokens * v.model.KVBytesPerTokenLayer
	for l := s.Start; l < s.End; l++ {
		need += v.layerBytes(l)
	}
	last := int(s.End) == v.model.Layers
	if s.Start == 0 {
		need += v.model.EmbedBytes
	}
	if last {
		need += v.model.HeadBytes
	}
	if s.Start == 0 && last {
		need -= v.model.TiedBytes
	}
	return need <= m.Advert.MemoryBytes
}

func (v *swarmView) layerBytes(l shard.Layer) int64 {
	if len(v.model.LayerBytes) == 1 {
		return v.model.LayerBytes[0]
	}
	return v.model.LayerBytes[l]
}

// A mind is changed only for a reason that lasts, so that a view that flaps
// moves nothing.
type mind struct {
	want  shard.Span
	since time.Time // when want was first wanted; zero: never
}

// steady is how long a member that holds layers must want others before it
// moves. It is longer than gossip takes to go round, and short beside the 5 to
// 10 s in which gossip notices a death.
const steady = 2 * time.Second

// made reports whether want has been wanted for long enough, and if not, how
// long it takes until it has.
func (d *mind) made(want shard.Span, now time.Time) (bool, time.Duration) {
	if d.since.IsZero() || d.want != want {
		*d = mind{want: want, since: now}
	}
	left := steady - now.Sub(d.since)
	return left <= 0, max(left, 0)
}
