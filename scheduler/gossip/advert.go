package gossip

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/transport"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// Bounds of an advert. maxAdvertBytes is memberlist.MetaMaxSize.
const (
	maxAdvertBytes = 512
	maxNameBytes   = 32
	maxAdvertAddrs = 4
	maxLayers      = 1 << 14
	layoutBytes    = 8

	// Claims beyond these are lies. The sum over maxMembers fits an int64.
	maxClaimBytes  = 1 << 50
	maxClaimTokens = 1 << 40

	kindAdvert = "advert v1"
)

// A State says what a peer does now.
type State uint8

// The states of a peer.
const (
	// Joining: it loads its layers, or has none yet.
	Joining State = 1
	// Serving: it answers for its span.
	Serving State = 2
	// Draining: it finishes its sessions and takes no new ones.
	Draining State = 3
	// Client: it holds no layers and uses those of others.
	Client State = 4
)

// String returns the state as `ps` shows it.
func (s State) String() string {
	switch s {
	case Joining:
		return "joining"
	case Serving:
		return "serving"
	case Draining:
		return "draining"
	case Client:
		return "client"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// An Advert is what a peer says about itself.
type Advert struct {
	Name  string           // for people, at most 32 bytes
	Addrs []netip.AddrPort // where it can be dialed, at most 4; default: those of its node
	Role  transport.Role   // from its membership; ignored in what is sent
	State State            // default: Joining

	Model     shard.ModelID     // zero if it serves none
	ModelName string            // short, at most 32 bytes
	Layers    int               // of the model
	KV        kvcache.Precision // how it keeps keys and values: members that differ share no sessions
	Span      shard.Span        // held
	Planned   shard.Span        // to be held next
	Ready     int               // percent of Planned that has arrived; more of it renews the promise
	Pinned    bool              // its owner insists on the span: no plan moves it
	Layout    [8]byte           // digest of the layout it follows; zero if none

	MemoryBytes  int64         // what it offers
	FreeBytes    int64         // what of it is free
	Decode       time.Duration // per layer and token, one token at a time; at most 4.29 s
	Prefill      time.Duration // per layer and token of a long prompt; at most 4.29 s
	Threads      int
	KVFreeTokens int64 // positions of KV cache still free
	Sessions     int
	API          bool // answers the HTTP API

	// Observed are peers whose stages took longer than they say, as this peer
	// saw it in its own sessions; at most MaxObserved.
	Observed []Observed

	// Seq orders the adverts of a peer, Born tells its processes apart. They are
	// set by [Gossip.Update].
	Seq, Born uint64
}

// MaxObserved bounds Advert.Observed.
const MaxObserved = 2

// An Observed is how long a peer really takes.
type Observed struct {
	Peer   PeerPrefix
	Decode time.Duration // per layer and token, one token at a time; at most 4.29 s
}

// A PeerPrefix is the first bytes of a [shard.PeerID]: enough to name one peer
// of a swarm to those who know all of them.
type PeerPrefix [4]byte

// PrefixOf returns the prefix of a peer's name.
func PrefixOf(id shard.PeerID) PeerPrefix { return PeerPrefix(id[:4]) }

// validate rejects what no peer can mean.
func (a Advert) validate() error {
	inModel := func(s shard.Span) bool { return 0 <= s.Start && s.Start <= s.End && int(s.End) <= a.Layers }
	switch {
	case !plain(a.Name):
		return fmt.Errorf("advert: name %.40q is not plain text of at most %d bytes", a.Name, maxNameBytes)
	case !plain(a.ModelName):
		return fmt.Errorf("advert: model name %.40q is not plain text of at most %d bytes", a.ModelName, maxNameBytes)
	case a.State < Joining || a.State > Client:
		return fmt.Errorf("advert: %v is unknown", a.State)
	case len(a.Addrs) > maxAdvertAddrs:
		return fmt.Errorf("advert: %d addresses, want at most %d", len(a.Addrs), maxAdvertAddrs)
	case a.Layers < 0 || a.Layers > maxLayers:
		return fmt.Errorf("advert: model has %d layers, want 0 to %d", a.Layers, maxLayers)
	case len(a.Observed) > MaxObserved:
		return fmt.Errorf("advert: %d peers observed, want at most %d", len(a.Observed), MaxObserved)
	case !inModel(a.Span) || !inModel(a.Planned):
		return fmt.Errorf("advert: spans %v and %v do not lie in %d layers", a.Span, a.Planned, a.Layers)
	}
	return a.validateClaims()
}

func (a Advert) validateClaims() error {
	for _, c := range []struct {
		what        string
		claim, most int64
	}{
		{"bytes of memory", a.MemoryBytes, maxClaimBytes},
		{"bytes free", a.FreeBytes, maxClaimBytes},
		{"positions free", a.KVFreeTokens, maxClaimTokens},
		{"sessions", int64(a.Sessions), 1 << 20},
		{"threads", int64(a.Threads), 1 << 16},
		{"ns a layer in decode", int64(a.Decode), math.MaxUint32},
		{"ns a layer in prefill", int64(a.Prefill), math.MaxUint32},
		{"percent ready", int64(a.Ready), 100},
	} {
		if c.claim < 0 || c.claim > c.most {
			return fmt.Errorf("advert: %d %s, want 0 to %d", c.claim, c.what, c.most)
		}
	}
	for _, o := range a.Observed {
		if o.Decode < 0 || o.Decode > math.MaxUint32 {
			return fmt.Errorf("advert: peer observed at %v a layer", o.Decode)
		}
	}
	return nil
}

// says reports whether a says the same as b, whenever it was said.
func (a Advert) says(b Advert) bool {
	if !slices.Equal(a.Addrs, b.Addrs) {
		return false
	}
	a.Addrs, b.Addrs, a.Seq, b.Seq, a.Born, b.Born = nil, nil, 0, 0, 0, 0
	return reflect.DeepEqual(a, b)
}

func plain(text string) bool {
	return len(text) <= maxNameBytes && utf8.ValidString(text) &&
		!strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}

// seal encodes a, signs it, and checks that it fits memberlist's field.
func (a Advert) seal(id transport.Identity, membership []byte) ([]byte, error) {
	if err := a.validate(); err != nil {
		return nil, err
	}
	pb := &wirepb.Advert{
		Membership: membership, Seq: a.Seq, Born: a.Born, Name: a.Name, State: uint32(a.State),
		ModelName: a.ModelName, Layers: uint32(a.Layers), Threads: uint32(a.Threads), Sessions: uint32(a.Sessions), //nolint:gosec // validated
		Start: uint32(a.Span.Start), End: uint32(a.Span.End), PlanStart: uint32(a.Planned.Start), PlanEnd: uint32(a.Planned.End), //nolint:gosec // validated
		Memory: uint64(a.MemoryBytes), Free: uint64(a.FreeBytes), KvFree: uint64(a.KVFreeTokens), //nolint:gosec // validated
		DecodeNs: uint32(a.Decode), PrefillNs: uint32(a.Prefill), Api: a.API, Pinned: a.Pinned, KvType: uint32(a.KV), //nolint:gosec // validated
		Ready: uint32(a.Ready), //nolint:gosec // validated
	}
	if !a.Model.IsZero() {
		pb.Model = a.Model[:]
	}
	if a.Layout != [layoutBytes]byte{} {
		pb.Layout = a.Layout[:]
	}
	for _, o := range a.Observed {
		pb.Observed = append(pb.Observed, uint64(binary.BigEndian.Uint32(o.Peer[:]))<<32|uint64(o.Decode)) //nolint:gosec // validated
	}
	for _, addr := range a.Addrs {
		pb.Addrs = append(pb.Addrs, transport.AppendAddr(nil, addr))
	}
	body, err := proto.Marshal(pb)
	if err != nil {
		return nil, fmt.Errorf("encode advert: %w", err)
	}
	b, err := proto.Marshal(&wirepb.Signed{Body: body, Signature: id.Sign(kindAdvert, body)})
	if err != nil {
		return nil, fmt.Errorf("encode advert: %w", err)
	}
	if len(b) > maxAdvertBytes {
		return nil, fmt.Errorf("advert has %d bytes, want at most %d: shorten the names", len(b), maxAdvertBytes)
	}
	return b, nil
}

// parseAdvert reads what seal wrote. learn checks a membership and says whose
// it is; the advert must be signed by that member.
func parseAdvert(b []byte, learn func(signed []byte) (transport.Member, error)) (Advert, transport.Member, error) {
	fail := func(err error) (Advert, transport.Member, error) {
		return Advert{}, transport.Member{}, fmt.Errorf("advert: %w", err)
	}
	if len(b) > maxAdvertBytes {
		return fail(fmt.Errorf("has %d bytes, want at most %d", len(b), maxAdvertBytes))
	}
	var outer wirepb.Signed
	var pb wirepb.Advert
	if err := proto.Unmarshal(b, &outer); err != nil {
		return fail(err)
	}
	if err := proto.Unmarshal(outer.GetBody(), &pb); err != nil {
		return fail(err)
	}
	m, err := learn(pb.GetMembership())
	if err != nil {
		return fail(err)
	}
	if !transport.Verify(m.Public(), kindAdvert, outer.GetBody(), outer.GetSignature()) {
		return fail(fmt.Errorf("not signed by peer %s", m.Peer.Short()))
	}
	a, err := advertOf(&pb)
	a.Role = m.Role
	return a, m, err
}

func advertOf(pb *wirepb.Advert) (Advert, error) {
	if k := len(pb.GetModel()); k != 0 && k != len(shard.ModelID{}) {
		return Advert{}, fmt.Errorf("advert: model id has %d bytes, want %d", k, len(shard.ModelID{}))
	}
	if k := len(pb.GetLayout()); k != 0 && k != layoutBytes {
		return Advert{}, fmt.Errorf("advert: layout digest has %d bytes, want %d", k, layoutBytes)
	}
	if pb.GetState() > 255 || pb.GetKvType() > 255 || pb.GetLayers() > maxLayers || max(pb.GetStart(), pb.GetEnd(), pb.GetPlanStart(), pb.GetPlanEnd()) > maxLayers {
		return Advert{}, fmt.Errorf("advert: state, kv type or layers out of range")
	}
	a := Advert{
		Name: pb.GetName(), State: State(pb.GetState()), ModelName: pb.GetModelName(), Layers: int(pb.GetLayers()),
		Span:        shard.Span{Start: shard.Layer(pb.GetStart()), End: shard.Layer(pb.GetEnd())},               //nolint:gosec // checked
		Planned:     shard.Span{Start: shard.Layer(pb.GetPlanStart()), End: shard.Layer(pb.GetPlanEnd())},       //nolint:gosec // checked
		MemoryBytes: int64(pb.GetMemory()), FreeBytes: int64(pb.GetFree()), KVFreeTokens: int64(pb.GetKvFree()), //nolint:gosec // validated
		Decode: time.Duration(pb.GetDecodeNs()), Prefill: time.Duration(pb.GetPrefillNs()),
		Threads: int(pb.GetThreads()), Sessions: int(pb.GetSessions()), API: pb.GetApi(), Pinned: pb.GetPinned(), Seq: pb.GetSeq(), Born: pb.GetBorn(),
		KV: kvcache.Precision(pb.GetKvType()), Ready: int(min(pb.GetReady(), 101)),
	}
	for _, o := range pb.GetObserved()[:min(len(pb.GetObserved()), MaxObserved)] {
		x := Observed{Decode: time.Duration(o & math.MaxUint32)} //nolint:gosec // 32 bits
		binary.BigEndian.PutUint32(x.Peer[:], uint32(o>>32))     //nolint:gosec // 32 bits
		a.Observed = append(a.Observed, x)
	}
	copy(a.Model[:], pb.GetModel())
	copy(a.Layout[:], pb.GetLayout())
	for _, b := range pb.GetAddrs()[:min(len(pb.GetAddrs()), maxAdvertAddrs)] {
		addr, err := transport.ParseAddr(b)
		if err != nil {
			return Advert{}, fmt.Errorf("advert: %w", err)
		}
		a.Addrs = append(a.Addrs, addr)
	}
	return a, a.validate()
}
