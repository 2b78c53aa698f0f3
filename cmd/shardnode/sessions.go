package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/openai"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/web"
)

// session is what a member opens.
type session = openai.Session

// sessionJSON is a session that this member drives, as `ps --json` shows it.
type sessionJSON struct {
	ID     string   `json:"id"`
	Model  string   `json:"model"`
	Tokens int      `json:"tokens"` // positions that are reserved
	AgeMS  float64  `json:"age_ms"`
	Route  []string `json:"route"` // names of the members
}

// drives are the sessions that a member drives now, and what they and those
// before them came to.
type drives struct {
	metrics *metrics

	mu     sync.Mutex // guards what follows
	now    []*driven  // oldest first
	totals web.Totals
	links  []web.Link // of the last session on each
	last   *traceJSON // the session that ended last
}

// A driven is a session that is listed until it is closed.
type driven struct {
	*pipeline.Session

	model string
	room  int // positions
	began time.Time
	list  *drives

	mu      sync.Mutex // guards what follows
	waiting string
	pos     int
	opened  time.Duration // how long opening took
	steps   []stepJSON    // the newest, at most maxSteps
	route   member.Route
}

// add lists sess, which took opening to open.
func (d *drives) add(sess *driven, opening time.Duration) *driven {
	sess.began, sess.list, sess.opened = time.Now(), d, opening
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = append(d.now, sess)
	return sess
}

// Step is a step of the session, whose time is taken.
func (s *driven) Step(ctx context.Context, st pipeline.Step) (pipeline.Result, error) {
	began := time.Now()
	res, err := s.Session.Step(ctx, st)
	took := time.Since(began)
	s.mu.Lock()
	first := len(s.steps) == 0
	if err == nil {
		if len(s.steps) == maxSteps {
			s.steps = slices.Delete(s.steps, 1, maxSteps/2) // the first is the prompt
		}
		s.steps = append(s.steps, stepJSON{AtMS: millis(began.Sub(s.began)), MS: millis(took), Pos: int(st.Pos), Tokens: len(st.Tokens)})
		s.pos = int(st.Pos) + len(st.Tokens)
	}
	s.waiting = ""
	s.mu.Unlock()
	if err == nil {
		s.list.count(s.model, first, len(st.Tokens), time.Since(s.began), took)
	}
	return res, err
}

// count counts a step of tokens that took so long, of a session of that age.
func (d *drives) count(model string, first bool, tokens int, age, took time.Duration) {
	d.metrics.step(model, first, tokens, age, took)
	d.mu.Lock()
	defer d.mu.Unlock()
	if first || tokens > 1 {
		d.totals.Prompts += uint64(tokens)
	}
	d.totals.Tokens++ // each step gives one
}

// Close closes the session, which is not listed any more.
func (s *driven) Close(ctx context.Context) pipeline.Stats {
	stats := s.Session.Close(ctx)
	trace := s.trace(stats)
	d := s.list
	d.metrics.ended(s.model, stats)
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.Index(d.now, s)
	if i < 0 {
		return stats // it was closed before
	}
	d.now = slices.Delete(d.now, i, i+1)
	d.totals.Answers++
	d.totals.Recoveries += uint64(len(stats.Recoveries))
	if n := len(trace.Steps); n > 1 || n > 0 && d.last == nil { // a probe is no answer
		d.last = trace
	}
	for _, h := range stats.Hops {
		if h.Steps > 0 {
			d.link(h, time.Since(s.began))
		}
	}
	return stats
}

// link keeps what the last session that used a hop measured. The caller holds
// the lock.
func (d *drives) link(h pipeline.HopStats, age time.Duration) {
	l := web.Link{
		From: h.From.String(), To: h.To.String(), Steps: h.Steps, Bytes: h.Bytes, Codec: h.Codec, P50ms: h.P50ms, P99ms: h.P99ms,
		BytesPS: float64(h.Bytes) / age.Seconds(),
	}
	i := slices.IndexFunc(d.links, func(x web.Link) bool { return x.From == l.From && x.To == l.To })
	if i < 0 {
		d.links = append(d.links, l)
		return
	}
	d.links[i] = l
}

// sessions returns what is listed, oldest first.
func (d *drives) sessions() []*driven {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.now)
}

// all returns the sessions as `ps` shows them, oldest first.
func (d *drives) all() []sessionJSON {
	out := []sessionJSON{}
	for _, s := range d.sessions() {
		x := sessionJSON{ID: s.ID().String(), Model: s.model, Tokens: s.room, AgeMS: millis(time.Since(s.began)), Route: []string{}}
		for _, st := range s.Route() {
			x.Route = append(x.Route, st.Name)
		}
		out = append(out, x)
	}
	slices.SortStableFunc(out, func(a, b sessionJSON) int { return cmp.Compare(b.AgeMS, a.AgeMS) })
	return out
}

// wait notes what the session waits for.
func (s *driven) wait(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = what
}

// openSession opens a session of the model that is called so, waiting for a
// route up to --peer-timeout.
func (s *server) openSession(ctx context.Context, model string, c member.SessionConfig) (session, member.Route, error) {
	ctx, stop := context.WithTimeout(ctx, s.flags.peerTimeout)
	defer stop()
	began := time.Now()
	out := &driven{model: model, room: c.Tokens}
	waiting := c.Waiting
	hear := func(what string) {
		out.wait(what)
		if waiting != nil {
			waiting(what)
		}
	}
	c.PeerTimeout, c.Waiting = s.flags.peerTimeout, hear
	for {
		changed := s.member.Changed()
		sess, route, err := s.member.Open(ctx, c)
		if err == nil {
			out.Session, out.route, out.pos = sess, route, int(sess.Ready())
			return s.drives.add(out, time.Since(began)), route, nil
		}
		missing, ok := errors.AsType[*member.NoRouteError](err)
		if !ok {
			s.drives.failed()
			return nil, route, err
		}
		hear(missing.Text)
		select {
		case <-ctx.Done():
			s.drives.failed()
			return nil, route, missing
		case <-changed:
		}
	}
}

// failed counts a session that could not be opened.
func (d *drives) failed() {
	d.metrics.refused()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.totals.Failures++
}
