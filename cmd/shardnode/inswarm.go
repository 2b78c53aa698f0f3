package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/member"
	"github.com/shardnode/shardnode/shard/sample"
)

// swarmFor returns a client of the member of this home and the model's name
// there, or nil: when none runs, its swarm does not serve the model, or the user
// says where to run.
func (a *app) swarmFor(ctx context.Context, f *runFlags, ref string) (*controlClient, string) {
	if f.peers != 0 || f.split != "auto" || f.kvType != 0 || f.quant.String() != "" {
		return nil, ""
	}
	c, err := a.dialControl()
	if err != nil {
		return nil, ""
	}
	var st statusJSON
	if err := c.call(ctx, "GET", "/ps", nil, &st); err != nil {
		return nil, "" // it is just starting or ending
	}
	name := modelName(ref)
	for _, m := range st.Models {
		if m.Model == name || m.Model == member.ClipName(name) {
			return c, m.Model
		}
	}
	return nil, ""
}

// runInSwarm answers with the member of this home, if one runs and its swarm
// serves the model. It reports false when not: this machine does it then.
func (a *app) runInSwarm(ctx context.Context, f *runFlags, params sample.Params, form generate.Constraint, ref, prompt string) (bool, error) {
	c, name := a.swarmFor(ctx, f, ref)
	if c == nil {
		return false, nil
	}
	req := generateJSON{Model: name, MaxTokens: f.maxTokens, Sampling: params, Stop: f.stop, Form: form}
	switch {
	case f.ids != "":
		ids, err := parseIDs("ids", f.ids, maxVocab)
		if err != nil {
			return true, err
		}
		req.IDs = ids
	case f.raw:
		req.Raw, req.Prompt = true, prompt
	default:
		if f.system != "" {
			req.Messages = append(req.Messages, chat.Message{Role: "system", Content: f.system})
		}
		req.Messages = append(req.Messages, chat.Message{Role: "user", Content: prompt})
	}
	res, err := a.stream(ctx, c, req, f.outputFlags)
	if err == nil && !f.json {
		a.summary(res)
		a.notify("over %s", routeText(res.Route))
	}
	return true, err
}

// maxVocab is above every vocabulary; the member checks against its own.
const maxVocab = 1 << 24

// routeText returns a route for people.
func routeText(route []stageJSON) string {
	text := ""
	for i, s := range route {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%s layers %d-%d", s.Name, s.Start, s.End)
	}
	return text
}

// stream asks a member for an answer and prints it as it comes. An answer that
// breaks off is returned as far as it came.
func (a *app) stream(ctx context.Context, c *controlClient, req generateJSON, out outputFlags) (answerJSON, error) {
	pieces := map[shard.Token]string{}
	pr := &printer{app: a, flags: out, tokens: func(t shard.Token) string { return pieces[t] }}
	res := (&place{name: req.Model}).noAnswer(req.IDs, req.Sampling.Seed)
	fail := func(err error) (answerJSON, error) {
		res.Error, res.FinishReason, res.Logprobs = err.Error(), string(generate.Failed), pr.logprobs
		if _, wrong := errors.AsType[*usageError](err); wrong || pr.n == 0 && !out.json {
			return res, err // there is no answer to end
		}
		return res, errors.Join(err, pr.end(res))
	}
	resp, err := c.send(ctx, "POST", "/generate", req)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	waiting := ""
	for {
		e, err := nextEvent(ctx, lines)
		if err != nil {
			return fail(err)
		}
		switch {
		case e.Token != nil:
			pieces[e.Token.ID] = e.Piece
			res.Text += e.Token.Text
			if e.Token.ID >= 0 {
				res.IDs = append(res.IDs, e.Token.ID)
			}
			if err := pr.token(*e.Token); err != nil {
				return res, err
			}
		case e.Answer != nil:
			res = *e.Answer
			if e.Failed != nil {
				return fail(e.Failed.err())
			}
			res.Logprobs = pr.logprobs
			return res, pr.end(res)
		case e.Waiting != "" && e.Waiting != waiting:
			waiting = e.Waiting
			a.notify("%s", waiting)
		}
	}
}

// nextEvent reads the next line of an answer.
func nextEvent(ctx context.Context, lines *json.Decoder) (eventJSON, error) {
	var e eventJSON
	err := lines.Decode(&e)
	switch {
	case err == nil:
		return e, nil
	case ctx.Err() != nil:
		return e, context.Cause(ctx)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("it ended")
	}
	return e, memberGone("broke off the answer", err)
}
