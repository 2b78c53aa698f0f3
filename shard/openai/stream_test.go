package openai

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardnode/shardnode/shard"
)

func record(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestStreamBeginsWithTheRoleAndEndsWithDone(t *testing.T) {
	b := newBackend(t, tale)
	w := do(t, newHandler(t, b), "POST", "/v1/chat/completions",
		chatBody(`"temperature":0,"stream":true,"stream_options":{"include_usage":true}`))
	if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") {
		t.Errorf("Content-Type %q", got)
	}
	data, _ := sse(t, w.Body.String())
	if len(data) < 5 || data[len(data)-1] != "[DONE]" {
		t.Fatalf("events %q, want a [DONE] at the end", data)
	}
	text, id := "", ""
	for i, d := range data[:len(data)-1] {
		var c chatChunk
		decode(t, d, &c)
		if i == 0 {
			id = c.ID
			if c.Choices[0].Delta.Role != "assistant" || c.Choices[0].Delta.Content == nil || *c.Choices[0].Delta.Content != "" {
				t.Errorf("first chunk %s, want the role and an empty content", d)
			}
		}
		if c.ID != id || c.Object != "chat.completion.chunk" {
			t.Errorf("chunk %d is %s, want id %s", i, d, id)
		}
		switch {
		case i == len(data)-2:
			if len(c.Choices) != 0 || c.Usage == nil || c.Usage.CompletionTokens != len(b.script) {
				t.Errorf("last chunk %s, want no choice and %d tokens", d, len(b.script))
			}
		case i == len(data)-3:
			if f := c.Choices[0].FinishReason; f == nil || *f != "stop" {
				t.Errorf("chunk %s, want finish_reason stop", d)
			}
		default:
			if c.Choices[0].FinishReason != nil || c.Usage != nil {
				t.Errorf("chunk %s ends too early", d)
			}
			text += *c.Choices[0].Delta.Content
		}
	}
	if text != tale {
		t.Errorf("chunks say %q, want %q", text, tale)
	}
}

func TestStreamOfAnEmptyAnswerHasRoleAndReason(t *testing.T) {
	w := do(t, newHandler(t, newBackend(t, "")), "POST", "/v1/chat/completions", chatBody(`"stream":true`))
	data, _ := sse(t, w.Body.String())
	if len(data) != 3 || !strings.Contains(data[0], `"role":"assistant"`) || !strings.Contains(data[1], `"finish_reason":"stop"`) {
		t.Errorf("events %q, want role, reason, [DONE]", data)
	}
}

func TestSilentStreamIsKeptAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t, "Hi.")
		b.openTime, b.stepTime = 12*time.Second, 6*time.Second
		w := do(t, newHandler(t, b), "POST", "/v1/chat/completions", chatBody(`"stream":true,"temperature":0`))
		data, comments := sse(t, w.Body.String())
		if len(comments) < 5 || comments[0] != "waiting for layers 10-20 (nuc joins, 61 %) and more" {
			t.Errorf("comments %q, want one each 5 s, the first about layers", comments)
		}
		if data[len(data)-1] != "[DONE]" {
			t.Errorf("events %q", data)
		}
	})
}

func TestErrorBeforeTheFirstTokenHasItsStatus(t *testing.T) {
	b := newBackend(t, tale)
	b.stepErr = &shard.StageError{Name: "nuc", Code: shard.Unreachable, Text: "the peer closed the session"}
	w := do(t, newHandler(t, b), "POST", "/v1/chat/completions", chatBody(`"stream":true`))
	if _, code := errorOf(t, w.Body.String()); w.Code != 503 || code != "stage_lost" || w.Header().Get("Retry-After") == "" {
		t.Errorf("status %d, %s, want 503 stage_lost with Retry-After", w.Code, w.Body)
	}
}

func TestErrorInMidStreamIsAnEventWithoutDone(t *testing.T) {
	b := newBackend(t, tale)
	b.stepErr, b.failAt = &shard.StageError{Name: "nuc", Code: shard.Unreachable, Text: "the peer closed the session"}, 4
	w := do(t, newHandler(t, b), "POST", "/v1/chat/completions", chatBody(`"stream":true`))
	data, _ := sse(t, w.Body.String())
	if strings.Contains(w.Body.String(), "[DONE]") {
		t.Error("[DONE] after an error")
	}
	if _, code := errorOf(t, data[len(data)-1]); w.Code != 200 || code != "stage_lost" || !strings.Contains(data[len(data)-1], "nuc") {
		t.Errorf("status %d, last event %s, want an error that names nuc", w.Code, data[len(data)-1])
	}
	if b.closed.Load() != 1 {
		t.Error("the session stayed open")
	}
}

func TestErrorAfterACommentIsAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t, tale)
		b.openTime, b.openErr = 30*time.Second, &UnavailableError{Reason: "layers 10 to 20 are held by nobody"}
		w := do(t, newHandler(t, b), "POST", "/v1/chat/completions", chatBody(`"stream":true`))
		data, comments := sse(t, w.Body.String())
		if len(data) != 1 || len(comments) < 4 {
			t.Fatalf("events %q, comments %q", data, comments)
		}
		if _, code := errorOf(t, data[0]); code != "no_route" {
			t.Errorf("event %s, want no_route", data[0])
		}
	})
}

func TestDisconnectingCancelsWithinAStep(t *testing.T) {
	for name, body := range map[string]string{"stream": chatBody(`"stream":true,"ignore_eos":true`), "whole": chatBody(`"ignore_eos":true`)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend(t, tale)
				b.stepTime = time.Second
				h := newHandler(t, b)
				ctx, cancel := context.WithCancel(t.Context())
				began := time.Now()
				time.AfterFunc(4500*time.Millisecond, cancel)
				record(h, request(ctx, "POST", "/v1/chat/completions", body))
				if took := time.Since(began); took != 4500*time.Millisecond {
					t.Errorf("the handler returned after %v, want 4.5 s", took)
				}
				if b.closed.Load() != 1 || b.cancelled.Load() != 1 || b.steps.Load() != 5 || h.admitted.Load() != 0 || h.bodies.Load() != 0 || !h.turns.idle() {
					t.Errorf("closed %d, cancelled %d, steps %d: want 1, 1, 5", b.closed.Load(), b.cancelled.Load(), b.steps.Load())
				}
			}) // the bubble fails when a goroutine is left
		})
	}
}

// brokenWriter fails from the second write on.
type brokenWriter struct {
	*httptest.ResponseRecorder
	writes int
}

func (w *brokenWriter) Write(b []byte) (int, error) {
	if w.writes++; w.writes > 1 {
		return 0, errors.New("broken pipe")
	}
	return w.ResponseRecorder.Write(b)
}

func TestAWriteErrorEndsTheGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBackend(t, tale)
		b.stepTime = time.Second
		w := &brokenWriter{ResponseRecorder: httptest.NewRecorder()}
		newHandler(t, b).ServeHTTP(w, request(t.Context(), "POST", "/v1/chat/completions", chatBody(`"stream":true,"ignore_eos":true`)))
		if b.closed.Load() != 1 || b.steps.Load() > 4 {
			t.Errorf("%d steps after a write error, session closed %d times", b.steps.Load(), b.closed.Load())
		}
	})
}
