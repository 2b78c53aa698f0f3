package main

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/shardnode/shardnode/transport"
)

// A likely is a command that one may want next, and why.
type likely struct{ command, why string }

// overview is `shardnode` alone: what runs here, and what one is likely to want.
func (a *app) overview(ctx context.Context) error {
	var b []byte
	next := []likely{
		{"shardnode demo", "three members on this machine tell a story: nothing to download"},
		{"shardnode run MODEL \"Why is the sky blue?\"", "one answer, on this machine (`shardnode models` lists some)"},
		{"shardnode serve MODEL", "be a member, with a chat page and an API, and invite others"},
	}
	if c, err := a.dialControl(); err == nil {
		if b, next, err = a.overviewMember(ctx, c); err != nil {
			return err
		}
	} else {
		b = fmt.Appendf(b, "no member runs in %s", a.home)
		m, err := transport.LoadMembership(a.home)
		if err == nil {
			b = fmt.Appendf(b, ", which belongs to the swarm %v", m.Swarm())
			next[2] = likely{"shardnode serve", "be a member of it again"}
		} else if !errors.Is(err, transport.ErrNoSwarm) {
			next[0] = likely{"shardnode doctor", "say what is wrong with this home: " + err.Error()}
		}
		b = append(b, '\n')
	}
	b = append(b, '\n')
	width := 0
	for _, n := range next {
		width = max(width, utf8.RuneCountInString(n.command))
	}
	for _, n := range next {
		b = fmt.Appendf(b, "  %-*s  %s\n", width, n.command, n.why)
	}
	b = append(b, "\nshardnode --help lists everything.\n"...)
	return write(a.stdout, b)
}

// overviewMember is overview where a member runs.
func (a *app) overviewMember(ctx context.Context, c *controlClient) ([]byte, []likely, error) {
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	var st statusJSON
	var home homeJSON
	if err := errors.Join(c.call(ctx, "GET", "/ps", nil, &st), c.call(ctx, "GET", "/home", nil, &home)); err != nil {
		return nil, nil, err
	}
	b := fmt.Appendf(nil, "a member runs in %s: %s\n", a.home, st.Doing)
	alive := 0
	for _, p := range st.Peers {
		if p.Alive {
			alive++
		}
	}
	covered, model := false, "MODEL"
	for _, m := range st.Models {
		if !covered { // the first that answers
			model, covered = m.Model, m.Covered
		}
		state := "answers"
		if !m.Covered {
			state = "some layers have no holder yet"
		}
		b = fmt.Appendf(b, "model     %s, %s: %s\n", m.Model, count(m.Layers, "layer"), state)
	}
	b = fmt.Appendf(b, "swarm     %s, %s, %s of this one\n", st.Swarm, count(alive, "member"), count(len(st.Sessions), "session"))
	b = fmt.Appendf(b, "API       %s, key in %s\n", home.API, home.KeyFile)
	if isTerminal(a.stdout) {
		b = fmt.Appendf(b, "pages     %s\n", home.Pages)
	}
	if !covered {
		return b, []likely{
			{"shardnode top", "see who holds and who loads what"},
			{"shardnode invite", "a line for somebody with memory for the rest"},
			{"shardnode doctor", "what is wrong, and what to do"},
		}, nil
	}
	return b, []likely{
		{fmt.Sprintf("shardnode run %s \"…\"", model), "ask it something"},
		{"shardnode top", "see who holds what, live"},
		{"shardnode invite", "a line for somebody who may join"},
	}, nil
}
