package pipeline

import (
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// Stats says where the time of a session went.
type Stats struct {
	Hops   []HopStats   // driver to first, stage to stage, last to driver
	Stages []StageStats // in the order of the route
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
	out   Stats
	meter hop.Meter // the hop from the last stage to the driver
	last  hop.Path  // of that hop
}

func (r *recorder) init(cfg Config) {
	from := cfg.Self
	for _, st := range cfg.Route {
		r.out.Stages = append(r.out.Stages, StageStats{Peer: st.Peer, Name: st.Name, Span: st.Span})
		r.out.Hops = append(r.out.Hops, HopStats{From: from, To: st.Peer})
		from = st.Peer
	}
	r.out.Hops = append(r.out.Hops, HopStats{From: from, To: cfg.Self})
}

// result counts one answer of the last stage.
func (r *recorder) result(res result) {
	r.meter.Add(res.bytes, wire.CodecNone, res.m.GetSentUnixUs(), res.at)
	for i, t := range res.m.GetTimes() {
		if i >= len(r.out.Stages) {
			break
		}
		r.out.Stages[i].Compute += time.Duration(t.GetComputeUs()) * time.Microsecond
		r.out.Stages[i].Queue += time.Duration(t.GetQueueUs()) * time.Microsecond
	}
}

// closed takes what stage i measured of the hop that ends there.
func (r *recorder) closed(i int, m *wirepb.Closed) { r.setHop(i, m.GetInbound()) }

func (r *recorder) setHop(i int, m *wirepb.Hop) {
	h := &r.out.Hops[i]
	h.Steps, h.Bytes, h.Codec = m.GetSteps(), m.GetBytes(), m.GetCodec()
	h.P50ms, h.P99ms = m.GetP50Ms(), m.GetP99Ms()
}

func (r *recorder) stats() Stats {
	r.setHop(len(r.out.Hops)-1, r.meter.Message(r.last))
	return r.out
}

// Stats returns what has been measured so far; hops are complete after Close.
func (s *Session) Stats() Stats { return s.stats.stats() }
