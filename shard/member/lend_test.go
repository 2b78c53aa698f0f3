package member

import (
	"context"
	"testing"

	"github.com/shardnode/shardnode/scheduler/gossip"
)

func TestAPausedMemberLetsGoAndComesBack(t *testing.T) {
	s := newSwarm(t)
	p := s.start("desk", withFile(t))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.WaitServing(ctx); err != nil {
		t.Fatal(err)
	}
	until := func(what string, ok func(gossip.Advert) bool) {
		t.Helper()
		if err := p.wait(ctx, func() bool { return ok(p.advertLocked()) }); err != nil {
			t.Fatalf("never %s: %v\n%v", what, err, p.said)
		}
	}
	p.Pause("the owner plays")
	until("without layers", func(a gossip.Advert) bool {
		return a.State == gossip.Client && a.Span.Len() == 0 && a.MemoryBytes == 0
	})
	p.Resume()
	until("serving again", func(a gossip.Advert) bool { return a.State == gossip.Serving && a.Span.Len() > 0 && a.MemoryBytes > 0 })
}
