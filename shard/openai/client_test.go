// OpenAI's client takes many minutes to compile with the race detector.

//go:build !race && !fuzzing

package openai

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	client "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/rs/zerolog"

	"github.com/shardnode/shardnode/shard"
)

// serveClient serves h on a loopback port of the system's choice and returns
// OpenAI's client for it.
func serveClient(t testing.TB, h http.Handler, key string) client.Client {
	t.Helper()
	ts := httptest.NewUnstartedServer(h)
	ts.Config = NewServer(h, zerolog.Nop())
	ts.Start()
	t.Cleanup(ts.Close)
	return client.NewClient(option.WithBaseURL(ts.URL+"/v1"), option.WithAPIKey(key), option.WithMaxRetries(0))
}

func params(text string) client.ChatCompletionNewParams {
	return client.ChatCompletionNewParams{
		Model:       "story",
		Messages:    []client.ChatCompletionMessageParamUnion{client.SystemMessage("Be brief."), client.UserMessage(text)},
		Temperature: client.Float(0),
		Seed:        client.Int(3),
	}
}

func TestOpenAIsClientReadsAnswers(t *testing.T) {
	b := newBackend(t, tale)
	c := serveClient(t, newHandler(t, b), testKey)
	p := params("Tell me a story.")
	p.Logprobs, p.TopLogprobs = client.Bool(true), client.Int(2)
	got, err := c.Chat.Completions.New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if got.Choices[0].Message.Content != tale || got.Choices[0].FinishReason != "stop" || got.Usage.CompletionTokens != int64(len(b.script)) {
		t.Errorf("answer %+v", got)
	}
	if l := got.Choices[0].Logprobs.Content; len(l) != len(b.script)-1 || len(l[0].TopLogprobs) != 2 {
		t.Errorf("logprobs %+v", l)
	}
	old, err := c.Completions.New(t.Context(), client.CompletionNewParams{
		Model: "story", Prompt: client.CompletionNewParamsPromptUnion{OfString: client.String("Once")}, MaxTokens: client.Int(3),
	})
	if err != nil || len(old.Choices) != 1 || old.Usage.CompletionTokens != 3 {
		t.Errorf("completion %+v, %v", old, err)
	}
	models, err := c.Models.List(t.Context())
	if err != nil || len(models.Data) != 1 || models.Data[0].ID != "story" {
		t.Errorf("models %+v, %v", models, err)
	}
	if m, err := c.Models.Get(t.Context(), "story"); err != nil || m.OwnedBy != "shardnode" {
		t.Errorf("model %+v, %v", m, err)
	}
}

func TestOpenAIsClientReadsStreams(t *testing.T) {
	b := newBackend(t, tale)
	c := serveClient(t, newHandler(t, b), testKey)
	p := params("Tell me a story.")
	p.N = client.Int(2)
	p.StreamOptions.IncludeUsage = client.Bool(true)
	stream := c.Chat.Completions.NewStreaming(t.Context(), p)
	acc := client.ChatCompletionAccumulator{}
	for stream.Next() {
		if !acc.AddChunk(stream.Current()) {
			t.Fatal("the accumulator refuses a chunk")
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if len(acc.Choices) != 2 || acc.Choices[1].Message.Content != tale || acc.Choices[0].FinishReason != "stop" {
		t.Errorf("choices %+v, want two of %q", acc.Choices, tale)
	}
	if acc.Usage.CompletionTokens != int64(2*len(b.script)) {
		t.Errorf("usage %+v, want %d tokens", acc.Usage, 2*len(b.script))
	}
}

func TestOpenAIsClientReadsErrors(t *testing.T) {
	b := newBackend(t, tale)
	h := newHandler(t, b)
	c := serveClient(t, h, testKey)
	p := params("Hi.")
	p.Model = "gpt-5"
	_, err := c.Chat.Completions.New(t.Context(), p)
	if e, ok := errors.AsType[*client.Error](err); !ok || e.StatusCode != 404 || e.Code != "model_not_found" || e.Param != "model" {
		t.Errorf("unknown model: %v", err)
	}
	stranger := serveClient(t, h, "sk-wrong")
	_, err = stranger.Models.List(t.Context())
	if e, ok := errors.AsType[*client.Error](err); !ok || e.StatusCode != 401 || e.Code != "invalid_api_key" {
		t.Errorf("wrong key: %v", err)
	}
	b.stepErr, b.failAt = &shard.StageError{Name: "nuc", Code: shard.Unreachable}, 3
	stream := c.Chat.Completions.NewStreaming(t.Context(), params("Hi."))
	chunks := 0
	for stream.Next() {
		chunks++
	}
	if stream.Err() == nil || chunks < 3 {
		t.Errorf("lost stage in mid-stream: %d chunks, error %v, want some and an error", chunks, stream.Err())
	}
}

// BenchmarkStream measures what a streamed token costs on top of its step: one
// op is one token, through HTTP on loopback to a client that only reads.
func BenchmarkStream(b *testing.B) {
	back := newBackend(b, tale)
	h := newHandler(b, back)
	ts := httptest.NewServer(h)
	defer ts.Close()
	buf := make([]byte, 64<<10)
	const perRequest = 800
	b.ReportAllocs()
	for done := 0; done < b.N; done += perRequest {
		r := request(b.Context(), "POST", ts.URL+"/v1/chat/completions", chatBody(`"temperature":0,"stream":true,"ignore_eos":true,"max_tokens":800`))
		r.RequestURI = ""
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = resp.Body.Read(buf)
		}
		resp.Body.Close()
	}
}

func TestOpenAIsClientCallsTools(t *testing.T) {
	c := serveClient(t, newHandler(t, newTalker(t, qwen, oneCall)), testKey)
	p := params("Weather?")
	p.Tools = []client.ChatCompletionToolUnionParam{client.ChatCompletionFunctionTool(client.FunctionDefinitionParam{
		Name: "get_weather", Description: client.String("Weather."),
		Parameters: client.FunctionParameters{"type": "object", "properties": map[string]any{"unit": map[string]any{"enum": []string{"c", "f"}}}, "required": []string{"unit"}},
	})}
	got, err := c.Chat.Completions.New(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if m := got.Choices[0]; m.FinishReason != "tool_calls" || len(m.Message.ToolCalls) != 1 || m.Message.ToolCalls[0].Function.Arguments != `{"unit": "c", "days": 2}` {
		t.Errorf("answer %+v", m)
	}
	stream := c.Chat.Completions.NewStreaming(t.Context(), p)
	var acc client.ChatCompletionAccumulator
	finished := ""
	for stream.Next() {
		if !acc.AddChunk(stream.Current()) {
			t.Fatalf("the accumulator refuses %s", stream.Current().RawJSON())
		}
		if call, ok := acc.JustFinishedToolCall(); ok {
			finished = call.Name + call.Arguments
		}
	}
	if err := stream.Err(); err != nil || finished != `get_weather{"unit": "c", "days": 2}` || acc.Choices[0].Message.Content != "Let me see." {
		t.Errorf("streamed %q, %v: %+v", finished, err, acc.Choices)
	}
	p.Messages = append(p.Messages, got.Choices[0].Message.ToParam(), client.ToolMessage("sunny", got.Choices[0].Message.ToolCalls[0].ID))
	if _, err := c.Chat.Completions.New(t.Context(), p); err != nil {
		t.Errorf("the result of a call: %v", err)
	}
}
