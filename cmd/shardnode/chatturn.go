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
	ids, err := ch.prompt()
	if err != nil {
		ch.turns = ch.turns[:len(ch.turns)-1]
		ch.app.report(err)
		return nil
	}
	answer, err := ch.answer(ctx, ids)
	ch.last, ch.used = &answer, len(ids)+len(answer.IDs)
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
	case answer.Finish == generate.AtLength && len(answer.IDs) < ch.most:
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

// answer streams the answer to the prompt ids.
func (ch *chatter) answer(ctx context.Context, ids []shard.Token) (generate.Answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	restore := ch.app.interrupts.divert(func() { cancel(errStopped) })
	defer restore()
	req := generate.Request{Prompt: ids, MaxTokens: ch.most, Sampling: ch.params, Stop: ch.stop}
	return ch.timeline.Run(ctx, req, func(t generate.Token) error {
		_, err := io.WriteString(ch.app.stdout, strings.Map(printable, t.Text))
		return err
	})
}

// prompt returns the tokens of the conversation. When they leave no room for
// an answer, the oldest turns are forgotten.
func (ch *chatter) prompt() ([]shard.Token, error) {
	room := ch.room - min(ch.most, ch.room/8) - 1
	for forgotten := 0; ; forgotten++ {
		var messages []chat.Message
		if ch.system != "" {
			messages = append(messages, chat.Message{Role: "system", Content: ch.system})
		}
		ids, err := ch.place.chatIDs(append(messages, ch.turns...))
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
