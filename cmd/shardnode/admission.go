package main

import (
	"github.com/shardnode/shardnode/transport"
)

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
