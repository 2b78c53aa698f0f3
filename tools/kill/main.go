//go:build unix

// Command kill measures what the deaths of members cost a running swarm.
//
// It starts a few real `serve` and `join` processes on loopback, streams
// answers through them, ends a member that serves them with SIGKILL in
// mid-answer, starts it again, and does so many times. Texts are compared with
// the greedy text of one undisturbed machine. It prints the pauses, the wrong
// tokens and the lost sessions, and exits with 1 if there are any of the last
// two. With -stop it stops members instead and lets them wake up later, with
// -drain they leave on purpose; with -soak it mixes all ways to go for a time, and watches that memory, goroutines
// and descriptors of the members that stay are flat.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// storyModel is built into the program.
const storyModel = "story"

// A config says what is done.
type config struct {
	shardnode, model, memory, link string
	members, sessions, kills       int
	history, tokens                int
	pinned, stop, drain, calm      bool
	soak                           time.Duration
	limit                          time.Duration // of the pauses' 99th percentile
	patience                       time.Duration // of the members, for layers that nobody serves
	answerTimeout                  time.Duration
	seed                           uint64
	json, keep                     bool
}

func main() { os.Exit(run()) }

func run() int {
	cfg, err := parse()
	if err != nil {
		fmt.Fprintln(os.Stderr, "kill:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ok, err := measure(ctx, cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kill:", err)
	}
	if err != nil || !ok {
		return 1
	}
	return 0
}

func parse() (config, error) {
	var c config
	flag.StringVar(&c.shardnode, "shardnode", "bin/shardnode", "the program")
	flag.StringVar(&c.model, "model", os.Getenv("MODEL"), "model file (default: the embedded story)")
	flag.StringVar(&c.memory, "memory", "1GiB", "--memory of each member")
	flag.StringVar(&c.link, "link", "", "--link of each member: latency=20ms,loss=1%")
	flag.IntVar(&c.members, "members", 5, "members, 3 to 9; the first drives")
	flag.IntVar(&c.sessions, "sessions", 2, "answers at the same time")
	flag.IntVar(&c.kills, "kills", 50, "how often a member goes")
	flag.IntVar(&c.history, "history", 0, "tokens of a prompt (default: 512, or 128 for the story)")
	flag.IntVar(&c.tokens, "tokens", 0, "tokens of an answer (default: 64, or 100 for the story)")
	flag.BoolVar(&c.pinned, "pinned", true, "a third of the layers each, by --layers; false: as the plan says")
	flag.BoolVar(&c.stop, "stop", false, "SIGSTOP, and SIGCONT up to 3 s later, in place of SIGKILL")
	flag.BoolVar(&c.drain, "drain", false, "SIGTERM, so that members leave on purpose, in place of SIGKILL")
	flag.BoolVar(&c.calm, "calm", false, "disturb nobody: what heals then was a false alarm")
	flag.DurationVar(&c.soak, "soak", 0, "mix all ways to go for so long")
	flag.DurationVar(&c.limit, "limit", 2*time.Second, "the most that the 99th percentile of the pauses may be")
	flag.DurationVar(&c.patience, "peer-timeout", 30*time.Second, "--peer-timeout of each member")
	flag.DurationVar(&c.answerTimeout, "answer-timeout", 2*time.Minute, "an answer that takes longer counts as lost")
	flag.Uint64Var(&c.seed, "seed", uint64(time.Now().UnixNano()), "of every choice") //nolint:gosec // any number will do
	flag.BoolVar(&c.json, "json", false, "print the result as one JSON object")
	flag.BoolVar(&c.keep, "keep", false, "keep the homes and logs, always")
	flag.Parse()
	c.model = cmp.Or(c.model, storyModel)
	history, tokens := 512, 64
	if c.model == storyModel {
		history, tokens = 128, 100 // its answers are short
	}
	c.history, c.tokens = cmp.Or(c.history, history), cmp.Or(c.tokens, tokens)
	switch {
	case c.members < 3 || c.members > 9:
		return c, fmt.Errorf("-members is %d, want 3 to 9", c.members)
	case c.stop && c.drain:
		return c, errors.New("-stop and -drain exclude each other")
	case c.sessions < 1, c.kills < 1, c.tokens < 16, c.history < 1:
		return c, errors.New("-sessions, -kills and -history want 1 or more, -tokens 16")
	}
	path, err := exec.LookPath(c.shardnode)
	if err == nil {
		c.shardnode, err = filepath.Abs(path)
	}
	return c, err
}

// span returns --layers of member i: the driver alone holds the first third,
// the others share the rest so that everything has two holders as soon as there
// are five members.
func (c config) span(i, layers int) string {
	if !c.pinned {
		return ""
	}
	thirds := [4]int{0, layers / 3, layers * 2 / 3, layers}
	k := 0
	if i > 0 {
		k = 1 + (i-1)%2
	}
	return fmt.Sprintf("%d:%d", thirds[k], thirds[k+1])
}

// measure runs everything and reports whether nothing was lost.
func measure(ctx context.Context, cfg config) (bool, error) {
	rng := rand.New(rand.NewPCG(cfg.seed, 1)) //nolint:gosec // nothing secret
	fmt.Fprintf(os.Stderr, "model %s, %d members, %d sessions, seed %d\n", cfg.model, cfg.members, cfg.sessions, cfg.seed)
	layers, vocab, err := inspect(ctx, cfg)
	if err != nil {
		return false, err
	}
	alone, err := os.MkdirTemp("", "snalone")
	if err != nil {
		return false, err
	}
	defer func() { _ = os.RemoveAll(alone) }() // what is left is in the system's folder for that
	qs, err := questions(ctx, cfg, rng, 4, vocab, alone)
	if err != nil {
		return false, err
	}
	s, err := newSwarm(ctx, cfg, layers)
	ok := false
	if s != nil {
		defer func() {
			s.close(cfg.keep || !ok)
			if cfg.keep || !ok {
				fmt.Fprintln(os.Stderr, "homes and logs are in", s.dir)
			}
		}()
	}
	if err != nil {
		return false, err
	}
	t := &tally{cfg: cfg}
	if cfg.soak > 0 {
		ok, err = soak(ctx, cfg, s, qs, rng, t)
		return ok, err
	}
	for round := range cfg.kills {
		if err := oneRound(ctx, cfg, s, qs, rng, t); err != nil {
			return false, fmt.Errorf("round %d, seed %d: %w", round+1, cfg.seed, err)
		}
	}
	ok = t.report(os.Stdout)
	return ok, nil
}

func inspect(ctx context.Context, cfg config) (layers, vocab int, err error) {
	out, err := exec.CommandContext(ctx, cfg.shardnode, "inspect", cfg.model, "--json").Output() //nolint:gosec // it is what this tool is for
	if err != nil {
		return 0, 0, fmt.Errorf("inspect %s: %w", cfg.model, err)
	}
	var m struct {
		Layers int `json:"layers"`
		Vocab  int `json:"vocab"`
	}
	err = json.Unmarshal(out, &m)
	return m.Layers, m.Vocab, err
}

// A way is how a member goes, and what brings it back.
type way struct {
	name string
	out  func(s *swarm, i int)
	back func(ctx context.Context, s *swarm, i int, rng *rand.Rand) error
}

var (
	byKill = way{
		name: "kill",
		out:  func(s *swarm, i int) { s.signal(i, syscall.SIGKILL) },
		back: func(_ context.Context, s *swarm, i int, _ *rand.Rand) error { return s.start(i) },
	}
	byStop = way{
		name: "stop",
		out:  func(s *swarm, i int) { s.signal(i, syscall.SIGSTOP) },
		back: func(_ context.Context, s *swarm, i int, rng *rand.Rand) error {
			time.Sleep(time.Duration(rng.Int64N(int64(3 * time.Second))))
			s.signal(i, syscall.SIGCONT)
			return nil
		},
	}
	inPeace = way{
		name: "leave alone",
		out:  func(*swarm, int) {},
		back: func(context.Context, *swarm, int, *rand.Rand) error { return nil },
	}
	byDrain = way{
		name: "drain",
		out:  func(s *swarm, i int) { s.signal(i, syscall.SIGTERM) },
		back: func(ctx context.Context, s *swarm, i int, _ *rand.Rand) error {
			select {
			case <-s.members[i].exited:
				return s.start(i)
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(startPatience):
				return fmt.Errorf("%s does not leave", s.members[i].name)
			}
		},
	}
)

// oneRound answers some questions, lets a member that serves them go in the
// middle, and brings it back.
func oneRound(ctx context.Context, cfg config, s *swarm, qs []question, rng *rand.Rand, t *tally) error {
	how := byKill
	switch {
	case cfg.stop:
		how = byStop
	case cfg.drain:
		how = byDrain
	case cfg.calm:
		how = inPeace
	}
	return disturb(ctx, cfg, s, qs, rng, t, how)
}

func disturb(ctx context.Context, cfg config, s *swarm, qs []question, rng *rand.Rand, t *tally, how way) error {
	if err := s.waitWhole(ctx); err != nil {
		return err
	}
	at := 2 + rng.IntN(cfg.tokens/2)
	begun, now := make(chan struct{}), make(chan struct{})
	var first, once sync.Once
	answers, want := make([]answer, cfg.sessions), make([]question, cfg.sessions)
	var asking sync.WaitGroup
	for i := range answers {
		want[i] = qs[rng.IntN(len(qs))]
		asking.Go(func() {
			answers[i] = ask(ctx, cfg, s.members[0].home, want[i].prompt, func(n int) {
				first.Do(func() { close(begun) })
				if n == at {
					once.Do(func() { close(now) })
				}
			})
		})
	}
	over := make(chan struct{})
	go func() { asking.Wait(); close(over) }()
	victim := -1
	select {
	case <-begun:
		victim = s.victim(ctx, rng)
	case <-over:
	}
	select {
	case <-now:
	case <-over:
	}
	if cfg.soak > 0 && victim == spared {
		how = byStop
	}
	cut := time.Now()
	if victim >= 0 {
		how.out(s, victim)
	}
	name := "nobody"
	back := error(nil)
	if victim >= 0 {
		name = s.members[victim].name
		if how.name == byStop.name {
			back = how.back(ctx, s, victim, rng) // it wakes with the session going on
		}
	}
	<-over
	if victim >= 0 && how.name != byStop.name {
		back = how.back(ctx, s, victim, rng)
	}
	t.add(name, how, at, cut, answers, want)
	return errors.Join(back, ctx.Err())
}

// victim returns a member, not the driver, that serves a session now.
func (s *swarm) victim(ctx context.Context, rng *rand.Rand) int {
	st, err := s.look(ctx)
	if err != nil {
		return -1
	}
	var on []int
	for _, sess := range st.Sessions {
		for _, name := range sess.Route {
			if i := s.index(name); i > 0 && !slices.Contains(on, i) {
				on = append(on, i)
			}
		}
	}
	if len(on) == 0 {
		return -1
	}
	slices.Sort(on)
	return on[rng.IntN(len(on))]
}

// A tally is what happened so far.
type tally struct {
	cfg      config
	rounds   int
	idle     int // rounds whose sessions no member but the driver served
	answers  int
	wrong    int
	lost     int
	reasons  map[string]int
	pauses   []time.Duration // of answers that went on
	steps    []time.Duration // between tokens before
	healed   int             // recoveries as the answers report them
	replayed int
}

// add counts a round and prints a line about it.
func (t *tally) add(victim string, how way, at int, cut time.Time, answers []answer, want []question) {
	t.rounds++
	if victim == "nobody" {
		t.idle++
	}
	var said []string
	for i, a := range answers {
		t.answers++
		wrong := a.wrong(want[i].want)
		t.wrong += wrong
		t.steps = a.steps(t.steps, cut)
		switch {
		case a.err != nil:
			t.lost++
			if t.reasons == nil {
				t.reasons = map[string]int{}
			}
			reason := firstLine(a.err.Error())
			t.reasons[reason]++
			said = append(said, "LOST: "+reason)
		case wrong > 0:
			said = append(said, fmt.Sprintf("%d WRONG of %d", wrong, len(a.ids)))
		default:
			p := a.pause(cut)
			if !a.disturbed(victim) || p == 0 {
				said = append(said, "not disturbed")
				break
			}
			t.pauses = append(t.pauses, p)
			said = append(said, fmt.Sprintf("pause %.2f s", p.Seconds()))
		}
		for _, r := range a.recoveries {
			t.healed++
			t.replayed += r.Replayed
		}
	}
	fmt.Fprintf(os.Stderr, "%3d: %s %s at token %d: %s\n", t.rounds, how.name, victim, at, strings.Join(said, ", "))
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return fmt.Sprintf("%.200s", line)
}

// quantile returns the value that a share q of v, which is sorted, is not above.
func quantile(v []time.Duration, q float64) time.Duration {
	if len(v) == 0 {
		return 0
	}
	return v[min(len(v)-1, int(q*float64(len(v))))]
}
