package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/shard/pipeline"
)

// maxSteps bounds the steps of a session whose times are kept.
const maxSteps = 4096

// traceJSON is the answer of `trace --json`: where the milliseconds of the last
// answer went.
type traceJSON struct {
	Session    string         `json:"session"`
	Model      string         `json:"model"`
	Began      time.Time      `json:"began"`
	OpenMS     float64        `json:"open_ms"`  // until the route was there
	TotalMS    float64        `json:"total_ms"` // from then on
	Predicted  predictedJSON  `json:"predicted"`
	Steps      []stepJSON     `json:"steps"`
	Stages     []tracedStage  `json:"stages"`
	Hops       []hopJSON      `json:"hops"`
	Recoveries []recoveryJSON `json:"recoveries"`
}

type (
	stepJSON struct {
		AtMS   float64 `json:"at_ms"`
		MS     float64 `json:"ms"`
		Pos    int     `json:"pos"`
		Tokens int     `json:"tokens"`
	}
	tracedStage struct {
		stageJSON
		ComputeMS float64 `json:"compute_ms"`
		QueueMS   float64 `json:"queue_ms"`
	}
)

// trace puts together what is known of a session that has ended.
func (s *driven) trace(stats pipeline.Stats) *traceJSON {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &traceJSON{
		Session: s.ID().String(), Model: s.model, Began: s.began, OpenMS: millis(s.opened), TotalMS: millis(time.Since(s.began)),
		Predicted: predictedJSON{TTFTms: s.route.Predicted.TTFTms, DecodeTokS: s.route.Predicted.TokSOne},
		Steps:     slices.Clone(s.steps), Stages: []tracedStage{}, Hops: []hopJSON{}, Recoveries: recoveries(stats.Recoveries, 0),
	}
	for _, x := range stats.Stages {
		t.Stages = append(t.Stages, tracedStage{
			stageJSON: stageJSON{Peer: peerText(x.Peer), Name: x.Name, Start: x.Span.Start, End: x.Span.End},
			ComputeMS: millis(x.Compute), QueueMS: millis(x.Queue),
		})
	}
	for _, h := range stats.Hops {
		t.Hops = append(t.Hops, hopJSON{
			From: peerText(h.From), To: peerText(h.To), Steps: h.Steps, Bytes: h.Bytes, Codec: h.Codec, P50ms: h.P50ms, P99ms: h.P99ms,
		})
	}
	return t
}

func (a *app) traceCommand() *cobra.Command {
	var asJSON bool
	var chrome string
	cmd := &cobra.Command{
		Use:   "trace",
		Short: "where the milliseconds of the last answer went, per stage and hop",
		Long: `trace asks the member of this home about the last answer that it drove. Steps
are timed one by one; what stages and hops took of them is the mean of the
answer. --chrome writes a file for chrome://tracing or ui.perfetto.dev.`,
		Example: "  shardnode trace\n  shardnode trace --chrome trace.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.trace(cmd.Context(), chrome, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().StringVar(&chrome, "chrome", "", "write a trace for a trace viewer to this `file`")
	return cmd
}

func (a *app) trace(ctx context.Context, chrome string, asJSON bool) error {
	c, err := a.dialControl()
	if err != nil {
		return err
	}
	var t traceJSON
	if err := c.call(ctx, "GET", "/trace", nil, &t); err != nil {
		return err
	}
	if chrome != "" {
		b, err := json.Marshal(t.chrome())
		if err == nil {
			err = writeWhole(chrome, b, 0o644)
		}
		if err != nil {
			return err
		}
		a.notify("written to %s: open it in chrome://tracing or ui.perfetto.dev", chrome)
		if !asJSON {
			return nil
		}
	}
	if asJSON {
		return a.printJSON(t)
	}
	return write(a.stdout, t.text())
}

// lastTrace returns the trace of the answer that ended last.
func (d *drives) lastTrace() (*traceJSON, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.last == nil {
		return nil, hint(errors.New("this member has driven no answer yet"), "ask something, with `shardnode run` or on the chat page, then trace again")
	}
	return d.last, nil
}

// sums returns the time of the prompt, that of the other steps, and how many
// there are of these.
func (t *traceJSON) sums() (prompt, decode float64, steps int) {
	for i, s := range t.Steps {
		if i == 0 || s.Tokens > 1 {
			prompt += s.MS
			continue
		}
		decode += s.MS
		steps++
	}
	return prompt, decode, steps
}

// barWidth is the width of the bars that show shares.
const barWidth = 24

// text shows t to people.
func (t *traceJSON) text() []byte {
	prompt, decode, steps := t.sums()
	total := prompt + decode
	b := fmt.Appendf(nil, "%s, session %.8s, %s\n", t.Model, t.Session, t.Began.Local().Format(time.DateTime))
	b = fmt.Appendf(b, "opening the route %8.1f ms\nprompt            %8.1f ms", t.OpenMS, prompt)
	if steps > 0 {
		b = fmt.Appendf(b, "\ntokens            %8.1f ms   %d of them, %.2f ms each, %.1f tok/s", decode, steps, decode/float64(steps), 1000*float64(steps)/max(decode, 1e-9))
	}
	if p := t.Predicted; p.DecodeTokS > 0 {
		b = fmt.Appendf(b, " (predicted %.1f)", p.DecodeTokS)
	}
	b = append(b, "\n\nwhere it went:\n"...)
	seen := 0.0
	line := func(what string, ms float64, more string) {
		seen += ms
		share := min(1, ms/max(total, 1e-9))
		bar := strings.Repeat("█", int(share*barWidth+0.5))
		b = fmt.Appendf(b, "  %-28s %9.1f ms %5.1f %%  %-*s  %s\n", what, ms, 100*share, barWidth, bar, more)
	}
	name := t.namer()
	for i, s := range t.Stages {
		if i < len(t.Hops) {
			t.hopLine(line, i, name)
		}
		line(s.Name+" computes", s.ComputeMS, fmt.Sprintf("layers [%d,%d)", s.Start, s.End))
		if s.QueueMS >= 0.05 {
			line(s.Name+" queue", s.QueueMS, "others were served first")
		}
	}
	if n := len(t.Stages); n < len(t.Hops) {
		t.hopLine(line, n, name)
	}
	if rest := total - seen; rest > 0 {
		line("the rest", rest, "this process, and what overlaps least")
	}
	for _, r := range t.Recoveries {
		b = fmt.Appendf(b, "recovered at position %d: %.8s was lost, %.8s took over, %.0f ms, %d tokens replayed\n", r.AtToken, r.Lost, r.Replacement, r.PauseMS, r.ReplayedTokens)
	}
	return b
}

// hopLine shows hop i.
func (t *traceJSON) hopLine(line func(string, float64, string), i int, name func(string) string) {
	h := t.Hops[i]
	if h.Steps == 0 || h.From == h.To {
		return
	}
	line(name(h.From)+" → "+name(h.To), h.P50ms*float64(h.Steps), fmt.Sprintf("%d bytes a step %s", h.Bytes/h.Steps, h.Codec))
}

// namer returns what members are called.
func (t *traceJSON) namer() func(string) string {
	names := map[string]string{}
	for _, s := range t.Stages {
		names[s.Peer] = s.Name
	}
	return func(peer string) string {
		if n := names[peer]; n != "" {
			return n
		}
		return peer[:min(8, len(peer))]
	}
}

// A chromeEvent is an event of the Trace Event Format, as Chromium's and
// Perfetto's viewers read it.
type chromeEvent struct {
	Name  string         `json:"name"`
	Phase string         `json:"ph"` // X: a span, M: a name
	PID   int            `json:"pid"`
	TID   int            `json:"tid"`
	TS    float64        `json:"ts"` // microseconds
	Dur   float64        `json:"dur,omitempty"`
	Args  map[string]any `json:"args,omitempty"`
}

// chrome returns t as a trace viewer reads it: a row for the driver, one for
// each stage, and one for each hop. Within a step, stages and hops have the
// share that they have of the whole answer.
func (t *traceJSON) chrome() map[string]any {
	prompt, decode, _ := t.sums()
	total := max(prompt+decode, 1e-9)
	name := t.namer()
	events := []chromeEvent{{Name: "process_name", Phase: "M", PID: 1, Args: map[string]any{"name": "shardnode " + t.Model}}}
	type part struct {
		row   int
		what  string
		share float64
	}
	var parts []part
	row := func(what string) int {
		n := len(events)
		events = append(events, chromeEvent{Name: "thread_name", Phase: "M", PID: 1, TID: n, Args: map[string]any{"name": what}})
		return n
	}
	driver := row("steps")
	for i, s := range t.Stages {
		if i < len(t.Hops) && t.Hops[i].Steps > 0 && t.Hops[i].From != t.Hops[i].To {
			h := t.Hops[i]
			parts = append(parts, part{row(name(h.From) + " → " + name(h.To)), "hop", h.P50ms * float64(h.Steps) / total})
		}
		at := row(s.Name + fmt.Sprintf(" [%d,%d)", s.Start, s.End))
		parts = append(parts, part{at, "queue", s.QueueMS / total}, part{at, "compute", s.ComputeMS / total})
	}
	for _, s := range t.Steps {
		what := "token"
		if s.Tokens > 1 {
			what = "prompt"
		}
		events = append(events, chromeEvent{Name: what, Phase: "X", PID: 1, TID: driver, TS: 1000 * s.AtMS, Dur: 1000 * s.MS, Args: map[string]any{"pos": s.Pos, "tokens": s.Tokens}})
		at := s.AtMS
		for _, p := range parts {
			if d := p.share * s.MS; d > 0 {
				events = append(events, chromeEvent{Name: p.what, Phase: "X", PID: 1, TID: p.row, TS: 1000 * at, Dur: 1000 * d, Args: map[string]any{"mean of the answer": true}})
				at += d
			}
		}
	}
	return map[string]any{"traceEvents": events, "displayTimeUnit": "ms"}
}
