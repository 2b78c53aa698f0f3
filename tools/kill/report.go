//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// report prints the result, and says whether nothing was lost, nothing wrong,
// and no pause too long.
func (t *tally) report(out io.Writer) bool {
	slices.Sort(t.pauses)
	slices.Sort(t.steps)
	p99 := quantile(t.pauses, 0.99)
	ok := t.wrong == 0 && t.lost == 0 && p99 <= t.cfg.limit && t.idle < t.rounds
	if t.cfg.json {
		_ = json.NewEncoder(out).Encode(map[string]any{ // standard output is all there is
			"seed": t.cfg.seed, "model": t.cfg.model, "rounds": t.rounds, "idle_rounds": t.idle, "answers": t.answers,
			"wrong_tokens": t.wrong, "lost_sessions": t.lost, "recoveries": t.healed, "replayed_tokens": t.replayed,
			"pause_p50_ms": millis(quantile(t.pauses, 0.5)), "pause_p99_ms": millis(p99), "pause_max_ms": millis(quantile(t.pauses, 1)),
			"step_p50_ms": millis(quantile(t.steps, 0.5)), "step_p99_ms": millis(quantile(t.steps, 0.99)), "reasons": t.reasons, "ok": ok,
		})
		return ok
	}
	fmt.Fprintf(out, "seed %d: %d rounds, %d answers\n", t.cfg.seed, t.rounds, t.answers)
	if t.idle > 0 {
		fmt.Fprintf(out, "%d rounds disturbed nobody: only the driver served them\n", t.idle)
	}
	fmt.Fprintf(out, "pauses: p50 %.2f s, p99 %.2f s, max %.2f s (%d of them; undisturbed, a token takes %.0f ms, p99 %.0f ms)\n",
		quantile(t.pauses, 0.5).Seconds(), p99.Seconds(), quantile(t.pauses, 1).Seconds(), len(t.pauses),
		millis(quantile(t.steps, 0.5)), millis(quantile(t.steps, 0.99)))
	fmt.Fprintf(out, "wrong tokens: %d\nlost sessions: %d\n", t.wrong, t.lost)
	for _, reason := range slices.Sorted(maps.Keys(t.reasons)) {
		fmt.Fprintf(out, "  %d times: %s\n", t.reasons[reason], reason)
	}
	fmt.Fprintf(out, "recoveries: %d, with %d tokens replayed\n", t.healed, t.replayed)
	if t.cfg.calm {
		fmt.Fprintf(out, "all of them after false alarms\n")
	}
	return ok
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
