package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/shard/kvcache"
	"github.com/shardnode/shardnode/shard/member"
)

type benchFlags struct {
	prompt, generate, rounds int
	depth                    int
	threads, sessions, peers string
	memory                   sizeFlag
	kvType                   kvTypeFlag
	quant                    quantFlag
	link                     string
	json                     bool
}

func (a *app) benchCommand() *cobra.Command {
	f := &benchFlags{}
	cmd := &cobra.Command{
		Use:   "bench MODEL",
		Short: "tokens per second of this machine, of a split, of many sessions",
		Long: `bench measures how fast a model runs: ppN is a prompt of N tokens, tgN is N
tokens one after another, both after the positions of --depth. Lists try
everything in them: threads, sessions that generate at the same time, and
members (1 is this process, more are processes on loopback that share this
machine). Tokens are made up. A round to warm up comes first; what is printed is
the median of the others.`,
		Example: `  shardnode bench model.gguf
  shardnode bench model.gguf --threads 1,2 --peers 1,3
  shardnode bench model.gguf -p 0 --sessions 1,8 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.bench(cmd.Context(), f, args[0]) },
	}
	cmd.Flags().IntVarP(&f.prompt, "prompt-tokens", "p", 512, "tokens of a prompt; 0 leaves prompts out")
	cmd.Flags().IntVarP(&f.generate, "generate", "n", 128, "tokens to generate; 0 leaves that out")
	cmd.Flags().IntVarP(&f.depth, "depth", "d", 0, "tokens that sessions hold before what is measured")
	cmd.Flags().IntVarP(&f.rounds, "rounds", "r", 5, "times that everything is measured")
	cmd.Flags().StringVar(&f.threads, "threads", "", "threads that compute, of each member: 1,2 (default: one a processor)")
	cmd.Flags().StringVar(&f.sessions, "sessions", "1", "sessions that generate at the same time: 1,8")
	cmd.Flags().StringVar(&f.peers, "peers", "1", "members: 1,2,3; 1 is this process")
	cmd.Flags().Var(&f.memory, "memory", "bytes for weights and KV cache together, of each member, for example 4GiB")
	f.kvType.add(cmd.Flags())
	f.quant.add(cmd.Flags())
	cmd.Flags().StringVar(&f.link, "link", "", "make hops between members behave like a link: latency=20ms,rate=100mbit,loss=0.5%,jitter=2ms")
	cmd.Flags().BoolVar(&f.json, "json", false, "print a JSON object a line, one for each test")
	return cmd
}

// benchJSON is a line of `bench --json` (CLI.md §3).
type benchJSON struct {
	Model    string   `json:"model"`
	Test     string   `json:"test"`
	Threads  int      `json:"threads"`
	Peers    int      `json:"peers"`
	Sessions int      `json:"sessions"`
	TokS     rateJSON `json:"tok_s"`
	// P50ms and P99ms are of one token of a session, or of a whole prompt.
	P50ms    float64 `json:"p50_ms"`
	P99ms    float64 `json:"p99_ms"`
	RSSBytes int64   `json:"rss_bytes"`
	KVType   string  `json:"kv_type,omitempty"` // absent: f16
}

type rateJSON struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// A benchPlan is what is to be measured.
type benchPlan struct {
	prompt, generate, rounds int
	depth                    int
	threads, sessions, peers []int
}

// maxBenchSessions bounds --sessions.
const maxBenchSessions = 1024

// plan returns the flags as lists.
func (f *benchFlags) plan() (benchPlan, error) {
	b := benchPlan{prompt: f.prompt, generate: f.generate, depth: f.depth, rounds: f.rounds, threads: []int{0}}
	switch {
	case f.depth < 0:
		return b, usage("--depth is %d, want 0 or more", f.depth)
	case f.prompt < 0 || f.generate < 0:
		return b, usage("-p is %d and -n is %d, want 0 or more", f.prompt, f.generate)
	case f.prompt == 0 && f.generate == 0:
		return b, usage("-p and -n are both 0: there is nothing to measure")
	case f.rounds < 1 || f.rounds > 1000:
		return b, usage("-r is %d, want 1 to 1000", f.rounds)
	}
	var err error
	if f.threads != "" {
		if b.threads, err = parseCounts("threads", f.threads, maxThreads); err != nil {
			return b, err
		}
	}
	if b.sessions, err = parseCounts("sessions", f.sessions, maxBenchSessions); err != nil {
		return b, err
	}
	b.peers, err = parseCounts("peers", f.peers, 1<<10)
	return b, err
}

// parseCounts reads a list of numbers from 1 to most: "1,2,4".
func parseCounts(flag, text string, most int) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 || n > most {
			return nil, usage("--%s: %q: want numbers from 1 to %d, for example 1,2", flag, part, most)
		}
		out = append(out, n)
	}
	return out, nil
}

func (a *app) bench(ctx context.Context, f *benchFlags, ref string) error {
	plan, err := f.plan()
	if err != nil {
		return err
	}
	if _, err := parseLink(f.link); err != nil {
		return err
	}
	kv, err := plan.check(ref, kvcache.Precision(f.kvType))
	if err != nil {
		return err
	}
	head := !f.json
	for _, peers := range plan.peers {
		for _, threads := range plan.threads {
			c := placeConfig{peers: peers, threads: threads, memory: int64(f.memory), link: f.link, kvBytes: kv, kv: kvcache.Precision(f.kvType), quant: f.quant.Quant, settled: true, notify: a.notify}
			if peers == 1 {
				c.peers = 0 // this process
			}
			err := a.benchPlace(ctx, plan, ref, c, func(res benchJSON) error {
				if f.json {
					return a.printJSON(res)
				}
				defer func() { head = false }()
				return res.print(a, head)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// check returns the KV cache that the sessions of b need, and an error if the
// model can't do what b asks.
func (b benchPlan) check(ref string, kv kvcache.Precision) (int64, error) {
	m, err := openPlanned(ref, kv)
	if err != nil {
		return 0, err
	}
	defer m.Close() //nolint:errcheck // it was only read
	cfg := m.cfg
	for _, n := range b.peers {
		if n > cfg.Layers {
			return 0, usage("--peers is %d, want 1 to %d: the model has %d layers", n, cfg.Layers, cfg.Layers)
		}
	}
	longest := b.depth + max(b.prompt, b.generate+1)
	if longest > cfg.Context {
		return 0, usage("-p %d -n %d -d %d needs %d positions, the model's context is %d", b.prompt, b.generate, b.depth, longest, cfg.Context)
	}
	return m.kvBytes(slices.Max(b.sessions), longest), nil
}

// benchPlace runs every test of plan at one place and hands each result to done.
func (a *app) benchPlace(ctx context.Context, plan benchPlan, ref string, c placeConfig, done func(benchJSON) error) error {
	resetPeak()
	where := "this process"
	if c.peers > 0 {
		where = count(c.peers, "member")
	}
	a.notify("loading in %s ...", where)
	p, err := openPlace(ctx, ref, c)
	if err != nil {
		return err
	}
	defer p.close()
	base := benchJSON{Model: p.name, Threads: c.threads, Peers: max(1, c.peers), Sessions: 1, KVType: kvTypeName(c.kv)}
	if base.Threads == 0 {
		base.Threads = member.Processors()
	}
	if plan.prompt > 0 {
		a.notify("pp%d, %s ...", plan.prompt, count(plan.rounds, "round"))
		res, err := p.benchTest(ctx, base, benchRounds{rounds: plan.rounds, depth: plan.depth, prompt: plan.prompt})
		if err != nil {
			return err
		}
		if err := done(res); err != nil {
			return err
		}
	}
	if plan.generate == 0 {
		return nil
	}
	for _, n := range plan.sessions {
		a.notify("tg%d, %s, %s ...", plan.generate, count(n, "session"), count(plan.rounds, "round"))
		base.Sessions = n
		res, err := p.benchTest(ctx, base, benchRounds{rounds: plan.rounds, depth: plan.depth, generate: plan.generate})
		if err != nil {
			return err
		}
		if err := done(res); err != nil {
			return err
		}
	}
	return nil
}

// benchTest runs one test and puts its result into base.
func (p *place) benchTest(ctx context.Context, base benchJSON, r benchRounds) (benchJSON, error) {
	r.place, r.sessions = p, base.Sessions
	if err := r.run(ctx); err != nil {
		return base, err
	}
	base.Test = r.name()
	slices.Sort(r.rates)
	base.TokS = rateJSON{Median: median(r.rates), Min: r.rates[0], Max: r.rates[len(r.rates)-1]}
	slices.Sort(r.waits)
	base.P50ms, base.P99ms = millis(quantile(r.waits, 0.5)), millis(quantile(r.waits, 0.99))
	base.RSSBytes = peakBytes(append([]int{os.Getpid()}, p.pids...))
	return base, nil
}

// median returns the middle of a sorted list that is not empty.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// quantile returns the value of a sorted list that is not empty which a share
// of q does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// print prints a line of the table, below its head.
func (r benchJSON) print(a *app, head bool) error {
	var b []byte
	if head {
		b = fmt.Appendf(b, "%-8s %5s %7s %8s %10s %19s %9s %9s %10s\n",
			"test", "peers", "threads", "sessions", "tok/s", "min - max", "p50 ms", "p99 ms", "memory")
	}
	memory := "unknown"
	if r.RSSBytes > 0 {
		memory = mib(r.RSSBytes)
	}
	b = fmt.Appendf(b, "%-8s %5d %7d %8d %10.1f %19s %9.2f %9.2f %10s\n", r.Test, r.Peers, r.Threads, r.Sessions,
		r.TokS.Median, fmt.Sprintf("%.1f - %.1f", r.TokS.Min, r.TokS.Max), r.P50ms, r.P99ms, memory)
	return write(a.stdout, b)
}
