package member

import (
	"slices"

	"github.com/shardnode/shardnode/scheduler"
)

// ends returns the members that may run the first and the last layers of the
// sessions that m drives; nil: all.
func (m *Member) ends() []scheduler.ID {
	if !m.cfg.KeepsEnds {
		return nil
	}
	out := []scheduler.ID{scheduler.ID(m.cfg.Node.ID().String())}
	for _, p := range m.cfg.KeepEnds {
		out = append(out, scheduler.ID(p.String()))
	}
	return out
}

// keepsEnds reports whether a layout keeps tokens and logits where they may be.
func (v *swarmView) keepsEnds(l scheduler.Layout) bool {
	return len(v.ends) == 0 || len(l) > 0 && slices.Contains(v.ends, l[0].Peer) && slices.Contains(v.ends, l[len(l)-1].Peer)
}
