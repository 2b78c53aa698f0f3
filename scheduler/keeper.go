package scheduler

import (
	"github.com/shardnode/shardnode/shard"
)

// MayDrop says whether a peer that holds layers may let go of those that are
// not in next, and the first layer that it must keep if not: a layer may go
// when another peer serves it and does not mean to let go of it.
//
// Whoever wants to drop layers says so first (Planned), waits for as long as
// gossip takes to reach the others, and asks then. So no two let go of a last
// copy, whatever their views are: if a relies on b, b has said that it drops
// the layer after a said so, and when b asks it has heard of a. Targets that
// tile the model leave a holder that stays for each layer in the end; until
// then everybody keeps what they have.
func MayDrop(v View, id ID, next shard.Span) (ok bool, keep shard.Layer) {
	self := v.find(id)
	if self == nil {
		return true, 0
	}
	for l := self.Held.Start; l < self.Held.End; l++ {
		if !next.Has(l) && !v.stays(id, l) {
			return false, l
		}
	}
	return true, 0
}

// stays reports whether a peer other than the one named id serves layer l and
// does not mean to let go of it.
func (v View) stays(id ID, l shard.Layer) bool {
	for i := range v.Peers {
		p := &v.Peers[i]
		if p.ID != id && p.Role == Serve && p.Held.Has(l) && (p.Planned.Len() == 0 || p.Planned.Has(l)) {
			return true
		}
	}
	return false
}
