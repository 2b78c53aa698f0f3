package pipeline

import (
	"slices"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// Stats says where the time of a session went.
type Stats struct {
	Hops       []HopStats   // driver to first, stage to stage, last to driver
	Stages     []StageStats // in the order of the route, as it was at the end
	Recoveries []Recovery   // in the order of their ends
}

// A Recovery is how a session went on after a stage was lost or left.
type Recovery struct {
	// At is the position that the session had got to.
	At shard.Pos
	// Lost is the stage, and Replacement those that have its layers now.
	Lost        Stage
	Replacement []Stage
	// Pause is how long nothing came out of the session.
	Pause time.Duration
	// ReplayedTokens were computed again, by one stage at least.
	ReplayedTokens int
	// Planned says that the stage left and was not lost.
	Planned bool
}

// HopStats is what one hop carried and took.
type HopStats struct {
	From, To     shard.PeerID
	Steps, Bytes uint64
	Codec        string
	P50ms, P99ms float64
}

// StageStats is what one stage took.
type StageStats struct {
	Peer           shard.PeerID
	Name           string
	Span           shard.Span
	Compute, Queue time.Duration
}

// A recorder collects Stats.
type recorder struct {
	meter      hop.Meter // the hop from the last stage to the driver
	last       hop.Path  // of that hop
	recoveries []Recovery
	tokens     int // that were steps of their own
}

// observedEvery is after how many tokens [Config.Observed] hears of them.
const observedEvery = 32

// observe notes the times of a step of one token, and tells of them now and
// then.
func (r *recorder) observe(legs []*leg, res result, tell func(Stage, time.Duration)) {
	for i, t := range res.m.GetTimes()[:min(len(res.m.GetTimes()), len(legs))] {
		took := time.Duration(t.GetComputeUs()) * time.Microsecond
		if legs[i].token == 0 {
			legs[i].token = took
		}
		legs[i].token += (took - legs[i].token) / 8
	}
	if r.tokens++; tell == nil || r.tokens%observedEvery != 0 {
		return
	}
	for _, l := range legs {
		tell(l.Stage, l.token)
	}
}

// result counts one answer of the last of legs.
func (r *recorder) result(legs []*leg, res result) {
	r.meter.Add(res.bytes, wire.CodecNone, res.m.GetSentUnixUs(), res.at)
	for i, t := range res.m.GetTimes() {
		if i >= len(legs) {
			break
		}
		legs[i].compute += time.Duration(t.GetComputeUs()) * time.Microsecond
		legs[i].queue += time.Duration(t.GetQueueUs()) * time.Microsecond
	}
}

// stats returns what is known of a route.
func (r *recorder) stats(self shard.PeerID, legs []*leg) Stats {
	out := Stats{Recoveries: slices.Clone(r.recoveries)}
	from := self
	for _, l := range legs {
		out.Stages = append(out.Stages, StageStats{Peer: l.Peer, Name: l.Name, Span: l.Span, Compute: l.compute, Queue: l.queue})
		out.Hops = append(out.Hops, hopStats(from, l.Peer, l.inbound))
		from = l.Peer
	}
	out.Hops = append(out.Hops, hopStats(from, self, r.meter.Message(r.last)))
	return out
}

func hopStats(from, to shard.PeerID, m *wirepb.Hop) HopStats {
	return HopStats{
		From: from, To: to, Steps: m.GetSteps(), Bytes: m.GetBytes(), Codec: m.GetCodec(), P50ms: m.GetP50Ms(), P99ms: m.GetP99Ms(),
	}
}

// Stats returns what has been measured so far; hops are complete after Close.
func (s *Session) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats.stats(s.cfg.Self, s.legs)
}
