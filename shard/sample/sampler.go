package sample

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/shardnode/shardnode/shard"
)

// ErrNeedFull is returned by [Sampler.Next] when the token depends on logits
// that the [Dist] does not hold. Fetch all logits of the position and call
// Next again.
var ErrNeedFull = errors.New("the token depends on logits that were not sent: ask for all of them")

// ErrNoToken is returned by [Sampler.Next] when no token may come next: every
// id is banned, disallowed, or has a logit of minus infinity.
var ErrNoToken = errors.New("no token may come next: all are banned, not allowed, or not numbers")

const (
	// openK is how many logits are asked for when any token may be drawn. Most
	// draws of a language model fall into the first hundred; 128 fit a packet.
	openK = 128
	// closedK is how many are asked for when top-k or min-p cut the tail.
	closedK = 64
	// maxNamed bounds the ids asked for by name; above it all logits are
	// asked for.
	maxNamed = 4096
)

// A Logprob is a token's log-probability under the model.
type Logprob struct {
	ID      shard.Token
	Logprob float64
}

// Logprobs are the log-probabilities of one position, before bias, penalties
// and temperature.
type Logprobs struct {
	Chosen Logprob
	// Top are the likeliest, likeliest first; fewer than asked for if the
	// [Dist] holds fewer.
	Top []Logprob
}

// A candidate is an id whose logit is known.
type candidate struct {
	id    shard.Token
	raw   float32
	logit float64 // after bias and penalties
}

func byLogit(a, b candidate) int {
	if c := cmp.Compare(b.logit, a.logit); c != 0 {
		return c
	}
	return cmp.Compare(a.id, b.id)
}

// A Sampler chooses the tokens of one session. Make one with [New]. It keeps
// no history: the same calls in any order give the same tokens.
type Sampler struct {
	p    Params
	mask *Mask

	counts map[shard.Token]int  // how often each token was generated
	recent map[shard.Token]bool // tokens in the window of RepeatPenalty
	named  []shard.Token        // ids changed by bias or penalties, ascending

	cands []candidate
	cum   []float64 // cum[i]: sum of the weights of the candidates 0 to i
	held  []uint64  // set of the ids in cands, and those dropped from it
}

// New returns a sampler with the settings p. It keeps a copy of p.
func New(p Params) (*Sampler, error) {
	p, err := p.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("sampling: %w", err)
	}
	p.LogitBias = maps.Clone(p.LogitBias)
	return &Sampler{p: p, counts: map[shard.Token]int{}, recent: map[shard.Token]bool{}}, nil
}

// Allow restricts the following calls of Request and Next to the ids of m; nil
// allows all. The sampler reads m and does not keep a copy: change it between
// tokens as a grammar advances.
func (s *Sampler) Allow(m *Mask) { s.mask = m }

// Request returns what to ask of the logits at the position after history,
// which is the prompt and what was generated so far. Its Named is valid until
// the next call.
func (s *Sampler) Request(history []shard.Token) Request {
	s.study(history)
	r := Request{K: openK, Named: s.named, Temperature: s.p.Temperature}
	if s.allNamed() {
		r.Named = s.mask.appendIDs(slices.Clone(s.named))
		slices.Sort(r.Named)
		r.Named = slices.Compact(r.Named)
	}
	plain := len(s.named) == 0 && s.mask == nil
	switch {
	case plain && s.p.Temperature == 0:
		r.K = 1
	case s.p.Temperature == 0 || s.p.MinP > 0:
		r.K = closedK
	case s.p.TopK > 0 && plain:
		r.K = min(s.p.TopK, 512)
	case s.p.TopK > 0:
		r.K = min(s.p.TopK+closedK/2, 512)
	}
	if s.allNamed() {
		r.K = 1 // the named are all that count
	}
	r.K = max(r.K, s.p.TopLogprobs)
	if (s.p.Temperature == 0 || s.allNamed()) && !s.p.Logprobs {
		r.Temperature = NoLSE
	}
	r.Full = len(r.Named) > maxNamed
	return r
}

// allNamed reports whether the ids allowed are so few that each is asked for.
func (s *Sampler) allNamed() bool { return s.mask != nil && s.mask.Len() <= maxNamed/4 }

// study finds the ids whose logits history and bias change.
func (s *Sampler) study(history []shard.Token) {
	clear(s.counts)
	clear(s.recent)
	s.named = s.named[:0]
	if s.p.RepeatPenalty != 1 {
		window := history
		if s.p.RepeatLastN >= 0 {
			window = history[max(0, len(history)-s.p.RepeatLastN):]
		}
		for _, id := range window {
			s.recent[id] = true
		}
	}
	if s.p.FrequencyPenalty != 0 || s.p.PresencePenalty != 0 {
		for _, id := range history[min(s.p.PromptTokens, len(history)):] {
			s.counts[id]++
		}
	}
	for id := range s.p.LogitBias {
		s.named = append(s.named, id)
	}
	for id := range s.recent {
		s.named = append(s.named, id)
	}
	for id := range s.counts {
		s.named = append(s.named, id)
	}
	slices.Sort(s.named)
	s.named = slices.Compact(s.named)
}

// adjust returns the logit of id after bias and penalties.
func (s *Sampler) adjust(id shard.Token, raw float32) float64 {
	l := float64(raw)
	if b, ok := s.p.LogitBias[id]; ok {
		l += float64(b)
	}
	if s.recent[id] {
		if l > 0 {
			l /= s.p.RepeatPenalty
		} else {
			l = float64(l * s.p.RepeatPenalty)
		}
	}
	if n := s.counts[id]; n > 0 {
		l -= float64(float64(n) * s.p.FrequencyPenalty)
		l -= s.p.PresencePenalty
	}
	return l
}

// Next returns the token after history, given the distribution d at that
// position. history is the prompt and what was generated so far. The
// log-probabilities are set only if asked for.
//
// It returns [ErrNeedFull] when d does not decide the token, [ErrNoToken] when
// there is none, and another error when d cannot come from any logits.
func (s *Sampler) Next(d Dist, history []shard.Token) (shard.Token, Logprobs, error) {
	if err := d.check(); err != nil {
		return 0, Logprobs{}, err
	}
	s.study(history)
	pool, err := s.gather(d)
	if err != nil {
		return 0, Logprobs{}, err
	}
	at := 0
	if s.p.Temperature > 0 {
		at, err = s.draw(d, pool, uniform(s.p.Seed, shard.Pos(len(history))))
		if err != nil {
			return 0, Logprobs{}, err
		}
	}
	c := pool.head[at]
	return c.id, s.logprobs(d, c), nil
}

// A pool is what is known of the candidates.
type pool struct {
	// head are the candidates that are ranked before every id that is not
	// known, best first.
	head []candidate
	// rest are known candidates that unknown ones may outrank.
	rest []candidate
	// closed says that head holds all candidates.
	closed bool
}

// gather sorts the candidates of d.
func (s *Sampler) gather(d Dist) (pool, error) {
	full := d.Full || len(d.IDs) == d.Vocab
	words := (d.Vocab + 63) / 64
	if cap(s.held) < words {
		s.held = make([]uint64, words)
	}
	s.held = s.held[:words]
	clear(s.held)
	s.cands = s.cands[:0]
	for i, id := range d.IDs {
		if s.hold(id) {
			return pool{}, fmt.Errorf("logits: id %d comes twice", id)
		}
		s.consider(id, d.Logits[i])
	}
	for _, n := range d.Named {
		if !s.hold(n.ID) {
			s.consider(n.ID, n.Logit)
		}
	}
	slices.SortFunc(s.cands, byLogit)
	p := pool{head: s.cands, closed: full || s.heldAllAllowed()}
	if !p.closed {
		if !s.heldAll(s.named, d.Vocab) || len(d.IDs) == 0 {
			return pool{}, ErrNeedFull // a penalised or favoured id may be anywhere
		}
		last := len(d.IDs) - 1
		edge := candidate{id: d.IDs[last], logit: float64(d.Logits[last])}
		n, _ := slices.BinarySearchFunc(s.cands, edge, byLogit)
		for n < len(s.cands) && byLogit(s.cands[n], edge) <= 0 {
			n++
		}
		p.head, p.rest = s.cands[:n], s.cands[n:]
	}
	if len(p.head) == 0 {
		if p.closed {
			return pool{}, ErrNoToken
		}
		return pool{}, ErrNeedFull
	}
	return p, nil
}

// hold marks id as held and reports whether it was before.
func (s *Sampler) hold(id shard.Token) bool {
	bit := uint64(1) << (id % 64)
	was := s.held[id/64]&bit != 0
	s.held[id/64] |= bit
	return was
}

// consider makes id a candidate unless it is banned or not allowed.
func (s *Sampler) consider(id shard.Token, raw float32) {
	if s.mask != nil && !s.mask.Has(id) {
		return
	}
	if l := s.adjust(id, raw); !math.IsInf(l, -1) {
		s.cands = append(s.cands, candidate{id: id, raw: raw, logit: l})
	}
}

// heldAll reports whether all ids of the vocabulary among ids are held.
func (s *Sampler) heldAll(ids []shard.Token, vocab int) bool {
	for _, id := range ids {
		if id >= 0 && int(id) < vocab && s.held[id/64]>>(id%64)&1 == 0 {
			return false
		}
	}
	return true
}

// heldAllAllowed reports whether there is a mask and all its ids are held.
func (s *Sampler) heldAllAllowed() bool {
	if s.mask == nil {
		return false
	}
	for w, word := range s.mask.words {
		if w < len(s.held) && word&^s.held[w] != 0 {
			return false
		}
	}
	return true
}

// logprobs returns the log-probabilities of c and of the likeliest ids.
func (s *Sampler) logprobs(d Dist, c candidate) Logprobs {
	if !s.p.Logprobs {
		return Logprobs{}
	}
	lp := Logprobs{Chosen: Logprob{ID: c.id, Logprob: float64(c.raw) - d.LSE}}
	for i := range min(s.p.TopLogprobs, len(d.IDs)) {
		lp.Top = append(lp.Top, Logprob{ID: d.IDs[i], Logprob: float64(d.Logits[i]) - d.LSE})
	}
	return lp
}

// uniform returns the draw of a position, in [0, 1): the first output of
// ChaCha8 (C2SP chacha8rand) with the key of seed, position and this name,
// little-endian.
func uniform(seed uint64, at shard.Pos) float64 {
	key := [32]byte{16: 's', 'h', 'a', 'r', 'd', 'n', 'o', 'd', 'e', ' ', 's', 'a', 'm', 'p', 'l', 'e'}
	binary.LittleEndian.PutUint64(key[0:], seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(at))
	var c rand.ChaCha8
	c.Seed(key)
	return float64(c.Uint64()>>11) * 0x1p-53
}
