package member

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/transport"
)

// toyFile is a model beside the story.
func toyFile(t *testing.T) *weights.File {
	t.Helper()
	f, err := weights.Open(filepath.Join("..", "..", "..", "shared", "data", "zoo", "zoo", "qwen3", "qwen3-bf16.gguf"))
	if err != nil {
		t.Skipf("no second model: %v", err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// modelNamed returns what st says of a model; zero if it says nothing.
func modelNamed(st Status, name string) Model {
	for _, m := range st.Models {
		if m.Name == name {
			return m
		}
	}
	return Model{}
}

// TestTwoModelsInOneSwarm has a founder with the story and one that was invited
// to it and brings another model. Members drive sessions of both, and one
// without a file helps what has the fewest holders.
func TestTwoModelsInOneSwarm(t *testing.T) {
	t.Parallel()
	toy := toyFile(t)
	s := newSwarm(t)
	a := s.start("a", withFile(t))
	story := a.serves(t, "a").Model
	b := s.start("b", func(c *Config) { c.File, c.FileName, c.Model, c.ModelName = toy, "toy", story.ID, story.Name })
	both := func(st Status) bool {
		return modelNamed(st, "story").MinHolders > 0 && modelNamed(st, "toy").MinHolders > 0
	}
	a.until(t, "a sees both models", both)
	b.until(t, "b sees both models", both)
	if st := b.Status(); st.Models[0].Name != "toy" || st.Model.Name != "toy" || st.MinHolders != 1 {
		t.Errorf("b's own model is %+v, want the toy with one holder", st.Models[0])
	}
	tell, over := a.ids(t)
	if !slices.Equal(over, []string{"a"}) {
		t.Errorf("the story is told over %v, want a", over)
	}
	play, over := b.ids(t)
	if !slices.Equal(over, []string{"b"}) {
		t.Errorf("the toy runs over %v, want b", over)
	}
	// Each drives the other's model.
	for _, c := range []struct {
		by    *peer
		model string
		want  []shard.Token
		over  string
	}{{a, "toy", play, "b"}, {b, "story", tell, "a"}} {
		m, err := c.by.Find(c.model)
		if err != nil {
			t.Fatal(err)
		}
		c.by.asks = m.ID
		got, over := c.by.ids(t)
		if !slices.Equal(got, c.want) || !slices.Equal(over, []string{c.over}) {
			t.Errorf("%s: %v over %v, want %v over %s", c.model, got, over, c.want, c.over)
		}
		if c.by.ids(t); c.by.cached == 0 {
			t.Errorf("%s: the same prompt again is computed anew", c.model)
		}
		c.by.asks = shard.ModelID{}
	}
	if _, err := a.Find("none"); err == nil || !strings.Contains(err.Error(), "story, toy") {
		t.Errorf("a model that is not there gives %v, want what there is", err)
	}

	c := s.start("c", func(c *Config) { c.Model, c.ModelName = story.ID, story.Name })
	c.serves(t, "c")
	if m := c.Status().Model; m.Name != "story" {
		t.Errorf("c was invited to the story, which one member holds, and serves %s", m.Name)
	}
	a.serves(t, "a", "c") // whoever joins hears it from a
	// The story has two members now, the toy one.
	d := s.start("d")
	d.serves(t, "d")
	if m := d.Status().Model; m.Name != "toy" {
		t.Errorf("d has no file and serves %s, want what has the fewest members", m.Name)
	}
	got, _ := d.ids(t)
	if !slices.Equal(got, play) {
		t.Errorf("with d the toy gives %v, want %v", got, play)
	}
	a.until(t, "a sees d share the toy", func(st Status) bool { return spanOf(st, "d").Len() > 0 })
	m, err := a.Find("toy")
	if err != nil {
		t.Fatal(err)
	}
	tokens := 0
	a.asks, a.told = m.ID, func() {
		if tokens++; tokens == 5 {
			d.end() // like a kill
		}
	}
	got, over = a.ids(t)
	if !slices.Equal(got, play) || !slices.Contains(over, "d") || a.mended == 0 {
		t.Errorf("d dies, the toy gives %v over %v, healed %d times, want %v, healed", got, over, a.mended, play)
	}
}

func TestMembersOfAnotherModelCountForNothing(t *testing.T) {
	dead := func(m *gossip.Member) { m.Alive = false }
	with := makeView("a", one{name: "a", memory: big, holds: span(0, 6)}, one{name: "b", memory: big, holds: span(6, 12)},
		one{name: "c", memory: big, holds: all(), ofModel: 9}, one{name: "d", memory: big, plans: all(), ofModel: 9},
		one{name: "e", memory: big, holds: all(), ofModel: 9, change: dead})
	without := makeView("a", one{name: "a", memory: big, holds: span(0, 6)}, one{name: "b", memory: big, holds: span(6, 12)})
	if got, want := with.target(), without.target(); got != want {
		t.Errorf("with members of another model %+v, without %+v", got, want)
	}
	if n := with.holders(3); n != 1 {
		t.Errorf("layer 3 has %d holders, want 1", n)
	}
	if ok, _ := with.mayDrop(span(0, 3)); ok {
		t.Error("layers may be dropped that a member of another model seems to hold")
	}
	if wait := with.mourning(time.Now()); wait > 0 {
		t.Errorf("the loss of a member of another model is mourned for %v", wait)
	}
	layout, _, err := with.route(512, nil)
	if err != nil || len(layout) != 2 {
		t.Errorf("route %v, %v, want one over a and b", layout, err)
	}
}

func TestNeediest(t *testing.T) {
	x, y, z := shard.ModelID{1}, shard.ModelID{2}, shard.ModelID{3}
	for _, c := range []struct {
		name    string
		models  []Model
		invited shard.ModelID
		client  bool
		want    shard.ModelID
	}{
		{"nobody serves", nil, x, false, shard.ModelID{}},
		{"bare first", []Model{{ID: x, promised: 1, Members: 1}, {ID: y, Members: 3}}, z, false, y},
		{"then the fewest holders", []Model{{ID: x, promised: 2, Members: 2}, {ID: y, promised: 1, Members: 4}}, z, false, y},
		{"then the fewest members", []Model{{ID: x, promised: 1, Members: 2}, {ID: y, promised: 1, Members: 1}}, z, false, y},
		{"the invitation's until it is held twice", []Model{{ID: x, promised: 1, Members: 9}, {ID: y, Members: 1}}, x, false, x},
		{"not when it is", []Model{{ID: x, promised: 2, Members: 2}, {ID: y, promised: 1, Members: 1}}, x, false, y},
		{"but when others are no worse off", []Model{{ID: x, promised: 2, Members: 2}, {ID: y, promised: 2, Members: 2}}, y, false, y},
		{"not what nobody has any more", []Model{{ID: x}, {ID: y, promised: 1, Members: 1}}, z, false, y},
		{"a client takes what is held best", []Model{{ID: x, promised: 1, Members: 1}, {ID: y, promised: 2, Members: 2}}, z, true, y},
		{"or what it was invited to", []Model{{ID: x, promised: 3, Members: 3}, {ID: y, promised: 2, Members: 2}}, y, true, y},
	} {
		if got := neediest(c.models, c.invited, c.client).ID; got != c.want {
			t.Errorf("%s: %.4s, want %.4s", c.name, got, c.want)
		}
	}
}

func TestModelsOf(t *testing.T) {
	v := makeView("a", one{name: "a", memory: big, holds: all()}, one{name: "b", memory: big, holds: span(0, 6), ofModel: 9},
		one{name: "c", memory: big, plans: span(6, 12), ofModel: 9},
		one{name: "d", memory: big, holds: all(), ofModel: 9, change: func(m *gossip.Member) { m.Advert.KV = kvcache.Int8 }},
		one{name: "e", memory: big, ofModel: 8, change: func(m *gossip.Member) { m.Advert.Role = transport.RoleClient }},
		one{name: "f", memory: big, holds: all(), ofModel: 6, change: func(m *gossip.Member) { m.Alive, m.Left = false, true }},
		one{name: "g", memory: big, holds: all(), ofModel: 5, change: func(m *gossip.Member) { m.Alive = false }})
	got := modelsOf(v.members, kvcache.Float16)
	slices.SortFunc(got, func(a, b Model) int { return int(a.ID[0]) - int(b.ID[0]) })
	want := []Model{
		{ID: shard.ModelID{5}, Layers: viewLayers}, // lost: who held it may come back
		{ID: shard.ModelID{viewModel}, Layers: viewLayers, MinHolders: 1, Members: 1, promised: 1},
		{ID: shard.ModelID{9}, Layers: viewLayers, Members: 3, promised: 2},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
