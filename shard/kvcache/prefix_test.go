package kvcache

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shardnode/shardnode/shard"
)

// tellStore is a store of so many pages of 32 positions, or of more.
func tellStore(t *testing.T, pages, pageTokens int) *Store {
	t.Helper()
	cfg := Config{Layers: 1, KVHeads: 1, KeyDim: 1, ValDim: 1, PageTokens: pageTokens, Precision: Float32}
	cfg.BudgetBytes = int64(pages*pageTokens) * cfg.TokenBytes()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// A teller is a session and the tokens that were put into it.
type teller struct {
	t      *testing.T
	kv     *Session
	tokens []byte
}

// keysOf returns the keys of tokens.
func keysOf(tokens []byte) []Key {
	var out []Key
	for n := KeyTokens; n <= len(tokens); n += KeyTokens {
		out = append(out, sha256.Sum256(tokens[:n]))
	}
	return out
}

// told is the key of a position: it depends on all tokens up to there.
func told(tokens []byte) float32 {
	sum := sha256.Sum256(tokens)
	return float32(binary.LittleEndian.Uint16(sum[:]))
}

// tell opens a session for tokens.
func tell(t *testing.T, s *Store, max int, tokens []byte) (*teller, error) {
	t.Helper()
	kv, err := s.ReserveShared(max, keysOf(tokens))
	if err != nil {
		return nil, err
	}
	return &teller{t: t, kv: kv, tokens: slices.Clone(tokens[:kv.Len()])}, nil
}

// put replaces what follows at by tokens, and publishes what is complete.
func (c *teller) put(at int, tokens []byte) {
	c.t.Helper()
	if err := c.kv.Extend(shard.Pos(at), len(tokens)); err != nil {
		c.t.Fatal(err)
	}
	c.tokens = append(c.tokens[:at], tokens...)
	for p := at; p < len(c.tokens); p++ {
		v := told(c.tokens[:p+1])
		if err := c.kv.Put(0, shard.Pos(p), []float32{v}, []float32{-v}); err != nil {
			c.t.Fatal(err)
		}
	}
	c.kv.Commit()
	for i, key := range keysOf(c.tokens) {
		c.kv.Publish(shard.Pos((i+1)*KeyTokens), key)
	}
}

// check reads everything back.
func (c *teller) check() {
	c.t.Helper()
	if int(c.kv.Len()) != len(c.tokens) {
		c.t.Fatalf("the session holds %d positions, want %d", c.kv.Len(), len(c.tokens))
	}
	for p := range c.tokens {
		keys, vals := c.kv.PageFloat32(0, 0, p/c.kv.PageTokens())
		row := p % c.kv.PageTokens()
		if want := told(c.tokens[:p+1]); keys[row] != want || vals[16*row] != -want {
			c.t.Fatalf("position %d holds %v, %v, want %v, %v", p, keys[row], vals[16*row], want, -want)
		}
	}
}

// bytesFrom returns n tokens that seed tells.
func bytesFrom(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 9))
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(rng.Uint32())
	}
	return out
}

func TestASessionBeginsWithWhatAnotherHas(t *testing.T) {
	s, prompt := tellStore(t, 20, 32), bytesFrom(1, 150)
	a, err := tell(t, s, 200, prompt)
	if err != nil || a.kv.Len() != 0 {
		t.Fatalf("the first session begins at %d, %v, want 0", a.kv.Len(), err)
	}
	a.put(0, prompt)
	b, err := tell(t, s, 200, prompt[:140])
	if err != nil || b.kv.Len() != 128 {
		t.Fatalf("while the first is open, the second begins at %d, %v, want 128", b.kv.Len(), err)
	}
	b.check()
	a.kv.Close()
	if st := s.Stats(); st.UsedBytes != 4*32*68 || st.IdleBytes != 0 {
		t.Errorf("the second holds 4 pages: %+v", st)
	}
	b.check()
	b.kv.Close()
	if st := s.Stats(); st.UsedBytes != 0 || st.IdleBytes != 4*32*68 || st.ReservedBytes != 0 || st.SharedTokens != 128 {
		t.Errorf("4 pages are idle: %+v", st)
	}
	other := slices.Clone(prompt)
	other[40]++
	c, err := tell(t, s, 200, other)
	if err != nil || c.kv.Len() != 32 {
		t.Fatalf("tokens that differ at 40 begin at %d, %v, want 32", c.kv.Len(), err)
	}
	c.put(32, other[32:])
	c.check()
	short, err := tell(t, s, 70, prompt)
	if err != nil || short.kv.Len() != 64 {
		t.Errorf("a session of 70 positions begins at %d, %v, want 64", short.kv.Len(), err)
	}
}

func TestWritingIntoASharedPageLeavesItToTheOthers(t *testing.T) {
	s, prompt := tellStore(t, 30, 32), bytesFrom(1, 96)
	a, _ := tell(t, s, 200, prompt)
	a.put(0, prompt)
	b, _ := tell(t, s, 200, prompt)
	for _, at := range []int{70, 64, 33, 0} { // within a page, and at its start
		b.put(at, bytesFrom(uint64(at+5), 40))
		b.check()
		a.check()
	}
	a.put(50, bytesFrom(77, 30)) // the one that published it
	a.check()
	c, err := tell(t, s, 200, prompt)
	if err != nil || c.kv.Len() != 96 {
		t.Errorf("after both went on otherwise the prefix is %d long, %v, want 96", c.kv.Len(), err)
	}
	c.check()
}

func TestIdlePrefixesGoWhenTheirMemoryIsWantedTheOldestFirst(t *testing.T) {
	s := tellStore(t, 8, 32)
	for seed := range uint64(2) {
		c, _ := tell(t, s, 96, nil)
		c.put(0, bytesFrom(seed, 96))
		c.kv.Close()
	}
	if st := s.Stats(); st.IdleBytes != 6*32*68 || st.ReservedBytes != 0 {
		t.Fatalf("6 pages are idle: %+v", st)
	}
	if _, err := tell(t, s, 9*32, nil); !errors.Is(err, ErrNoCapacity) {
		t.Fatalf("9 pages of 8: %v, want no capacity", err)
	}
	if st := s.Stats(); st.IdleBytes != 6*32*68 {
		t.Errorf("a refused session took idle pages: %+v", st)
	}
	big, err := tell(t, s, 8*32, nil)
	if err != nil {
		t.Fatalf("8 pages of 8, of which 6 are idle: %v", err)
	}
	big.put(0, bytesFrom(7, 4*32-1)) // two more than are free
	for seed, want := range []int{32, 96} {
		if n := prefixLen(s, bytesFrom(uint64(seed), 96)); n != want {
			t.Errorf("of prefix %d, %d positions are left, want %d", seed, n, want)
		}
	}
	big.put(4*32-1, bytesFrom(8, 4*32+1))
	big.check()
	if st := s.Stats(); st.IdleBytes != 0 || st.UsedBytes != st.BudgetBytes {
		t.Errorf("the session has all pages: %+v", st)
	}
	big.put(8*32-40, bytesFrom(9, 30)) // no page is left for a copy of the one it published
	big.check()
}

// prefixLen returns how many positions of tokens s has.
func prefixLen(s *Store, tokens []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, key := range keysOf(tokens) {
		if s.prefixes.byKey[key] == nil {
			break
		}
		n += KeyTokens
	}
	return n
}

func TestPagesOfOtherSizesAreSharedWholeOrNotAtAll(t *testing.T) {
	for pageTokens, want := range map[int]shard.Pos{16: 0, 32: 160, 64: 128, 96: 96, 48: 0} {
		s, prompt := tellStore(t, 30, pageTokens), bytesFrom(1, 180)
		a, _ := tell(t, s, 200, prompt)
		a.put(0, prompt)
		b, err := tell(t, s, 200, prompt)
		if err != nil || b.kv.Len() != want {
			t.Errorf("pages of %d: the second session begins at %d, %v, want %d", pageTokens, b.kv.Len(), err, want)
		}
		b.check()
	}
}

// TestSharingNeverShowsOtherTokens does random things to random sessions whose
// histories are often alike, and reads all of them back.
func TestSharingNeverShowsOtherTokens(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 3))
		s := tellStore(t, 12+rng.IntN(30), 32*(1+rng.IntN(2)))
		var open []*teller
		for range 150 {
			switch k := rng.IntN(10); {
			case k < 3 || len(open) == 0:
				tokens := someTokens(rng)
				if c, err := tell(t, s, 1+rng.IntN(300), tokens); err == nil {
					open = append(open, c)
				} else if !errors.Is(err, ErrNoCapacity) {
					t.Fatal(err)
				}
			case k < 5:
				i := rng.IntN(len(open))
				open[i].kv.Close()
				open = slices.Delete(open, i, i+1)
			default:
				c := open[rng.IntN(len(open))]
				at, tokens := len(c.tokens), someTokens(rng)
				if rng.IntN(3) == 0 && at > 0 {
					at = rng.IntN(at)
				}
				more := tokens[min(at, len(tokens)):]
				c.put(at, more[:min(len(more), c.kv.MaxTokens()-at)])
			}
			for _, c := range open {
				c.check()
			}
			if st := s.Stats(); st.UsedBytes > st.ReservedBytes || st.ReservedBytes > st.BudgetBytes || st.UsedBytes+st.IdleBytes > st.BudgetBytes {
				t.Fatalf("seed %d: %+v", seed, st)
			}
		}
		for _, c := range open {
			c.kv.Close()
		}
		st := s.Stats()
		if st.UsedBytes != 0 || st.ReservedBytes != 0 || st.SharedTokens == 0 {
			t.Errorf("seed %d: all are closed: %+v", seed, st)
		}
		s.Close()
		if n := s.Stats().IdleBytes; n != 0 || len(s.prefixes.byKey) != 0 {
			t.Errorf("seed %d: the store is closed and keeps %d bytes, %d prefixes", seed, n, len(s.prefixes.byKey))
		}
	}
}

// someTokens returns tokens that begin as those of other calls do.
func someTokens(rng *rand.Rand) []byte {
	out := bytesFrom(1, 300)[:rng.IntN(300)]
	if n := len(out); n > 0 && rng.IntN(2) == 0 {
		at := rng.IntN(n)
		copy(out[at:], bytesFrom(rng.Uint64N(3), n-at))
	}
	return out
}
