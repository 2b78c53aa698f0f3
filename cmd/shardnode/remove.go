package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
)

type removeJSON struct {
	Peer string `json:"peer"` // or a name
	Back bool   `json:"back,omitempty"`
}

// removedJSON is a member that was removed, as `remove --json` shows it.
type removedJSON struct {
	Peer string    `json:"peer"`
	Name string    `json:"name"`
	At   time.Time `json:"at"`
	Back bool      `json:"back"` // it was taken back since
}

func (a *app) removeCommand() *cobra.Command {
	var list, undo, asJSON bool
	cmd := &cobra.Command{
		Use:   "remove MEMBER",
		Short: "take a member out of this home's swarm",
		Long: `remove ends the membership of a member, named as ps names it, by name or peer.
The others refuse it from then on, within a second or so; one that is not
reached now hears of it when it comes back. It can't join again, whatever
invitation it has, until it is taken back. Only the founder's home can do this.`,
		Example: `  shardnode remove nuc
  shardnode remove --list
  shardnode remove --undo nuc`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case list && (len(args) > 0 || undo):
				return usage("--list takes no MEMBER and no --undo")
			case list:
				return a.listRemoved(cmd.Context(), asJSON)
			case len(args) == 0:
				return usage("which MEMBER? `shardnode ps` lists them")
			}
			return a.remove(cmd.Context(), removeJSON{Peer: args[0], Back: undo}, asJSON)
		},
	}
	cmd.Flags().BoolVar(&list, "list", false, "list the members that were removed")
	cmd.Flags().BoolVar(&undo, "undo", false, "take a removed member back")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) remove(ctx context.Context, req removeJSON, asJSON bool) error {
	c, err := a.dialControl()
	if err != nil {
		return err
	}
	var got removedJSON
	if err := c.call(ctx, "POST", "/remove", req, &got); err != nil {
		return err
	}
	switch {
	case asJSON:
		return a.printJSON(got)
	case got.Back:
		a.notify("%s (%.8s) is a member again; it needs a restart or an invitation if it has noticed", got.Name, got.Peer)
	default:
		a.notify("%s (%.8s) is no member any more: the others refuse it; `shardnode remove --undo %s` takes it back", got.Name, got.Peer, got.Peer)
	}
	return nil
}

func (a *app) listRemoved(ctx context.Context, asJSON bool) error {
	c, err := a.dialControl()
	if err != nil {
		return err
	}
	var got []removedJSON
	if err := c.call(ctx, "GET", "/removed", nil, &got); err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(got)
	}
	for _, r := range got {
		what := "removed"
		if r.Back {
			what = "taken back"
		}
		fmt.Fprintf(a.stdout, "%s  %s  %s on %s\n", r.Peer, r.Name, what, r.At.Local().Format(time.DateTime))
	}
	return nil
}

// controlRemove takes a member out of the swarm, or back.
func (s *server) controlRemove(w http.ResponseWriter, r *http.Request) {
	var req removeJSON
	err := readControl(r, &req)
	var got transport.Removal
	if err == nil {
		got, err = s.remove(req)
	}
	s.answerControl(w, removedOf(got), err)
}

func (s *server) controlRemoved(w http.ResponseWriter, _ *http.Request) {
	out := []removedJSON{}
	for _, r := range s.removals.List() {
		out = append(out, removedOf(r))
	}
	s.answerControl(w, out, nil)
}

func removedOf(r transport.Removal) removedJSON {
	return removedJSON{Peer: r.Peer.String(), Name: r.Name, At: r.At, Back: r.Back}
}

func (s *server) remove(req removeJSON) (transport.Removal, error) {
	key, err := transport.LoadSwarmKey(s.app.home)
	if err != nil || key.ID() != s.node.Membership().Swarm() {
		return transport.Removal{}, hint(errors.New("this member did not found the swarm, and only the founder can remove members"),
			"ask on the machine where the swarm was founded")
	}
	peer, name, err := s.whoIs(req)
	if err != nil {
		return transport.Removal{}, err
	}
	var r transport.Removal
	switch {
	case peer == s.identity.ID():
		return r, usage("this member founded the swarm: it can leave it (`shardnode drain`), but not be removed")
	case req.Back:
		r, err = key.Readmit(peer, name)
	default:
		r, err = key.Remove(peer, name)
	}
	if err != nil {
		return r, err
	}
	return r, s.node.HearRemoval(r.Signed())
}

// whoIs returns the member that a person names: by its name, or the beginning
// of its peer id. Names are the members' own choice, so two may have the same.
func (s *server) whoIs(req removeJSON) (shard.PeerID, string, error) {
	known := map[shard.PeerID]string{}
	for _, r := range s.removals.List() {
		if req.Back && !r.Back {
			known[r.Peer] = r.Name
		}
	}
	if !req.Back {
		for _, m := range s.member.Status().Members {
			known[m.Peer] = m.Advert.Name
		}
		if peer, err := shard.ParsePeerID(req.Peer); err == nil {
			return peer, known[peer], nil // also one that is not seen now
		}
	}
	var found []shard.PeerID
	for peer, name := range known {
		if name == req.Peer || len(req.Peer) >= 4 && strings.HasPrefix(peer.String(), req.Peer) {
			found = append(found, peer)
		}
	}
	switch len(found) {
	case 1:
		return found[0], known[found[0]], nil
	case 0:
		list := "ps"
		if req.Back {
			list = "remove --list"
		}
		return shard.PeerID{}, "", hint(fmt.Errorf("no member is called %.64q, and no peer id begins so", req.Peer), "`shardnode %s` lists them; a whole peer id always does", list)
	}
	return shard.PeerID{}, "", hint(fmt.Errorf("%d members are called %.64q", len(found), req.Peer), "give the peer id: `shardnode ps --json` has it")
}
