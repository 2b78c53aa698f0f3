package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/kvcache"
)

type planFlags struct {
	cluster                     string
	kill, add                   []string
	goal                        string
	contextTokens, promptTokens int
	peers, threads              int
	memory                      sizeFlag
	link                        string
	live                        bool
	save                        string
	json, explain               bool
}

func (a *app) planCommand() *cobra.Command {
	f := &planFlags{}
	cmd := &cobra.Command{
		Use:   "plan [MODEL]",
		Short: "what layout would be chosen, what it would give, and why",
		Long: `plan says which peer would hold which layers, what that would give, and what
else was considered. With --cluster the peers come from a file, and the model
too unless MODEL is given. Without it the peer is this machine, whose speed is
measured, or --peers machines like it.`,
		Example: `  shardnode plan story
  shardnode plan model.gguf --peers 3 --link latency=20ms,rate=100mbit
  shardnode plan --cluster swarm.yaml --kill b --add id=c,memory_bytes=16GiB
  shardnode plan --cluster swarm.json --json
  shardnode plan --live --kill nuc
  shardnode plan --live --save swarm.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.plan(cmd, f, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.cluster, "cluster", "", "file with peers, links and a model, JSON or YAML; - is standard input")
	flags.BoolVar(&f.live, "live", false, "plan for the swarm of this home, as its member sees it now")
	flags.StringVar(&f.save, "save", "", "with --live: write what the member sees as a cluster file")
	flags.StringArrayVar(&f.kill, "kill", nil, "leave out this peer (may be repeated)")
	flags.StringArrayVar(&f.add, "add", nil, `add a peer: JSON as in a cluster file, or id=x,memory_bytes=16GiB; what is missing is as of the first peer (may be repeated)`)
	flags.StringVar(&f.goal, "goal", "many", "what the layout is to be good at: many sessions, one session, or spread (use every peer)")
	flags.IntVar(&f.contextTokens, "context-tokens", 2048, "KV cache that each peer must have room for, in tokens")
	flags.IntVar(&f.promptTokens, "prompt-tokens", 512, "prompt that the time to the first token is predicted for")
	flags.IntVar(&f.peers, "peers", 1, "machines like this one")
	flags.IntVar(&f.threads, "threads", 0, "threads that compute, of each member (default: one a processor)")
	flags.Var(&f.memory, "memory", "bytes for weights and KV cache together, of each member (default: three quarters of what is free)")
	flags.StringVar(&f.link, "link", "", "what lies between the machines: latency=20ms,rate=100mbit (default: a LAN, 0.2 ms and 1 Gbit/s)")
	flags.BoolVar(&f.json, "json", false, "print one JSON object")
	flags.BoolVar(&f.explain, "explain", false, "say everything that was considered, and which peers are left idle")
	return cmd
}

// planJSON is the answer of `plan --json` (CLI.md §4).
type planJSON struct {
	Layout    []assignmentJSON  `json:"layout"`
	Predicted planPredictedJSON `json:"predicted"`
	Rejected  []rejectedJSON    `json:"rejected"`
	PlanMS    float64           `json:"plan_ms"`
	Reasons   []string          `json:"reasons,omitempty"` // with --explain
	Idle      []scheduler.ID    `json:"idle,omitempty"`    // with --explain
}

type (
	assignmentJSON struct {
		Peer  scheduler.ID `json:"peer"`
		Start shard.Layer  `json:"start"`
		End   shard.Layer  `json:"end"`
	}
	planPredictedJSON struct {
		TokSMany   float64 `json:"tok_s_many"`
		TokSOne    float64 `json:"tok_s_one"`
		TTFTms     float64 `json:"ttft_ms"`
		Bottleneck string  `json:"bottleneck"`
	}
	rejectedJSON struct {
		Layout []assignmentJSON `json:"layout"`
		Why    string           `json:"why"`
	}
)

// goals are the values of --goal.
var goals = map[string]scheduler.Goal{"many": scheduler.Many, "one": scheduler.One, "spread": scheduler.Spread}

// maxPlanPeers bounds --peers of `plan`.
const maxPlanPeers = 4096

func (a *app) plan(cmd *cobra.Command, f *planFlags, args []string) error {
	if err := f.check(cmd, args); err != nil {
		return err
	}
	if f.live {
		return a.planLive(cmd, f)
	}
	c, err := a.planCluster(cmd.Context(), f, args)
	if err != nil {
		return err
	}
	if c, err = a.editCluster(c, f.kill, f.add); err != nil {
		return err
	}
	return a.planAndPrint(c, f)
}

// planAndPrint plans for c and prints the answer.
func (a *app) planAndPrint(c scheduler.Cluster, f *planFlags) error {
	began := time.Now()
	res, err := scheduler.Plan(c.View, scheduler.Params{Goal: goals[f.goal], ContextTokens: f.contextTokens, PromptTokens: f.promptTokens})
	if err != nil {
		return explainPlan(err)
	}
	return a.printPlanned(c, res, time.Since(began), f)
}

// printPlanned prints a plan as JSON or for people.
func (a *app) printPlanned(c scheduler.Cluster, res scheduler.Result, took time.Duration, f *planFlags) error {
	if f.json {
		return a.printJSON(planAnswer(res, took, f.explain))
	}
	return printPlan(a.stdout, c, res, took, f)
}

// check returns a usage error for flags that make no sense.
func (f *planFlags) check(cmd *cobra.Command, args []string) error { //nolint:gocyclo // one flat case a flag
	_, ok := goals[f.goal]
	switch {
	case f.live && (f.cluster != "" || len(args) > 0):
		return usage("--live plans for the swarm of this home and its model: it takes no MODEL and no --cluster")
	case f.save != "" && !f.live:
		return usage("--save keeps a swarm that runs: it needs --live")
	case f.cluster == "" && len(args) == 0 && !f.live:
		return hint(usage("plan needs a MODEL, or a --cluster FILE that has one"), "see `shardnode plan --help`")
	case !ok:
		return usage("--goal is %q, want many, one or spread", f.goal)
	case f.contextTokens < 1 || f.promptTokens < 1:
		return usage("--context-tokens is %d and --prompt-tokens is %d, want 1 or more", f.contextTokens, f.promptTokens)
	case f.peers < 1 || f.peers > maxPlanPeers:
		return usage("--peers is %d, want 1 to %d", f.peers, maxPlanPeers)
	case f.threads < 0 || f.threads > maxThreads:
		return usage("--threads is %d, want 1 to %d", f.threads, maxThreads)
	}
	for _, name := range []string{"peers", "threads", "memory", "link"} {
		if (f.cluster != "" || f.live) && cmd.Flags().Changed(name) {
			return usage("--%s is about this machine: a cluster file or a swarm says what its own peers and links are", name)
		}
	}
	return nil
}

// planCluster returns the peers, links and model to plan for.
func (a *app) planCluster(ctx context.Context, f *planFlags, args []string) (scheduler.Cluster, error) {
	if f.cluster == "" {
		return a.planHere(ctx, f, args[0])
	}
	b, err := a.readInput(f.cluster)
	if err != nil {
		return scheduler.Cluster{}, err
	}
	c, err := scheduler.ParseCluster(b)
	if err != nil {
		return c, fmt.Errorf("%s: %w", f.cluster, err)
	}
	if len(args) > 0 {
		m, err := openPlanned(args[0], kvcache.Float16)
		if err != nil {
			return c, err
		}
		defer m.Close() //nolint:errcheck // it was only read
		c.View.Model, f.contextTokens = m.plan, min(f.contextTokens, m.cfg.Context)
		a.notify("the speeds in %s are taken to be those of a layer of %s", f.cluster, m.name())
	}
	return c, nil
}

// explainPlan adds to an error of planning what a person can do.
func explainPlan(err error) error {
	small, ok := errors.AsType[*scheduler.MemoryError](err)
	switch {
	case !ok:
		return err
	case small.MorePeers == 0:
		return hint(err, "no number of such peers holds a single layer: use peers with more memory, a smaller quantisation, or fewer --context-tokens")
	}
	return hint(err, "--add id=NEW tries another peer; fewer --context-tokens need less")
}

// planAnswer returns what `plan --json` prints.
func planAnswer(res scheduler.Result, took time.Duration, explain bool) planJSON {
	out := planJSON{Layout: assignments(res.Layout), Rejected: []rejectedJSON{}, PlanMS: millis(took)}
	p := res.Predicted
	out.Predicted = planPredictedJSON{TokSMany: p.TokSMany, TokSOne: p.TokSOne, TTFTms: p.TTFTms, Bottleneck: p.Bottleneck}
	for _, r := range res.Rejected {
		out.Rejected = append(out.Rejected, rejectedJSON{Layout: assignments(r.Layout), Why: r.Why})
	}
	if explain {
		out.Reasons, out.Idle = res.Reasons, res.Idle
	}
	return out
}

func assignments(l scheduler.Layout) []assignmentJSON {
	out := []assignmentJSON{}
	for _, a := range l {
		out = append(out, assignmentJSON{Peer: a.Peer, Start: a.Span.Start, End: a.Span.End})
	}
	return out
}

// shownRejected is how many layouts that were not chosen are shown without
// --explain.
const shownRejected = 3

// printPlan prints a plan for people.
func printPlan(w io.Writer, c scheduler.Cluster, res scheduler.Result, took time.Duration, f *planFlags) error {
	m := c.View.Model
	b := fmt.Appendf(nil, "%s: %s on %s\n", m.Name, count(m.Layers, "layer"), count(len(c.View.Peers), "peer"))
	for i, s := range res.Layout {
		ends := ""
		if i == 0 && m.EmbedBytes > 0 {
			ends += " + embedding " + mib(m.EmbedBytes)
		}
		if i == len(res.Layout)-1 && m.HeadBytes > 0 {
			ends += " + head " + mib(m.HeadBytes)
		}
		b = fmt.Appendf(b, "  %-12s layers %-9v %10s%s\n", s.Peer, s.Span, mib(spanBytes(m, s.Span)), ends)
	}
	p := res.Predicted
	b = fmt.Appendf(b, "many sessions  %.4g tok/s together\none session    %.4g tok/s\nfirst token    after %.4g ms, with a prompt of %d tokens\nbottleneck     %s\n",
		p.TokSMany, p.TokSOne, p.TTFTms, f.promptTokens, p.Bottleneck)
	for _, why := range res.Reasons {
		b = fmt.Appendf(b, "why: %s\n", why)
	}
	shown := res.Rejected
	if !f.explain {
		shown = shown[:min(len(shown), shownRejected)]
	}
	for _, r := range shown {
		b = fmt.Appendf(b, "not: %s\n     %s\n", layoutText(r.Layout), r.Why)
	}
	if n := len(res.Rejected) - len(shown); n > 0 {
		b = fmt.Appendf(b, "     and %s more (--explain shows them)\n", count(n, "layout"))
	}
	if f.explain && len(res.Idle) > 0 {
		b = fmt.Appendf(b, "idle: %s\n", peerNames(res.Idle))
	}
	b = fmt.Appendf(b, "planned in %.2f ms\n", millis(took))
	return write(w, b)
}

// spanBytes returns the weights of a span.
func spanBytes(m scheduler.Model, s shard.Span) int64 {
	if len(m.LayerBytes) == 1 {
		return m.LayerBytes[0] * int64(s.Len())
	}
	sum := int64(0)
	for _, n := range m.LayerBytes[s.Start:s.End] {
		sum += n
	}
	return sum
}

func layoutText(l scheduler.Layout) string {
	parts := make([]string, len(l))
	for i, s := range l {
		parts[i] = fmt.Sprintf("%s %v", s.Peer, s.Span)
	}
	return strings.Join(parts, ", ")
}

func peerNames(ids []scheduler.ID) string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = string(id)
	}
	return strings.Join(parts, ", ")
}
