package node

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/tensorio/wire"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// asks opens a session as peer asks for it, gives it 32 tokens and ends it, and
// returns the keys that the engine was asked for and told of.
func (b *bench) asks(peer shard.PeerID, o hop.Open) (asked, told []kvcache.Key) {
	b.t.Helper()
	c := hop.NewConn(b.stream(peer), self, 0)
	b.send(c, wire.KindOpen, o.Message(), nil)
	if _, err := c.Expect(wire.KindOpened, &wirepb.Opened{}); err != nil {
		b.t.Fatal(err)
	}
	hash := hop.Hash{1}
	b.send(c, wire.KindStep, &wirepb.Step{Epoch: 3, Count: 32, Want: 1, Chain: hash[:]}, ids(make([]uint32, 32)...))
	if _, err := c.Expect(wire.KindResult, &wirepb.Result{}); err != nil {
		b.t.Fatal(err)
	}
	_ = c.Close()
	synctest.Wait()
	e := b.held.Engine.(*adder) //nolint:forcetypeassert // newBench put it there
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked, e.told
}

func TestKeysNameAllThatPagesDependOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, shard.Span{End: 6})
		o := b.open()
		if asked, told := b.asks(driver, o); asked != nil || told != nil {
			t.Errorf("a driver that shares nothing: keys %v, %v", asked, told)
		}
		o.Prefix = &hop.Prefix{Chain: []hop.Hash{{1}, {2}}, Lineage: hop.Hash{5}}
		first, told := b.asks(driver, o)
		if len(first) != 2 || len(told) != 1 || first[0] != told[0] || first[0] == first[1] {
			t.Fatalf("asked for %x, told of %x, want two and the first of them", first, told)
		}
		if again, _ := b.asks(driver, o); !slices.Equal(again, first) {
			t.Error("the same driver's next session has other keys")
		}
		if other, _ := b.asks(stranger, o); other[0] == first[0] {
			t.Error("another driver has the same keys")
		}
		o.Prefix.Lineage[0]++
		if other, _ := b.asks(driver, o); other[0] == first[0] {
			t.Error("another route has the same keys")
		}
		o.Prefix.Lineage[0]--
		b.held.Model[0]++
		o.Model[0]++
		if other, _ := b.asks(driver, o); other[0] == first[0] {
			t.Error("another model has the same keys")
		}
		span := newKeyring(driver, shard.ModelID{}, shard.Span{End: 5}, hop.Hash{5}).keys([]hop.Hash{{1}})
		if span[0] == first[0] {
			t.Error("other layers have the same keys")
		}
	})
}
