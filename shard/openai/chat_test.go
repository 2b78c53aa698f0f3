package openai

import (
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/generate"
)

const tale = "Once upon a time there was a little fox. He lived in a forest."

func TestChatAnswersWithTheTextAndCountsItsTokens(t *testing.T) {
	b := newBackend(t, tale)
	w := do(t, newHandler(t, b), "POST", "/v1/chat/completions", chatBody(`"temperature":0`))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var a chatAnswer
	decode(t, w.Body.String(), &a)
	if len(a.Choices) != 1 || a.Choices[0].Message.text() != tale || *a.Choices[0].FinishReason != "stop" {
		t.Errorf("choices %+v, want %q and stop", a.Choices, tale)
	}
	prompt, err := b.text.ChatPrompt(generate.Chat{Messages: chat.FromMessages([]chat.Message{{Role: "user", Content: "Tell me a story."}})})
	if err != nil {
		t.Fatal(err)
	}
	want := usageJSON{PromptTokens: len(prompt), CompletionTokens: len(b.script), TotalTokens: len(prompt) + len(b.script)}
	if a.Usage != want {
		t.Errorf("usage %+v, want %+v", a.Usage, want)
	}
	if a.Model != "story" || !strings.HasPrefix(a.ID, "chatcmpl-") || a.Created == 0 {
		t.Errorf("answer %+v lacks its head", a.answer)
	}
	if b.opened.Load() != 1 || b.closed.Load() != 1 {
		t.Errorf("%d sessions opened and %d closed, want 1 and 1", b.opened.Load(), b.closed.Load())
	}
}

func TestUsageCountsWhatAnEarlierSessionComputed(t *testing.T) {
	b := newBackend(t, tale)
	b.ready = 9
	var whole chatAnswer
	decode(t, do(t, newHandler(t, b), "POST", "/v1/chat/completions", chatBody(`"temperature":0`)).Body.String(), &whole)
	if u := whole.Usage; u.Details.CachedTokens != 9 || u.PromptTokens < 11 || whole.Choices[0].Message.text() != tale {
		t.Errorf("usage %+v of %q, want 9 cached tokens", u, whole.Choices[0].Message.text())
	}
	b.ready = 1 << 10 // all but the last
	decode(t, do(t, newHandler(t, b), "POST", "/v1/chat/completions", chatBody(`"temperature":0`)).Body.String(), &whole)
	if u := whole.Usage; u.Details.CachedTokens != u.PromptTokens-1 {
		t.Errorf("usage %+v, want all but one token cached", u)
	}
}

func TestChatStopsAtMaxTokensAndStopStrings(t *testing.T) {
	h := newHandler(t, newBackend(t, tale))
	for name, c := range map[string]struct{ fields, text, finish string }{
		"one token":      {`"max_tokens":1`, "Once", "length"},
		"new name":       {`"max_completion_tokens":1`, "Once", "length"},
		"stop string":    {`"stop":" fox"`, "Once upon a time there was a little", "stop"},
		"list":           {`"stop":["zebra"," little"]`, "Once upon a time there was a", "stop"},
		"no stop":        {`"stop":null`, tale, "stop"},
		"empty list":     {`"stop":[]`, tale, "stop"},
		"more than room": {`"max_tokens":100000`, tale, "stop"},
	} {
		t.Run(name, func(t *testing.T) {
			w := do(t, h, "POST", "/v1/chat/completions", chatBody(`"temperature":0,`+c.fields))
			var a chatAnswer
			decode(t, w.Body.String(), &a)
			if w.Code != 200 || a.Choices[0].Message.text() != c.text || *a.Choices[0].FinishReason != c.finish {
				t.Errorf("status %d: %s, want %q and %s", w.Code, w.Body, c.text, c.finish)
			}
		})
	}
}

func TestChatReservesPromptAndAnswerOnly(t *testing.T) {
	b := newBackend(t, tale)
	h := newHandler(t, b, func(c *Config) { c.DefaultTokens = 100 })
	var a chatAnswer
	decode(t, do(t, h, "POST", "/v1/chat/completions", chatBody(`"max_tokens":7`)).Body.String(), &a)
	if got, want := int(b.lastTokens.Load()), a.Usage.PromptTokens+7; got != want {
		t.Errorf("session of %d tokens, want %d", got, want)
	}
	do(t, h, "POST", "/v1/chat/completions", chatBody(""))
	if got, want := int(b.lastTokens.Load()), a.Usage.PromptTokens+100; got != want {
		t.Errorf("session of %d tokens without max_tokens, want %d", got, want)
	}
	do(t, h, "POST", "/v1/chat/completions", chatBody(`"max_tokens":100000`))
	if got := b.lastTokens.Load(); got != 1024 {
		t.Errorf("session of %d tokens, want the context of 1024", got)
	}
}

func TestChoicesRunOneAfterAnotherOnOneSession(t *testing.T) {
	b := newBackend(t, "Hello there.")
	w := do(t, newHandler(t, b), "POST", "/v1/chat/completions", chatBody(`"n":3,"temperature":0`))
	var a chatAnswer
	decode(t, w.Body.String(), &a)
	if len(a.Choices) != 3 || b.opened.Load() != 1 {
		t.Fatalf("%d choices on %d sessions, want 3 on 1", len(a.Choices), b.opened.Load())
	}
	for i, c := range a.Choices {
		if c.Index != i || c.Message.text() != "Hello there." {
			t.Errorf("choice %d: %+v", i, c)
		}
	}
	if got, want := a.Usage.CompletionTokens, 3*len(b.script); got != want {
		t.Errorf("completion_tokens %d, want %d", got, want)
	}
}

func TestLogprobsNameTokensOfTheText(t *testing.T) {
	h := newHandler(t, newBackend(t, tale))
	w := do(t, h, "POST", "/v1/chat/completions", chatBody(`"logprobs":true,"top_logprobs":3,"temperature":0`))
	var a chatAnswer
	decode(t, w.Body.String(), &a)
	text := ""
	for _, l := range a.Choices[0].Logprobs.Content {
		text += l.Token
		if len(l.Top) != 3 || l.Top[0].Token != l.Token || l.Logprob > 0 || len(l.Bytes) != len(l.Token) {
			t.Errorf("logprob %+v, want three likeliest, the token first", l)
		}
	}
	if text != tale {
		t.Errorf("tokens say %q, want %q", text, tale)
	}
	w = do(t, h, "POST", "/v1/completions", `{"model":"story","prompt":"Hi","logprobs":2,"max_tokens":50}`)
	var c completionAnswer
	decode(t, w.Body.String(), &c)
	l := c.Choices[0].Logprobs
	if got := strings.Join(l.Tokens, ""); got != c.Choices[0].Text {
		t.Errorf("tokens say %q, want %q", got, c.Choices[0].Text)
	}
	for i, at := range l.TextOffset {
		if !strings.HasPrefix(c.Choices[0].Text[at:], l.Tokens[i]) {
			t.Errorf("token %d %q is said to be at %d", i, l.Tokens[i], at)
		}
	}
}

func TestCompletionTakesTextsAndTokens(t *testing.T) {
	b := newBackend(t, tale)
	h := newHandler(t, b)
	for name, c := range map[string]struct {
		prompt string
		texts  int
	}{
		"text":           {`"Once"`, 1},
		"texts":          {`["Once","Twice"]`, 2},
		"tokens":         {`[5,6,7]`, 1},
		"lists of those": {`[[5,6,7],[8]]`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := do(t, h, "POST", "/v1/completions", `{"model":"story","prompt":`+c.prompt+`,"temperature":0,"max_tokens":4}`)
			var a completionAnswer
			decode(t, w.Body.String(), &a)
			if w.Code != 200 || len(a.Choices) != c.texts || a.Usage.CompletionTokens != 4*c.texts {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		})
	}
	w := do(t, h, "POST", "/v1/completions", `{"model":"story","prompt":"The end.","echo":true,"temperature":0,"max_tokens":1}`)
	var a completionAnswer
	decode(t, w.Body.String(), &a)
	if got := a.Choices[0].Text; got != "The end.Once" {
		t.Errorf("echo gives %q, want %q", got, "The end.Once")
	}
}

func TestSameSeedSameTextAndChoicesDiffer(t *testing.T) {
	b := newBackend(t, tale)
	b.script = b.script[:1] // at temperature 2 and a bias against it, anything follows
	h := newHandler(t, b)
	ask := func(seed string) []string {
		w := do(t, h, "POST", "/v1/chat/completions",
			chatBody(`"n":2,"temperature":2,"max_tokens":12,"logit_bias":{"`+itoa(int(b.script[0]))+`":-60},"seed":`+seed))
		var a chatAnswer
		decode(t, w.Body.String(), &a)
		return []string{a.Choices[0].Message.text(), a.Choices[1].Message.text()}
	}
	first, again, other := ask("7"), ask("7"), ask("-9")
	if first[0] != again[0] || first[1] != again[1] {
		t.Errorf("seed 7 gives %q, then %q", first, again)
	}
	if first[0] == first[1] || first[0] == other[0] {
		t.Errorf("seeds do not matter: %q, %q", first, other)
	}
}

func TestShardnodeObjectComesOnRequestOnly(t *testing.T) {
	h := newHandler(t, newBackend(t, tale))
	if w := do(t, h, "POST", "/v1/chat/completions", chatBody("")); strings.Contains(w.Body.String(), "shardnode") {
		t.Errorf("unasked: %s", w.Body)
	}
	r := request(t.Context(), "POST", "/v1/chat/completions", chatBody(`"seed":5`))
	r.Header.Set("X-Shardnode", "1")
	w := record(h, r)
	var a chatAnswer
	decode(t, w.Body.String(), &a)
	if a.Extra == nil || a.Extra.Seed != 5 || len(a.Extra.Route) != 1 || a.Extra.Route[0].Name != "nuc" {
		t.Errorf("asked: %s", w.Body)
	}
}

func (m chatMessage) text() string {
	if m.Content == nil {
		return ""
	}
	return *m.Content
}
