package member

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/transport"
)

// A swarmView is what decisions are made from: the model, and the members that
// serve it or could.
type swarmView struct {
	self    shard.PeerID
	id      shard.ModelID
	kv      kvcache.Precision // of the sessions; who keeps keys and values otherwise serves none of them
	model   scheduler.Model
	members []gossip.Member // with self, in any order
	pinned  shard.Span      // of self; empty: none
	ends    []scheduler.ID  // that may run the first and last layers of the sessions; empty: all
	context int             // of the model, in tokens
	tokens  int             // what is planned with; 0: see relax
	prompt  int             // tokens of the prompt that is predicted for; 0: not known

	stale map[shard.PeerID]bool // members of whose promise nothing has come
	seen  []gossip.Observed     // by this member
	last  bool                  // the last resort: those that are leaving count, too
}

// assumed are the speeds that a member is planned with before it has measured
// its own and when nobody else has: only their ratio matters.
const (
	assumedDecodeMS  = 1.0
	assumedPrefillMS = 0.2
)

// maxClaimed bounds the bytes that a member's word is taken for.
const maxClaimed = 1 << 48

// serves reports whether m holds, or could hold, layers of the model.
func (v *swarmView) serves(m *gossip.Member) bool {
	leaving := m.Advert.State == gossip.Draining && !v.last
	return m.Alive && m.Advert.Role&transport.RoleServe != 0 && !leaving && m.Advert.MemoryBytes > 0 &&
		(m.Advert.Model == v.id && m.Advert.KV == v.kv || m.Advert.Model.IsZero())
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
			ID: scheduler.ID(m.Peer.String()), Name: m.Advert.Name, MemoryBytes: min(m.Advert.MemoryBytes, maxClaimed),
			DecodeMS: []scheduler.Timing{{Batch: 1, MS: decode}}, PrefillMSPerToken: prefill,
			Held: v.held(&m), Planned: v.promise(&m), Pinned: pin(&m), Sessions: m.Advert.Sessions,
		}
		if n := p.Held.Len(); n > 0 {
			// 0 would mean that it is not known.
			p.KVFreeBytes = max(1, min(m.Advert.KVFreeTokens, 1<<20)*v.model.KVBytesPerTokenLayer*int64(n))
		}
		if d := v.decode(&m); d > 0 {
			p.DecodeMS[0].MS = msOf(d)
		}
		if m.Advert.Prefill > 0 {
			p.PrefillMSPerToken = msOf(m.Advert.Prefill)
		}
		out.Peers = append(out.Peers, p)
	}
	out.Links.Default.LatencyMS = v.latencyMS()
	return out
}

// held returns the layers of the model that m answers for now.
func (v *swarmView) held(m *gossip.Member) shard.Span {
	if m.Advert.Model != v.id || m.Advert.State != gossip.Serving && m.Advert.State != gossip.Draining || !v.serves(m) {
		return shard.Span{}
	}
	return v.inModel(m.Advert.Span)
}

// inModel returns s, or nothing if it has layers that the model lacks.
func (v *swarmView) inModel(s shard.Span) shard.Span {
	if int(s.End) > v.model.Layers {
		return shard.Span{}
	}
	return s
}

// promise returns the layers that another member has said it will hold, unless
// nothing has come of it for too long. A member that does not do what it said
// says so: it takes the promise back. What this member has said it may take
// back now.
func (v *swarmView) promise(m *gossip.Member) shard.Span {
	if m.Peer == v.self || !v.serves(m) || m.Advert.Model != v.id || v.stale[m.Peer] {
		return shard.Span{}
	}
	return v.inModel(m.Advert.Planned)
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

// holders counts who answers for layer l now.
func (v *swarmView) holders(l shard.Layer) int {
	n := 0
	for _, m := range v.members {
		if v.held(&m).Has(l) {
			n++
		}
	}
	return n
}

// The KV cache that layers are planned with, in tokens of one session: as much
// as fits of the first, and not less than the second.
const (
	planTokens    = 2048
	minPlanTokens = minKVTokens
)

// params are the wishes of every plan of a member: all are to be used.
func (v *swarmView) params() scheduler.Params {
	tokens := cmp.Or(v.tokens, planTokens)
	if v.context > 0 {
		tokens = min(tokens, max(v.context, minPlanTokens))
	}
	return scheduler.Params{Goal: scheduler.Spread, ContextTokens: tokens, PromptTokens: v.prompt}
}

// relax lowers the KV cache that is planned with as far as it takes for the
// members to hold the model, and not at all if nothing helps.
func (v *swarmView) relax(sv scheduler.View) {
	if v.tokens == 0 {
		v.tokens = scheduler.Room(sv, v.params(), minPlanTokens)
	}
}

// anywhere pins nobody.
func anywhere(*gossip.Member) shard.Span { return shard.Span{} }

// plan returns the layout that sessions should take over what is held.
func (v *swarmView) plan() (scheduler.Result, error) { return v.planWithout(nil) }

// planWithout is plan without some members.
func (v *swarmView) planWithout(avoid []scheduler.ID) (scheduler.Result, error) {
	sv := v.peers(anywhere)
	v.relax(sv)
	sv.Peers = slices.DeleteFunc(sv.Peers, func(p scheduler.Peer) bool { return slices.Contains(avoid, p.ID) })
	return scheduler.Served(sv, v.params())
}

// route returns the stages of a new session of the given length: the layout
// that all take, or, when that has no room or does not keep its ends, the
// cheapest route that keeps to it as far as it can.
func (v *swarmView) route(tokens int, avoid []scheduler.ID) (scheduler.Layout, scheduler.Predicted, error) {
	planned, err := v.planWithout(avoid)
	if err != nil && !v.last {
		// Who leaves serves until others hold what it does.
		v.last = true
		defer func() { v.last = false }()
		planned, err = v.planWithout(avoid)
	}
	sv := v.peers(anywhere)
	// Adverts lag behind: what they say of room counts once a peer has refused.
	if err == nil && (len(avoid) == 0 || v.roomy(sv, planned.Layout, tokens)) && v.keepsEnds(planned.Layout) {
		return planned.Layout, planned.Predicted, nil
	}
	if len(sv.Peers) == 0 {
		none := shard.Span{End: shard.Layer(v.model.Layers)}
		return nil, scheduler.Predicted{}, &scheduler.UncoveredError{
			Spans: []shard.Span{none}, Text: fmt.Sprintf("no route: layers %v: no member serves any", none),
		}
	}
	path, err := scheduler.Route(sv, scheduler.Request{Tokens: tokens, PromptTokens: v.prompt, Avoid: avoid, Planned: planned.Layout, Ends: v.ends})
	if err != nil {
		return nil, scheduler.Predicted{}, err
	}
	got := scheduler.Predicted{TTFTms: path.TTFTms}
	if path.TokenMS > 0 {
		got.TokSOne = 1000 / path.TokenMS
	}
	return path.Stages, got, nil
}

// roomy reports whether every stage of l has room for so many tokens.
func (v *swarmView) roomy(sv scheduler.View, l scheduler.Layout, tokens int) bool {
	for _, a := range l {
		for _, p := range sv.Peers {
			if p.ID == a.Peer && p.KVFreeBytes < int64(tokens)*int64(p.Held.Len())*v.model.KVBytesPerTokenLayer {
				return false
			}
		}
	}
	return true
}

// unlike says that a member serves the model but keeps keys and values another
// way, so that no session can run through both; "" if none does.
func (v *swarmView) unlike() string {
	for _, m := range v.members {
		if a := m.Advert; m.Alive && a.Model == v.id && a.Span.Len() > 0 && a.KV != v.kv {
			return fmt.Sprintf("; %s keeps keys and values as %v, this member as %v (--kv-type): they share no sessions", a.Name, a.KV, v.kv)
		}
	}
	return ""
}
