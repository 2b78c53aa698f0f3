package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
)

// A seedJSON is a member to gossip with first, as it is kept in the home.
type seedJSON struct {
	Peer  string   `json:"peer"`
	Addrs []string `json:"addrs"`
}

// saveSeeds keeps the member that invited.
func (s *server) saveSeeds(inv transport.Invitation) error {
	seed := seedJSON{Peer: inv.Inviter.String()}
	for _, a := range inv.Addrs {
		seed.Addrs = append(seed.Addrs, a.String())
	}
	return s.writeSeeds([]seedJSON{seed})
}

func (s *server) writeSeeds(seeds []seedJSON) error {
	b, err := json.Marshal(seeds)
	if err != nil {
		return err
	}
	return writeWhole(filepath.Join(s.app.home, seedsFile), b, 0o600)
}

// maxSeeds bounds the members that are kept to join through.
const maxSeeds = 16

// saveView keeps the members of now, so that the next start finds the swarm
// though others have moved or gone since. While there are none, those that
// were known before stay.
func (s *server) saveView() {
	var seeds []seedJSON
	for _, m := range s.member.Status().Members {
		if m.Alive && m.Peer != s.identity.ID() && len(seeds) < maxSeeds {
			seed := seedJSON{Peer: m.Peer.String()}
			for _, addr := range m.Advert.Addrs {
				seed.Addrs = append(seed.Addrs, addr.String())
			}
			seeds = append(seeds, seed)
		}
	}
	if len(seeds) == 0 {
		return
	}
	if err := s.writeSeeds(seeds); err != nil {
		s.log.Warn().Err(err).Msg("members to join through are not kept")
	}
}

// seeds returns the members to gossip with first.
func (s *server) seeds() ([]gossip.Seed, error) {
	path := filepath.Join(s.app.home, seedsFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var kept []seedJSON
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err != nil {
		return nil, hint(fmt.Errorf("members to join through, %s: %w", path, err), "remove the file and join again with an invitation")
	}
	var out []gossip.Seed
	for _, k := range kept {
		peer, err := shard.ParsePeerID(k.Peer)
		if err != nil {
			return nil, fmt.Errorf("members to join through, %s: %w", path, err)
		}
		out = append(out, gossip.Seed{Peer: peer, Addrs: parseAddrs(k.Addrs)})
	}
	return out, nil
}

// lastListen returns the address that this home's member had last, "" if it is
// not known.
func (s *server) lastListen() string {
	b, err := os.ReadFile(filepath.Join(s.app.home, listenFile))
	if err != nil {
		return ""
	}
	addr, err := netip.ParseAddrPort(strings.TrimSpace(string(b)))
	if err != nil || !addr.Addr().IsLoopback() {
		return "" // what was reachable from elsewhere must be asked for again
	}
	return addr.String()
}

// keepListen keeps the address for the next start.
func (s *server) keepListen() {
	path := filepath.Join(s.app.home, listenFile)
	if err := writeWhole(path, []byte(s.node.Addr().String()+"\n"), 0o600); err != nil {
		s.log.Warn().Err(err).Msg("port is not kept")
	}
}
