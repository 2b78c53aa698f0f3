package engine

import "time"

// draftRows is the largest step that counts as decode: one token, or a few
// that were guessed.
const draftRows = 8

// minChunk is the smallest piece of a prompt that is worth a batch of its own:
// below it the cost of reading the weights is not shared by enough rows.
const minChunk = 16

// A demand is what is left of the oldest step of one session.
type demand struct {
	rows    int
	started bool // some of its rows have run: it is a prompt even if few are left
}

// decodes reports whether d is a step of one or a few tokens.
func (d demand) decodes() bool { return d.rows <= draftRows && !d.started }

// A take says how many rows of a demand run in the next batch.
type take struct {
	index int // of the demand
	rows  int
}

// pick appends to dst what to run in one batch, given the demands in order of
// arrival. A batch has at most budget rows, and at most prompt of them are of
// prompts; both are 1 or more.
//
// Decode steps go first, whole, but leave a quarter of the budget to prompts
// that wait, so that these cannot starve. Prompts share the rest alike, each
// at least [minChunk] rows while there are any; what one does not need goes to
// those after it. The first demand always runs.
func pick(dst []take, demands []demand, budget, prompt int) []take {
	prompts := 0
	for _, d := range demands {
		if !d.decodes() {
			prompts++
		}
	}
	left := budget
	if prompts > 0 && prompts < len(demands) {
		left -= min(max(1, budget/4), max(0, budget-1))
	}
	kept := budget - left
	for i, d := range demands {
		if d.decodes() && (d.rows <= left || len(dst) == 0) {
			rows := min(d.rows, budget)
			dst = append(dst, take{index: i, rows: rows})
			left -= rows
		}
	}
	left = min(left+kept, prompt) // a first step may have used what was kept
	for i, d := range demands {
		if d.decodes() {
			continue
		}
		if rows := min(d.rows, max(left/prompts, minChunk), left); rows > 0 {
			dst = append(dst, take{index: i, rows: rows})
			left -= rows
		}
		prompts--
	}
	return dst
}

// Longest times that a batch of prompts should take, so that a step that
// arrives during it does not wait longer: the first while sessions decode, the
// second otherwise.
const (
	mixedBatch  = 100 * time.Millisecond
	promptBatch = 1500 * time.Millisecond
)

// evenRows is what rows of a prompt come in multiples of: kernels take 4, 6, 8 or
// 12 rows at once, and what is left over costs them as much.
const evenRows = 24

// promptRows returns how many rows of prompts a batch may have, at most most,
// if a row takes perRow; 0 stands for a time that is not known yet.
func promptRows(perRow time.Duration, decoding bool, most int) int {
	goal := promptBatch
	if decoding {
		goal = mixedBatch
	}
	if perRow <= 0 {
		return min(most, 4*minChunk)
	}
	n := min(most, max(minChunk, int(goal/perRow)))
	if n > evenRows && n < most {
		n -= n % evenRows
	}
	return n
}
