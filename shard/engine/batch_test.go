package engine

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestPick(t *testing.T) {
	decode := demand{rows: 1}
	for _, c := range []struct {
		name           string
		demands        []demand
		budget, prompt int
		want           []take
	}{
		{"nothing", nil, 8, 8, nil},
		{"one token", []demand{decode}, 8, 8, []take{{0, 1}}},
		{"decode before prompt", []demand{{rows: 100}, decode, decode}, 64, 64, []take{{1, 1}, {2, 1}, {0, 62}}},
		{"prompt rows are bounded", []demand{{rows: 100}, decode}, 64, 20, []take{{1, 1}, {0, 20}}},
		{"prompts share", []demand{{rows: 100}, {rows: 100}}, 64, 64, []take{{0, 32}, {1, 32}}},
		{"what one leaves goes to the next", []demand{{rows: 10}, {rows: 100}}, 64, 64, []take{{0, 10}, {1, 54}}},
		{"no slivers", []demand{{rows: 99}, {rows: 99}, {rows: 99}}, 20, 20, []take{{0, 16}, {1, 4}}},
		{"the end of a prompt is a prompt", []demand{{rows: 1, started: true}, decode}, 8, 8, []take{{1, 1}, {0, 1}}},
		{"decode leaves room for a prompt", []demand{decode, decode, decode, decode, {rows: 50}}, 4, 4, []take{{0, 1}, {1, 1}, {2, 1}, {4, 1}}},
		{"budget of one", []demand{{rows: 50}, decode}, 1, 1, []take{{1, 1}}},
		{"drafts larger than the budget", []demand{{rows: 8}}, 4, 4, []take{{0, 4}}},
	} {
		if got := pick(nil, c.demands, c.budget, c.prompt); !slices.Equal(got, c.want) {
			t.Errorf("%s: pick(%v, %d, %d) = %v, want %v", c.name, c.demands, c.budget, c.prompt, got, c.want)
		}
	}
}

func TestPickKeepsItsPromises(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		demands := make([]demand, rng.IntN(12))
		for i := range demands {
			demands[i] = demand{rows: 1 + rng.IntN(3)*rng.IntN(200), started: rng.IntN(4) == 0}
		}
		budget := 1 + rng.IntN(300)
		prompt := 1 + rng.IntN(budget)
		got := pick(nil, demands, budget, prompt)
		if len(demands) > 0 && len(got) == 0 {
			t.Fatalf("pick(%v, %d, %d) chose nothing", demands, budget, prompt)
		}
		rows, prompts, seen := 0, 0, map[int]bool{}
		for _, g := range got {
			if g.rows < 1 || g.rows > demands[g.index].rows || seen[g.index] {
				t.Fatalf("pick(%v, %d, %d) = %v", demands, budget, prompt, got)
			}
			seen[g.index] = true
			rows += g.rows
			if !demands[g.index].decodes() {
				prompts += g.rows
			}
		}
		if rows > budget || prompts > prompt {
			t.Fatalf("pick(%v, %d, %d) = %v: %d rows, %d of prompts", demands, budget, prompt, got, rows, prompts)
		}
	}
}

func TestPromptRowsFollowTheMachine(t *testing.T) {
	for _, c := range []struct {
		perRow   time.Duration
		decoding bool
		want     int
	}{{0, false, 64}, {time.Millisecond, false, 256}, {time.Millisecond, true, 96}, {50 * time.Millisecond, true, minChunk}, {20 * time.Millisecond, false, 72}} {
		if got := promptRows(c.perRow, c.decoding, 256); got != c.want {
			t.Errorf("promptRows(%v, %v, 256) = %d, want %d", c.perRow, c.decoding, got, c.want)
		}
	}
}
