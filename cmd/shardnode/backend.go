package main

import (
	"context"
	"errors"
	"time"

	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/openai"
)

// backend is the HTTP API's view of a member.
type backend struct{ s *server }

// Models returns the swarm's model, once it is known.
func (b backend) Models() []openai.Model {
	about := b.s.member.Status().Model
	if about == nil {
		return nil
	}
	return []openai.Model{{ID: about.Name, Created: about.Since, Text: about.Text, ContextTokens: about.Config.Context}}
}

// Open opens a session over the swarm.
func (b backend) Open(ctx context.Context, o openai.OpenRequest) (openai.Session, error) {
	name := ""
	if about := b.s.member.Status().Model; about != nil {
		name = about.Name
	}
	sess, _, err := b.s.openSession(ctx, name, o.Tokens, o.Prompt, o.Waiting)
	if missing, ok := errors.AsType[*member.NoRouteError](err); ok {
		return nil, &openai.UnavailableError{Reason: missing.Text, RetryAfter: 5 * time.Second}
	}
	if err != nil {
		return nil, err
	}
	return sess, nil
}
