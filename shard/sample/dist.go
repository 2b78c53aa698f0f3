package sample

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// maxVocab bounds the vocabulary that a [Dist] may claim: 16 times the largest
// known (262,144 of Gemma 3).
const maxVocab = 1 << 22

// A Named is the logit of an id that was asked for by name.
type Named struct {
	ID    shard.Token
	Logit float32
}

// A Request says what a driver needs of the logits of one position.
type Request struct {
	// K is the number of highest logits wanted.
	K int
	// Named are ids whose logits are wanted besides, ascending.
	Named []shard.Token
	// Temperature is that of LSETemp; 0 if it is not wanted, [NoLSE] if
	// neither log-sum-exp is.
	Temperature float64
	// Full asks for all logits. K and Named do not matter then.
	Full bool
}

// NoLSE as the temperature of a [Request] says that no log-sum-exp is wanted,
// which saves the last stage an exp per vocabulary entry.
const NoLSE = -1

// A Dist is what a driver needs of the logits of one position.
type Dist struct {
	// IDs and Logits are the highest logits, as the model gave them: highest
	// first, the lower id first on a tie.
	IDs    []shard.Token
	Logits []float32
	Named  []Named
	// LSE is the log-sum-exp of all logits, LSETemp that of all logits divided
	// by the temperature of the request. 0 if not asked for.
	LSE, LSETemp float64
	// Vocab is the number of all logits.
	Vocab int
	// Full says that IDs holds the whole vocabulary.
	Full bool
}

// ranked reports the order of logits: highest first, then lower id.
func ranked(a, b Named) int {
	if c := cmp.Compare(b.Logit, a.Logit); c != 0 {
		return c
	}
	return cmp.Compare(a.ID, b.ID)
}

// Summarize returns what req asks of logits, [vocab]. It does not keep logits.
// A logit that is not a number counts as minus infinity: never drawn.
func Summarize(logits []float32, req Request) Dist {
	var d Dist
	d.Summarize(logits, req)
	return d
}

// stackTop is the most logits for which Summarize needs no memory of the heap.
const stackTop = 64

// Summarize is [Summarize] into d, whose slices are used again.
func (d *Dist) Summarize(logits []float32, req Request) {
	k := min(max(req.K, 0), len(logits))
	if req.Full {
		k = len(logits)
	}
	var stack [stackTop]Named
	top := stack[:0]
	if k > stackTop {
		top = make([]Named, 0, k)
	}
	top = topK(top, logits, k)
	*d = Dist{IDs: d.IDs[:0], Logits: d.Logits[:0], Named: d.Named[:0], Vocab: len(logits), Full: k == len(logits)}
	d.IDs, d.Logits = slices.Grow(d.IDs, k), slices.Grow(d.Logits, k)
	for _, n := range top {
		d.IDs, d.Logits = append(d.IDs, n.ID), append(d.Logits, n.Logit)
	}
	if !req.Full && len(req.Named) > 0 {
		d.Named = slices.Grow(d.Named, len(req.Named))
		for _, id := range req.Named {
			if id >= 0 && int(id) < len(logits) {
				d.Named = append(d.Named, Named{ID: id, Logit: number(logits[id])})
			}
		}
	}
	if req.Temperature >= 0 {
		d.LSE = logSumExp(logits, 1)
		d.LSETemp = d.LSE
		switch {
		case req.Temperature == 0:
			d.LSETemp = 0
		case req.Temperature != 1:
			d.LSETemp = logSumExp(logits, req.Temperature)
		}
	}
}

// number returns l, or minus infinity if l is not a number.
func number(l float32) float32 {
	if l != l {
		return float32(math.Inf(-1))
	}
	return l
}

// topK appends the k highest logits in rank order to top, which is empty and has
// room for them.
func topK(top []Named, logits []float32, k int) []Named {
	if k == len(logits) {
		for i, l := range logits {
			top = append(top, Named{ID: shard.Token(i), Logit: number(l)})
		}
		slices.SortFunc(top, ranked)
		return top
	}
	if k == 0 {
		return top
	}
	// A heap with the lowest ranked at the root. Ids come in ascending order,
	// so a later id must be strictly higher to push out the root.
	for i, l := range logits {
		n := Named{ID: shard.Token(i), Logit: number(l)}
		switch {
		case len(top) < k:
			top = append(top, n)
			if len(top) == k {
				for j := k/2 - 1; j >= 0; j-- {
					sink(top, j)
				}
			}
		case n.Logit > top[0].Logit:
			top[0] = n
			sink(top, 0)
		}
	}
	slices.SortFunc(top, ranked)
	return top
}

// sink restores the heap order of h below i: no child is ranked after its parent.
func sink(h []Named, i int) {
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && ranked(h[c+1], h[c]) > 0 {
			c++
		}
		if ranked(h[c], h[i]) <= 0 {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// negligible is the distance from the maximum below which an entry is left out
// of a sum: e^-50 times the largest vocabulary is less than 2^-50.
const negligible = -50

// logSumExp returns log(sum(exp(l/temp))), in ascending order of ids.
func logSumExp(logits []float32, temp float64) float64 {
	high := float32(math.Inf(-1))
	for _, l := range logits {
		if l > high {
			high = l
		}
	}
	if math.IsInf(float64(high), 0) {
		return float64(high)
	}
	m, sum := float64(high), 0.0
	for _, l := range logits {
		if x := (float64(l) - m) / temp; x > negligible {
			sum += vec.ExpF64(x)
		}
	}
	return m/temp + vec.LogF64(sum)
}

// check returns an error if d cannot be the summary of any logits. A Dist
// comes from another peer.
func (d *Dist) check() error {
	switch {
	case d.Vocab <= 0 || d.Vocab > maxVocab:
		return fmt.Errorf("logits: vocabulary of %d, want 1 to %d", d.Vocab, maxVocab)
	case len(d.IDs) != len(d.Logits):
		return fmt.Errorf("logits: %d ids for %d logits", len(d.IDs), len(d.Logits))
	case len(d.IDs) > d.Vocab || len(d.Named) > d.Vocab:
		return fmt.Errorf("logits: %d ids and %d named of a vocabulary of %d", len(d.IDs), len(d.Named), d.Vocab)
	case d.Full && len(d.IDs) != d.Vocab:
		return fmt.Errorf("logits: %d of %d, want all", len(d.IDs), d.Vocab)
	}
	for _, n := range d.Named {
		if n.ID < 0 || int(n.ID) >= d.Vocab || n.Logit != n.Logit || math.IsInf(float64(n.Logit), 1) {
			return fmt.Errorf("logits: named id %d has logit %v in a vocabulary of %d", n.ID, n.Logit, d.Vocab)
		}
	}
	return d.checkOrder()
}

// checkOrder returns an error if an id, a logit or their order is impossible.
func (d *Dist) checkOrder() error {
	for i, id := range d.IDs {
		if id < 0 || int(id) >= d.Vocab {
			return fmt.Errorf("logits: id %d of a vocabulary of %d", id, d.Vocab)
		}
		if l := d.Logits[i]; l != l || math.IsInf(float64(l), 1) {
			return fmt.Errorf("logits: logit of id %d is %v", id, l)
		}
		if i > 0 && ranked(Named{d.IDs[i-1], d.Logits[i-1]}, Named{id, d.Logits[i]}) >= 0 {
			return fmt.Errorf("logits: ids %d and %d are out of order", d.IDs[i-1], id)
		}
	}
	return nil
}
