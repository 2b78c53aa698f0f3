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

// A mergeTable finds the merge of two tokens: open addressing, half full.
type mergeTable struct {
	mask uint64
	keys []uint64 // left<<32 | right, plus 1 so that 0 is an empty place
	vals []uint64 // rank<<32 | out
}

// newMergeTable returns the table of ms. Of two merges of the same tokens the
// later one counts, as in Hugging Face's tokenizers.
func newMergeTable(ms []merge) mergeTable {
	size := 1
	for size < 2*len(ms)+1 {
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
	heap []candidate
}

type symbol struct {
	id         shard.Token
	prev, next int32
}

// A candidate is a merge that was possible when it was queued.
type candidate struct {
	rank        uint32
	pos         int32
	out         shard.Token
	left, right shard.Token
}

func (c *candidate) before(o *candidate) bool {
	return c.rank < o.rank || c.rank == o.rank && c.pos < o.pos
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
		left := &syms[c.pos]
		j := left.next
		if left.id != c.left || j < 0 || syms[j].id != c.right {
			continue // one of the two has gone since
		}
		left.id = c.out
		left.next = syms[j].next
		syms[j].id = none
		if left.next >= 0 {
			syms[left.next].prev = c.pos
		}
		if left.prev >= 0 {
			m.queue(t, left.prev)
		}
		m.queue(t, c.pos)
	}
	for i := int32(0); i >= 0; i = syms[i].next {
		dst = append(dst, syms[i].id)
	}
	return dst
}

// queue puts the merge of symbol i with the next one on the heap, if there is one.
func (m *merger) queue(t *mergeTable, i int32) {
	j := m.syms[i].next
	if j < 0 {
		return
	}
	left, right := m.syms[i].id, m.syms[j].id
	v := t.find(left, right)
	if v == noMerge {
		return
	}
	m.heap = append(m.heap, candidate{
		rank: uint32(v >> 32), pos: i, out: shard.Token(uint32(v)), left: left, right: right,
	})
	h := m.heap
	for k := len(h) - 1; k > 0; {
		up := (k - 1) / 2
		if !h[k].before(&h[up]) {
			break
		}
		h[k], h[up] = h[up], h[k]
		k = up
	}
}

// pop takes the best merge from the heap.
func (m *merger) pop() candidate {
	h := m.heap
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	for k := 0; ; {
		down := 2*k + 1
		if down >= last {
			break
		}
		if down+1 < last && h[down+1].before(&h[down]) {
			down++
		}
		if !h[down].before(&h[k]) {
			break
		}
		h[k], h[down] = h[down], h[k]
		k = down
	}
	m.heap = h
	return top
}
