package node

import (
	"context"
	"sync"

	"github.com/shardnode/shardnode/shard"
)

// Retire returns when no session runs on h any more, which [Node.Hold] has
// replaced before. When ctx ends first, it ends those that do, whose drivers
// hear that the layers have moved, and returns how many they were.
func (n *Node) Retire(ctx context.Context, h *Held) (cut int) {
	for {
		on, changed := n.on(h)
		if len(on) == 0 {
			return cut
		}
		over := ctx.Done()
		if cut > 0 {
			over = nil // they are ending
		}
		select {
		case <-changed:
		case <-over:
			cut = len(on)
			var told sync.WaitGroup
			for _, st := range on {
				told.Go(func() {
					st.fail(&shard.StageError{Span: st.open.Span, Code: shard.NotServing, Text: "the peer now holds other layers"})
				})
			}
			told.Wait()
		}
	}
}

// on returns the sessions that run on h, and what is closed when some session
// comes or goes.
func (n *Node) on(h *Held) ([]*stage, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []*stage
	for _, st := range n.sessions {
		if st.held == h {
			out = append(out, st)
		}
	}
	return out, n.changed
}
