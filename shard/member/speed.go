package member

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/engine"
	"github.com/shardnode/shardnode/shard/pipeline"
)

const (
	// speedChange is how much faster or slower a span must have become before
	// the swarm is told: what follows costs others something.
	speedChange = 1.3
	// gaugeEvery is how often a span that nobody uses is timed, for
	// gaugeTime.
	gaugeEvery = 15 * time.Second
	gaugeTime  = 4 * time.Millisecond
)

// A gauged is what is known of the speed of a span.
type gauged struct {
	of      *Loaded
	speed   engine.Speed // smoothed
	batches int64        // that had run at the last look
	at      time.Time    // of the last measurement
}

// gauge looks at how fast l runs now: in the steps of sessions, or, when there
// are none, with made-up input. It tells the swarm of what has changed enough.
func (m *Member) gauge(ctx context.Context, l *Loaded) {
	if l == nil {
		return
	}
	g, now := &m.gauged, time.Now()
	if g.of != l {
		*g = gauged{of: l, speed: l.Speed, at: now, batches: l.Engine.Stats().Batches}
	}
	if now.Sub(g.at) < tick {
		return
	}
	st := l.Engine.Stats()
	fresh := engine.Speed{DecodePerLayer: st.Decode, PrefillPerLayer: st.Prefill}
	if st.Batches == g.batches {
		if now.Sub(g.at) < gaugeEvery {
			return
		}
		var err error
		if fresh, err = l.Engine.MeasureSpeed(ctx, gaugeTime); err != nil {
			fresh = engine.Speed{} // no room for a session now; the next look may have it
		}
	}
	g.batches, g.at = l.Engine.Stats().Batches, now
	g.speed.DecodePerLayer = blend(g.speed.DecodePerLayer, fresh.DecodePerLayer)
	g.speed.PrefillPerLayer = blend(g.speed.PrefillPerLayer, fresh.PrefillPerLayer)
	m.mu.Lock()
	said := m.speed
	m.mu.Unlock()
	if differs(said.DecodePerLayer, g.speed.DecodePerLayer) || differs(said.PrefillPerLayer, g.speed.PrefillPerLayer) {
		m.cfg.Logger.Info().Dur("decode", g.speed.DecodePerLayer).Dur("was", said.DecodePerLayer).Msg("speed has changed")
		m.set(func() { m.speed = g.speed })
	}
}

// blend moves an average half the way to a new sample, if there is one.
func blend(mean, sample time.Duration) time.Duration {
	if sample <= 0 {
		return mean
	}
	return mean + (sample-mean)/2
}

func differs(a, b time.Duration) bool {
	return float64(max(a, b)) > speedChange*float64(min(a, b))
}

// observations are the times that peers' stages took in sessions of this
// member, per layer and token.
type observations map[shard.PeerID]observation

type observation struct {
	decode  time.Duration // smoothed
	claimed time.Duration
	at      time.Time
}

const (
	// observedFor is how long an observation counts.
	observedFor = 2 * time.Minute
	// slowerBy is how much slower than it says a peer must be seen to be before
	// that is held against it: a stage that runs in a batch with others takes
	// longer, and stages take turns on a machine.
	slowerBy = 3
	// mostSlower bounds how much slower a peer is taken to be than it says: the
	// word of others has less weight than its own.
	mostSlower = 8
	// maxObservations bounds what is kept; those that are over go first.
	maxObservations = 256
)

// observed notes what a stage of a session of this member, of the model about,
// says that a token took.
func (m *Member) observed(about *About, st pipeline.Stage, token time.Duration) {
	units := float64(st.Span.Len())
	if int(st.Span.End) == about.plan.Layers {
		units += float64(about.plan.HeadBytes) / max(1, float64(about.plan.WeightBytes(st.Span)-about.plan.HeadBytes)/units)
	}
	m.observe(st.Peer, time.Duration(float64(token)/units))
}

// observe notes that the stages of a peer took so long, per layer and token,
// in a session of this member.
func (m *Member) observe(peer shard.PeerID, decode time.Duration) {
	if decode <= 0 || peer == m.cfg.Node.ID() {
		return
	}
	var claimed time.Duration
	for _, g := range m.gossip.View() {
		if g.Peer == peer {
			claimed = g.Advert.Decode
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen = observations{}
	}
	o, ok := m.seen[peer]
	if !ok && len(m.seen) >= maxObservations {
		return
	}
	if o.decode == 0 {
		o.decode = decode
	}
	m.seen[peer] = observation{decode: blend(o.decode, decode), claimed: claimed, at: time.Now()}
}

// slower returns the peers that were seen to be much slower than they say, the
// worst first, and forgets what was seen long ago.
func (o observations) slower() []gossip.Observed {
	type ratio struct {
		gossip.Observed

		by float64
	}
	var all []ratio
	for peer, x := range o {
		if time.Since(x.at) > observedFor {
			delete(o, peer)
			continue
		}
		if x.claimed > 0 && float64(x.decode) > slowerBy*float64(x.claimed) {
			// In steps, so that an advert changes when there is something to say.
			all = append(all, ratio{gossip.Observed{Peer: gossip.PrefixOf(peer), Decode: step(x.decode)}, float64(x.decode) / float64(x.claimed)})
		}
	}
	slices.SortFunc(all, func(a, b ratio) int {
		switch {
		case a.by > b.by:
			return -1
		case a.by < b.by:
			return 1
		}
		return bytes.Compare(a.Peer[:], b.Peer[:])
	})
	var out []gossip.Observed
	for _, r := range all[:min(len(all), gossip.MaxObserved)] {
		out = append(out, r.Observed)
	}
	return out
}

// step rounds d down to a power of speedChange.
func step(d time.Duration) time.Duration {
	x := 1000.0
	for x*speedChange <= float64(d) {
		x *= speedChange
	}
	return time.Duration(x)
}

// decode returns what a layer of m takes for a token: what it says, unless
// this member has seen it to be slower, or two others have. One other is
// believed where there are no two.
func (v *swarmView) decode(m *gossip.Member) time.Duration {
	var seen []time.Duration
	others := 0
	slowest := m.Advert.Decode
	for i := range v.members {
		o := &v.members[i]
		if !o.Alive || o.Peer == m.Peer {
			continue
		}
		others++
		for _, x := range o.Advert.Observed {
			if x.Peer == gossip.PrefixOf(m.Peer) {
				seen = append(seen, x.Decode)
			}
		}
	}
	slices.Sort(seen)
	if n := len(seen) - min(2, others); n >= 0 && others > 0 {
		slowest = max(slowest, seen[n])
	}
	for _, x := range v.seen {
		if x.Peer == gossip.PrefixOf(m.Peer) && m.Peer != v.self {
			slowest = max(slowest, x.Decode)
		}
	}
	return min(slowest, mostSlower*m.Advert.Decode)
}
