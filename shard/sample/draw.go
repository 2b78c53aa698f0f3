package sample

import (
	"math"
	"slices"

	"github.com/shardnode/shardnode/tensorio/vec"
)

// slack is the relative error that sums of weights are trusted to. The true
// error of a sum over 2^22 entries and of exp(LSETemp) is below 2^-30.
const slack = 0x1p-28

// An interval holds a number that is known only within bounds.
type interval struct{ lo, hi float64 }

// draw returns the index in p.head of the candidate that u, in [0, 1), falls on.
//
// Weights are exp((logit-highest)/temperature), summed from the best down. The
// kept candidates are a prefix of that order, and the token is the first whose
// running sum exceeds u times the sum of all kept. What is not known is bounded
// from both sides; when both bounds give the same token, it is the token that
// all logits would give, for the running sums have the same bits.
func (s *Sampler) draw(d Dist, p pool, u float64) (int, error) {
	n := len(p.head)
	if s.p.TopK > 0 && s.p.TopK <= n {
		n, p.closed = s.p.TopK, true
	}
	high := p.head[0].logit
	s.cum = s.cum[:0]
	sum, last, likely := 0.0, 0.0, 0
	for _, c := range p.head[:n] {
		last = s.weight(c.logit, high)
		if last >= s.p.MinP {
			likely++
		}
		sum += last
		s.cum = append(s.cum, sum)
	}
	base := interval{sum, sum}
	if !p.closed {
		rest := s.restMass(d, p, high)
		if s.p.TopK > 0 {
			more := float64(s.p.TopK-n) * last * (1 + slack)
			rest = interval{0, min(rest.hi, more+sum*slack)}
		}
		base = interval{sum + rest.lo, sum + rest.hi}
	}
	keep := s.keep(p.closed, likely, base)
	if keep.lo == keep.hi && keep.lo <= n {
		mass := s.cum[keep.lo-1]
		at := s.find(float64(u*mass), keep.lo)
		if at == keep.lo { // u*mass was rounded up to mass
			at = s.find(math.Nextafter(mass, 0), keep.lo)
		}
		return at, nil
	}
	mass := s.keptMass(keep, base, last)
	lo, hi := s.find(float64(u*mass.lo), n), s.find(float64(u*mass.hi), n)
	if lo != hi || lo == n {
		return 0, ErrNeedFull
	}
	return lo, nil
}

// weight returns the weight of a logit relative to the highest.
func (s *Sampler) weight(logit, high float64) float64 {
	return vec.ExpF64((logit - high) / s.p.Temperature)
}

// find returns the first of n candidates whose running sum exceeds x, n if none.
func (s *Sampler) find(x float64, n int) int {
	at, _ := slices.BinarySearchFunc(s.cum[:n], x, func(c, x float64) int {
		if c > x {
			return 1
		}
		return -1
	})
	return at
}

// restMass bounds the weights of all candidates that are not in p.head.
func (s *Sampler) restMass(d Dist, p pool, high float64) interval {
	temp := s.p.Temperature
	known := 0.0
	for _, c := range p.rest {
		known += s.weight(c.logit, high)
	}
	// What the model gives all ids, less what it gives those held, is the
	// weight of the unknown, for no bias or penalty changes those.
	total := vec.ExpF64(d.LSETemp - high/temp)
	unknown, held := total, 0
	for i, id := range d.IDs {
		unknown -= vec.ExpF64((float64(d.Logits[i]) - high) / temp)
		held += int(s.held[id/64] >> (id % 64) & 1)
	}
	top := slices.Clone(d.IDs)
	slices.Sort(top)
	for _, m := range d.Named {
		if _, in := slices.BinarySearch(top, m.ID); !in {
			unknown -= vec.ExpF64((float64(m.Logit) - high) / temp)
			held++
		}
	}
	spread := slack * (total + s.cum[len(s.cum)-1] + known)
	edge := vec.ExpF64((float64(d.Logits[len(d.Logits)-1]) - high) / temp)
	most := edge * float64(d.Vocab-min(held, d.Vocab)) * (1 + slack)
	out := interval{max(0, unknown-spread), max(0, min(unknown+spread, most))}
	if !(out.hi <= most) { // overflow, or no LSETemp
		out = interval{0, most}
	}
	if s.mask != nil {
		out.lo = 0 // any of the unknown may be disallowed
	}
	out.lo = max(0, min(out.lo, out.hi)+known-spread)
	out.hi += known + slack*(s.cum[len(s.cum)-1]+known)
	return out
}

// A count is a number of candidates known only within bounds. One more than
// are known means: beyond those.
type count struct{ lo, hi int }

// keep returns how many candidates top-p and min-p keep. likely of the known
// ones pass min-p, and base is the weight of all.
func (s *Sampler) keep(closed bool, likely int, base interval) count {
	n := len(s.cum)
	beyond := n
	if !closed {
		beyond = n + 1
	}
	if likely == n {
		likely = beyond
	}
	likely = max(likely, 1)
	if s.p.TopP >= 1 {
		return count{likely, likely}
	}
	reach := func(mass float64) int {
		want := float64(s.p.TopP * mass)
		for i, c := range s.cum {
			if c >= want {
				return i + 1
			}
		}
		return beyond
	}
	return count{min(likely, reach(base.lo)), min(likely, reach(base.hi))}
}

// keptMass bounds the weight of the kept candidates when their number is not
// known. last is the weight of the last known candidate.
func (s *Sampler) keptMass(keep count, base interval, last float64) interval {
	n := len(s.cum)
	sum := s.cum[n-1]
	out := interval{sum, base.hi}
	switch {
	case keep.lo <= n:
		out.lo = s.cum[keep.lo-1]
	case s.p.MinP == 0:
		out.lo = max(sum, s.p.TopP*base.lo)
	}
	switch {
	case keep.hi <= n:
		out.hi = s.cum[keep.hi-1]
	case s.p.TopP < 1:
		out.hi = min(base.hi, (s.p.TopP*base.hi+last)*(1+slack))
	}
	return out
}
