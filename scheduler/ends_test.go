package scheduler

import (
	"errors"
	"testing"

	"github.com/shardnode/shardnode/shard"
)

func TestARouteKeepsItsEnds(t *testing.T) {
	peer := func(id ID, lo, hi shard.Layer, ms float64) Peer {
		return Peer{ID: id, MemoryBytes: 1 << 40, DecodeMS: []Timing{{Batch: 1, MS: ms}}, Held: shard.Span{Start: lo, End: hi}}
	}
	v := View{
		Model: Model{Name: "m", Layers: 12, LayerBytes: []int64{1 << 20}, KVBytesPerTokenLayer: 64, HiddenBytes: 64},
		Peers: []Peer{
			peer("fast", 0, 12, 1), peer("mine", 0, 4, 50), peer("other", 0, 6, 1), peer("mine too", 8, 12, 50), peer("theirs", 6, 12, 1),
		},
	}
	for _, c := range []struct {
		ends        []ID
		first, last ID
	}{
		{nil, "fast", "fast"},
		{[]ID{"mine", "mine too"}, "mine", "mine too"},
		{[]ID{"fast"}, "fast", "fast"},
		{[]ID{"other", "theirs"}, "other", "theirs"},
	} {
		p, err := Route(v, Request{Tokens: 10, Ends: c.ends})
		if err != nil {
			t.Errorf("ends %v: %v", c.ends, err)
			continue
		}
		if first, last := p.Stages[0].Peer, p.Stages[len(p.Stages)-1].Peer; first != c.first || last != c.last {
			t.Errorf("ends %v: from %s to %s, want %s to %s", c.ends, first, last, c.first, c.last)
		}
	}
	_, err := Route(v, Request{Tokens: 10, Ends: []ID{"mine"}})
	if e, ok := errors.AsType[*UncoveredError](err); !ok || len(e.Spans) != 1 || e.Spans[0] != (shard.Span{Start: 11, End: 12}) {
		t.Errorf("with nobody for the last layer: %v", err)
	}
}
