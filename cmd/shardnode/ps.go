package main

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/transport"
)

// statusJSON is the answer of `ps --json` (CLI.md §3).
type statusJSON struct {
	Self     string            `json:"self"`
	Swarm    string            `json:"swarm"`
	Doing    string            `json:"doing"`
	Peers    []peerJSON        `json:"peers"`
	Models   []modelStatusJSON `json:"models"`
	Sessions []sessionJSON     `json:"sessions"`
}

type (
	peerJSON struct {
		Peer        string   `json:"peer"`
		Name        string   `json:"name"`
		State       string   `json:"state"`
		Model       string   `json:"model"`
		Alive       bool     `json:"alive"`
		Span        [2]int   `json:"span"`
		Planned     [2]int   `json:"planned"`
		MemoryBytes int64    `json:"memory_bytes"`
		FreeBytes   int64    `json:"free_bytes"`
		DecodeMS    float64  `json:"decode_ms"`
		RTTms       float64  `json:"rtt_ms"`
		Sessions    int      `json:"sessions"`
		Addrs       []string `json:"addrs"`
	}
	modelStatusJSON struct {
		Model      string `json:"model"`
		Layers     int    `json:"layers"`
		Covered    bool   `json:"covered"`
		MinHolders int    `json:"min_holders"`
	}
	livePlanJSON struct {
		Result scheduler.Result `json:"result"`
		PlanMS float64          `json:"plan_ms"`
	}
)

// status returns the swarm as this member sees it.
func (s *server) status() statusJSON {
	st := s.member.Status()
	out := statusJSON{
		Self: st.Self.String(), Swarm: st.Swarm.String(), Doing: st.Doing,
		Peers: []peerJSON{}, Models: []modelStatusJSON{}, Sessions: s.drives.all(),
	}
	names := map[shard.ModelID]string{}
	for _, x := range st.Models {
		names[x.ID] = x.Name
		out.Models = append(out.Models, modelStatusJSON{Model: x.Name, Layers: x.Layers, Covered: x.MinHolders > 0, MinHolders: x.MinHolders})
	}
	for _, m := range st.Members {
		a := m.Advert
		p := peerJSON{
			Peer: m.Peer.String(), Name: a.Name, State: a.State.String(), Model: names[a.Model], Alive: m.Alive,
			Span: [2]int{int(a.Span.Start), int(a.Span.End)}, Planned: [2]int{int(a.Planned.Start), int(a.Planned.End)},
			MemoryBytes: a.MemoryBytes, FreeBytes: a.FreeBytes, DecodeMS: millis(a.Decode), RTTms: millis(m.RTT), Sessions: a.Sessions,
			Addrs: []string{},
		}
		if !m.Alive {
			p.State = "lost"
			if m.Left {
				p.State = "left"
			}
			p.Sessions = 0 // they ended with it
		}
		for _, addr := range a.Addrs {
			p.Addrs = append(p.Addrs, addr.String())
		}
		out.Peers = append(out.Peers, p)
	}
	return out
}

func (a *app) psCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "ps",
		Short:   "models, members and sessions of this home's swarm",
		Example: "  shardnode ps\n  shardnode ps --json | jq '.peers[].name'",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.ps(cmd.Context(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) ps(ctx context.Context, asJSON bool) error {
	c, err := a.dialControl()
	if err != nil {
		return err
	}
	var st statusJSON
	if err := c.call(ctx, "GET", "/ps", nil, &st); err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(st)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "swarm %s, this member: %s\n", st.Swarm, st.Doing)
	for _, m := range st.Models {
		covered := "every layer has a holder"
		if !m.Covered {
			covered = "some layers have no holder: no answers until one joins"
		}
		fmt.Fprintf(w, "model %s, %d layers: %s (%d at least)\n", m.Model, m.Layers, covered, m.MinHolders)
	}
	fmt.Fprintln(w, "\nNAME\tPEER\tSTATE\tMODEL\tLAYERS\tDECODE\tMEMORY\tFREE\tRTT\tSESSIONS")
	for _, p := range st.Peers {
		name := p.Name
		if p.Peer == st.Self {
			name += " (this)"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d-%d\t%.2f ms\t%s\t%s\t%.1f ms\t%d\n", name, p.Peer[:8], p.State, cmp.Or(p.Model, "-"), p.Span[0], p.Span[1],
			p.DecodeMS, mib(p.MemoryBytes), mib(p.FreeBytes), p.RTTms, p.Sessions)
	}
	if len(st.Sessions) > 0 {
		fmt.Fprintln(w, "\nSESSION\tMODEL\tROOM\tAGE\tROUTE")
	}
	for _, x := range st.Sessions {
		fmt.Fprintf(w, "%.8s\t%s\t%d tokens\t%.1f s\t%s\n", x.ID, x.Model, x.Tokens, x.AgeMS/1000, strings.Join(x.Route, ", "))
	}
	return w.Flush()
}

func (a *app) drainCommand() *cobra.Command {
	wait := false
	cmd := &cobra.Command{
		Use:   "drain",
		Short: "let this home's member finish its sessions and leave",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.dialControl()
			if err != nil {
				return err
			}
			if err := c.call(cmd.Context(), "POST", "/drain", nil, &struct{}{}); err != nil {
				return err
			}
			a.notify("the member finishes its sessions and leaves")
			if wait {
				return a.waitGone(cmd.Context())
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "end when the member has left")
	return cmd
}

// waitGone returns when no member runs in the home.
func (a *app) waitGone(ctx context.Context) error {
	for {
		if _, err := a.dialControl(); err != nil {
			return nil //nolint:nilerr // it has left
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (a *app) inviteCommand() *cobra.Command {
	var uses int
	var expires time.Duration
	var role, revoke string
	var list, asJSON bool
	cmd := &cobra.Command{
		Use:   "invite",
		Short: "one line to give to somebody who may join this home's swarm",
		Example: `  shardnode invite
  shardnode invite --uses 5 --expires 1h --role client
  shardnode invite --list
  shardnode invite --revoke ID`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				return a.listInvitations(cmd.Context(), asJSON)
			}
			r, err := parseRole(role)
			if err != nil {
				return err
			}
			if uses < 1 || expires <= 0 {
				return usage("--uses is %d and --expires %v, want 1 or more and a time from now", uses, expires)
			}
			return a.invite(cmd.Context(), inviteJSON{Uses: uses, Expires: expires, Role: uint32(r), Revoke: revoke}, asJSON)
		},
	}
	cmd.Flags().IntVar(&uses, "uses", 1, "members that may join with it")
	cmd.Flags().DurationVar(&expires, "expires", 24*time.Hour, "how long it may be used")
	cmd.Flags().StringVar(&role, "role", "serve,client", "what they may do: serve, client or both")
	cmd.Flags().StringVar(&revoke, "revoke", "", "void the invitation with this id; who joined with it stays (see remove)")
	cmd.Flags().BoolVar(&list, "list", false, "list the invitations of this home")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) invite(ctx context.Context, req inviteJSON, asJSON bool) error {
	c, err := a.dialControl()
	if err != nil {
		return err
	}
	var got invitedJSON
	if err := c.call(ctx, "POST", "/invite", req, &got); err != nil {
		return err
	}
	switch {
	case asJSON:
		return a.printJSON(got)
	case req.Revoke != "":
		a.notify("invitation %s is void", got.ID)
		return nil
	}
	a.notify("invitation %s, for %s, until %s, role %s:", got.ID, count(got.Uses, "member"), got.Expires.Local().Format(time.DateTime), got.Role)
	_, err = fmt.Fprintln(a.stdout, got.Invitation)
	return err
}

// parseRole reads --role.
func parseRole(text string) (transport.Role, error) {
	switch text {
	case "serve":
		return transport.RoleServe, nil
	case "client":
		return transport.RoleClient, nil
	case "serve,client", "client,serve":
		return transport.RoleServe | transport.RoleClient, nil
	}
	return 0, usage("--role is %q, want serve, client or serve,client", text)
}
