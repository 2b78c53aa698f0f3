package scheduler

import (
	"hash/fnv"

	"github.com/shardnode/shardnode/shard"
)

// MayDrop says whether a peer that holds layers may let go of those that are
// not in next, and the first layer that it must keep if not.
//
// A layer may go when another peer serves it and does not mean to let go of
// it. When all its holders mean to, the one with the highest hash of peer and
// layer keeps it. Whoever wants to drop layers says so first (Planned), waits
// until the others have heard of it, and asks then: of two that decide at once
// the later one sees the other's intent, so that never both let go.
func MayDrop(v View, id ID, next shard.Span) (ok bool, keep shard.Layer) {
	self := v.find(id)
	if self == nil {
		return true, 0
	}
	for l := self.Held.Start; l < self.Held.End; l++ {
		if !next.Has(l) && mustKeep(v, id, l) {
			return false, l
		}
	}
	return true, 0
}

// mustKeep reports whether a layer rests on the peer named id.
func mustKeep(v View, id ID, l shard.Layer) bool {
	mine := rank(id, l)
	for i := range v.Peers {
		p := &v.Peers[i]
		if p.ID == id || p.Role != Serve || !p.Held.Has(l) {
			continue
		}
		stays := p.Planned.Len() == 0 || p.Planned.Has(l)
		if stays || rank(p.ID, l) > mine {
			return false
		}
	}
	return true
}

// rank is a number that peers agree on (rendezvous hashing, Thaler and
// Ravishankar 1998), so that layers that nobody wants rest on different peers.
func rank(id ID, l shard.Layer) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	_, _ = h.Write([]byte{byte(l), byte(l >> 8)})
	return h.Sum64()
}
