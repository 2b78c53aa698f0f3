package tokenizer

import (
	"hash/maphash"

	"github.com/shardnode/shardnode/shard"
)

// The cache keeps the tokens of short pieces, because most words of a text
// come again. It is direct-mapped and of a fixed size: a new piece takes the
// place of an old one. Sizes were chosen by BenchmarkEncode.
const (
	cacheSlots   = 1 << 13
	maxCachedLen = 23
	maxCachedIDs = 7
)

type cache struct {
	seed  maphash.Seed
	slots []cacheEntry
}

type cacheEntry struct {
	length uint8
	n      uint8
	text   [maxCachedLen]byte
	ids    [maxCachedIDs]shard.Token
}

// slot returns the place for text, nil if text is too long.
func (c *cache) slot(text string) *cacheEntry {
	if len(text) > maxCachedLen {
		return nil
	}
	if c.slots == nil {
		c.seed = maphash.MakeSeed()
		c.slots = make([]cacheEntry, cacheSlots)
	}
	return &c.slots[maphash.String(c.seed, text)%cacheSlots]
}

func (e *cacheEntry) holds(text string) bool {
	return int(e.length) == len(text) && string(e.text[:e.length]) == text
}

func (e *cacheEntry) store(text string, ids []shard.Token) {
	if len(ids) > maxCachedIDs || text == "" {
		return
	}
	e.length = uint8(copy(e.text[:], text)) //nolint:gosec // at most maxCachedLen
	e.n = uint8(copy(e.ids[:], ids))        //nolint:gosec // at most maxCachedIDs
}
