package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/shardnode/shardnode/scheduler"
	"github.com/shardnode/shardnode/scheduler/gossip"
	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/web"
	"github.com/shardnode/shardnode/transport"
)

var _ web.Source = (*server)(nil)

// withPages returns api with the pages and /metrics before it.
func (s *server) withPages(ctx context.Context, api http.Handler, key string) (http.Handler, error) {
	h, err := web.New(web.Config{Source: s, API: api, Metrics: s.drives.metrics.handler(), Key: key, Logger: s.log})
	if err != nil {
		return nil, err
	}
	s.pages.Store(h)
	ctx, cancel := context.WithCancel(ctx)
	s.servers.Go(func() { h.Watch(ctx) })
	s.onClose(cancel)
	return h, nil
}

// helloPages says where the pages are; the key is in the link for a terminal
// alone, for what is written to a log stays there.
func (s *server) helloPages() {
	home := s.homeNow()
	if isTerminal(s.app.stderr) {
		s.app.notify("chat and swarm pages: %s", home.Pages)
		return
	}
	s.say("chat page http://%v/, swarm page http://%v/swarm", s.api.Addr(), s.api.Addr())
}

// homeJSON is where the member of a home answers.
type homeJSON struct {
	API     string `json:"api"`
	KeyFile string `json:"api_key_file"`
	Pages   string `json:"pages"` // a link that brings the key
}

func (s *server) homeNow() homeJSON {
	key, _ := apiKey(s.keyFile) // it was read before
	return homeJSON{API: "http://" + s.api.Addr().String() + "/v1", KeyFile: s.keyFile, Pages: s.pagesURL(key)}
}

// pagesURL returns where the pages are, with the key for a browser that has not
// got it: it stands behind the #, which browsers do not send.
func (s *server) pagesURL(key string) string {
	at := s.api.Addr().String()
	if tcp, ok := s.api.Addr().(*net.TCPAddr); ok {
		at = dialable(tcp.AddrPort())
	}
	key, _, _ = strings.Cut(key, "\n") // the first of several
	return "http://" + at + "/#key=" + strings.TrimSpace(key)
}

// noteEvent writes down what a person is told, for the swarm page and `top`.
// What kind it is of only chooses its colour.
func (s *server) noteEvent(text string) {
	kind := web.KindNotice
	switch {
	case strings.Contains(text, " moved to "):
		kind = web.KindHeal
	case strings.HasPrefix(text, "loading ") || strings.HasPrefix(text, "fetching ") || strings.HasPrefix(text, "hashing "):
		kind = web.KindLoad
	case strings.HasPrefix(text, "layers ") || strings.HasPrefix(text, "waiting: "):
		kind = web.KindPlan
		s.plans.Add(1)
	}
	if h := s.pages.Load(); h != nil {
		h.Note(kind, text)
	}
}

// Changed returns a channel that is closed when [server.Swarm] has changed.
func (s *server) Changed() <-chan struct{} { return s.member.Changed() }

// Swarm returns the swarm as this member sees it.
func (s *server) Swarm() web.Swarm {
	st := s.member.Status()
	out := web.Swarm{
		At: time.Now().UnixMilli(), Self: st.Self.String(), Swarm: st.Swarm.String(), Doing: st.Doing, MayInvite: s.admitter != nil,
		Peers: []web.Peer{}, Sessions: []web.Session{},
	}
	var weigh func(shard.Span) int64
	if m := st.Model; m != nil {
		weigh = s.weigher(m)
		out.Model = &web.Model{
			Name: m.Name, Layers: m.Config.Layers, ContextTokens: m.Config.Context, MinHolders: st.MinHolders,
			Bytes: weigh(shard.Span{End: shard.Layer(m.Config.Layers)}), Holders: make([]int, m.Config.Layers),
		}
	}
	for i := range st.Members {
		if g := &st.Members[i]; st.Model != nil && g.Advert.Model != st.Model.ID {
			// The picture is of one model: layers of others are not its.
			g.Advert.Span, g.Advert.Planned = shard.Span{}, shard.Span{}
		}
		p := s.webPeer(&st.Members[i], weigh)
		out.Peers = append(out.Peers, p)
		if out.Model != nil && p.Alive && (p.State == "serving" || p.State == "draining") && st.Members[i].Advert.Model == st.Model.ID {
			for l := p.Span[0]; l < min(p.Span[1], len(out.Model.Holders)); l++ {
				out.Model.Holders[l]++
			}
		}
	}
	for _, d := range s.drives.sessions() {
		x := d.web()
		out.Sessions = append(out.Sessions, x)
		out.Totals.TokS += x.TokS
	}
	s.drives.addTo(&out, time.Since(s.began))
	for i := range out.Links {
		out.Links[i].RTTms = roundTrip(&out, &out.Links[i])
	}
	return out
}

// roundTrip returns what this member measured of a link, 0 for links between
// others.
func roundTrip(v *web.Swarm, l *web.Link) float64 {
	for i := range v.Peers {
		p := &v.Peers[i]
		if l.From == v.Self && l.To == p.Peer || l.To == v.Self && l.From == p.Peer {
			return p.RTTms
		}
	}
	return 0
}

// weigher returns what spans of m weigh in memory.
func (s *server) weigher(m *member.About) func(shard.Span) int64 {
	if w := s.weights.Load(); w != nil && w.model == m {
		return w.of
	}
	plan := member.PlanModel(m.Name, m.Manifest.Index, m.Config, 0)
	w := &weighed{model: m, of: func(span shard.Span) int64 {
		if int(span.End) > plan.Layers {
			return 0 // a member with another picture of the model
		}
		return spanBytes(plan, span)
	}}
	s.weights.Store(w)
	return w.of
}

// A weighed is a model of which it is known what its layers weigh.
type weighed struct {
	model *member.About
	of    func(shard.Span) int64
}

// webPeer returns what the pages show of a member.
func (s *server) webPeer(m *gossip.Member, weigh func(shard.Span) int64) web.Peer {
	a := &m.Advert
	p := web.Peer{
		Peer: m.Peer.String(), Name: cmp.Or(a.Name, m.Peer.Short()), State: stateOf(m), Alive: m.Alive,
		Span: [2]int{int(a.Span.Start), int(a.Span.End)}, Planned: [2]int{int(a.Planned.Start), int(a.Planned.End)},
		Pinned: a.Pinned, Ready: a.Ready, MemoryBytes: a.MemoryBytes, FreeBytes: a.FreeBytes,
		DecodeMS: millis(a.Decode), PrefillMS: millis(a.Prefill), RTTms: millis(m.RTT), KVTokens: a.KVFreeTokens, Threads: a.Threads,
	}
	if !m.Since.IsZero() {
		p.Since = m.Since.UnixMilli()
	}
	if len(a.Addrs) > 0 {
		p.Addr = a.Addrs[0].String()
	}
	if m.Alive {
		p.Sessions = a.Sessions
	}
	if weigh != nil && m.Alive && a.Planned.Len() > 0 && a.Planned != a.Span {
		p.WantBytes = weigh(a.Planned)
		p.DoneBytes = p.WantBytes * int64(a.Ready) / 100
	}
	p.BytesPerSec = s.rates.of(p.Peer, p.Planned, p.DoneBytes, time.Now())
	return p
}

// stateOf returns the state that people are shown.
func stateOf(m *gossip.Member) string {
	switch {
	case m.Alive:
		return m.Advert.State.String()
	case m.Left:
		return "left"
	}
	return "lost"
}

// web returns what the pages show of a session.
func (s *driven) web() web.Session {
	s.mu.Lock()
	out := web.Session{
		ID: s.ID().String(), Model: s.model, Room: s.room, Pos: s.pos, AgeMS: millis(time.Since(s.began)), Route: []web.Stage{}, Paused: s.waiting,
		TokS: s.rate(),
	}
	s.mu.Unlock()
	for _, st := range s.Route() {
		out.Route = append(out.Route, web.Stage{Peer: st.Peer.String(), Name: st.Name, Start: int(st.Span.Start), End: int(st.Span.End)})
	}
	return out
}

// rateSteps is how many of the last steps a session's rate is taken from.
const rateSteps = 16

// rate returns the tokens a second of the last steps, 0 when the last is long
// ago. The caller holds the lock.
func (s *driven) rate() float64 {
	last := s.steps[max(0, len(s.steps)-rateSteps):]
	if len(last) < 2 {
		return 0
	}
	end := last[len(last)-1]
	if millis(time.Since(s.began))-end.AtMS-end.MS > 3000 {
		return 0
	}
	return 1000 * float64(len(last)-1) / max(end.AtMS+end.MS-last[0].AtMS-last[0].MS, 1e-3)
}

// addTo adds to a picture what the sessions came to.
func (d *drives) addTo(out *web.Swarm, uptime time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out.Links = append([]web.Link{}, d.links...)
	rate := out.Totals.TokS
	out.Totals = d.totals
	out.Totals.TokS, out.Totals.UptimeMS = rate, millis(uptime)
}

// Plan asks the planner for the swarm without some members and with others.
func (s *server) Plan(_ context.Context, w web.WhatIf) (web.Plan, error) {
	view, err := s.member.View()
	if err != nil {
		return web.Plan{}, err
	}
	if len(view.Peers) == 0 {
		return web.Plan{}, errors.New("no member has memory for layers")
	}
	names := shortNames(view.Peers)
	for i, p := range view.Peers {
		view.Peers[i].ID = names[p.ID]
	}
	c, err := s.app.editCluster(scheduler.Cluster{View: view}, w.Kill, w.Add)
	if err != nil {
		return web.Plan{}, err
	}
	began := time.Now()
	res, err := scheduler.Plan(c.View, scheduler.Params{Goal: scheduler.Spread, ContextTokens: pageTokens, PromptTokens: pagePrompt})
	if err != nil {
		return web.Plan{Impossible: err.Error()}, nil //nolint:nilerr // it is the answer
	}
	out := web.Plan{
		Layout: webLayout(res.Layout), TokSMany: res.Predicted.TokSMany, TokSOne: res.Predicted.TokSOne, TTFTms: res.Predicted.TTFTms,
		Limit: res.Predicted.Bottleneck, Reasons: append([]string{}, res.Reasons...), PlanMS: millis(time.Since(began)),
		Rejected: []web.Rejected{}, Idle: []string{},
	}
	for _, r := range res.Rejected {
		out.Rejected = append(out.Rejected, web.Rejected{Layout: webLayout(r.Layout), Why: r.Why})
	}
	for _, id := range res.Idle {
		out.Idle = append(out.Idle, string(id))
	}
	return out, nil
}

// What the what-if panel plans for: the KV cache of a session, and a prompt.
const (
	pageTokens = 2048
	pagePrompt = 512
)

func webLayout(l scheduler.Layout) []web.Stage {
	out := []web.Stage{}
	for _, a := range l {
		out = append(out, web.Stage{Name: string(a.Peer), Start: int(a.Span.Start), End: int(a.Span.End)})
	}
	return out
}

// Invite makes an invitation for the swarm page.
func (s *server) Invite(_ context.Context, i web.Invite) (web.Invited, error) {
	role, err := parseRole(i.Role)
	if err != nil {
		return web.Invited{}, err
	}
	if i.Uses < 1 || i.Uses > 1000 || !(i.Hours > 0 && i.Hours <= 24*365) {
		return web.Invited{}, fmt.Errorf("an invitation is for 1 to 1000 members and for up to a year, not for %d and %v hours", i.Uses, i.Hours)
	}
	inv, err := s.invite(transport.InviteSpec{Uses: i.Uses, Expires: time.Duration(i.Hours * float64(time.Hour)), Role: role})
	if err != nil {
		return web.Invited{}, err
	}
	return web.Invited{Line: inv.String(), ID: inv.ID.String(), Uses: inv.Uses, Role: inv.Role.String(), Expires: inv.Expires.UnixMilli()}, nil
}

// pictureNow is what `top` draws.
func (s *server) pictureNow() web.Picture {
	p := web.Picture{Swarm: s.Swarm(), Log: []web.Event{}}
	if h := s.pages.Load(); h != nil {
		p.Log = h.Log(0)
	}
	slices.SortStableFunc(p.Swarm.Peers, func(a, b web.Peer) int {
		return cmp.Or(cmp.Compare(orderOf(&a), orderOf(&b)), cmp.Compare(a.Name, b.Name))
	})
	return p
}

// orderOf puts members as their layers come, then those without, then those
// that are gone.
func orderOf(p *web.Peer) int {
	switch {
	case !p.Alive:
		return 1 << 20
	case p.Span[1] > p.Span[0]:
		return p.Span[0]
	case p.Planned[1] > p.Planned[0]:
		return p.Planned[0]
	}
	return 1 << 19
}
