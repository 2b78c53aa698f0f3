package member

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
)

// A swarmView is what decisions are made from: the model, and the members that
// serve it or could.
type swarmView struct {
	self    shard.PeerID
	id      shard.ModelID
	model   scheduler.Model
	members []gossip.Member // with self, in any order
	pinned  shard.Span      // of self; empty: none
}

// assumed are the speeds that a member is planned with before it has measured
// its own and when nobody else has: only their ratio matters.
const (
	assumedDecodeMS  = 1.0
	assumedPrefillMS = 0.2
)

// serves reports whether m holds, or could hold, layers of the model.
func (v *swarmView) serves(m *gossip.Member) bool {
	return m.Alive && m.Advert.Role&transport.RoleServe != 0 && m.Advert.State != gossip.Draining &&
		(m.Advert.Model == v.id || m.Advert.Model.IsZero())
}

// peers returns the scheduler's view of the swarm. pin says which spans the
// planner must leave where they are.
func (v *swarmView) peers(pin func(*gossip.Member) shard.Span) scheduler.View {
	out := scheduler.View{Model: v.model}
	var known []gossip.Member
	for _, m := range v.members {
		if v.serves(&m) {
			known = append(known, m)
		}
	}
	slices.SortFunc(known, func(a, b gossip.Member) int { return cmp.Compare(a.Peer.String(), b.Peer.String()) })
	decode, prefill := meanSpeed(known)
	for _, m := range known {
		p := scheduler.Peer{
			ID: scheduler.ID(m.Peer.String()), Name: m.Advert.Name, MemoryBytes: m.Advert.MemoryBytes,
			DecodeMS: []scheduler.Timing{{Batch: 1, MS: decode}}, PrefillMSPerToken: prefill,
			Held: held(&m, v.id), Pinned: pin(&m), Sessions: m.Advert.Sessions,
		}
		if m.Advert.Decode > 0 {
			p.DecodeMS[0].MS = msOf(m.Advert.Decode)
		}
		if m.Advert.Prefill > 0 {
			p.PrefillMSPerToken = msOf(m.Advert.Prefill)
		}
		out.Peers = append(out.Peers, p)
	}
	out.Links.Default.LatencyMS = v.latencyMS()
	return out
}

// held returns the layers of model id that m answers for now.
func held(m *gossip.Member, id shard.ModelID) shard.Span {
	if m.Advert.Model != id || m.Advert.State != gossip.Serving {
		return shard.Span{}
	}
	return m.Advert.Span
}

func msOf(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// meanSpeed returns the mean speed of those that have measured theirs.
func meanSpeed(members []gossip.Member) (decodeMS, prefillMS float64) {
	n := 0.0
	for _, m := range members {
		if m.Advert.Decode > 0 && m.Advert.Prefill > 0 {
			decodeMS, prefillMS, n = decodeMS+msOf(m.Advert.Decode), prefillMS+msOf(m.Advert.Prefill), n+1
		}
	}
	if n == 0 {
		return assumedDecodeMS, assumedPrefillMS
	}
	return decodeMS / n, prefillMS / n
}

// latencyMS is half the mean round trip that this member measured.
func (v *swarmView) latencyMS() float64 {
	sum, n := time.Duration(0), 0
	for _, m := range v.members {
		if m.RTT > 0 {
			sum, n = sum+m.RTT, n+1
		}
	}
	if n == 0 {
		return 0.2
	}
	return msOf(sum) / float64(n) / 2
}

// uncovered returns the first layers that nobody answers for; empty if all are
// covered.
func (v *swarmView) uncovered() shard.Span {
	for l := shard.Layer(0); int(l) < v.model.Layers; l++ {
		if v.holders(l) > 0 {
			continue
		}
		gap := shard.Span{Start: l, End: l + 1}
		for int(gap.End) < v.model.Layers && v.holders(gap.End) == 0 {
			gap.End++
		}
		return gap
	}
	return shard.Span{}
}

// holders counts who answers for layer l.
func (v *swarmView) holders(l shard.Layer) int {
	n := 0
	for _, m := range v.members {
		if v.serves(&m) && held(&m, v.id).Has(l) {
			n++
		}
	}
	return n
}

// plan returns the layout that sessions should take. Spans that are held stay
// where they are, but for members that hold all layers: these take what the
// others leave.
func (v *swarmView) plan() (scheduler.Result, error) {
	sv := v.peers(func(m *gossip.Member) shard.Span {
		s := held(m, v.id)
		if s.Len() == v.model.Layers {
			return shard.Span{}
		}
		return s
	})
	res, err := scheduler.Plan(sv, scheduler.Params{Goal: scheduler.Spread})
	if err == nil {
		return res, nil
	}
	// What is held may not fit together; then all is planned anew.
	for i := range sv.Peers {
		sv.Peers[i].Pinned = shard.Span{}
	}
	return scheduler.Plan(sv, scheduler.Params{Goal: scheduler.Spread})
}

// target returns the layers that this member should hold, and why. It keeps
// what it holds while every layer has a holder: layers move only to close a
// gap.
func (v *swarmView) target() (shard.Span, string) {
	if v.pinned.Len() > 0 {
		return v.pinned, "pinned by --layers"
	}
	var mine shard.Span
	for _, m := range v.members {
		if m.Peer == v.self {
			mine = held(&m, v.id)
		}
	}
	gap := v.uncovered()
	if mine.Len() > 0 && gap.Len() == 0 {
		return mine, "every layer has a holder"
	}
	res, err := v.plan()
	if err != nil {
		return v.fill(mine, gap, err)
	}
	for _, a := range res.Layout {
		if a.Peer != scheduler.ID(v.self.String()) {
			continue
		}
		if mine.Covers(a.Span) && mine.Len() > 0 {
			return mine, "it covers the plan's share"
		}
		return a.Span, "the plan's share of " + fmt.Sprint(len(res.Layout)) + " members"
	}
	if mine.Len() > 0 {
		return mine, "the plan does without this member"
	}
	// A spare member stands by with what the slowest stage holds.
	return res.Layout[0].Span, "spare: a second holder of the first stage"
}

// fill returns as much of the gap as fits this member, when the members are
// too small together for the whole model.
func (v *swarmView) fill(mine, gap shard.Span, why error) (shard.Span, string) {
	if mine.Len() > 0 || gap.Len() == 0 {
		return mine, "the members are too small for the model together: " + why.Error()
	}
	memory := int64(0)
	for _, m := range v.members {
		if m.Peer == v.self {
			memory = m.Advert.MemoryBytes
		}
	}
	out := shard.Span{Start: gap.Start, End: gap.Start}
	used := int64(0)
	if gap.Start == 0 {
		used += v.model.EmbedBytes
	}
	for out.End < gap.End {
		need := v.layerBytes(out.End) + fillTokens*v.model.KVBytesPerTokenLayer
		if int(out.End) == v.model.Layers-1 {
			need += v.model.HeadBytes
		}
		if used+need > memory {
			break
		}
		used += need
		out.End++
	}
	return out, "as many of the missing layers as fit; " + why.Error()
}

// fillTokens is the KV cache that a layer is counted with when a member takes
// what fits.
const fillTokens = 1024

func (v *swarmView) layerBytes(l shard.Layer) int64 {
	if len(v.model.LayerBytes) == 1 {
		return v.model.LayerBytes[0]
	}
	return v.model.LayerBytes[l]
}

// route returns the stages of a new session of the given length: the planned
// layout while all of it is served, else the cheapest that is.
func (v *swarmView) route(tokens int, avoid []scheduler.ID) (scheduler.Layout, scheduler.Predicted, error) {
	planned, err := v.plan()
	if err == nil && v.served(planned.Layout, avoid) {
		return planned.Layout, planned.Predicted, nil
	}
	sv := v.peers(func(*gossip.Member) shard.Span { return shard.Span{} })
	path, err := scheduler.Route(sv, scheduler.Request{Tokens: tokens, Avoid: avoid, Planned: planned.Layout})
	if err != nil {
		return nil, scheduler.Predicted{}, err
	}
	got := scheduler.Predicted{TTFTms: path.TTFTms}
	if path.TokenMS > 0 {
		got.TokSOne = 1000 / path.TokenMS
	}
	return path.Stages, got, nil
}

// served reports whether every stage of l is held by its peer now.
func (v *swarmView) served(l scheduler.Layout, avoid []scheduler.ID) bool {
	for _, a := range l {
		ok := false
		for _, m := range v.members {
			if scheduler.ID(m.Peer.String()) == a.Peer {
				ok = v.serves(&m) && held(&m, v.id).Covers(a.Span)
			}
		}
		if !ok || slices.Contains(avoid, a.Peer) {
			return false
		}
	}
	return len(l) > 0
}
