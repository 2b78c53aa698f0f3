package member

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/hop"
	"github.com/shardnode/shardnode/shard/pipeline"
)

// Times of a session whose route is repaired.
const (
	// shunTime is how long new sessions avoid a peer that one has lost: gossip
	// takes about as long to find out.
	shunTime = 15 * time.Second
	// takeBackTime is how long a route without the lost peers is waited for
	// before one of them, which may have been late only, is tried again.
	takeBackTime = 1500 * time.Millisecond
	// tellTime is how long the losses of sessions are gathered into one line.
	tellTime = 500 * time.Millisecond
)

// repair finds stages for what is left of a session's route: what is kept stays
// where it is. It waits for members to come until ctx ends; waiting hears what
// for.
func (m *Member) repair(ctx context.Context, about *About, b pipeline.Broken, waiting func(string)) ([]pipeline.Stage, error) {
	began, said := time.Now(), ""
	timer := time.NewTimer(takeBackTime)
	defer timer.Stop()
	for {
		changed := m.Changed()
		v := m.viewOf(about)
		avoid, silent := m.shunnedBy(b)
		route, err := v.bridge(b, avoid)
		if err != nil && len(silent) < len(avoid) { // rather one that was late once
			route, err = v.bridge(b, silent)
		}
		if err != nil && !b.Leaving && time.Since(began) >= takeBackTime {
			route, err = v.bridge(b, b.Avoid)
		}
		if err == nil {
			return route, nil
		}
		if text := err.Error(); text != said {
			said = text
			m.cfg.Logger.Info().Err(err).Msg("session waits for a route")
			if waiting != nil {
				waiting(text)
			}
		}
		select {
		case <-changed:
		case <-timer.C:
		case <-time.After(tick / 4):
		case <-ctx.Done():
			return nil, &NoRouteError{Text: said}
		}
	}
}

// shunnedBy returns the peers that b should avoid, and those of them that were
// not heard since they were lost.
func (m *Member) shunnedBy(b pipeline.Broken) (avoid, silent []shard.PeerID) {
	avoid = slices.Concat(b.Avoid, b.Lost)
	silent = slices.Clone(avoid)
	for _, p := range m.shunnedNow() {
		if keeps(b, p) {
			continue
		}
		avoid = append(avoid, p)
		if !m.heardAgain(p) {
			silent = append(silent, p)
		}
	}
	return avoid, silent
}

// keeps reports whether p keeps a stage of b.
func keeps(b pipeline.Broken, p shard.PeerID) bool {
	for i, st := range b.Route {
		if b.Kept[i] && st.Peer == p {
			return true
		}
	}
	return false
}

// The stages of others in a gap's view: they stand for what is kept on both
// sides of it.
const (
	keptBefore scheduler.ID = "kept before"
	keptAfter  scheduler.ID = "kept after"
)

// bridge returns b's route with the gaps between the kept stages filled by
// peers that are not to be avoided. A peer that keeps a stage may get another.
func (v *swarmView) bridge(b pipeline.Broken, avoid []shard.PeerID) ([]pipeline.Stage, error) {
	var not []scheduler.ID
	for _, p := range avoid {
		not = append(not, scheduler.ID(p.String()))
	}
	var out []pipeline.Stage
	var missing []string
	at := shard.Layer(0)
	fill := func(end shard.Layer) {
		if end <= at {
			return
		}
		stages, err := v.fillGap(shard.Span{Start: at, End: end}, b.Tokens, not)
		if err != nil {
			missing = append(missing, err.Error())
		}
		out = append(out, stages...)
	}
	for i, st := range b.Route {
		if b.Kept[i] {
			fill(st.Span.Start)
			out, at = append(out, st), st.Span.End
		}
	}
	fill(shard.Layer(v.model.Layers))
	if len(missing) > 0 {
		return nil, &NoRouteError{Text: strings.Join(missing, "; ") + v.unlike()}
	}
	return out, nil
}

// fillGap returns the cheapest stages for the layers of gap.
func (v *swarmView) fillGap(gap shard.Span, tokens int, avoid []scheduler.ID) ([]pipeline.Stage, error) {
	sv := v.peers(func(*gossip.Member) shard.Span { return shard.Span{} })
	none := &NoRouteError{Text: fmt.Sprintf("waiting for layers %d–%d: no other member serves them now", gap.Start, gap.End)}
	for i := range sv.Peers {
		p := &sv.Peers[i]
		held := p.Held
		p.Held, p.Planned, p.Pinned = held.Overlap(gap), shard.Span{}, shard.Span{}
		if p.Held.Len() == 0 {
			p.Held, p.KVFreeBytes = shard.Span{}, 0
		} else if p.KVFreeBytes > 1 {
			p.KVFreeBytes = p.KVFreeBytes / int64(held.Len()) * int64(p.Held.Len())
		}
	}
	if gap.Start > 0 {
		sv.Peers = append(sv.Peers, kept(keptBefore, shard.Span{End: gap.Start}))
	}
	if int(gap.End) < v.model.Layers {
		sv.Peers = append(sv.Peers, kept(keptAfter, shard.Span{Start: gap.End, End: shard.Layer(v.model.Layers)}))
	}
	r := scheduler.Request{Tokens: tokens, PromptTokens: v.prompt, Avoid: avoid}
	if len(v.ends) > 0 {
		r.Ends = append(v.ends[:len(v.ends):len(v.ends)], keptBefore, keptAfter)
	}
	path, err := scheduler.Route(sv, r)
	if err != nil {
		return nil, none
	}
	var out []pipeline.Stage
	for _, a := range path.Stages {
		if a.Peer == keptBefore || a.Peer == keptAfter {
			continue
		}
		st, err := v.stage(a)
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

// kept stands for stages that hold span already.
func kept(id scheduler.ID, span shard.Span) scheduler.Peer {
	return scheduler.Peer{
		ID: id, MemoryBytes: maxClaimed, DecodeMS: []scheduler.Timing{{Batch: 1, MS: assumedDecodeMS}}, PrefillMSPerToken: assumedPrefillMS,
		Held: span, KVFreeBytes: maxClaimed,
	}
}

// stage returns a as a session opens it.
func (v *swarmView) stage(a scheduler.Assignment) (pipeline.Stage, error) {
	peer, err := shard.ParsePeerID(string(a.Peer))
	if err != nil {
		return pipeline.Stage{}, err
	}
	n := hop.Neighbour{Peer: peer}
	for _, g := range v.members {
		if g.Peer == peer {
			n.Name = g.Advert.Name
			for _, addr := range g.Advert.Addrs {
				n.Addrs = append(n.Addrs, addr.String())
			}
		}
	}
	return pipeline.Stage{Neighbour: n, Span: a.Span}, nil
}

// shunnedNow returns the peers that sessions have lost lately.
func (m *Member) shunnedNow() []shard.PeerID {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []shard.PeerID
	view := m.gossip.View()
	for p, s := range m.shun {
		again := bornOf(view, p) != s.born // another process: it was restarted
		if again || time.Now().After(s.until) {
			delete(m.shun, p)
			continue
		}
		out = append(out, p)
	}
	return out
}

// heardAgain reports whether a shunned peer was heard after it was lost: it was
// late, or stood still.
func (m *Member) heardAgain(peer shard.PeerID) bool {
	m.mu.Lock()
	s, ok := m.shun[peer]
	m.mu.Unlock()
	return ok && m.cfg.Node.Heard(peer).After(s.at.Add(underWay))
}

// underWay is how long a packet of a peer may have been under way before it is
// handled.
const underWay = 500 * time.Millisecond

// A shunned peer was lost by a session.
type shunned struct {
	at    time.Time
	until time.Time
	born  uint64 // names its process
}

// bornOf returns what names the process of a peer, 0 if it is not seen.
func bornOf(view []gossip.Member, peer shard.PeerID) uint64 {
	for i := range view {
		if view[i].Peer == peer {
			return view[i].Advert.Born
		}
	}
	return 0
}

// A loss is what happened to the sessions on one stage.
type loss struct {
	lost, moved string
	span        shard.Span
	planned     bool
}

// losses gathers what happened to sessions within a moment.
type losses struct {
	sessions, tokens int
	pause            time.Duration
}

// healed notes that a session goes on after r, and tells people of all that
// went on for the same reason.
func (m *Member) healed(r pipeline.Recovery) {
	key := loss{lost: r.Lost.Name, span: r.Lost.Span, planned: r.Planned}
	var names []string
	for _, st := range r.Replacement {
		names = append(names, st.Name)
	}
	key.moved = strings.Join(names, " and ")
	m.mu.Lock()
	defer m.mu.Unlock()
	if !r.Planned && !slices.ContainsFunc(r.Replacement, func(st pipeline.Stage) bool { return st.Peer == r.Lost.Peer }) {
		if m.shun == nil {
			m.shun = map[shard.PeerID]shunned{}
		}
		now := time.Now()
		m.shun[r.Lost.Peer] = shunned{at: now, until: now.Add(shunTime), born: bornOf(m.gossip.View(), r.Lost.Peer)}
	}
	if m.losses == nil {
		m.losses = map[loss]*losses{}
	}
	sum := m.losses[key]
	if sum == nil {
		sum = &losses{}
		m.losses[key] = sum
		time.AfterFunc(tellTime, func() { m.tellLoss(key) })
	}
	sum.sessions++
	sum.tokens += r.ReplayedTokens
	sum.pause = max(sum.pause, r.Pause)
}

// tellLoss tells of a loss, once.
func (m *Member) tellLoss(key loss) {
	m.mu.Lock()
	sum, closed := m.losses[key], m.closed
	delete(m.losses, key)
	m.mu.Unlock()
	if sum == nil || closed {
		return
	}
	what, sessions := "lost", "1 session"
	if key.planned {
		what = "leaves"
	}
	if sum.sessions > 1 {
		sessions = fmt.Sprintf("%d sessions", sum.sessions)
	}
	m.cfg.Notify("%s %s; layers %d–%d of %s moved to %s in %.1f s (%d tokens replayed)",
		key.lost, what, key.span.Start, key.span.End, sessions, key.moved, sum.pause.Seconds(), sum.tokens)
}
