package main

import (
	"context"
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"
)

// invitationJSON is an invitation of this home, as `invite --list --json` shows
// it. The line that lets somebody in is not kept.
type invitationJSON struct {
	ID      string    `json:"id"`
	Expires time.Time `json:"expires"`
	Uses    int       `json:"uses"`
	Used    int       `json:"used"`
	Role    string    `json:"role"`
	State   string    `json:"state"` // open, used up, expired, revoked
}

// controlInvitations lists the invitations of this home.
func (s *server) controlInvitations(w http.ResponseWriter, _ *http.Request) {
	out := []invitationJSON{}
	if s.admitter == nil {
		s.answerControl(w, out, nil)
		return
	}
	now := time.Now()
	for _, i := range s.admitter.List() {
		one := invitationJSON{ID: i.ID.String(), Expires: i.Expires, Uses: i.Uses, Used: i.Used, Role: i.Role.String(), State: "open"}
		switch {
		case i.Revoked:
			one.State = "revoked"
		case now.After(i.Expires):
			one.State = "expired"
		case i.Used >= i.Uses:
			one.State = "used up"
		}
		out = append(out, one)
	}
	s.answerControl(w, out, nil)
}

func (a *app) listInvitations(ctx context.Context, asJSON bool) error {
	c, err := a.dialControl()
	if err != nil {
		return err
	}
	var got []invitationJSON
	if err := c.call(ctx, "GET", "/invitations", nil, &got); err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(got)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tUSED\tROLE\tUNTIL")
	for _, i := range got {
		fmt.Fprintf(w, "%s\t%s\t%d of %d\t%s\t%s\n", i.ID, i.State, i.Used, i.Uses, i.Role, i.Expires.Local().Format(time.DateTime))
	}
	return w.Flush()
}
