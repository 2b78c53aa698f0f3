package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard/sample"
)

// typed is a person who has typed these lines already. "^C" is Ctrl-C on an
// empty line.
type typed struct {
	lines []string
	// before, if set, is called before each line is read.
	before func(n int)
	n      int
}

func (p *typed) line(ctx context.Context, _ string) (string, error) {
	if p.before != nil {
		p.before(p.n)
	}
	p.n++
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if len(p.lines) == 0 {
		return "", io.EOF
	}
	text := p.lines[0]
	p.lines = p.lines[1:]
	if text == "^C" {
		return "", io.EOF
	}
	return text, nil
}

// onWrite calls f with everything written.
type onWrite struct {
	written strings.Builder
	f       func(text string)
}

func (w *onWrite) Write(p []byte) (int, error) {
	if w.f != nil {
		w.f(string(p))
	}
	return w.written.Write(p)
}

// chatting is a chat with the embedded model in this process.
type chatting struct {
	*chatter
	out  *onWrite
	errs *bytes.Buffer
}

func newChat(t *testing.T, lines ...string) *chatting {
	t.Helper()
	c := &chatting{out: &onWrite{}, errs: &bytes.Buffer{}}
	a := &app{stdout: c.out, stderr: c.errs}
	p, err := openPlace(t.Context(), "story", placeConfig{threads: 1, notify: a.notify})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	c.chatter = &chatter{app: a, place: p, lines: &typed{lines: lines}, params: sample.Params{}, most: 12}
	return c
}

// talkAll runs the chat to its end.
func (c *chatting) talkAll(t *testing.T) {
	t.Helper()
	if err := c.run(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, c.errs)
	}
}

func TestChatRemembersWhatWasSaid(t *testing.T) {
	c := newChat(t, "Tell me about a fox.", "", "Tell me more.", "/show", "/bye", "not read")
	c.talkAll(t)
	if len(c.turns) != 4 || c.turns[0].Content != "Tell me about a fox." || c.turns[3].Role != "assistant" {
		t.Errorf("turns %+v", c.turns)
	}
	if want := c.turns[1].Content + "\n\n" + c.turns[3].Content + "\n\n"; c.out.written.String() != want {
		t.Errorf("printed %q, want %q", c.out.written.String(), want)
	}
	if c.last.Times.PromptTokens >= c.used-len(c.last.IDs) {
		t.Errorf("the second turn computes all %d tokens of its prompt again", c.last.Times.PromptTokens)
	}
	if !strings.Contains(c.errs.String(), "layers [0,6)") || !strings.Contains(c.errs.String(), "--max-tokens") {
		t.Errorf("said: %s", c.errs)
	}
}

func TestChatCommands(t *testing.T) {
	c := newChat(t, "/help", "/system Be brief.", "/nosuch", "Hi", "/clear", "/show", "/system")
	c.talkAll(t)
	said := c.errs.String()
	for _, want := range []string{"/clear ", "system message: Be brief.", "there is no /nosuch", "a new conversation", "no answer yet"} {
		if !strings.Contains(said, want) {
			t.Errorf("said nothing of %q: %s", want, said)
		}
	}
	if len(c.turns) != 0 || c.system != "Be brief." {
		t.Errorf("after /clear: %d turns, system %q", len(c.turns), c.system)
	}
	for text, isCommand := range map[string]bool{"/help": true, " /? ": true, "/usr/bin is a path": false, "a/b": false, "1/2": false} {
		if _, _, ok := splitCommand(text); ok != isCommand {
			t.Errorf("%q is a command: %v, want %v", text, ok, isCommand)
		}
	}
}

func TestChatTakesMessagesOfSeveralLines(t *testing.T) {
	c := newChat(t, `"""one`, `two`, `three"""`, `"""given up`, "^C", `"""all in one"""`)
	c.talkAll(t)
	if len(c.turns) != 4 || c.turns[0].Content != "one\ntwo\nthree" || c.turns[2].Content != "all in one" {
		t.Errorf("turns %+v", c.turns)
	}
}

func TestCtrlCStopsTheAnswerAndKeepsTheChat(t *testing.T) {
	c := newChat(t, "Tell me about a fox.", "Tell me more.")
	c.most = 200
	c.out.f = func(string) {
		if c.out.f = nil; !c.app.interrupts.taken() {
			t.Error("nothing takes Ctrl-C while the model answers")
		}
	}
	c.talkAll(t)
	if len(c.turns) != 4 || c.turns[1].Content == "" || len(c.turns[1].Content) >= len(c.turns[3].Content) {
		t.Errorf("turns %+v", c.turns)
	}
	if !strings.Contains(c.errs.String(), "[stopped]") {
		t.Errorf("said: %s", c.errs)
	}
	if c.app.interrupts.taken() {
		t.Error("Ctrl-C is still taken after the answer")
	}
}

func TestChatEndsWhenTheCommandIsInterrupted(t *testing.T) {
	c := newChat(t, "Tell me about a fox.")
	ctx, cancel := context.WithCancelCause(t.Context())
	c.out.f = func(string) { cancel(errInterrupted) }
	if err := c.run(ctx); !errors.Is(err, errInterrupted) {
		t.Errorf("%v, want %v", err, errInterrupted)
	}
}

func TestFullContextForgetsTheOldestTurns(t *testing.T) {
	var lines []string
	for i := range 12 {
		lines = append(lines, fmt.Sprintf("Question %d: %s?", i, strings.Repeat("why ", 20)))
	}
	c := newChat(t, lines...)
	c.system = "Be brief."
	c.place.config.Context = 300
	c.talkAll(t)
	if !strings.Contains(c.errs.String(), "the oldest") {
		t.Errorf("said nothing of what is forgotten: %s", c.errs)
	}
	last := c.turns[len(c.turns)-2].Content
	if len(c.turns) >= 2*len(lines) || len(c.turns)%2 != 0 || !strings.HasPrefix(last, "Question 11") {
		t.Errorf("%d turns are left, the last question is %q", len(c.turns), last)
	}
	if c.used > c.room {
		t.Errorf("%d positions used of %d", c.used, c.room)
	}
}

func TestMessageThatIsTooLongIsRefusedAndForgotten(t *testing.T) {
	c := newChat(t, strings.Repeat("why ", 400), "Hi")
	c.place.config.Context = 300
	c.talkAll(t)
	if len(c.turns) != 2 || c.turns[0].Content != "Hi" || !strings.Contains(c.errs.String(), "room for 300") {
		t.Errorf("turns %+v\n%s", c.turns, c.errs)
	}
}

func TestAnswersCannotCommandTheTerminal(t *testing.T) {
	if got := strings.Map(printable, "a\x1b[2Jb\tc\nd\u009be\x7fü🦙"); got != "a[2Jb\tc\ndeü🦙" {
		t.Errorf("printed %q", got)
	}
}

func TestCtrlCEmptiesTheLine(t *testing.T) {
	k := &keyReader{r: strings.NewReader("ab\x03c\r")}
	var got []byte
	for {
		p := make([]byte, 2)
		n, err := k.Read(p)
		got = append(got, p[:n]...)
		if err != nil {
			break
		}
	}
	if want := "ab\x05\x04\x15c\r"; string(got) != want {
		t.Errorf("keys %q, want %q", got, want)
	}
}

func TestChatNeedsATemplate(t *testing.T) {
	a := &app{stdout: io.Discard, stderr: io.Discard}
	for name, f := range map[string]*runFlags{"--raw": {promptFlags: promptFlags{raw: true}}, "--json": {outputFlags: outputFlags{json: true}}} {
		err := a.chat(t.Context(), f, "story", placeConfig{})
		if _, ok := errors.AsType[*usageError](err); !ok || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want a usage error", name, err)
		}
	}
}
