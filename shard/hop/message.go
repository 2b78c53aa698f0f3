package hop

import (
	"errors"
	"fmt"
	"math"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// Bounds of what a message may claim.
const (
	maxLayers = 1 << 12
	maxTokens = 1 << 24
	// MaxStepTokens is the most tokens of one step; drivers cut longer ones.
	MaxStepTokens = 512
	// MaxInFlight bounds the steps of a session between the driver and the
	// last stage. A stage queues as many, so that a driver that keeps to it is
	// never blocked by a stage that computes.
	MaxInFlight = 8
	// MaxTopK bounds the highest logits asked for of one position: their
	// summary must fit the header of a frame. Whoever wants more asks for all.
	MaxTopK = 4096
	// MaxNamed bounds the ids asked for by name, package sample's own bound.
	MaxNamed = 4096
	maxAddrs = 16
	maxText  = 4 << 10
	// MaxStages bounds the stages of a route.
	MaxStages = 64
)

// A Neighbour is a peer and where it can be reached.
type Neighbour struct {
	Peer  shard.PeerID
	Name  string
	Addrs []string
}

// An Open asks a peer to be one stage of a session.
type Open struct {
	Session   shard.SessionID
	Epoch     shard.Epoch
	Model     shard.ModelID
	KV        kvcache.Precision // how all stages keep keys and values
	Span      shard.Span
	MaxTokens int
	Prev      shard.PeerID // the upstream stage; zero for the first
	Next      *Neighbour   // the downstream stage; nil for the last
	Codec     wire.Codec   // of hidden states sent to Next; CodecNone: the stage chooses
	Prefix    *Prefix      // what the session begins with; nil if the driver shares nothing
	Wait      bool         // steps wait for a Resume
	Unlinked  bool         // Next is linked to at a Reroute only
}

// Message returns o as it is sent.
func (o Open) Message() *wirepb.Open {
	m := &wirepb.Open{
		Version: Version, MinVersion: MinVersion,
		Session: o.Session[:], Epoch: uint32(o.Epoch), Model: o.Model[:],
		Start: uint32(o.Span.Start), End: uint32(o.Span.End), MaxTokens: uint32(o.MaxTokens), KvType: uint32(o.KV),
		Codec: o.Codec.String(), Wait: o.Wait, Unlinked: o.Unlinked,
	}
	if !o.Prev.IsZero() {
		m.Prev = o.Prev[:]
	}
	if o.Prefix != nil {
		m.Chain, m.ChainTokens, m.Lineage = HashBlock(o.Prefix.Chain), ChainTokens, o.Prefix.Lineage[:]
	}
	m.Next = o.Next.message()
	return m
}

// message returns n as it is sent, nil for none.
func (n *Neighbour) message() *wirepb.Peer {
	if n == nil {
		return nil
	}
	return &wirepb.Peer{Id: n.Peer[:], Name: n.Name, Addrs: n.Addrs}
}

// ParseOpen checks what a peer asks for. Its errors carry a code.
func ParseOpen(m *wirepb.Open) (Open, error) {
	var o Open
	if m.GetMinVersion() > Version || m.GetVersion() < MinVersion {
		return o, refuse(shard.Version, "the driver speaks versions %d to %d of the session protocol, this peer %d to %d: update the older one",
			m.GetMinVersion(), m.GetVersion(), MinVersion, Version)
	}
	switch {
	case len(m.GetSession()) != len(o.Session):
		return o, refuse(shard.Invalid, "session id of %d bytes, want %d", len(m.GetSession()), len(o.Session))
	case len(m.GetModel()) != len(o.Model):
		return o, refuse(shard.Invalid, "model id of %d bytes, want %d", len(m.GetModel()), len(o.Model))
	case m.GetKvType() > uint32(kvcache.Int8):
		return o, refuse(shard.Invalid, "keys and values are to be kept in form %d, which this peer does not know: update it", m.GetKvType())
	case m.GetEpoch() == 0:
		return o, refuse(shard.Invalid, "epoch is 0, want 1 or more")
	case m.GetStart() >= m.GetEnd() || m.GetEnd() > maxLayers:
		return o, refuse(shard.Invalid, "span [%d,%d): want a range of at most %d layers", m.GetStart(), m.GetEnd(), maxLayers)
	case m.GetMaxTokens() == 0 || m.GetMaxTokens() > maxTokens:
		return o, refuse(shard.Invalid, "session of %d tokens: want 1 to %d", m.GetMaxTokens(), maxTokens)
	}
	copy(o.Session[:], m.GetSession())
	copy(o.Model[:], m.GetModel())
	o.KV = kvcache.Precision(m.GetKvType())
	o.Epoch = shard.Epoch(m.GetEpoch())
	o.Span = shard.Span{Start: shard.Layer(m.GetStart()), End: shard.Layer(m.GetEnd())}
	o.MaxTokens = int(m.GetMaxTokens())
	o.Wait, o.Unlinked = m.GetWait(), m.GetUnlinked()
	var err error
	if o.Prev, err = parsePrev(m.GetPrev(), o.Span); err != nil {
		return o, err
	}
	if o.Prefix, err = parsePrefix(m); err != nil {
		return o, err
	}
	if o.Codec, err = parseCodec(m.GetCodec()); err != nil || m.GetNext() == nil {
		return o, err
	}
	o.Next, err = parsePeer(m.GetNext())
	return o, err
}

// parsePrev reads who the upstream stage of the one of span is.
func parsePrev(id []byte, span shard.Span) (prev shard.PeerID, err error) {
	switch {
	case (span.Start == 0) != (len(id) == 0):
		return prev, refuse(shard.Invalid, "a stage has an upstream peer unless it begins with layer 0")
	case len(id) == 0:
		return prev, nil
	case len(id) != len(prev):
		return prev, refuse(shard.Invalid, "peer id of %d bytes, want %d", len(id), len(prev))
	}
	if prev = shard.PeerID(id); prev.IsZero() {
		return prev, refuse(shard.Invalid, "the upstream peer's id is all zeros")
	}
	return prev, nil
}

func parseCodec(name string) (wire.Codec, error) {
	switch name {
	case "", wire.CodecNone.String():
		return wire.CodecNone, nil
	case wire.Raw.String():
		return wire.Raw, nil
	case wire.Planes.String():
		return wire.Planes, nil
	}
	return wire.Raw, refuse(shard.Invalid, "codec %.32q: want raw or planes", name)
}

func parsePeer(m *wirepb.Peer) (*Neighbour, error) {
	n := &Neighbour{Name: m.GetName(), Addrs: m.GetAddrs()}
	switch {
	case len(m.GetId()) != len(n.Peer):
		return nil, refuse(shard.Invalid, "peer id of %d bytes, want %d", len(m.GetId()), len(n.Peer))
	case len(n.Addrs) > maxAddrs || len(n.Name) > 256:
		return nil, refuse(shard.Invalid, "peer with %d addresses and a name of %d bytes", len(n.Addrs), len(n.Name))
	}
	copy(n.Peer[:], m.GetId())
	return n, nil
}

func refuse(code shard.Code, format string, args ...any) error {
	return &shard.StageError{Code: code, Text: fmt.Sprintf(format, args...)}
}

// CheckStep checks the counts of a step that a peer sent.
func CheckStep(m *wirepb.Step) error {
	switch {
	case m.GetCount() == 0 || m.GetCount() > MaxStepTokens:
		return refuse(shard.Invalid, "step of %d tokens, want 1 to %d", m.GetCount(), MaxStepTokens)
	case m.GetPos() > maxTokens:
		return refuse(shard.Invalid, "step at position %d", m.GetPos())
	case len(m.GetNamed()) > MaxNamed:
		return refuse(shard.Invalid, "step names %d ids, want at most %d", len(m.GetNamed()), MaxNamed)
	case len(m.GetTimes()) > MaxStages:
		return refuse(shard.Invalid, "step with the times of %d stages, want at most %d", len(m.GetTimes()), MaxStages)
	case m.GetTopK() > MaxTopK:
		return refuse(shard.Invalid, "the %d highest logits are wanted, want at most %d: ask for all of them", m.GetTopK(), MaxTopK)
	case m.GetWant() < wirepb.Want_WANT_NONE || m.GetWant() > wirepb.Want_WANT_ALL:
		return refuse(shard.Invalid, "step wants logits in way %d, which is unknown", m.GetWant())
	case math.IsNaN(m.GetTemperature()) || math.IsInf(m.GetTemperature(), 0):
		return refuse(shard.Invalid, "temperature is %v, want a finite number", m.GetTemperature())
	}
	return checkChain(m)
}

// SummaryRows returns how many positions' logits, summarized as r asks, surely
// fit one result; 0 if not even one does.
func SummaryRows(r sample.Request) int {
	// An id takes at most 5 bytes, a logit 4; the rest of a Dist and the
	// lengths of its lists less than 64.
	row := 64 + 9*(min(max(r.K, 0), MaxTopK)+len(r.Named))
	return (wire.MaxHeaderBytes - 4<<10) / row // 4 KiB: times of stages and counts
}

// Request returns what a step asks of its logits.
func Request(m *wirepb.Step) sample.Request {
	return sample.Request{
		K: int(m.GetTopK()), Named: tokens(m.GetNamed()),
		Temperature: m.GetTemperature(), Full: m.GetFull(),
	}
}

func tokens(ids []uint32) []shard.Token {
	if len(ids) == 0 {
		return nil
	}
	out := make([]shard.Token, len(ids))
	for i, id := range ids {
		out[i] = shard.Token(id)
	}
	return out
}

// Uint32s returns ids as they are sent.
func Uint32s(ids []shard.Token) []uint32 {
	if len(ids) == 0 {
		return nil
	}
	out := make([]uint32, len(ids))
	for i, id := range ids {
		out[i] = uint32(id)
	}
	return out
}

// DistMessage returns d as it is sent.
func DistMessage(d sample.Dist) *wirepb.Dist {
	m := &wirepb.Dist{Ids: Uint32s(d.IDs), Logits: d.Logits, Lse: d.LSE, LseTemp: d.LSETemp, Vocab: uint32(d.Vocab)}
	for _, n := range d.Named {
		m.NamedIds = append(m.NamedIds, uint32(n.ID))
		m.NamedLogits = append(m.NamedLogits, n.Logit)
	}
	return m
}

// ParseDist reads a Dist that a peer sent. Package sample checks the rest.
func ParseDist(m *wirepb.Dist) (sample.Dist, error) {
	d := sample.Dist{
		IDs: tokens(m.GetIds()), Logits: m.GetLogits(), LSE: m.GetLse(), LSETemp: m.GetLseTemp(),
		Vocab: int(m.GetVocab()),
	}
	if len(d.IDs) != len(d.Logits) || len(m.GetNamedIds()) != len(m.GetNamedLogits()) {
		return d, refuse(shard.Invalid, "logits: %d ids for %d, %d named for %d",
			len(d.IDs), len(d.Logits), len(m.GetNamedIds()), len(m.GetNamedLogits()))
	}
	for i, id := range m.GetNamedIds() {
		d.Named = append(d.Named, sample.Named{ID: shard.Token(id), Logit: m.GetNamedLogits()[i]})
	}
	d.Full = d.Vocab > 0 && len(d.IDs) == d.Vocab
	return d, nil
}

// ErrorMessage returns err as it is sent by the stage self with the given name.
func ErrorMessage(err error, self shard.PeerID, name string) *wirepb.Error {
	stage, ok := errors.AsType[*shard.StageError](err)
	if !ok {
		stage = &shard.StageError{Code: shard.Internal, Text: err.Error()}
	}
	at := stage.Peer
	if at.IsZero() {
		at = self
	}
	if at == self && stage.Name == "" {
		stage = &shard.StageError{Name: name, Span: stage.Span, Code: stage.Code, Text: stage.Text}
	}
	return &wirepb.Error{
		Code: uint32(stage.Code), Text: clip(stage.Text), Peer: at[:], Name: clip(stage.Name),
		Start: uint32(stage.Span.Start), End: uint32(stage.Span.End),
	}
}

func clip(text string) string { return text[:min(len(text), maxText)] }

// remoteError returns the error that f carries.
func (c *Conn) remoteError(f wire.Frame) error {
	var m wirepb.Error
	if err := c.Unmarshal(f, &m); err != nil {
		return err
	}
	stage := &shard.StageError{
		Peer: c.peer, Name: clip(m.GetName()), Code: shard.Code(m.GetCode()), Text: clip(m.GetText()),
		Span: shard.Span{Start: shard.Layer(min(m.GetStart(), maxLayers)), End: shard.Layer(min(m.GetEnd(), maxLayers))},
	}
	if len(m.GetPeer()) == len(stage.Peer) {
		copy(stage.Peer[:], m.GetPeer())
	}
	return stage
}
