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
	"github.com/shardnode/shardnode/transport"
)

// A Route is the stages of a session and what they should give.
type Route struct {
	Stages    []pipeline.Stage
	Predicted scheduler.Predicted
}

// NoRouteError says why no session can be opened now, and what is waited for.
type NoRouteError struct{ Text string }

// Error says what is missing.
func (e *NoRouteError) Error() string { return e.Text }

// A SessionConfig says what session to open.
type SessionConfig struct {
	// Model is one of the swarm's. Default: this member's own.
	Model shard.ModelID
	// Tokens is how many positions it has room for.
	Tokens int
	// Prompt is what it begins with; nil if that is not known.
	Prompt []shard.Token
	// PeerTimeout bounds how long it waits for layers that are lost while it
	// runs. Default: 30 s.
	PeerTimeout time.Duration
	// Waiting, if set, hears what it waits for then. It is called by whoever
	// drives the session.
	Waiting func(what string)
}

// Open opens a session over the swarm. [pipeline.Session.Ready] says how much of
// the prompt the stages have from an earlier session of this member. When a peer
// refuses or is not there any more, the next best route is tried; when one is
// lost later, others take its place.
func (m *Member) Open(ctx context.Context, c SessionConfig) (*pipeline.Session, Route, error) {
	about, err := m.Learn(ctx, c.Model)
	if err != nil {
		return nil, Route{}, &NoRouteError{Text: err.Error()}
	}
	var avoid []scheduler.ID
	for _, p := range m.shunnedNow() {
		avoid = append(avoid, scheduler.ID(p.String()))
	}
	if _, err := m.route(about, c.Tokens, len(c.Prompt), avoid); err != nil {
		avoid = nil // rather those that were late once
	}
	for {
		route, err := m.route(about, c.Tokens, len(c.Prompt), avoid)
		if err != nil {
			return nil, route, err
		}
		sess, err := pipeline.Open(ctx, pipeline.Config{
			Self: m.cfg.Node.ID(), Name: m.cfg.Name, Dial: m.dial, Model: about.ID, KV: m.cfg.KV, Route: route.Stages, MaxTokens: c.Tokens,
			Prefix: c.Prompt, Secret: m.secret, PeerTimeout: c.PeerTimeout, Healed: m.healed,
			Observed: func(st pipeline.Stage, token time.Duration) { m.observed(about, st, token) },
			Repair: func(ctx context.Context, b pipeline.Broken) ([]pipeline.Stage, error) {
				waiting := c.Waiting
				if b.Leaving { // nothing waits
					waiting = nil
				}
				return m.repair(ctx, about, b, waiting)
			},
		})
		if err == nil {
			m.foresee(about, &route, sess, c.Tokens, len(c.Prompt), avoid)
			return sess, route, nil
		}
		stage := stageError(err)
		if ctx.Err() != nil || stage == nil || stage.Peer.IsZero() || len(avoid) >= hop.MaxStages {
			return nil, route, err
		}
		m.cfg.Logger.Warn().Stringer("peer", stage.Peer).Err(err).Msg("peer refused a session, routing anew")
		next := append(avoid, scheduler.ID(stage.Peer.String()))
		if _, again := m.route(about, c.Tokens, len(c.Prompt), next); again != nil {
			return nil, route, err // the peer's own reason says more than "no route"
		}
		avoid = next
	}
}

// foresee predicts anew for a session that need not compute its whole prompt.
func (m *Member) foresee(about *About, r *Route, sess *pipeline.Session, tokens, prompt int, avoid []scheduler.ID) {
	if sess.Ready() == 0 {
		return
	}
	again, err := m.route(about, tokens, prompt-int(sess.Ready()), avoid)
	if err == nil && slices.EqualFunc(again.Stages, r.Stages, func(a, b pipeline.Stage) bool { return a.Peer == b.Peer && a.Span == b.Span }) {
		r.Predicted = again.Predicted
	}
}

// route chooses the stages of a session of a model.
func (m *Member) route(about *About, tokens, prompt int, avoid []scheduler.ID) (Route, error) {
	v := m.viewOf(about)
	v.prompt = prompt
	layout, predicted, err := v.route(tokens, avoid)
	if err != nil {
		return Route{}, &NoRouteError{Text: err.Error() + v.unlike()}
	}
	out := Route{Predicted: predicted}
	for _, a := range layout {
		st, err := v.stage(a)
		if err != nil {
			return out, err
		}
		out.Stages = append(out.Stages, st)
	}
	return out, nil
}

// Status is a member's picture of itself and its swarm.
type Status struct {
	Self    shard.PeerID
	Swarm   transport.SwarmID
	Doing   string // what this member does or waits for
	Members []gossip.Member
	Model   *About // of this member; nil while it is not known
	// MinHolders is the number of members that answer for the layer that has
	// the fewest.
	MinHolders int
	// Models are all of the swarm, this member's own first.
	Models   []Model
	Sessions int // whose stages run here
}

// Status returns m's picture of the swarm now.
func (m *Member) Status() Status {
	m.mu.Lock()
	about, doing := m.about, m.status
	m.mu.Unlock()
	s := Status{
		Self: m.cfg.Node.ID(), Swarm: m.cfg.Node.Membership().Swarm(), Doing: doing,
		Members: m.gossip.View(), Model: about, Sessions: m.node.Sessions(),
	}
	s.Models = m.models(s.Members)
	if about != nil {
		v := m.view()
		s.MinHolders = v.holders(0)
		for l := range about.Config.Layers {
			s.MinHolders = min(s.MinHolders, v.holders(shard.Layer(l)))
		}
		s.Models[0].MinHolders = s.MinHolders
	}
	return s
}

// Plan returns the layout that sessions take now, with its reasons, and how
// long the planner took.
func (m *Member) Plan() (scheduler.Result, time.Duration, error) {
	m.mu.Lock()
	known := m.about != nil
	m.mu.Unlock()
	if !known {
		return scheduler.Result{}, 0, fmt.Errorf("the swarm's model is not known yet")
	}
	began := time.Now()
	v := m.view()
	res, err := v.plan()
	for i, why := range res.Reasons {
		id, _, _ := strings.Cut(why, " ")
		for _, g := range v.members {
			if g.Peer.String() == id && !g.Advert.Pinned {
				res.Reasons[i] = strings.Replace(why, "pinned by its owner", "it holds them now", 1)
			}
		}
	}
	return res, time.Since(began), err
}

// View returns what the planner sees of the swarm now.
func (m *Member) View() (scheduler.View, error) {
	m.mu.Lock()
	known := m.about != nil
	m.mu.Unlock()
	if !known {
		return scheduler.View{}, fmt.Errorf("the swarm's model is not known yet")
	}
	return m.view().peers(func(*gossip.Member) shard.Span { return shard.Span{} }), nil
}
