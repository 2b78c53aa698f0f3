package scheduler

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard"
)

// A Request is what a session asks of a route.
type Request struct {
	// Tokens is the length of KV cache to be reserved on every stage, prompt
	// and answer. 0: capacity does not matter.
	Tokens int
	// PromptTokens is the prompt to be computed first. It weighs prefill
	// against decode: the cost of a route is that of the prompt and Tokens -
	// PromptTokens, at least one, single tokens.
	PromptTokens int
	// Avoid are peers that must not be on the route.
	Avoid []ID
	// Ends are the peers that may run the first and the last layer, which see
	// tokens and logits in the clear. Empty: all may.
	Ends []ID
	// Planned is preferred where it costs little more.
	Planned Layout
	// Driver is the peer that sends tokens and gets logits; empty: the one
	// that holds the first layer.
	Driver ID
}

// A Path is a route: its stages, and what a token costs on it.
type Path struct {
	Stages  Layout
	TokenMS float64 // of decode: one token once around, at the peers' load
	TTFTms  float64 // of the prompt and the first token
}

// An UncoveredError says which layers have no usable holder.
type UncoveredError struct {
	// Spans are those layers, ascending; not empty.
	Spans []shard.Span
	// Full says that peers hold the layers, but have no room for the session.
	Full bool
	Text string // for people
}

// Error names the layers.
func (e *UncoveredError) Error() string { return e.Text }

// strayCost is what leaving the plan costs: a stage that no plan foresees must
// be this much faster. It keeps sessions together, so that they batch.
const strayCost = 1.05

// Route returns the cheapest stages over the spans that the peers of v hold
// now, for one more session. A stage may enter and leave a held span anywhere.
// No peer comes twice. It returns an [*UncoveredError] when some layer has no
// usable holder.
func Route(v View, r Request) (Path, error) {
	if err := v.check(); err != nil {
		return Path{}, fmt.Errorf("route: %w", err)
	}
	if r.Tokens < 0 || r.PromptTokens < 0 || r.Tokens > 1<<28 || r.PromptTokens > 1<<28 {
		return Path{}, fmt.Errorf("route: %d tokens with a prompt of %d, want 0 to %d", r.Tokens, r.PromptTokens, 1<<28)
	}
	q := newRouteProblem(v, r)
	s := newSearch(q, r)
	s.run()
	best, at := math.Inf(1), -1
	for j := range q.peers {
		if c := s.at[q.layers][j].cost; !math.IsInf(c, 1) && c+q.home[j].ms < best {
			best, at = c+q.home[j].ms, j
		}
	}
	if at < 0 {
		return Path{}, s.uncovered()
	}
	p := Path{Stages: s.stages(at)}
	p.TokenMS, p.TTFTms = s.times(p.Stages)
	return p, nil
}

// newRouteProblem is newProblem for a route, which looks up no throughput.
func newRouteProblem(v View, r Request) *problem {
	q := &problem{v: v, layers: v.Model.Layers, p: Params{Driver: r.Driver}}
	q.prefix, q.head = v.Model.prefix(), v.Model.headLayers()
	for _, p := range v.Peers {
		if p.Role == Serve && p.Held.Len() > 0 && !slices.Contains(r.Avoid, p.ID) {
			q.peers = append(q.peers, p)
		}
	}
	q.thin(r)
	slices.SortFunc(q.peers, func(a, b Peer) int { return strings.Compare(string(a.ID), string(b.ID)) })
	q.fillHops()
	return q
}

// routedPeers is the number of peers above which Route looks at some only.
const routedPeers = 128

// thin leaves, of very many peers, the planned ones and of each layer at least
// the four fastest holders with room for the session.
func (q *problem) thin(r Request) {
	if len(q.peers) <= routedPeers {
		return
	}
	planned := map[ID]bool{}
	for _, a := range r.Planned {
		planned[a.Peer] = true
	}
	for _, id := range r.Ends {
		planned[id] = true
	}
	ms := func(p Peer) float64 {
		if planned[p.ID] {
			return 0
		}
		return p.decodeMS(float64(p.Sessions + 1))
	}
	slices.SortFunc(q.peers, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(ms(a), ms(b)), cmp.Compare(a.ID, b.ID))
	})
	holders := make([]int, q.layers)
	per := int64(r.Tokens) * q.v.Model.KVBytesPerTokenLayer
	q.peers = slices.DeleteFunc(q.peers, func(p Peer) bool {
		few := false
		for l := p.Held.Start; l < p.Held.End; l++ {
			few = few || holders[l] < 4
		}
		if !few && !planned[p.ID] || q.kvFree(p) < per*int64(p.Held.Len()) {
			return !planned[p.ID]
		}
		for l := p.Held.Start; l < p.Held.End; l++ {
			holders[l]++
		}
		return false
	})
}

// kvFree returns the memory that p has for new sessions.
func (q *problem) kvFree(p Peer) int64 {
	if p.KVFreeBytes > 0 {
		return p.KVFreeBytes
	}
	return p.MemoryBytes - q.v.Model.weightBytes(q.prefix, int(p.Held.Start), int(p.Held.End))
}

// A search is the state of Route: for each layer b and peer j, the cheapest
// way to have run the layers before b, the last of them on j.
type search struct {
	q  *problem
	r  Request
	at [][]reached // [layers+1][peers]
	// most[j] is the number of layers that peer j has KV cache for.
	most    []int
	planned map[Assignment]bool
}

type reached struct {
	cost float64
	from int // peer before, -1: the driver
	lo   int // first layer of the last stage
}

func newSearch(q *problem, r Request) *search {
	s := &search{q: q, r: r, planned: map[Assignment]bool{}}
	for _, a := range r.Planned {
		s.planned[a] = true
	}
	s.at = make([][]reached, q.layers+1)
	for b := range s.at {
		s.at[b] = make([]reached, len(q.peers))
		for j := range s.at[b] {
			s.at[b][j].cost = math.Inf(1)
		}
	}
	per := int64(r.Tokens) * q.v.Model.KVBytesPerTokenLayer
	s.most = make([]int, len(q.peers))
	for j, p := range q.peers {
		s.most[j] = q.layers
		if per > 0 {
			s.most[j] = int(min(int64(q.layers), max(0, s.q.kvFree(p))/per))
		}
	}
	return s
}

// run fills s.at, layer by layer. It takes O(L (n^2 + n K)) steps.
func (s *search) run() {
	for lo := range s.q.layers {
		for j, p := range s.q.peers {
			if !p.Held.Has(shard.Layer(lo)) || s.most[j] == 0 {
				continue
			}
			best, from := s.reach(lo, j)
			if math.IsInf(best, 1) {
				continue
			}
			for hi := lo + 1; hi <= min(int(p.Held.End), lo+s.most[j]); hi++ {
				if hi == s.q.layers && !s.mayEnd(j) {
					break
				}
				x := best + s.stageMS(j, lo, hi)
				if at := &s.at[hi][j]; x < at.cost {
					*at = reached{x, from, lo}
				}
			}
		}
	}
}

// reach returns the least cost of being at peer j with lo layers done, and the
// peer before.
func (s *search) reach(lo, j int) (best float64, from int) {
	best, from = math.Inf(1), -1
	if lo == 0 {
		if s.mayEnd(j) {
			best = s.q.home[j].ms
		}
		return best, from
	}
	for i, c := range s.at[lo] {
		if i == j || math.IsInf(c.cost, 1) {
			continue
		}
		if x := c.cost + s.hopMS(i, j); x < best && !s.uses(lo, i, j) {
			best, from = x, i
		}
	}
	return best, from
}

// mayEnd reports whether peer j may run the first and the last layer.
func (s *search) mayEnd(j int) bool {
	return len(s.r.Ends) == 0 || slices.Contains(s.r.Ends, s.q.peers[j].ID)
}

// uses reports whether the way to (b, i) comes over peer j.
func (s *search) uses(b, i, j int) bool {
	for i >= 0 {
		if i == j {
			return true
		}
		c := s.at[b][i]
		b, i = c.lo, c.from
	}
	return false
}

// perToken spreads the cost of n times of the prompt over the answer.
func (s *search) perToken(decode, prefill float64) float64 {
	answer := max(1, s.r.Tokens-s.r.PromptTokens)
	return decode + float64(prefill*float64(s.r.PromptTokens)/float64(answer))
}

func (s *search) hopMS(i, j int) float64 {
	h := s.q.hop[i][j]
	return s.perToken(h.ms, h.ms-h.late)
}

// stageMS returns the cost of one token in the layers [lo, hi) of peer j with
// one session more than it has.
func (s *search) stageMS(j, lo, hi int) float64 {
	p := s.q.peers[j]
	ms := s.perToken(float64(s.q.units(lo, hi)*p.decodeMS(float64(p.Sessions+1))), float64(hi-lo)*p.prefillMS())
	if len(s.planned) > 0 && !s.planned[s.q.assign(j, lo, hi)] {
		ms = float64(ms*strayCost) + hopOverheadMS
	}
	return ms
}

// stages returns the way to the last layer whose last peer is j.
func (s *search) stages(j int) Layout {
	var out Layout
	for b := s.q.layers; j >= 0; {
		c := s.at[b][j]
		out = append(out, s.q.assign(j, c.lo, b))
		b, j = c.lo, c.from
	}
	slices.Reverse(out)
	return out
}

// times returns the time of a token once around, and of the first token.
func (s *search) times(l Layout) (token, first float64) {
	n := float64(s.r.PromptTokens)
	at := -1
	for _, a := range l {
		j := s.q.indexOf(a.Peer)
		p := s.q.peers[j]
		lo, hi := int(a.Span.Start), int(a.Span.End)
		ms := p.decodeMS(float64(p.Sessions + 1))
		h := s.q.home[j]
		if at >= 0 {
			h = s.q.hop[at][j]
		}
		token += h.ms + float64(s.q.units(lo, hi)*ms)
		first += h.late + float64(n*(h.ms-h.late)) + float64(n*float64(hi-lo)*p.prefillMS()) +
			float64((s.q.units(lo, hi)-float64(hi-lo))*ms)
		at = j
	}
	back := s.q.wayBack(l)
	return token + back, first + back
}

// uncovered returns the error for layers that no route can run.
func (s *search) uncovered() error {
	e := &UncoveredError{}
	held := s.gaps(func(int) bool { return true })
	e.Spans = held
	why := "no peer holds them"
	if len(s.r.Avoid) > 0 {
		why = "no peer but those to be avoided holds them"
	}
	if ends := s.openEnds(); len(held) == 0 && len(ends) > 0 {
		e.Spans, held = ends, ends
		why = "the first and last layers are to be kept to some peers, and none of them holds these"
	}
	if len(held) == 0 {
		e.Full = true
		per := int64(s.r.Tokens) * s.q.v.Model.KVBytesPerTokenLayer
		why = fmt.Sprintf("their holders have no room for the KV cache of %d tokens (%s a layer)", s.r.Tokens, bytesText(per))
		if e.Spans = s.gaps(func(j int) bool { return s.most[j] > 0 }); len(e.Spans) == 0 {
			e.Spans = []shard.Span{s.stuck()}
		}
	}
	e.Text = fmt.Sprintf("no route: layers %s: %s", spansText(e.Spans), why)
	return e
}

// openEnds returns the first and the last layer as far as no peer that may run
// them holds them.
func (s *search) openEnds() []shard.Span {
	var out []shard.Span
	for _, l := range slices.Compact([]shard.Layer{0, shard.Layer(s.q.layers - 1)}) {
		held := false
		for j, p := range s.q.peers {
			held = held || p.Held.Has(l) && s.mayEnd(j)
		}
		if !held {
			out = append(out, shard.Span{Start: l, End: l + 1})
		}
	}
	return out
}

// gaps returns the layers that no peer with ok holds.
func (s *search) gaps(ok func(j int) bool) []shard.Span {
	var out []shard.Span
	for l := range shard.Layer(s.q.layers) {
		covered := false
		for j, p := range s.q.peers {
			covered = covered || p.Held.Has(l) && ok(j)
		}
		switch n := len(out); {
		case covered:
		case n > 0 && out[n-1].End == l:
			out[n-1].End++
		default:
			out = append(out, shard.Span{Start: l, End: l + 1})
		}
	}
	return out
}

// stuck returns the layers from the farthest that can be reached.
func (s *search) stuck() shard.Span {
	far := 0
	for b := range s.at {
		for _, c := range s.at[b] {
			if !math.IsInf(c.cost, 1) {
				far = b
			}
		}
	}
	return shard.Span{Start: shard.Layer(far), End: shard.Layer(s.q.layers)}
}

func spansText(spans []shard.Span) string {
	parts := make([]string, len(spans))
	for i, s := range spans {
		parts[i] = s.String()
	}
	return strings.Join(parts, ", ")
}
