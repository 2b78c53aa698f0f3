package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/sample"
)

const (
	// chatTokens is the most positions that a chat reserves on every stage.
	chatTokens = 4096
	// leastChatTokens is what a chat needs to be one.
	leastChatTokens = 256
)

// A chatter keeps one conversation.
type chatter struct {
	app    *app
	place  *place
	lines  lineReader
	params sample.Params
	form   generate.Constraint
	stop   []string
	most   int // tokens of an answer

	system string
	turns  []chat.Message // user and assistant in turn
	name   string         // of the model
	route  []stageJSON    // of the last answer

	// ask answers a conversation by a member of the swarm; nil: place does it.
	ask func(ctx context.Context, messages []chat.Message) (generate.Answer, error)

	sess     *pipeline.Session
	timeline *generate.Timeline
	room     int
	last     *generate.Answer // for /show
	used     int              // positions that the last turn filled
}

// chat keeps a conversation on the terminal.
func (a *app) chat(ctx context.Context, f *runFlags, ref string, c placeConfig) error {
	switch {
	case f.json:
		return hint(usage("--json is for one answer"), "give a PROMPT")
	case f.raw:
		return hint(usage("a chat needs the model's template, and --raw leaves it out"), "give a PROMPT")
	}
	params, err := f.params()
	if err != nil {
		return err
	}
	form, err := f.constraint()
	if err != nil {
		return err
	}
	in, isFile := a.stdin.(*os.File)
	out, isFile2 := a.stdout.(*os.File)
	if !isFile || !isFile2 {
		return usage("there is no prompt")
	}
	ch := &chatter{
		app: a, lines: newTerminalLines(in, out), params: params, form: form, stop: f.stop, most: f.maxTokens, system: f.system,
	}
	if used, err := a.chatInSwarm(ctx, f, ch, ref); used {
		return err
	}
	if ch.place, err = openPlace(ctx, ref, c); err != nil {
		return err
	}
	defer ch.place.close()
	return ch.run(ctx)
}

// run keeps the conversation in a session at place.
func (ch *chatter) run(ctx context.Context) error {
	if err := ch.open(ctx); err != nil {
		return err
	}
	defer func() { ch.sess.Close(context.WithoutCancel(ctx)) }()
	ch.name = ch.place.name
	for _, s := range ch.place.route {
		ch.route = append(ch.route, stageJSON{Name: s.Name, Start: s.Span.Start, End: s.Span.End})
	}
	ch.app.notify("%s, room for %d tokens, ready after %.1f s. /help says what you can do, /bye ends.",
		ch.name, ch.room, ch.place.loaded.Seconds())
	return ch.talk(ctx)
}

// talk keeps the conversation until the person ends it.
func (ch *chatter) talk(ctx context.Context) error {
	for {
		text, err := ch.message(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		word, rest, isCommand := splitCommand(text)
		switch {
		case strings.TrimSpace(text) == "":
		case !isCommand:
			if err := ch.turn(ctx, text); err != nil {
				return err
			}
		case slices.Contains([]string{"bye", "exit", "quit"}, word):
			return nil
		default:
			ch.command(word, rest)
		}
	}
}

// open opens the session: as long as the model and memory allow.
func (ch *chatter) open(ctx context.Context) error {
	for room := min(ch.place.config.Context, chatTokens); ; room /= 2 {
		sess, err := ch.place.session(ctx, room)
		if err == nil {
			ch.sess, ch.room = sess, room
			ch.timeline = generate.NewTimeline(ch.place.text, sess, room)
			return nil
		}
		if shard.CodeOf(err) != shard.NoCapacity || room/2 < leastChatTokens {
			return err
		}
	}
}

// quotes begin and end a message of several lines.
const quotes = `"""`

// message reads what the person says next.
func (ch *chatter) message(ctx context.Context) (string, error) {
	for {
		text, err := ch.lines.line(ctx, ">>> ")
		if err != nil {
			return "", err
		}
		text, quoted := strings.CutPrefix(text, quotes)
		if !quoted {
			return text, nil
		}
		var lines []string
		for {
			done := false
			if text, done = strings.CutSuffix(text, quotes); done {
				return strings.Join(append(lines, text), "\n"), nil
			}
			lines = append(lines, text)
			if text, err = ch.lines.line(ctx, "... "); err != nil {
				break
			}
		}
		if !errors.Is(err, io.EOF) {
			return "", err
		} // else the message was given up
	}
}

// splitCommand reads "/word rest".
func splitCommand(text string) (word, rest string, ok bool) {
	word, rest, _ = strings.Cut(strings.TrimSpace(text), " ")
	word, ok = strings.CutPrefix(word, "/")
	if !ok || strings.ContainsFunc(word, func(r rune) bool { return r != '?' && (r < 'a' || r > 'z') }) {
		return "", "", false
	}
	return word, strings.TrimSpace(rest), true
}

const chatHelp = `  /clear         forget this conversation
  /system TEXT   set the system message; without TEXT: show it
  /show          times of the last answer, and who computed it
  /bye           end (also Ctrl-D, or Ctrl-C on an empty line)
  """            begin a message of several lines; """ ends it
Ctrl-C stops an answer.`

// command does what a /word asks for.
func (ch *chatter) command(word, rest string) {
	say := ch.app.notify
	switch word {
	case "help", "?":
		say("%s", chatHelp)
	case "clear":
		ch.turns, ch.last, ch.used = nil, nil, 0
		say("a new conversation")
	case "system":
		if rest != "" {
			ch.system = rest
		}
		if ch.system == "" {
			say("there is no system message")
		} else {
			say("system message: %s", ch.system)
		}
	case "show":
		ch.show()
	default:
		say("there is no /%s; /help says what there is", word)
	}
}

// show says how the last answer came about.
func (ch *chatter) show() {
	say := ch.app.notify
	say("%s: %d messages", ch.name, len(ch.turns))
	if ch.ask == nil {
		say("  %d of %d positions used", ch.used, ch.room)
	}
	for _, s := range ch.route {
		say("  %-12s layers %v", s.Name, shard.Span{Start: s.Start, End: s.End})
	}
	if ch.last == nil {
		say("there is no answer yet")
		return
	}
	t := timings(0, ch.last.Times)
	say("last answer: %d tokens, %s; first after %.0f ms, then %.1f tok/s; %d new prompt tokens at %.0f tok/s",
		len(ch.last.IDs), finishText(string(ch.last.Finish)), t.TTFTms, t.DecodeTokS, t.PromptTokens, t.PromptTokS)
}

// remark prints a remark about the conversation.
func (ch *chatter) remark(format string, args ...any) {
	ch.app.notify("[%s]", fmt.Sprintf(format, args...))
}
