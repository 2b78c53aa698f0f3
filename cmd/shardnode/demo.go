package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/weights/story"
)

type demoFlags struct {
	runFlags
	model string
	kill  bool
}

// demoPrompt is what the demo asks for when nothing is given.
const demoPrompt = "Tell me a story about a fox named Mia."

func (a *app) demoCommand() *cobra.Command {
	f := &demoFlags{}
	cmd := &cobra.Command{
		Use:   "demo [PROMPT]",
		Short: "three members on this machine answer, nothing to download",
		Long: `demo makes three members on loopback, this process and two more, lets the
planner share the layers of a small embedded model among them, and streams an
answer through all three. Then it says where the time went. Nothing is left behind.`,
		Example: `  shardnode demo
  shardnode demo "Tell me a story about a robot." --peers 2
  shardnode demo --kill                 one member is killed in mid-answer, and the answer goes on`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.demo(cmd.Context(), f, args) },
	}
	f.placeFlags.add(cmd.Flags())
	cmd.Flags().Lookup("peers").DefValue, f.placeFlags.peers = "3", 3
	f.promptFlags.add(cmd.Flags())
	f.samplingFlags.add(cmd.Flags())
	f.maxTokens = 200
	cmd.Flags().Lookup("max-tokens").DefValue = "200"
	cmd.Flags().StringVar(&f.model, "model", story.Name, "model to run")
	cmd.Flags().BoolVar(&f.kill, "kill", false, "end one member with SIGKILL in mid-answer: another is started in its place and the answer goes on")
	cmd.Flags().BoolVar(&f.json, "json", false, "print the answer as one JSON object")
	cmd.Flags().BoolVar(&f.stream, "stream", false, "with --json, print a line for every token first")
	return cmd
}

// killAtToken is the token after which `demo --kill` kills.
const killAtToken = 12

// place returns where the demo runs.
func (f *demoFlags) place(notify func(string, ...any)) (placeConfig, error) {
	c, err := f.placeFlags.config(notify)
	if err != nil {
		return c, err
	}
	if c.split != "" && c.split != "auto" {
		c.peers = 0 // the split says how many
	} else if c.peers < 1 {
		return c, usage("--peers is %d, want 1 or more", c.peers)
	}
	if f.kill && (c.peers == 1 || c.peers == 0 && !strings.Contains(c.split, ",")) {
		return c, usage("--kill needs two members: give --peers 2 or more")
	}
	return c, nil
}

func (a *app) demo(ctx context.Context, f *demoFlags, args []string) error {
	if f.stream && !f.json {
		return usage("--stream goes with --json")
	}
	params, err := f.params()
	if err != nil {
		return err
	}
	form, err := f.constraint()
	if err != nil {
		return err
	}
	c, err := f.place(a.notify)
	if err != nil {
		return err
	}
	c.packs = a.packs(f.packed, a.notify)
	prompt := demoPrompt
	if len(args) > 0 {
		prompt = args[0]
	}
	p, err := openPlace(ctx, f.model, c)
	if err != nil {
		return err
	}
	defer p.close()
	if !f.json {
		a.showLayout(p)
	}
	ids, err := p.promptIDs(f.promptFlags, prompt)
	if err != nil {
		return err
	}
	ready, err := p.text.Form(form)
	if err != nil {
		return err
	}
	var onToken func(int) error
	if f.kill {
		onToken = a.killer(p)
	}
	res, err := a.answerOnce(ctx, p, generate.Request{
		Prompt: ids, MaxTokens: f.maxTokens, Sampling: params, Stop: f.stop, Form: ready,
	}, f.outputFlags, onToken)
	if err != nil {
		return a.explainDemo(f, err)
	}
	if !f.json {
		a.showTimes(p, res)
	}
	return nil
}

// explainDemo adds to the error of an answer that a kill ended what it means.
func (a *app) explainDemo(f *demoFlags, err error) error {
	if !f.kill || errors.Is(err, errInterrupted) {
		return err
	}
	return hint(err, "no member could be started in the place of the killed one")
}

// killer returns what ends the middle member after a few tokens.
func (a *app) killer(p *place) func(n int) error {
	stage := len(p.route) / 2
	return func(n int) error {
		if n != killAtToken {
			return nil
		}
		fmt.Fprintf(a.stderr, "\n[killing %s, layers %v]\n", p.route[stage].Name, p.route[stage].Span)
		return p.kill(stage)
	}
}

// showLayout says who holds which layers, and why.
func (a *app) showLayout(p *place) {
	fmt.Fprintf(a.stderr, "%s: %d layers, %s, %d members on this machine, ready after %.1f s\n",
		p.name, p.config.Layers, mib(p.file.TotalBytes()), len(p.route), p.loaded.Seconds())
	for i, s := range p.route {
		where := ""
		if s.Peer == p.self {
			where = "   this process"
		}
		weight := int64(0)
		for l := s.Span.Start; l < s.Span.End; l++ {
			weight += p.file.LayerBytes(l)
		}
		ends := ""
		if i == 0 {
			ends += " + embedding " + mib(p.file.EmbedBytes())
		}
		if i == len(p.route)-1 {
			ends += " + head " + mib(p.file.HeadBytes())
		}
		fmt.Fprintf(a.stderr, "  %-8s layers %-8v %8s%s   decode %.2f ms a layer%s\n",
			s.Name, s.Span, mib(weight), ends, millis(p.speeds[i].DecodePerLayer), where)
	}
	for _, r := range append(p.reasons, p.verdict) {
		if r != "" {
			fmt.Fprintf(a.stderr, "  why: %s\n", r)
		}
	}
	fmt.Fprintln(a.stderr)
}

// showTimes says where the time of an answer went.
func (a *app) showTimes(p *place, res answerJSON) {
	names := map[string]string{peerText(p.self): "you"}
	for _, s := range res.Route {
		names[s.Peer] = s.Name
	}
	steps := max(1, len(res.IDs))
	fmt.Fprintf(a.stderr, "\nwhere the time of a token went (%d tokens):\n", len(res.IDs))
	for i, s := range res.Stages {
		per := s.ComputeMS / float64(steps)
		if h := res.Hops[i]; h.From != h.To { // the first stage is this process
			fmt.Fprintf(a.stderr, "  %-8s -> %-8s %7.2f ms   %6d bytes a token, %s\n",
				names[h.From], names[h.To], h.P50ms, h.Bytes/uint64(steps), h.Codec)
		}
		fmt.Fprintf(a.stderr, "  %-8s    compute  %7.2f ms   queue %.2f ms\n", s.name(names), per, s.QueueMS/float64(steps))
	}
	last := res.Hops[len(res.Hops)-1]
	fmt.Fprintf(a.stderr, "  %-8s -> %-8s %7.2f ms   %6d bytes a token\n", names[last.From], names[last.To], last.P50ms, last.Bytes/uint64(steps))
	t := res.Timings
	fmt.Fprintf(a.stderr, "decode %.1f tok/s (predicted %.1f), first token after %.0f ms (predicted %.0f); %.1f s in all\n",
		t.DecodeTokS, res.Predicted.DecodeTokS, t.TTFTms, res.Predicted.TTFTms,
		time.Duration((t.LoadMS+t.TTFTms+t.DecodeMS)*float64(time.Millisecond)).Seconds())
}

func (s stageTime) name(names map[string]string) string { return names[s.Peer] }
