package hop

import (
	"slices"
	"time"

	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// maxSamples bounds the delays a Meter keeps; beyond it the oldest go.
const maxSamples = 4096

// A Meter measures one hop at its receiving end. It belongs to one goroutine.
// The zero Meter is ready.
//
// The clocks of two machines differ. Between them a delay is what the frame
// took more than the fastest frame of the session, plus half the path's round
// trip; on one machine it is the difference of the times.
type Meter struct {
	steps, bytes uint64
	codec        wire.Codec      // the densest seen
	delays       []time.Duration // clock difference included
	at           int             // where the next delay goes once delays is full
}

// Add counts a frame of n bytes that its sender wrote at sentUnixUS by its
// clock and that was read at now.
func (m *Meter) Add(n int, codec wire.Codec, sentUnixUS int64, now time.Time) {
	m.steps++
	m.bytes += uint64(n)
	m.codec = max(m.codec, codec) // a prompt may be packed, single tokens are not
	// Times that a hostile sender makes up may overflow; that changes a
	// figure and nothing else.
	delay := time.Duration(now.UnixMicro()-sentUnixUS) * time.Microsecond
	if len(m.delays) < maxSamples {
		m.delays = append(m.delays, delay)
		return
	}
	m.delays[m.at] = delay
	m.at = (m.at + 1) % maxSamples
}

// Message returns what was measured on path.
func (m *Meter) Message(path Path) *wirepb.Hop {
	out := &wirepb.Hop{Steps: m.steps, Bytes: m.bytes, Codec: m.codec.String()}
	if len(m.delays) == 0 {
		return out
	}
	sorted := slices.Clone(m.delays)
	slices.Sort(sorted)
	offset := path.RTT/2 - sorted[0]
	if path.SameClock {
		offset = 0
	}
	at := func(q float64) float64 {
		d := max(0, sorted[int(q*float64(len(sorted)-1))]+offset)
		return float64(d) / float64(time.Millisecond)
	}
	out.P50Ms, out.P99Ms = at(0.50), at(0.99)
	return out
}
