package openai

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/pipeline"
	"github.com/shardnode/shardnode/shard/sample"
	"github.com/shardnode/shardnode/shard/tokenizer"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/story"
)

const testKey = "sk-test-0123456789"

// storyText is the tokenizer and template of the embedded model.
var storyText = sync.OnceValues(func() (*generate.Text, error) {
	f, err := weights.OpenBytes("story.gguf", story.Bytes())
	if err != nil {
		return nil, err
	}
	return generate.ReadText(f.Meta())
})

// A fakeBackend has the model "story", whose every answer is script.
type fakeBackend struct {
	text   *generate.Text
	script []shard.Token // ends with an end token, or goes on for ever with a repeated text

	stepTime time.Duration
	openTime time.Duration
	openErr  error
	stepErr  error // returned at step failAt
	failAt   int
	more     []Model
	ready    int // positions that a session has from one before, but the prompt's last

	opened, closed, steps, running, peak, cancelled atomic.Int64
	lastTokens                                      atomic.Int64
}

// newBackend returns a backend that answers with text and an end token.
func newBackend(t testing.TB, text string) *fakeBackend {
	t.Helper()
	st, err := storyText()
	if err != nil {
		t.Fatalf("read the story model: %v", err)
	}
	end, ok := st.Tokenizer.Token("<|im_end|>")
	if !ok {
		t.Fatal("the story model has no <|im_end|>")
	}
	b := &fakeBackend{text: st}
	b.script = append(st.Tokenizer.Encode(text, tokenizer.PlainText), end)
	return b
}

func (b *fakeBackend) Models() []Model {
	m := Model{ID: "story", Created: time.Unix(1_700_000_000, 0), Text: b.text, ContextTokens: 1024}
	return append([]Model{m}, b.more...)
}

func (b *fakeBackend) Open(ctx context.Context, o OpenRequest) (Session, error) {
	if b.openTime > 0 {
		o.Waiting("layers 10-20 (nuc joins, 61 %)\nand more")
		if err := wait(ctx, b.openTime); err != nil {
			return nil, err
		}
	}
	if b.openErr != nil {
		return nil, b.openErr
	}
	b.opened.Add(1)
	b.lastTokens.Store(int64(o.Tokens))
	b.peak.Store(max(b.peak.Load(), b.running.Add(1)))
	return &fakeSession{b: b, prompt: -1, ready: shard.Pos(min(b.ready, len(o.Prompt)-1))}, nil
}

type fakeSession struct {
	b      *fakeBackend
	prompt int // length of the prompt
	at     int // positions held
	ready  shard.Pos
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *fakeSession) Step(ctx context.Context, st pipeline.Step) (pipeline.Result, error) {
	b := s.b
	n := b.steps.Add(1)
	if b.stepTime > 0 {
		if err := wait(ctx, b.stepTime); err != nil {
			b.cancelled.Add(1)
			return pipeline.Result{}, err
		}
	}
	if b.stepErr != nil && int(n) > b.failAt {
		return pipeline.Result{}, b.stepErr
	}
	s.at = int(st.Pos) + len(st.Tokens)
	if st.Progress != nil { // only with a prompt
		s.prompt = s.at
		st.Progress(len(st.Tokens), len(st.Tokens))
	}
	logits := s.logits()
	out := pipeline.Result{Dists: []sample.Dist{sample.Summarize(logits, st.Summary)}}
	if st.Full {
		out.Logits = [][]float32{logits}
	}
	return out, nil
}

func (s *fakeSession) logits() []float32 {
	logits := make([]float32, s.b.text.Tokenizer.Len())
	logits[s.b.script[(s.at-s.prompt)%len(s.b.script)]] = 60
	return logits
}

func (s *fakeSession) Ready() shard.Pos { return s.ready }

func (s *fakeSession) More(context.Context, shard.Pos) ([]float32, error) { return s.logits(), nil }

func (s *fakeSession) Close(context.Context) pipeline.Stats {
	s.b.closed.Add(1)
	s.b.running.Add(-1)
	return pipeline.Stats{Stages: []pipeline.StageStats{{Name: "nuc"}}}
}

// newHandler returns a handler over b with the test key.
func newHandler(t testing.TB, b Backend, change ...func(*Config)) *Handler {
	t.Helper()
	c := Config{Backend: b, Key: testKey, Logger: zerolog.Nop()}
	for _, f := range change {
		f(&c)
	}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// request makes a request with the key, as curl would send it.
func request(ctx context.Context, method, path, body string) *http.Request {
	r := httptest.NewRequestWithContext(ctx, method, path, strings.NewReader(body))
	r.Host = "localhost:7070"
	r.Header.Set("Authorization", "Bearer "+testKey)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// do sends a request to h and returns what came back.
func do(t testing.TB, h http.Handler, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request(t.Context(), method, path, body))
	return w
}

// chat sends fields besides model and messages.
func chatBody(fields string) string {
	if fields != "" {
		fields = "," + fields
	}
	return `{"model":"story","messages":[{"role":"user","content":"Tell me a story."}]` + fields + `}`
}

// sse returns the data of every event of a stream, and the comments.
func sse(t testing.TB, body string) (data, comments []string) {
	t.Helper()
	for _, event := range strings.Split(body, "\n\n") {
		switch {
		case event == "":
		case strings.HasPrefix(event, ": "):
			comments = append(comments, event[2:])
		case strings.HasPrefix(event, "data: ") && !strings.Contains(event, "\n"):
			data = append(data, event[6:])
		default:
			t.Fatalf("event %q, want data: or a comment", event)
		}
	}
	return data, comments
}

// decode reads JSON into v.
func decode(t testing.TB, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// errorOf returns the error object of an answer.
func errorOf(t testing.TB, body string) (param, code string) {
	t.Helper()
	var e errorJSON
	decode(t, body, &e)
	if e.Error.Message == "" || e.Error.Type == "" {
		t.Errorf("error without message or type: %s", body)
	}
	if e.Error.Param != nil {
		param = *e.Error.Param
	}
	if e.Error.Code != nil {
		code = *e.Error.Code
	}
	return param, code
}
