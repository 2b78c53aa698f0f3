package main

import (
	"context"
	"time"

	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/generate"
)

// chatInSwarm keeps a chat with the member of this home, if one runs and its
// swarm serves the model. It reports false when not. Every answer is a session
// of its own there, which begins with what the stages kept of the one before.
func (a *app) chatInSwarm(ctx context.Context, f *runFlags, ch *chatter, ref string) (bool, error) {
	c, name := a.swarmFor(ctx, f, ref)
	if c == nil {
		return false, nil
	}
	ch.name = name
	ch.ask = func(ctx context.Context, messages []chat.Message) (generate.Answer, error) {
		res, err := a.stream(ctx, c, generateJSON{
			Model: name, MaxTokens: ch.most, Sampling: ch.params, Stop: ch.stop, Messages: messages, Form: ch.form,
		}, outputFlags{})
		ch.route = res.Route
		return res.generated(), err
	}
	a.notify("%s, over the swarm of this home. /help says what you can do, /bye ends.", name)
	return true, ch.talk(ctx)
}

// generated returns an answer of a member as package generate has it.
func (r answerJSON) generated() generate.Answer {
	t := r.Timings
	return generate.Answer{IDs: r.IDs, Text: r.Text, Finish: generate.Finish(r.FinishReason), Times: generate.Times{
		TTFT: ofMillis(t.TTFTms), PromptTokens: t.PromptTokens, CachedTokens: t.CachedTokens, Prompt: ofMillis(t.PromptMS),
		DecodeTokens: t.DecodeTokens, Decode: ofMillis(t.DecodeMS),
	}}
}

// ofMillis is the reverse of millis.
func ofMillis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
