package tokenizer

import (
	"github.com/shardnode/shardnode/shard"
)

// A merge joins two neighbouring tokens to a third. Lower ranks go first;
// among merges of one rank, the leftmost.
type merge struct {
	left, right, out shard.Token
	rank             uint32
}

// A mergeTable finds the merge of two tokens: open addressing, a third to two
// thirds full.
type mergeTable struct {
	mask uint64
	keys []uint64 // left<<32 | right, plus 1 so that 0 is an empty place
	vals []uint64 // rank<<32 | out
}

// newMergeTable returns the table of ms. Of two merges of the same tokens the
// later one counts, as in Hugging Face's tokenizers.
func newMergeTable(ms []merge) mergeTable {
	size := 1
	for 2*size < 3*len(ms)+1 {
		size <<= 1
	}
	t := mergeTable{mask: uint64(size - 1), keys: make([]uint64, size), vals: make([]uint64, size)}
	for _, m := range ms {
		k := pairKey(m.left, m.right)
		h := t.home(k)
		for t.keys[h] != 0 && t.keys[h] != k {
			h = (h + 1) & t.mask
		}
		t.keys[h] = k
		t.vals[h] = uint64(m.rank)<<32 | uint64(uint32(m.out))
	}
	return t
}

func pairKey(l, r shard.Token) uint64 { return uint64(uint32(l))<<32 | uint64(uint32(r)) + 1 }

func (t *mergeTable) home(k uint64) uint64 {
	k *= 0x9E3779B97F4A7C15 // 2^64 / golden ratio: spreads neighbouring keys
	return (k ^ k>>29) & t.mask
}

// noMerge is the value of a pair that does not merge; it ranks behind all.
const noMerge = ^uint64(0)

// find returns rank<<32 | out, or noMerge.
func (t *mergeTable) find(l, r shard.Token) uint64 {
	k := pairKey(l, r)
	for h := t.home(k); t.keys[h] != 0; h = (h + 1) & t.mask {
		if t.keys[h] == k {
			return t.vals[h]
		}
	}
	return noMerge
}

// A merger merges the tokens of one word. Short words, which are nearly all,
// look for the best pair again and again; long ones keep the pairs in a heap,
// so that a word of a million characters takes n log n.
type merger struct {
	syms []symbol
	heap []uint64 // rank<<32 | place: merges that were possible when queued
}

type symbol struct {
	id         shard.Token
	prev, next int32
}

func (m *merger) start() { m.syms = m.syms[:0] }

func (m *merger) add(id shard.Token) { m.syms = append(m.syms, symbol{id: id}) }

func (m *merger) shrink() {
	if cap(m.syms) > maxKept || cap(m.heap) > maxKept {
		m.syms, m.heap = nil, nil
	}
}

// shortWord is the length up to which looking through all pairs is faster than
// a heap (BenchmarkEncode).
const shortWord = 32

// run merges the added tokens and appends what is left to dst.
func (m *merger) run(dst []shard.Token, t *mergeTable) []shard.Token {
	switch n := len(m.syms); {
	case n == 0:
		return dst
	case n == 1:
		return append(dst, m.syms[0].id)
	case n <= shortWord:
		return m.runShort(dst, t)
	}
	return m.runLong(dst, t)
}

func (m *merger) runShort(dst []shard.Token, t *mergeTable) []shard.Token {
	syms := m.syms
	n := len(syms)
	var pair [shortWord]uint64 // pair[i]: the merge of syms[i] and syms[i+1]
	for i := range n - 1 {
		pair[i] = t.find(syms[i].id, syms[i+1].id)
	}
	for n > 1 {
		at := 0
		best := pair[0] >> 32
		for i := 1; i < n-1; i++ {
			if r := pair[i] >> 32; r < best {
				best, at = r, i
			}
		}
		if pair[at] == noMerge {
			break
		}
		syms[at].id = shard.Token(uint32(pair[at]))
		copy(syms[at+1:n-1], syms[at+2:n])
		copy(pair[at:n-2], pair[at+1:n-1])
		n--
		if at > 0 {
			pair[at-1] = t.find(syms[at-1].id, syms[at].id)
		}
		if at < n-1 {
			pair[at] = t.find(syms[at].id, syms[at+1].id)
		}
	}
	for i := range n {
		dst = append(dst, syms[i].id)
	}
	return dst
}

func (m *merger) runLong(dst []shard.Token, t *mergeTable) []shard.Token {
	syms := m.syms
	for i := range syms {
		syms[i].prev, syms[i].next = int32(i-1), int32(i+1)
	}
	syms[len(syms)-1].next = -1
	m.heap = m.heap[:0]
	for i := range len(syms) - 1 {
		m.queue(t, int32(i))
	}
	for len(m.heap) > 0 {
		c := m.pop()
		at := int32(uint32(c))
		left := &syms[at]
		j := left.next
		if left.id == none || j < 0 {
			continue
		}
		v := t.find(left.id, syms[j].id)
		if v == noMerge || v>>32 != c>>32 {
			continue // one of the two has changed since
		}
		left.id = shard.Token(uint32(v))
		left.next = syms[j].next
		syms[j].id = none
		if left.next >= 0 {
			syms[left.next].prev = at
		}
		if left.prev >= 0 {
			m.queue(t, left.prev)
		}
		m.queue(t, at)
	}
	for i := int32(0); i >= 0; i = syms[i].next {
		dst = append(dst, syms[i].id)
	}
	return dst
}

// heapWays is the number of children of a place in the heap: four are next to
// each other in memory, and the heap is half as high.
const heapWays = 4

// queue puts the merge of symbol i with the next one on the heap, if there is one.
func (m *merger) queue(t *mergeTable, i int32) {
	j := m.syms[i].next
	if j < 0 {
		return
	}
	v := t.find(m.syms[i].id, m.syms[j].id)
	if v == noMerge {
		return
	}
	c := v>>32<<32 | uint64(uint32(i))
	m.heap = append(m.heap, c)
	h := m.heap
	k := len(h) - 1
	for k > 0 {
		up := (k - 1) / heapWays
		if h[up] <= c {
			break
		}
		h[k] = h[up]
		k = up
	}
	h[k] = c
}

// pop takes the best merge from the heap: the lowest rank, and of those the
// leftmost.
func (m *merger) pop() uint64 {
	h := m.heap
	top := h[0]
	last := len(h) - 1
	c := h[last]
	h = h[:last]
	m.heap = h
	k := 0
	for {
		down := heapWays*k + 1
		if down >= last {
			break
		}
		best, least := down, h[down]
		for d := down + 1; d < min(down+heapWays, last); d++ {
			if h[d] < least {
				best, least = d, h[d]
			}
		}
		if c <= least {
			break
		}
		h[k] = least
		k = best
	}
	if last > 0 {
		h[k] = c
	}
	return top
}
