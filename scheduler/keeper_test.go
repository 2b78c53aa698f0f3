package scheduler

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/shardnode/shardnode/shard"
)

// A dropper is a peer that says at a time what it will hold, and asks for leave
// to drop the rest after the wait.
type dropper struct {
	held, next shard.Span
	says, asks int // times; says < 0: it stays
	gone       bool
}

// seen returns what others see of d, as it was at a time.
func (d *dropper) seen(at int) (held, planned shard.Span) {
	switch {
	case d.says < 0 || at < d.says:
		return d.held, d.held
	case d.gone && at >= d.asks:
		return d.next, d.next
	}
	return d.held, d.next
}

// TestNoTwoLetGoOfALastCopy has peers with views that lag behind by up to the
// wait, each peer of each other by another time.
func TestNoTwoLetGoOfALastCopy(t *testing.T) {
	const layers, wait = 6, 20
	r := rand.New(rand.NewPCG(*seedFlag, 11))
	dropped, kept := 0, 0
	span := func() shard.Span {
		lo := r.IntN(layers)
		return shard.Span{Start: shard.Layer(lo), End: shard.Layer(lo + 1 + r.IntN(layers-lo))}
	}
	for range 3000 {
		peers := make([]dropper, 2+r.IntN(4))
		for i := range peers {
			peers[i] = dropper{held: span(), next: span(), says: -1}
			if r.IntN(4) > 0 {
				peers[i].says = r.IntN(2 * wait)
				peers[i].asks = peers[i].says + wait
			}
		}
		var before [layers]int
		for _, d := range peers {
			for l := d.held.Start; l < d.held.End; l++ {
				before[l]++
			}
		}
		for now := range 4 * wait {
			for i := range peers {
				d := &peers[i]
				if d.says < 0 || d.asks != now {
					continue
				}
				v := View{}
				for j := range peers {
					p := Peer{ID: ID(fmt.Sprint(j))}
					p.Held, p.Planned = peers[j].seen(now - r.IntN(wait))
					if j == i {
						p.Held, p.Planned = d.held, d.next
					}
					v.Peers = append(v.Peers, p)
				}
				if ok, l := MayDrop(v, ID(fmt.Sprint(i)), d.next); ok {
					d.gone = true
					dropped++
				} else if kept++; !d.held.Has(l) || d.next.Has(l) {
					t.Fatalf("must keep layer %d of %v, with %v next", l, d.held, d.next)
				}
			}
		}
		for l, n := range before {
			left := 0
			for _, d := range peers {
				if held, _ := d.seen(4 * wait); held.Has(shard.Layer(l)) {
					left++
				}
			}
			if n > 0 && left == 0 {
				t.Fatalf("seed %d: nobody holds layer %d any more: %+v", *seedFlag, l, peers)
			}
		}
	}
	if dropped < 500 || kept < 500 {
		t.Errorf("%d drops and %d refusals: the test tests little", dropped, kept)
	}
}
