package kvcache

import (
	"testing"
	"unsafe"

	"github.com/shardnode/shardnode/shard"
)

// TestPagesAreCutFromRegions fills and gives back more pages than a store keeps,
// twice: none may lie in another, nor lose what it holds.
func TestPagesAreCutFromRegions(t *testing.T) {
	const pages = 3 * keptPages
	cfg := Config{Layers: 2, KVHeads: 3, KeyDim: 64, ValDim: 40}
	cfg.BudgetBytes = pages * defaultPageTokens * cfg.TokenBytes()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		c, err := s.Reserve(pages * defaultPageTokens)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Extend(0, pages*defaultPageTokens); err != nil {
			t.Fatal(err)
		}
		k, v := make([]float32, 3*64), make([]float32, 3*40)
		for at := range pages * defaultPageTokens {
			for i := range k {
				k[i] = float32(at % 2000)
			}
			for l := range 2 {
				if err := c.Put(l, shard.Pos(at), k, v); err != nil {
					t.Fatal(err)
				}
			}
		}
		for at := range pages * defaultPageTokens {
			keys, vals := c.Page(1, 2, at/defaultPageTokens)
			if got, want := keys[at%defaultPageTokens/16*64*16+at%16], half(float32(at%2000)); got != want {
				t.Fatalf("round %d: the key at %d is %#x, want %#x", round, at, got, want)
			}
			if got := vals[(2*defaultPageTokens+at%defaultPageTokens)*16+8]; got != 0 {
				t.Fatalf("round %d: column 40 at %d is %#x, there is none", round, at, got)
			}
		}
		if at := uintptr(unsafe.Pointer(&c.pages[0].mem[0])); at%systemPage != 0 {
			t.Errorf("a page lies at %#x, want a multiple of %d", at, systemPage)
		}
		c.Close()
		if n := len(s.arena.vacant); n != pages-keptPages {
			t.Errorf("round %d: the memory of %d pages was given back, want %d", round, n, pages-keptPages)
		}
	}
	c, err := s.Reserve(1)
	if err != nil || c.Extend(0, 1) != nil {
		t.Fatal(err)
	}
	s.Close()
	if s.arena.regions == nil {
		t.Error("the memory of a session was given back while it was open")
	}
	c.Close()
	if s.arena.regions != nil || s.arena.out != 0 {
		t.Errorf("a closed store without sessions has %d regions, %d pages", len(s.arena.regions), s.arena.out)
	}
}
