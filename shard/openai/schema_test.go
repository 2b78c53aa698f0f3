package openai

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/shardnode/shardnode/shard"
)

// schemas compiles OpenAI's own schemas. One fault of theirs is mended: the
// finish_reason of a chunk is null until the last, which they do not allow.
func schemas(t *testing.T) func(name, text string) {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", "openapi", "openapi.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Skipf("OpenAI's schema is not here: %v", err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	all := doc.(map[string]any)["components"].(map[string]any)["schemas"].(map[string]any)
	for _, name := range []string{"CreateChatCompletionStreamResponse", "CreateCompletionResponse"} {
		choice := all[name].(map[string]any)["properties"].(map[string]any)["choices"].(map[string]any)["items"].(map[string]any)
		reason := choice["properties"].(map[string]any)["finish_reason"].(map[string]any)
		reason["type"] = []any{"string", "null"}
		reason["enum"] = append(reason["enum"].([]any), nil)
	}
	delete(all["CompoundFilter"].(map[string]any), "$recursiveAnchor") // of an older draft, with a value that none allows
	c := jsonschema.NewCompiler()
	if err := c.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled := map[string]*jsonschema.Schema{}
	return func(name, text string) {
		t.Helper()
		s := compiled[name]
		if s == nil {
			if s, err = c.Compile("openapi.json#/components/schemas/" + name); err != nil {
				t.Fatal(err)
			}
			compiled[name] = s
		}
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%v\nin %s", err, text)
		}
	}
}

func TestEveryResponseIsOfOpenAIsSchema(t *testing.T) {
	check := schemas(t)
	b := newBackend(t, tale)
	h := newHandler(t, b)
	for _, fields := range []string{
		`"temperature":0`, `"n":3`, `"logprobs":true`, `"logprobs":true,"top_logprobs":5`, `"max_tokens":1`, `"stop":"O"`,
	} {
		check("CreateChatCompletionResponse", do(t, h, "POST", "/v1/chat/completions", chatBody(fields)).Body.String())
		for _, usage := range []string{"true", "false"} {
			w := do(t, h, "POST", "/v1/chat/completions", chatBody(fields+`,"stream":true,"stream_options":{"include_usage":`+usage+`}`))
			data, _ := sse(t, w.Body.String())
			for _, d := range data[:len(data)-1] {
				check("CreateChatCompletionStreamResponse", d)
			}
		}
	}
	for _, fields := range []string{`"temperature":0`, `"n":2`, `"logprobs":3`, `"logprobs":0`, `"echo":true`} {
		body := `{"model":"story","prompt":["Hi","Ho"],` + fields
		check("CreateCompletionResponse", do(t, h, "POST", "/v1/completions", body+"}").Body.String())
		data, _ := sse(t, do(t, h, "POST", "/v1/completions", body+`,"stream":true,"stream_options":{"include_usage":true}}`).Body.String())
		for _, d := range data[:len(data)-1] {
			check("CreateCompletionResponse", d)
		}
	}
	check("ListModelsResponse", do(t, h, "GET", "/v1/models", "").Body.String())
	check("Model", do(t, h, "GET", "/v1/models/story", "").Body.String())
}

func TestEveryErrorIsOfOpenAIsSchema(t *testing.T) {
	check := schemas(t)
	b := newBackend(t, tale)
	h := newHandler(t, b)
	for _, c := range [][3]string{
		{"GET", "/v1/models/nope", ""},
		{"GET", "/nowhere", ""},
		{"DELETE", "/v1/models", ""},
		{"POST", "/v1/chat/completions", "{"},
		{"POST", "/v1/chat/completions", chatBody(`"temperature":9`)},
		{"POST", "/v1/completions", `{"model":"nope","prompt":""}`},
	} {
		w := do(t, h, c[0], c[1], c[2])
		if w.Code < 400 {
			t.Errorf("%v: status %d", c, w.Code)
		}
		check("ErrorResponse", w.Body.String())
	}
	r := request(t.Context(), "GET", "/v1/models", "")
	r.Header.Del("Authorization")
	check("ErrorResponse", record(h, r).Body.String())
	for _, err := range []error{&UnavailableError{Reason: "nobody"}, &shard.StageError{Code: shard.NoCapacity}, os.ErrClosed} {
		b.openErr = err
		check("ErrorResponse", do(t, h, "POST", "/v1/chat/completions", chatBody("")).Body.String())
	}
	b.openErr, b.stepErr, b.failAt = nil, os.ErrClosed, int(b.steps.Load())+3
	data, _ := sse(t, do(t, h, "POST", "/v1/chat/completions", chatBody(`"stream":true`)).Body.String())
	check("ErrorResponse", data[len(data)-1])
}
