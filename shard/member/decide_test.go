package member

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/transport"
)

// A one is a member of a view in a test: layers of 10 bytes, an embedding and
// a head of 5, a KV cache of 1 byte a token and layer.
type one struct {
	name    string // the first byte is its id
	memory  int64
	holds   shard.Span
	plans   shard.Span // promised
	state   gossip.State
	change  func(*gossip.Member)
	ofModel byte // 0: the view's
}

const (
	viewModel  = 7
	viewLayers = 12
)

func all() shard.Span { return span(0, viewLayers) }

func span(lo, hi int) shard.Span { return shard.Span{Start: shard.Layer(lo), End: shard.Layer(hi)} }

func peerOf(name string) shard.PeerID { return shard.PeerID{name[0]} }

// makeView returns a view of members as the one called self sees it.
func makeView(self string, members ...one) *swarmView {
	v := &swarmView{
		self: peerOf(self), id: shard.ModelID{viewModel}, context: 512,
		model: scheduler.Model{
			Name: "m", Layers: viewLayers, LayerBytes: []int64{10 << 10}, EmbedBytes: 5 << 10, HeadBytes: 5 << 10,
			KVBytesPerTokenLayer: 1, HiddenBytes: 8,
		},
	}
	for _, o := range members {
		m := gossip.Member{Peer: peerOf(o.name), Alive: true, Advert: gossip.Advert{
			Name: o.name, Role: transport.RoleServe, State: gossip.Serving, Model: v.id, Layers: viewLayers,
			MemoryBytes: o.memory, Span: o.holds, Planned: o.plans, Decode: time.Millisecond, Prefill: time.Millisecond / 4,
			KVFreeTokens: 4096, Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:4711")},
		}}
		if o.holds.Len() == 0 {
			m.Advert.State = gossip.Joining
		}
		if o.state != 0 {
			m.Advert.State = o.state
		}
		if o.ofModel != 0 {
			m.Advert.Model = shard.ModelID{o.ofModel}
		}
		if o.change != nil {
			o.change(&m)
		}
		v.members = append(v.members, m)
	}
	return v
}

// big holds the whole model, small fits k layers in any place.
const big = 1 << 30

func fitting(k int64) int64 { return k*(10<<10+512) + 10<<10 }

func TestTarget(t *testing.T) {
	dead := func(m *gossip.Member) { m.Alive = false }
	client := func(m *gossip.Member) { m.Advert.Role = transport.RoleClient }
	insists := func(m *gossip.Member) { m.Advert.Pinned = true }
	liar := func(m *gossip.Member) { m.Advert.Layers, m.Advert.Span = 999, span(0, 999) }
	for _, c := range []struct {
		name    string
		members []one
		want    string // "a [0,6), b [6,12)"; a member that is not named may hold what it likes
	}{
		{"founder alone", []one{{name: "a", memory: big}}, "a [0,12)"},
		{"full holder stays", []one{{name: "a", memory: big, holds: all()}}, "a [0,12)"},
		{"joiner beside a full holder", []one{{name: "a", memory: big, holds: all()}, {name: "b", memory: big}}, "a [0,12), b [6,12)"},
		{
			"second joiner takes what the first leaves",
			[]one{{name: "a", memory: big, holds: all()}, {name: "b", memory: big, holds: span(6, 12)}, {name: "c", memory: big}},
			"a [0,12), b [6,12), c [4,8)",
		},
		{
			"second joiner while the first one loads",
			[]one{{name: "a", memory: big, holds: all()}, {name: "b", memory: big, plans: span(6, 12)}, {name: "c", memory: big}},
			"a [0,12), c [4,8)",
		},
		{
			"two took the same: one grows towards what is missing",
			[]one{{name: "a", memory: big, holds: all()}, {name: "b", memory: big, holds: span(6, 12)}, {name: "c", memory: big, holds: span(6, 12)}},
			"a [0,12), b [4,12), c [6,12)",
		},
		{
			"two hold the same: one takes a part of a third",
			[]one{{name: "a", memory: big, holds: span(0, 6)}, {name: "b", memory: big, holds: span(6, 12)}, {name: "c", memory: big, holds: span(6, 12)}},
			"a [0,6), b [4,12), c [6,12)",
		},
		{
			"middle one drops: neighbours share",
			[]one{{name: "a", memory: big, holds: span(0, 4)}, {name: "b", memory: big, holds: span(4, 8), change: dead}, {name: "c", memory: big, holds: span(8, 12)}},
			"a [0,6), c [6,12)",
		},
		{
			"neighbours share whatever their ids",
			[]one{{name: "c", memory: big, holds: span(0, 4)}, {name: "a", memory: big, holds: span(8, 12)}},
			"c [0,6), a [6,12)",
		},
		{
			"a neighbour without memory takes less",
			[]one{{name: "a", memory: fitting(5), holds: span(0, 4)}, {name: "c", memory: big, holds: span(8, 12)}},
			"a [0,5), c [5,12)",
		},
		{
			"last one drops",
			[]one{{name: "a", memory: big, holds: span(0, 4)}, {name: "b", memory: big, holds: span(4, 8)}},
			"a [0,4), b [4,12)",
		},
		{
			"spare takes the gap, the others stay",
			[]one{
				{name: "a", memory: big, holds: span(0, 4)},
				{name: "c", memory: big, holds: span(8, 12)},
				{name: "d", memory: big, holds: span(0, 4)},
			},
			"a [0,4), c [8,12), d [0,8)",
		},
		{
			"a gap that somebody loads is counted as closed",
			[]one{{name: "a", memory: big, holds: span(0, 4)}, {name: "b", memory: big, plans: span(4, 8)}, {name: "c", memory: big, holds: span(8, 12)}},
			"a [0,4), c [8,12)",
		},
		{
			"a joiner takes the gap, the others stay",
			[]one{{name: "a", memory: big, holds: span(0, 4)}, {name: "b", memory: big}, {name: "c", memory: big, holds: span(8, 12)}},
			"a [0,4), b [4,8), c [8,12)",
		},
		{
			"who insists does not grow",
			[]one{{name: "a", memory: big, holds: span(0, 4), change: insists}, {name: "c", memory: big, holds: span(8, 12)}},
			"c [4,12)",
		},
		{
			"draining is as good as gone, and gets nothing",
			[]one{{name: "a", memory: big, holds: all(), state: gossip.Draining}, {name: "b", memory: big}},
			"b [0,12)",
		},
		{
			"clients, strangers and liars don't count",
			[]one{
				{name: "a", memory: big, holds: all(), change: client},
				{name: "b", memory: big},
				{name: "c", memory: big, holds: all(), ofModel: 9},
				{name: "d", memory: 0, holds: span(0, 3)},
				{name: "e", memory: fitting(0), change: liar},
			},
			"b [0,12)",
		},
		{"too small alone", []one{{name: "a", memory: fitting(5)}}, "a [0,5)"},
		{
			"the second one takes the rest",
			[]one{{name: "a", memory: fitting(5), holds: span(0, 5)}, {name: "b", memory: fitting(7)}},
			"a [0,5), b [5,12)",
		},
		{
			"three that join one after another: second",
			[]one{{name: "a", memory: fitting(4), holds: span(0, 4)}, {name: "b", memory: fitting(4)}},
			"a [0,4), b [4,8)",
		},
		{
			"three that join one after another: third",
			[]one{{name: "a", memory: fitting(4), holds: span(0, 4)}, {name: "b", memory: fitting(4), holds: span(4, 8)}, {name: "c", memory: fitting(4)}},
			"a [0,4), b [4,8), c [8,12)",
		},
		{
			"two small ones took the same: the later id moves on",
			[]one{{name: "a", memory: fitting(4), holds: span(0, 4)}, {name: "b", memory: fitting(3), holds: span(4, 7)}, {name: "c", memory: fitting(3), holds: span(4, 7)}},
			"a [0,4), b [4,7), c [7,10)",
		},
		{
			"nobody fits a layer",
			[]one{{name: "a", memory: fitting(4), holds: span(0, 4)}, {name: "b", memory: 9 << 10}},
			"a [0,4), b [0,0)",
		},
		{
			"KV cache counts: six layers of weights, five with their cache",
			[]one{{name: "a", memory: fitting(6) - 5<<10 - 1}},
			"a [0,5)",
		},
		{
			"a view that knows nothing of this member",
			[]one{{name: "b", memory: big, holds: all()}},
			"a [0,0)",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, want := range strings.Split(c.want, ", ") {
				self, span, _ := strings.Cut(want, " ")
				got := makeView(self, c.members...).target()
				if got.span.String() != span {
					t.Errorf("%s should hold %v (%s), want %s", self, got.span, got.why, span)
				}
				if got.why == "" {
					t.Errorf("%s: no reason is given", self)
				}
			}
		})
	}
}

func TestTargetPinned(t *testing.T) {
	v := makeView("b", one{name: "a", memory: big, holds: all()}, one{name: "b", memory: big})
	v.pinned = span(2, 5)
	if got := v.target(); got.span != v.pinned {
		t.Errorf("pinned to %v, got %v", v.pinned, got.span)
	}
}

// TestTargetSettles lets members act on their targets in turn, and all at
// once: every swarm must come to rest, with every layer held if memory allows.
func TestTargetSettles(t *testing.T) {
	for _, c := range []struct {
		name    string
		members []one
	}{
		{"three at once", []one{{name: "a", memory: big}, {name: "b", memory: big}, {name: "c", memory: big}}},
		{"small ones at once", []one{{name: "a", memory: fitting(4)}, {name: "b", memory: fitting(4)}, {name: "c", memory: fitting(5)}}},
		{"small ones beside one that holds some", []one{
			{name: "a", memory: fitting(6), holds: span(0, 6)},
			{name: "b", memory: fitting(3)},
			{name: "c", memory: fitting(4)},
		}},
		{"a storm of joins", []one{
			{name: "a", memory: big, holds: all()},
			{name: "b", memory: big},
			{name: "c", memory: big},
			{name: "d", memory: big},
			{name: "e", memory: big},
			{name: "f", memory: big},
			{name: "g", memory: big},
		}},
		{"holes on both sides", []one{{name: "a", memory: big, holds: span(2, 4)}, {name: "b", memory: big, holds: span(8, 9)}}},
	} {
		for _, together := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, together %v", c.name, together), func(t *testing.T) { settleAll(t, c.members, together) })
		}
	}
}

func settleAll(t *testing.T, members []one, together bool) {
	now := append([]one(nil), members...)
	var log []string
	for range 20 {
		seen := append([]one(nil), now...)
		moved := false
		for i := range now {
			if !together {
				seen = now
			}
			got := makeView(now[i].name, seen...).target()
			if got.span != now[i].holds && got.span.Len() > 0 {
				log = append(log, fmt.Sprintf("%s %v -> %v: %s", now[i].name, now[i].holds, got.span, got.why))
				next := append([]one(nil), now...)
				next[i].holds = got.span
				now, moved = next, true
			}
		}
		if !moved {
			if gaps := makeView("a", now...).missing(func(m *gossip.Member) shard.Span { return m.Advert.Span }); len(gaps) > 0 {
				t.Errorf("at rest with nobody for layers %v:\n%s", gaps, strings.Join(log, "\n"))
			}
			return
		}
	}
	t.Errorf("no rest after 20 rounds:\n%s", strings.Join(log, "\n"))
}

// TestMind checks that a view that flaps moves nothing, and that a gap is not
// waited with for long.
func TestMind(t *testing.T) {
	var m mind
	now := time.Unix(1000, 0)
	one := decision{span: span(0, 6), cause: scheduler.Balance}
	other := decision{span: span(0, 4), cause: scheduler.Balance}
	for range 10 {
		if sure, wait := m.made(one, now); sure || wait <= 0 {
			t.Fatalf("sure %v, wait %v though the target has just changed", sure, wait)
		}
		now = now.Add(steady(one.cause) / 2)
		m.made(other, now)
		now = now.Add(steady(one.cause) / 2)
	}
	m.made(one, now)
	if sure, _ := m.made(one, now.Add(steady(one.cause))); !sure {
		t.Error("a target that lasts is never taken")
	}
	gap := decision{span: span(2, 9), cause: scheduler.Gap}
	m.made(gap, now)
	if sure, _ := m.made(gap, now.Add(time.Second)); !sure {
		t.Error("a gap that lasts for a second is waited with")
	}
}

func TestRoute(t *testing.T) {
	full := []one{{name: "a", memory: big, holds: all()}, {name: "b", memory: big, holds: span(6, 12)}}
	for _, c := range []struct {
		name    string
		members []one
		avoid   string
		want    string
	}{
		{"both are used", full, "", "a [0,6), b [6,12)"},
		{"one is avoided", full, "b", "a [0,12)"},
		{"the other is avoided", full, "a", "error: layers [0,6)"},
		{"joiner that has not loaded", []one{{name: "a", memory: big, holds: all()}, {name: "b", memory: big, plans: span(6, 12)}}, "", "a [0,12)"},
		{"who leaves takes new sessions while nobody else can", []one{{name: "a", memory: big, holds: all(), state: gossip.Draining}}, "", "a [0,12)"},
		{"who leaves takes none that others can", []one{{name: "a", memory: big, holds: all(), state: gossip.Draining}, {name: "b", memory: big, holds: all()}}, "", "b [0,12)"},
		{"overlapping spans", []one{{name: "a", memory: big, holds: span(0, 8)}, {name: "b", memory: big, holds: span(5, 12)}}, "", "a [0,"},
		{"a gap", []one{{name: "a", memory: big, holds: span(0, 4)}, {name: "b", memory: big, holds: span(5, 12)}}, "", "error: layers [4,5)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var avoid []scheduler.ID
			if c.avoid != "" {
				avoid = append(avoid, scheduler.ID(peerOf(c.avoid).String()))
			}
			layout, _, err := makeView("a", c.members...).route(512, avoid)
			got := ""
			for i, s := range layout {
				if i > 0 {
					got += ", "
				}
				for _, m := range c.members {
					if scheduler.ID(peerOf(m.name).String()) == s.Peer {
						got += m.name + " " + s.Span.String()
					}
				}
			}
			if err != nil {
				got = "error: " + err.Error()
			}
			want, isErr := strings.CutPrefix(c.want, "error: ")
			if isErr && (err == nil || !strings.Contains(got, want)) || !isErr && !strings.HasPrefix(got, want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestRouteWithoutRoom(t *testing.T) {
	v := makeView("a", one{name: "a", memory: big, holds: all(), change: func(m *gossip.Member) { m.Advert.KVFreeTokens = 100 }})
	if _, _, err := v.route(101, nil); err != nil {
		// The planned layout is served; whether it has room is for the peer to say.
		t.Fatal(err)
	}
	v = makeView("a",
		one{name: "a", memory: big, holds: span(0, 10), change: func(m *gossip.Member) { m.Advert.KVFreeTokens = 10 }},
		one{name: "b", memory: big, holds: span(9, 12)})
	// Once a peer has refused, what the others say counts.
	if _, _, err := v.route(101, []scheduler.ID{"gone"}); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("got %v, want that there is no room", err)
	}
}

func TestClipName(t *testing.T) {
	for in, want := range map[string]string{
		"nuc":                         "nuc",
		"a\nb\x7f":                    "a_b_",
		"\xff\xfe":                    "_",
		strings.Repeat("é", 20):       strings.Repeat("é", 16),
		"x" + strings.Repeat("é", 20): "x" + strings.Repeat("é", 15),
		strings.Repeat("y", 40):       strings.Repeat("y", 32),
	} {
		if got := ClipName(in); got != want {
			t.Errorf("ClipName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMembersThatKeepKeysAndValuesAnotherWayShareNoSession(t *testing.T) {
	v := makeView("a", one{name: "a", memory: big, holds: span(0, 4)},
		one{name: "b", memory: big, holds: span(4, 12), change: func(m *gossip.Member) { m.Advert.KV = kvcache.Int8 }})
	if layout, _, err := v.route(512, nil); err == nil {
		t.Errorf("a session runs through both: %v", layout)
	}
	if text := v.unlike(); !strings.Contains(text, "b keeps keys and values as int8, this member as f16") {
		t.Errorf("the reason given is %q", text)
	}
	v.kv = kvcache.Int8
	if _, _, err := v.route(512, nil); err == nil {
		t.Error("a session of the other kind runs through both")
	}
}
