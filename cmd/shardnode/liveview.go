package main

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/scheduler"
)

// A liveJSON is a swarm as `plan --live` takes it: what a plan is made from,
// in the form of a cluster file, and the layout that sessions take now.
type liveJSON struct {
	Cluster json.RawMessage `json:"cluster"`
	Plan    livePlanJSON    `json:"plan"`
	Error   string          `json:"error,omitempty"` // why there is no layout
}

// controlView answers with what the planner sees, peers by their names.
func (s *server) controlView(w http.ResponseWriter, _ *http.Request) {
	view, err := s.member.View()
	if err != nil {
		s.answerControl(w, nil, err)
		return
	}
	names := shortNames(view.Peers)
	for i, p := range view.Peers {
		view.Peers[i].ID = names[p.ID]
	}
	out := liveJSON{}
	c := scheduler.Cluster{Name: "swarm " + s.member.Status().Swarm.String(), View: view}
	if out.Cluster, err = c.AppendJSON(nil); err != nil {
		s.answerControl(w, nil, err)
		return
	}
	res, took, err := s.member.Plan()
	if err != nil {
		out.Error = err.Error()
	}
	out.Plan = livePlanJSON{Result: renamed(res, names), PlanMS: millis(took)}
	s.answerControl(w, out, nil)
}

// shortNames returns what peers are called in a cluster file: their names, or
// the beginning of their ids where names are missing or not their own.
func shortNames(peers []scheduler.Peer) map[scheduler.ID]scheduler.ID {
	count := map[string]int{}
	for _, p := range peers {
		count[p.Name]++
	}
	out := map[scheduler.ID]scheduler.ID{}
	for _, p := range peers {
		out[p.ID] = scheduler.ID(p.Name)
		if p.Name == "" || count[p.Name] > 1 || strings.ContainsAny(p.Name, ": ,") {
			out[p.ID] = p.ID[:min(8, len(p.ID))]
		}
	}
	return out
}

// renamed returns res with other names of peers.
func renamed(res scheduler.Result, names map[scheduler.ID]scheduler.ID) scheduler.Result {
	var pairs []string
	for from, to := range names {
		pairs = append(pairs, string(from), string(to))
	}
	text := strings.NewReplacer(pairs...)
	layout := func(l scheduler.Layout) scheduler.Layout {
		out := make(scheduler.Layout, len(l))
		for i, a := range l {
			out[i] = scheduler.Assignment{Peer: names[a.Peer], Span: a.Span}
		}
		return out
	}
	rejected := func(r scheduler.Rejected) scheduler.Rejected {
		return scheduler.Rejected{Layout: layout(r.Layout), Predicted: r.Predicted, Why: text.Replace(r.Why)}
	}
	out := scheduler.Result{Layout: layout(res.Layout), Predicted: res.Predicted}
	out.Predicted.Bottleneck = text.Replace(res.Predicted.Bottleneck)
	if res.Single != nil {
		single := rejected(*res.Single)
		out.Single = &single
	}
	for _, r := range res.Rejected {
		out.Rejected = append(out.Rejected, rejected(r))
	}
	for _, why := range res.Reasons {
		out.Reasons = append(out.Reasons, text.Replace(why))
	}
	for _, id := range res.Idle {
		out.Idle = append(out.Idle, names[id])
	}
	return out
}

// planLive says what layout the swarm of this home takes now, or would take
// with other peers.
func (a *app) planLive(cmd *cobra.Command, f *planFlags) error {
	c, now, err := a.live(cmd.Context())
	if err != nil {
		return err
	}
	if f.save != "" {
		b, err := c.AppendJSON(nil)
		if err == nil {
			err = writeWhole(f.save, append(b, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
		a.notify("saved as %s: shardnode plan --cluster %s", f.save, f.save)
	}
	asked := cmd.Flags().Changed
	if len(f.kill)+len(f.add) == 0 && len(now.Result.Layout) > 0 && !asked("goal") && !asked("context-tokens") && !asked("prompt-tokens") {
		return a.printPlanned(c, now.Result, time.Duration(now.PlanMS*float64(time.Millisecond)), f)
	}
	if c, err = a.editCluster(c, f.kill, f.add); err != nil {
		return err
	}
	if !asked("goal") {
		f.goal = "spread" // what members go by
	}
	return a.planAndPrint(c, f)
}

// live asks the member of this home for its swarm.
func (a *app) live(ctx context.Context) (scheduler.Cluster, livePlanJSON, error) {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	c, err := a.dialControl()
	if err != nil {
		return scheduler.Cluster{}, livePlanJSON{}, err
	}
	var got liveJSON
	if err := c.call(ctx, "GET", "/view", nil, &got); err != nil {
		return scheduler.Cluster{}, livePlanJSON{}, err
	}
	cluster, err := scheduler.ParseCluster(got.Cluster)
	return cluster, got.Plan, err
}
