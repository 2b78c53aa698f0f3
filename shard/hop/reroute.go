package hop

import (
	"math"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// A Reroute gives a session that runs another route: its stage stays where it
// is, and may get other neighbours.
type Reroute struct {
	Epoch  shard.Epoch
	Prev   shard.PeerID // as in Open
	Next   *Neighbour
	Relink bool // Next is a new stage, though its peer may be an old one
	// Filled is the epoch of the [Fill] that Next was filled by; 0: of none.
	Filled shard.Epoch
	// Lineage is that of [Prefix]; nil if the driver shares nothing.
	Lineage *Hash
}

// Message returns r as it is sent.
func (r Reroute) Message() *wirepb.Reroute {
	m := &wirepb.Reroute{Epoch: uint32(r.Epoch), Next: r.Next.message(), Relink: r.Relink, Filled: uint32(r.Filled)}
	if !r.Prev.IsZero() {
		m.Prev = r.Prev[:]
	}
	if r.Lineage != nil {
		m.Lineage = r.Lineage[:]
	}
	return m
}

// ParseReroute checks what a driver asks of the stage that o opened.
func ParseReroute(m *wirepb.Reroute, o *Open) (Reroute, error) {
	r := Reroute{Epoch: shard.Epoch(m.GetEpoch()), Relink: m.GetRelink(), Filled: shard.Epoch(m.GetFilled())}
	if (m.GetNext() == nil) != (o.Next == nil) {
		return r, refuse(shard.Invalid, "a reroute makes the last stage of a route of another, or another the last")
	}
	var err error
	if r.Prev, err = parsePrev(m.GetPrev(), o.Span); err != nil {
		return r, err
	}
	switch n := len(m.GetLineage()); n {
	case 0:
	case HashBytes:
		lineage := Hash(m.GetLineage())
		r.Lineage = &lineage
	default:
		return r, refuse(shard.Invalid, "lineage of %d bytes, want %d", n, HashBytes)
	}
	if m.GetNext() != nil {
		r.Next, err = parsePeer(m.GetNext())
	}
	return r, err
}

// A Resume lets the steps of a new route through a stage: it replays positions
// [ReplayFrom, ReplayTo) from its log, and sends nothing of what comes out
// before SendFrom.
type Resume struct {
	Epoch                          shard.Epoch
	ReplayFrom, ReplayTo, SendFrom shard.Pos
}

// SendNothing is a [Resume.SendFrom] beyond all positions.
const SendNothing shard.Pos = math.MaxInt32

// Message returns r as it is sent.
func (r Resume) Message() *wirepb.Resume {
	return &wirepb.Resume{
		Epoch: uint32(r.Epoch), ReplayFrom: uint32(r.ReplayFrom), ReplayTo: uint32(r.ReplayTo), SendFrom: uint32(r.SendFrom),
	}
}

// ParseResume checks the positions of m.
func ParseResume(m *wirepb.Resume) (Resume, error) {
	if m.GetReplayFrom() > m.GetReplayTo() || m.GetReplayTo() > maxTokens || m.GetSendFrom() > math.MaxInt32 {
		return Resume{}, refuse(shard.Invalid, "resume: replay of positions %d to %d, then from %d on", m.GetReplayFrom(), m.GetReplayTo(), m.GetSendFrom())
	}
	return Resume{
		Epoch: shard.Epoch(m.GetEpoch()), ReplayFrom: shard.Pos(m.GetReplayFrom()), ReplayTo: shard.Pos(m.GetReplayTo()),
		SendFrom: shard.Pos(m.GetSendFrom()),
	}, nil
}

// A Fill has a stage fill another one that will be its next in the route Epoch.
type Fill struct {
	Epoch shard.Epoch
	Next  Neighbour
	From  shard.Pos
}

// Message returns f as it is sent.
func (f Fill) Message() *wirepb.Fill {
	return &wirepb.Fill{Epoch: uint32(f.Epoch), Next: f.Next.message(), From: uint32(f.From)}
}

// ParseFill checks m.
func ParseFill(m *wirepb.Fill) (Fill, error) {
	if m.GetNext() == nil || m.GetFrom() > maxTokens {
		return Fill{}, refuse(shard.Invalid, "fill from position %d on: want a peer to fill", m.GetFrom())
	}
	next, err := parsePeer(m.GetNext())
	if err != nil {
		return Fill{}, err
	}
	return Fill{Epoch: shard.Epoch(m.GetEpoch()), Next: *next, From: shard.Pos(m.GetFrom())}, nil
}

// LostMessage returns that the neighbour whose fault err is was lost in epoch.
func LostMessage(epoch shard.Epoch, peer shard.PeerID, err *shard.StageError) *wirepb.Lost {
	return &wirepb.Lost{Epoch: uint32(epoch), Peer: peer[:], Code: uint32(err.Code), Text: clip(err.Text)}
}

// ParseLost returns the epoch and the fault of m.
func ParseLost(m *wirepb.Lost) (shard.Epoch, *shard.StageError, error) {
	lost := &shard.StageError{Code: shard.Code(m.GetCode()), Text: clip(m.GetText())}
	if len(m.GetPeer()) != len(lost.Peer) {
		return 0, lost, refuse(shard.Invalid, "peer id of %d bytes, want %d", len(m.GetPeer()), len(lost.Peer))
	}
	copy(lost.Peer[:], m.GetPeer())
	return shard.Epoch(m.GetEpoch()), lost, nil
}

// Held returns the positions that a Rerouted or a Filled frame names, if they
// can be: what the stage has computed, and from where on it has its log.
func (c *Conn) Held(f wire.Frame) (epoch shard.Epoch, held, logFrom shard.Pos, err error) {
	var m wirepb.Rerouted // the same fields as Filled
	if err := c.Unmarshal(f, &m); err != nil {
		return 0, 0, 0, err
	}
	if m.GetHeld() > maxTokens || m.GetLogFrom() > m.GetHeld() {
		return 0, 0, 0, c.Invalid("the stage says that it holds %d positions and has a log from %d on", m.GetHeld(), m.GetLogFrom())
	}
	return shard.Epoch(m.GetEpoch()), shard.Pos(m.GetHeld()), shard.Pos(m.GetLogFrom()), nil
}

// Upto returns the hashes of the blocks that end within the first n tokens, at
// most [MaxChain].
func (c *Chain) Upto(n int) []Hash {
	return c.hashes(0, min(MaxChain, n/ChainTokens))
}
