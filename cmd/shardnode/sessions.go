package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/openai"
	"github.com/shardnode/shardnode/shard/pipeline"
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

// drives are the sessions that a member drives now.
type drives struct {
	mu  sync.Mutex // guards what follows
	now map[*driven]sessionJSON
}

// A driven is a session that is listed until it is closed.
type driven struct {
	session

	began time.Time
	list  *drives
}

// add lists sess.
func (d *drives) add(sess *pipeline.Session, about sessionJSON) *driven {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := &driven{session: sess, began: time.Now(), list: d}
	if d.now == nil {
		d.now = map[*driven]sessionJSON{}
	}
	d.now[out] = about
	return out
}

// Close closes the session, which is not listed any more.
func (s *driven) Close(ctx context.Context) pipeline.Stats {
	defer func() {
		s.list.mu.Lock()
		defer s.list.mu.Unlock()
		delete(s.list.now, s)
	}()
	return s.session.Close(ctx)
}

// all returns the sessions, oldest first.
func (d *drives) all() []sessionJSON {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []sessionJSON{}
	for s, about := range d.now {
		about.AgeMS = millis(time.Since(s.began))
		out = append(out, about)
	}
	slices.SortFunc(out, func(a, b sessionJSON) int {
		return cmp.Or(cmp.Compare(b.AgeMS, a.AgeMS), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// openSession opens a session with room for tokens that begins with prompt,
// waiting for a route up to --peer-timeout. waiting, if set,
// hears what for.
func (s *server) openSession(ctx context.Context, model string, tokens int, prompt []shard.Token, waiting func(string)) (session, member.Route, error) {
	ctx, stop := context.WithTimeout(ctx, s.flags.peerTimeout)
	defer stop()
	for {
		changed := s.member.Changed()
		sess, route, err := s.member.Open(ctx, member.SessionConfig{
			Tokens: tokens, Prompt: prompt, PeerTimeout: s.flags.peerTimeout, Waiting: waiting,
		})
		if err == nil {
			about := sessionJSON{ID: sess.ID().String(), Model: model, Tokens: tokens}
			for _, st := range route.Stages {
				about.Route = append(about.Route, st.Name)
			}
			return s.drives.add(sess, about), route, nil
		}
		missing, ok := errors.AsType[*member.NoRouteError](err)
		if !ok {
			return nil, route, err
		}
		if waiting != nil {
			waiting(missing.Text)
		}
		select {
		case <-ctx.Done():
			return nil, route, missing
		case <-changed:
		}
	}
}
