package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/openai"
)

// backend is the HTTP API's view of a member.
type backend struct{ s *server }

// learnTime bounds how long a request waits for what must be known of a model
// of other members.
const learnTime = 20 * time.Second

// Models returns the swarm's models.
func (b backend) Models() []openai.Model {
	var out []openai.Model
	for _, x := range b.s.member.Models() {
		m := openai.Model{ID: x.Name}
		if about := x.About; about != nil {
			m.Created, m.Text, m.ContextTokens = about.Since, about.Text, about.Config.Context
		} else {
			m.Learn = func() (*generate.Text, int, error) { return b.learn(x.ID) }
		}
		out = append(out, m)
	}
	return out
}

// learn asks other members for what must be known of a model. It goes on when
// the request is gone: the next one has it.
func (b backend) learn(id shard.ModelID) (*generate.Text, int, error) {
	ctx, stop := context.WithTimeoutCause(context.Background(), learnTime, fmt.Errorf("nobody answered within %v", learnTime))
	defer stop()
	about, err := b.s.member.Learn(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	return about.Text, about.Config.Context, nil
}

// Open opens a session over the swarm.
func (b backend) Open(ctx context.Context, o openai.OpenRequest) (openai.Session, error) {
	m, err := b.s.member.Find(o.Model)
	if err != nil { // its last member has left since
		return nil, &openai.UnavailableError{Reason: err.Error(), RetryAfter: 5 * time.Second}
	}
	sess, _, err := b.s.openSession(ctx, m.Name, member.SessionConfig{Model: m.ID, Tokens: o.Tokens, Prompt: o.Prompt, Waiting: o.Waiting})
	if missing, ok := errors.AsType[*member.NoRouteError](err); ok {
		return nil, &openai.UnavailableError{Reason: missing.Text, RetryAfter: 5 * time.Second}
	}
	if err != nil {
		return nil, err
	}
	return sess, nil
}
