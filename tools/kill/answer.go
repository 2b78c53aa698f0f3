//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A question is a prompt and the answer that an undisturbed machine gives.
type question struct {
	prompt string // token ids, as --ids takes them
	want   []int
}

// An answer is what the swarm gave, and when.
type answer struct {
	ids        []int
	at         []time.Time // of each token
	began      time.Time
	route      []string // names, as the answer reports them at its end
	recoveries []recovery
	err        error // the session was lost
}

// recovery is one healed failure as `run --json` reports it.
type recovery struct {
	Lost        string  `json:"lost"`
	Replacement string  `json:"replacement"`
	PauseMS     float64 `json:"pause_ms"`
	Replayed    int     `json:"replayed_tokens"`
}

// ask streams the answer to prompt in the home of a member, and calls onToken
// after each token. Without a home it runs on this machine alone.
func ask(ctx context.Context, cfg config, home, prompt string, onToken func(n int)) answer {
	ctx, cancel := context.WithTimeout(ctx, cfg.answerTimeout)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, cfg.shardnode, "run", cfg.model, "--ids", prompt, "--home", home, //nolint:gosec // it is what this tool is for
		"--temperature", "0", "--max-tokens", strconv.Itoa(cfg.tokens), "--json", "--stream")
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	a := answer{began: time.Now()}
	if err != nil {
		a.err = err
		return a
	}
	readErr := a.read(out, onToken)
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		a.err = fmt.Errorf("no end within %v", cfg.answerTimeout)
	case err != nil:
		a.err = fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	default:
		a.err = readErr
	}
	return a
}

// read reads a line a token, and the whole answer at the end.
func (a *answer) read(out io.Reader, onToken func(n int)) error {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var line struct {
			ID         *int       `json:"id"`
			Finish     string     `json:"finish_reason"`
			Error      string     `json:"error"`
			Recoveries []recovery `json:"recoveries"`
			Route      []struct {
				Name string `json:"name"`
			} `json:"route"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		switch {
		case line.ID != nil:
			a.ids, a.at = append(a.ids, *line.ID), append(a.at, time.Now())
			onToken(len(a.ids))
		case line.Finish == "error":
			return fmt.Errorf("finish_reason error: %s", line.Error)
		default:
			a.recoveries = line.Recoveries
			for _, st := range line.Route {
				a.route = append(a.route, st.Name)
			}
		}
	}
	return lines.Err()
}

// wrong returns how many tokens are not what they should be: those after the
// first difference all count.
func (a answer) wrong(want []int) int {
	for i, id := range a.ids {
		if i >= len(want) || id != want[i] {
			return len(a.ids) - i
		}
	}
	if a.err != nil {
		return 0 // cut off, and right so far
	}
	return len(want) - len(a.ids)
}

// disturbed reports whether the end of victim was an event for a.
func (a answer) disturbed(victim string) bool {
	return len(a.recoveries) > 0 || slices.Contains(a.route, victim)
}

// pause returns the longest wait for a token that ended after cut.
func (a answer) pause(cut time.Time) time.Duration {
	longest, last := time.Duration(0), a.began
	for _, at := range a.at {
		if at.After(cut) {
			longest = max(longest, at.Sub(last))
		}
		last = at
	}
	return longest
}

// steps appends the waits for tokens that ended before cut to dst.
func (a answer) steps(dst []time.Duration, cut time.Time) []time.Duration {
	for i := 1; i < len(a.at); i++ {
		if a.at[i].Before(cut) {
			dst = append(dst, a.at[i].Sub(a.at[i-1]))
		}
	}
	return dst
}

// questions returns n prompts of history tokens with answers that are long
// enough to be disturbed.
func questions(ctx context.Context, cfg config, rng *rand.Rand, n, vocab int, home string) ([]question, error) {
	var out []question
	for try := 0; len(out) < n; try++ {
		if try > 20*n {
			return nil, errors.New("the model ends all its answers early: give another with -model, or fewer -tokens")
		}
		ids := make([]string, cfg.history)
		for i := range ids {
			ids[i] = strconv.Itoa(vocab/8 + rng.IntN(vocab/2)) // beyond what is special
		}
		q := question{prompt: strings.Join(ids, ",")}
		a := ask(ctx, cfg, home, q.prompt, func(int) {})
		if a.err != nil {
			return nil, fmt.Errorf("undisturbed answer: %w", a.err)
		}
		if q.want = a.ids; len(q.want) >= cfg.tokens*3/4 {
			out = append(out, q)
		}
	}
	return out, nil
}
