package generate_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/shard/tokenizer"
)

const answerText = "Once upon a time, ünï 🦙 and Mia the fox met. The End."

func TestStreamedTextIsTheWholeText(t *testing.T) {
	text := storyText(t)
	prompt := text.RawPrompt("hello")
	answer := text.Tokenizer.Encode(answerText, tokenizer.PlainText)
	sess := saying(text, len(prompt), append(answer, text.Tokenizer.Ends()[0]))
	a, parts := runAll(t, generate.NewTimeline(text, sess, 1000), generate.Request{Prompt: prompt, MaxTokens: 500})
	if a.Text != answerText || strings.Join(parts, "") != answerText {
		t.Errorf("text %q, streamed %q, want %q", a.Text, strings.Join(parts, ""), answerText)
	}
	if a.Finish != generate.Stopped || len(a.IDs) != len(answer)+1 {
		t.Errorf("finish %q after %d tokens, want stop after %d", a.Finish, len(a.IDs), len(answer)+1)
	}
	for _, p := range parts {
		if strings.ContainsRune(p, '\ufffd') {
			t.Errorf("a character was split: %q", p)
		}
	}
	if a.Times.PromptTokens != len(prompt) || a.Times.DecodeTokens != len(a.IDs)-1 {
		t.Errorf("times say %d and %d tokens, want %d and %d", a.Times.PromptTokens, a.Times.DecodeTokens, len(prompt), len(a.IDs)-1)
	}
}

func TestAnswerEndsBeforeAStopString(t *testing.T) {
	text := storyText(t)
	prompt := text.RawPrompt("hello")
	answer := append(text.Tokenizer.Encode(answerText, tokenizer.PlainText), text.Tokenizer.Ends()[0])
	for stop, want := range map[string]string{
		"time":        "Once upon a ",
		"🦙 and Mia":   "Once upon a time, ünï ",
		"O":           "",
		"The End.":    "Once upon a time, ünï 🦙 and Mia the fox met. ",
		"The End. No": answerText, // held back, then shown
	} {
		sess := saying(text, len(prompt), answer)
		a, parts := runAll(t, generate.NewTimeline(text, sess, 1000),
			generate.Request{Prompt: prompt, MaxTokens: 500, Stop: []string{"never", stop}})
		if a.Text != want || strings.Join(parts, "") != want || a.Finish != generate.Stopped {
			t.Errorf("stop %q: text %q, streamed %q, finish %q, want %q", stop, a.Text, strings.Join(parts, ""), a.Finish, want)
		}
	}
}

func TestAnswerIsCutAtMaxTokensAndAtTheSessionsRoom(t *testing.T) {
	text := storyText(t)
	prompt := text.RawPrompt("hello")
	answer := text.Tokenizer.Encode(answerText, tokenizer.PlainText)
	for _, c := range []struct{ most, room, want int }{{3, 1000, 3}, {500, len(prompt) + 4, 4}, {0, 1000, 0}} {
		sess := saying(text, len(prompt), answer)
		// What could become a stop string must not be lost at the cut.
		a, parts := runAll(t, generate.NewTimeline(text, sess, c.room),
			generate.Request{Prompt: prompt, MaxTokens: c.most, Stop: []string{answerText + "!"}})
		want := text.Tokenizer.NewDecoder(prompt...)
		whole := ""
		for _, id := range answer[:c.want] {
			whole += want.Push(id)
		}
		whole += want.Flush()
		if len(a.IDs) != c.want || a.Finish != generate.AtLength || a.Text != whole || strings.Join(parts, "") != whole {
			t.Errorf("%+v: %d tokens, finish %q, text %q, streamed %q, want %q", c, len(a.IDs), a.Finish, a.Text, parts, whole)
		}
	}
}

func TestEndTokensCanBeIgnored(t *testing.T) {
	text := storyText(t)
	prompt := text.RawPrompt("hello")
	end := text.Tokenizer.Ends()[0]
	hi := text.Tokenizer.Encode(" hi", tokenizer.PlainText)
	sess := saying(text, len(prompt), slices.Concat([]shard.Token{end}, hi, []shard.Token{end}))
	a, _ := runAll(t, generate.NewTimeline(text, sess, 100),
		generate.Request{Prompt: prompt, MaxTokens: len(hi) + 2, IgnoreEnd: true})
	if len(a.IDs) != len(hi)+2 || a.Finish != generate.AtLength || a.Text != " hi" {
		t.Errorf("%d tokens, finish %q, text %q", len(a.IDs), a.Finish, a.Text)
	}
}

func TestDrawsFromTheTailEqualThoseFromAllLogits(t *testing.T) {
	text := storyText(t)
	vocab := text.Tokenizer.Len()
	prompt := text.RawPrompt("hello")
	for _, p := range []sample.Params{
		{Temperature: 1, Seed: 3},
		{Temperature: 2, TopP: 0.9, Seed: 4, RepeatPenalty: 1.3},
		{Temperature: 1, Seed: 5, PresencePenalty: 0.5, LogitBias: map[shard.Token]float32{7: 2}},
	} {
		sess := flat(vocab)
		a, _ := runAll(t, generate.NewTimeline(text, sess, 200),
			generate.Request{Prompt: prompt, MaxTokens: 60, Sampling: p, IgnoreEnd: true})
		if sess.more == 0 {
			t.Fatalf("%+v: no draw fell into the tail: the test says nothing", p)
		}
		p.PromptTokens = len(prompt)
		s, err := sample.New(p)
		if err != nil {
			t.Fatal(err)
		}
		history := slices.Clone(prompt)
		for i, got := range a.IDs {
			want := s.Request(history)
			want.Full = true
			tok, _, err := s.Next(sample.Summarize(sess.logits(history), want), history)
			if err != nil || tok != got {
				t.Fatalf("%+v: token %d is %d, from all logits %d (%v)", p, i, got, tok, err)
			}
			history = append(history, tok)
		}
	}
}

func TestSeedDecidesTheText(t *testing.T) {
	text := storyText(t)
	prompt := text.RawPrompt("hello")
	answer := func(seed uint64) []shard.Token {
		a, _ := runAll(t, generate.NewTimeline(text, flat(text.Tokenizer.Len()), 200), generate.Request{
			Prompt: prompt, MaxTokens: 20, IgnoreEnd: true, Sampling: sample.Params{Temperature: 1, Seed: seed},
		})
		return a.IDs
	}
	if one, again, other := answer(1), answer(1), answer(2); !slices.Equal(one, again) || slices.Equal(one, other) {
		t.Errorf("seed 1: %v and %v, seed 2: %v", one, again, other)
	}
}

func TestNextTurnBeginsAtItsFirstNewToken(t *testing.T) {
	text := storyText(t)
	sess := flat(text.Tokenizer.Len())
	tl := generate.NewTimeline(text, sess, 500)
	prompt := text.RawPrompt("Once upon a time")
	req := generate.Request{Prompt: prompt, MaxTokens: 10, IgnoreEnd: true}
	first, _ := runAll(t, tl, req)

	sess.steps = nil
	again, _ := runAll(t, tl, req)
	if sess.steps[0] != 1 || again.Times.PromptTokens != 1 || !slices.Equal(first.IDs, again.IDs) {
		t.Errorf("the same prompt: %d tokens computed, ids %v, want 1 and %v", sess.steps[0], again.IDs, first.IDs)
	}

	more := []shard.Token{5, 6, 7}
	next := generate.Request{Prompt: slices.Concat(prompt, first.IDs, more), MaxTokens: 10, IgnoreEnd: true}
	sess.steps = nil
	second, _ := runAll(t, tl, next)
	if want := len(more) + 1; sess.steps[0] != want { // the last answered token was not computed yet
		t.Errorf("the next turn computes %d tokens, want %d", sess.steps[0], want)
	}
	fresh, _ := runAll(t, generate.NewTimeline(text, flat(text.Tokenizer.Len()), 500), next)
	if !slices.Equal(second.IDs, fresh.IDs) {
		t.Errorf("with what was kept: %v, without: %v", second.IDs, fresh.IDs)
	}

	other := generate.Request{Prompt: append(slices.Clone(prompt[:3]), 9, 9), MaxTokens: 5, IgnoreEnd: true}
	sess.steps = nil
	runAll(t, tl, other)
	if sess.steps[0] != 2 {
		t.Errorf("a prompt that departs after 3 of 5 tokens computes %d, want 2", sess.steps[0])
	}
}

func TestAnswerThatIsStoppedGoesOnLater(t *testing.T) {
	text := storyText(t)
	sess := flat(text.Tokenizer.Len())
	tl := generate.NewTimeline(text, sess, 500)
	prompt := text.RawPrompt("Once upon a time")
	req := generate.Request{Prompt: prompt, MaxTokens: 10, IgnoreEnd: true}
	whole, _ := runAll(t, generate.NewTimeline(text, flat(text.Tokenizer.Len()), 500), req)

	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	n := 0
	a, err := tl.Run(ctx, req, func(generate.Token) error {
		if n++; n == 4 {
			cancel(stop)
		}
		return nil
	})
	if !errors.Is(err, stop) || a.Finish != generate.Failed || len(a.IDs) != 4 {
		t.Errorf("stopped after 4: %d tokens, finish %q, %v", len(a.IDs), a.Finish, err)
	}
	if again, _ := runAll(t, tl, req); !slices.Equal(again.IDs, whole.IDs) {
		t.Errorf("after a stop: %v, want %v", again.IDs, whole.IDs)
	}

	down := &shard.StageError{Code: shard.Unreachable}
	sess.fail = down
	if _, err := tl.Run(t.Context(), req, func(generate.Token) error { return nil }); !errors.Is(err, down) {
		t.Errorf("a stage that fails gives %v, want %v", err, down)
	}
}

func TestRequestsThatCannotBe(t *testing.T) {
	text := storyText(t)
	long := make([]shard.Token, 50)
	for name, req := range map[string]generate.Request{
		"empty":    {MaxTokens: 1},
		"too long": {Prompt: long, MaxTokens: 1},
		"sampling": {Prompt: long[:3], MaxTokens: 1, Sampling: sample.Params{Temperature: -1}},
		"stop":     {Prompt: long[:3], MaxTokens: 1, Stop: []string{""}},
	} {
		sess := flat(text.Tokenizer.Len())
		_, err := generate.NewTimeline(text, sess, 50).Run(t.Context(), req, func(generate.Token) error { return nil })
		if err == nil || len(sess.steps) > 0 {
			t.Errorf("%s: error %v after %d steps, want one before the first", name, err, len(sess.steps))
		}
	}
}
