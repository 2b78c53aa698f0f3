package hop

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport/wirepb"
)

// chained returns the hashes of tokens by a chain of their own.
func chained(tokens []shard.Token) []Hash {
	return NewChain(Secret{1}, shard.ModelID{2}).Put(0, tokens)
}

func TestAChainHashesWhatTheSessionHoldsHoweverItCameThere(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	c, tokens := NewChain(Secret{1}, shard.ModelID{2}), []shard.Token(nil)
	for range 300 {
		at := rng.IntN(len(tokens) + 1)
		if rng.IntN(3) > 0 {
			at = len(tokens)
		}
		more := make([]shard.Token, rng.IntN(80))
		for i := range more {
			more[i] = shard.Token(rng.IntN(3))
		}
		if at+len(more) > 400 {
			at = 0
		}
		tokens = append(tokens[:at], more...)
		want := chained(tokens)[at/ChainTokens:]
		if got := c.Put(shard.Pos(at), more); !slices.Equal(got, want) {
			t.Fatalf("%d tokens at %d of %d: %d hashes, want %d others", len(more), at, len(tokens), len(got), len(want))
		}
	}
}

func TestAHashDependsOnAllTokensBeforeItAndOnTheDriver(t *testing.T) {
	tokens := make([]shard.Token, 5*ChainTokens+7)
	want := chained(tokens)
	if len(want) != 5 {
		t.Fatalf("%d hashes of %d tokens, want 5", len(want), len(tokens))
	}
	for i := range tokens {
		other := slices.Clone(tokens)
		other[i] = 1 << 20
		for b, h := range chained(other) {
			if (h == want[b]) != (i >= (b+1)*ChainTokens) {
				t.Errorf("token %d changed: hash %d equal: %v", i, b, h == want[b])
			}
		}
	}
	for what, c := range map[string]*Chain{
		"secret": NewChain(Secret{2}, shard.ModelID{2}), "model": NewChain(Secret{1}, shard.ModelID{3}),
	} {
		for b, h := range c.Put(0, tokens) {
			if h == want[b] {
				t.Errorf("another %s gives the same hash %d", what, b)
			}
		}
	}
	a, b := shard.PeerID{1}, shard.PeerID{2}
	s, u := shard.Span{End: 2}, shard.Span{End: 3}
	seen := map[Hash]bool{LineageOf(nil, nil): true}
	for _, l := range []Hash{
		LineageOf([]shard.PeerID{a}, []shard.Span{s}), LineageOf([]shard.PeerID{b}, []shard.Span{s}),
		LineageOf([]shard.PeerID{a}, []shard.Span{u}), LineageOf([]shard.PeerID{a, b}, []shard.Span{s, u}),
	} {
		if seen[l] {
			t.Error("two routes have one lineage")
		}
		seen[l] = true
	}
}

func TestPrefixesThatCannotBeAreRefusedAndUnknownOnesIgnored(t *testing.T) {
	for what, c := range map[string]struct {
		change func(m *wirepb.Open)
		code   shard.Code
	}{
		"half a hash":    {func(m *wirepb.Open) { m.Chain = m.Chain[1:] }, shard.Invalid},
		"too many":       {func(m *wirepb.Open) { m.Chain = make([]byte, HashBytes*(MaxChain+1)) }, shard.Invalid},
		"short lineage":  {func(m *wirepb.Open) { m.Lineage = m.Lineage[1:] }, shard.Invalid},
		"no lineage":     {func(m *wirepb.Open) { m.Lineage = nil }, shard.CodeUnknown},
		"other blocks":   {func(m *wirepb.Open) { m.ChainTokens = 48 }, shard.CodeUnknown},
		"no chain at al": {func(m *wirepb.Open) { m.Chain, m.ChainTokens, m.Lineage = nil, 0, nil }, shard.CodeUnknown},
	} {
		m := sampleOpen.Message()
		c.change(m)
		o, err := ParseOpen(m)
		if shard.CodeOf(err) != c.code || err == nil && o.Prefix != nil {
			t.Errorf("%s: prefix %v, %v, want code %v and none", what, o.Prefix, err, c.code)
		}
	}
	full := sampleOpen
	full.Prefix = &Prefix{Chain: make([]Hash, MaxChain), Lineage: Hash{1}}
	if got, err := ParseOpen(full.Message()); err != nil || !reflect.DeepEqual(got, full) {
		t.Errorf("the longest prefix: %v", err)
	}
}

func TestStepsHaveAHashForEachBlockThatEndsInThem(t *testing.T) {
	for _, c := range []struct {
		pos, count uint32
		hashes     int
		ok         bool
	}{{0, 31, 0, true}, {0, 32, 1, true}, {0, 32, 0, true}, {0, 31, 1, false}, {31, 1, 1, true}, {31, 34, 2, true}, {33, 31, 1, true}, {33, 31, 2, false}} {
		m := &wirepb.Step{Pos: c.pos, Count: c.count, Chain: make([]byte, HashBytes*c.hashes)}
		if err := CheckStep(m); (err == nil) != c.ok {
			t.Errorf("%d tokens at %d with %d hashes: %v", c.count, c.pos, c.hashes, err)
		}
	}
}

func FuzzParseHashes(f *testing.F) {
	f.Add([]byte{})
	f.Add(HashBlock([]Hash{{1}, {2}}))
	f.Add(make([]byte, 17))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := ParseHashes(b)
		if (err == nil) != (len(b)%HashBytes == 0 && len(b) <= MaxChain*HashBytes) || err == nil && !slices.Equal(HashBlock(h), b) {
			t.Errorf("%d bytes: %d hashes, %v", len(b), len(h), err)
		}
	})
}
