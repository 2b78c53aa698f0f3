package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardnode/shardnode/transport"
)

// join returns this peer's membership by an invitation, or the one it has.
func (s *server) join(ctx context.Context, inv transport.Invitation) (transport.Membership, error) {
	home := s.app.home
	m, err := transport.LoadMembership(home)
	removed := s.wasRemoved(inv.Swarm)
	if err == nil && m.Swarm() == inv.Swarm && time.Until(m.NotAfter) > 0 && !removed {
		return m, s.saveSeeds(inv) // it has joined before
	}
	if key, err := transport.LoadSwarmKey(home); err == nil && key.ID() != inv.Swarm {
		return m, hint(fmt.Errorf("this home founded the swarm %v, the invitation is to %v", key.ID(), inv.Swarm),
			"give another folder with --home: a home belongs to one swarm")
	}
	m, err = transport.Join(ctx, transport.JoinConfig{Identity: s.identity, Invitation: inv, Name: memberName(s.flags.name)})
	if err != nil {
		return m, explainJoin(err, inv)
	}
	if removed {
		err = s.forgetRemoval(inv.Swarm)
	}
	return m, errors.Join(err, m.Save(home), s.saveSeeds(inv))
}

// wasRemoved reports whether the swarm has removed this member, as far as its
// home knows.
func (s *server) wasRemoved(swarm transport.SwarmID) bool {
	r, err := transport.LoadRemovals(s.app.home, swarm)
	return err == nil && r.Removed(s.identity.ID())
}

// forgetRemoval notes that the swarm has admitted this member anew.
func (s *server) forgetRemoval(swarm transport.SwarmID) error {
	r, err := transport.LoadRemovals(s.app.home, swarm)
	if err != nil {
		return err
	}
	return r.Forget(s.identity.ID())
}

// meetTwin takes note of another process with this identity.
func (s *server) meetTwin(e *transport.TwinError) {
	select {
	case s.twin <- e:
	default: // one is enough
	}
}
