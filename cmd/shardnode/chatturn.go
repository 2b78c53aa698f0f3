package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/generate"
)

// errStopped is why an answer ends that the person stopped.
var errStopped = errors.New("stopped")

// turn answers text. It returns an error only when the conversation can't go
// on; all else is said to the person.
func (ch *chatter) turn(ctx context.Context, text string) error {
	ch.turns = append(ch.turns, chat.Message{Role: "user", Content: text})
	answer, err := ch.answer(ctx)
	ch.last = &answer
	_, printErr := io.WriteString(ch.app.stdout, "\n\n")
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errStopped):
		ch.remark("stopped")
	case err != nil:
		if _, ok := errors.AsType[*shard.StageError](err); ok {
			return hint(err, "the conversation's KV cache is gone with the peer; start the chat again")
		}
		ch.app.report(err)
	case answer.Finish == generate.AtLength && ch.ask == nil && len(answer.IDs) < ch.most:
		ch.remark("the context of %d tokens is full", ch.room)
	case answer.Finish == generate.AtLength:
		ch.remark("cut after %d tokens: raise --max-tokens for more", ch.most)
	}
	if answer.Text == "" && err != nil {
		ch.turns = ch.turns[:len(ch.turns)-1] // nothing was answered
	} else {
		ch.turns = append(ch.turns, chat.Message{Role: "assistant", Content: answer.Text})
	}
	return printErr
}

// answer streams the answer to what was said, which Ctrl-C stops.
func (ch *chatter) answer(ctx context.Context) (generate.Answer, error) {
	var ids []shard.Token
	var err error
	if ch.ask == nil {
		if ids, err = ch.prompt(); err != nil {
			return generate.Answer{}, err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	restore := ch.app.interrupts.divert(func() { cancel(errStopped) })
	defer restore()
	if ch.ask != nil {
		return ch.ask(ctx, ch.messages())
	}
	form, err := ch.place.text.Form(ch.form)
	if err != nil {
		return generate.Answer{}, err
	}
	req := generate.Request{Prompt: ids, MaxTokens: ch.most, Sampling: ch.params, Stop: ch.stop, Form: form}
	a, err := ch.timeline.Run(ctx, req, func(t generate.Token) error {
		_, err := io.WriteString(ch.app.stdout, strings.Map(printable, t.Text))
		return err
	})
	ch.used = len(ids) + len(a.IDs)
	return a, err
}

// messages returns the conversation as the template takes it.
func (ch *chatter) messages() []chat.Message {
	var out []chat.Message
	if ch.system != "" {
		out = append(out, chat.Message{Role: "system", Content: ch.system})
	}
	return append(out, ch.turns...)
}

// prompt returns the tokens of the conversation. When they leave no room for
// an answer, the oldest turns are forgotten.
func (ch *chatter) prompt() ([]shard.Token, error) {
	room := ch.room - min(ch.most, ch.room/8) - 1
	for forgotten := 0; ; forgotten++ {
		ids, err := ch.place.chatIDs(ch.messages())
		if err != nil {
			return nil, err
		}
		if len(ids) <= room || len(ch.turns) <= 1 && len(ids) < ch.room {
			if forgotten > 0 {
				ch.remark("the context of %d tokens is full: the oldest %d questions are forgotten", ch.room, forgotten)
			}
			return ids, nil
		}
		if len(ch.turns) <= 1 {
			return nil, hint(fmt.Errorf("the message makes a prompt of %d tokens, the chat has room for %d", len(ids), ch.room), "say it in fewer words")
		}
		ch.turns = ch.turns[2:]
	}
}

// printable drops what could command a terminal.
func printable(r rune) rune {
	if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
		return -1
	}
	return r
}
