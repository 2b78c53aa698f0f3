package openai

import (
	"strings"
	"testing"
)

const flatTool = `{"type":"function","name":"get_weather","description":"Weather.","strict":false,"parameters":{"type":"object","properties":{"unit":{"enum":["c","f"]},
	"days":{"type":"integer"}},"required":["unit","days"]}}`

// namedEvents returns the names and the data of a stream's events.
func namedEvents(t *testing.T, body string) (names, data []string) {
	t.Helper()
	for event := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		name, rest, ok := strings.Cut(event, "\n")
		name, named := strings.CutPrefix(name, "event: ")
		text, is := strings.CutPrefix(rest, "data: ")
		if !ok || !named || !is {
			t.Fatalf("event %q, want event: and data:", event)
		}
		names, data = append(names, name), append(data, text)
	}
	return names, data
}

func TestResponsesAreOfOpenAIsSchema(t *testing.T) {
	check := schemas(t)
	h := newHandler(t, newTalker(t, qwen, oneCall))
	for name, c := range map[string]struct {
		fields, status, types string
	}{
		"call":    {`"input":"Weather?","tools":[` + flatTool + `]`, "completed", "reasoning message function_call"},
		"text":    {`"input":[{"role":"user","content":"Weather?"}],"instructions":"Be brief.","metadata":{"a":"b"}`, "completed", "reasoning message"},
		"cut":     {`"input":"x","max_output_tokens":12`, "incomplete", "reasoning"},
		"forced":  {`"input":"x","reasoning":{"effort":"none"},"tools":[` + flatTool + `],"tool_choice":{"type":"function","name":"get_weather"}`, "completed", "function_call"},
		"schema":  {`"input":"x","reasoning":{"effort":"none"},"text":{"format":{"type":"json_schema","name":"a","schema":{"type":"boolean"}}}`, "completed", "message"},
		"history": {`"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]},{"type":"function_call","call_id":"c","name":"get_weather","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"sunny"}]`, "completed", "reasoning message"},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"model":"story","temperature":0,` + c.fields
			w := do(t, h, "POST", "/v1/responses", body+"}")
			check("Response", w.Body.String())
			var r responseJSON
			decode(t, w.Body.String(), &r)
			if got := typesOf(r); r.Status != c.status || got != c.types {
				t.Errorf("status %s with %s, want %s with %s: %s", r.Status, got, c.status, c.types, w.Body)
			}
			names, data := namedEvents(t, do(t, h, "POST", "/v1/responses", body+`,"stream":true}`).Body.String())
			for i, d := range data {
				var e responseEvent
				decode(t, d, &e)
				if e.Type != names[i] || e.Number != i {
					t.Errorf("event %d is %q with type %q and number %d", i, names[i], e.Type, e.Number)
				}
				check("ResponseStreamEvent", d)
				if i == len(data)-1 && (e.Type != "response."+c.status || typesOf(*e.Response) != c.types) {
					t.Errorf("the last event is %s", d)
				}
			}
		})
	}
}

func typesOf(r responseJSON) string {
	var types []string
	for _, it := range r.Output {
		types = append(types, it.Type)
	}
	return strings.Join(types, " ")
}

func TestWhatTheResponsesAPIRefusesIsNamed(t *testing.T) {
	h := newHandler(t, newTalker(t, qwen, oneCall))
	for fields, param := range map[string]string{
		`"input":"x","previous_response_id":"r"`:                                       "previous_response_id",
		`"input":"x","store":true`:                                                     "store",
		`"input":"x","background":true`:                                                "background",
		`"input":"x","tools":[{"type":"web_search"}]`:                                  "tools[0].type",
		`"input":"x","text":{"format":{"type":"a"}}`:                                   "text.format.type",
		`"input":[{"role":"user","content":[{"type":"input_image","image_url":"x"}]}]`: "input[0].content[0]",
		`"input":[{"type":"item_reference","id":"x"}]`:                                 "input[0].type",
		`"input":[]`:                  "input",
		`"temperature":1`:             "input",
		`"input":"x","messages":[]`:   "messages",
		`"input":"x","truncation":""`: "truncation",
	} {
		w := do(t, h, "POST", "/v1/responses", `{"model":"story",`+fields+`}`)
		if got, _ := errorOf(t, w.Body.String()); w.Code != 400 || got != param {
			t.Errorf("%s: %d %s, want 400 about %s", fields, w.Code, w.Body, param)
		}
	}
}

func TestAnthropicsMessagesHaveTheirShape(t *testing.T) {
	h := newHandler(t, newTalker(t, qwen, oneCall))
	const tool = `"tools":[{"name":"get_weather","input_schema":{"type":"object","properties":{"unit":{"enum":["c","f"]}},"required":["unit"]}}]`
	ask := func(fields string) string {
		return `{"model":"story","max_tokens":200,"top_k":1,"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}],` + fields + `}`
	}
	w := do(t, h, "POST", "/v1/messages", ask(tool))
	var m messageJSON
	decode(t, w.Body.String(), &m)
	if len(m.Content) != 3 || m.Content[0].Type != "thinking" || *m.Content[1].Text != "Let me see." || string(m.Content[2].Input) != `{"unit":"c","days":2}` ||
		*m.StopReason != "tool_use" || m.Usage.Input == 0 || m.Usage.Output == 0 {
		t.Errorf("answer %s", w.Body)
	}
	names, data := namedEvents(t, do(t, h, "POST", "/v1/messages", ask(tool+`,"stream":true`)).Body.String())
	all := strings.Join(names, " ")
	for _, want := range []string{"message_start content_block_start", "content_block_delta content_block_stop content_block_start", "content_block_stop message_delta message_stop"} {
		if !strings.Contains(all, want) {
			t.Errorf("events %s lack %s", all, want)
		}
	}
	if !strings.Contains(strings.Join(data, ""), `{"type":"input_json_delta","partial_json":`) {
		t.Error("no delta of arguments")
	}
	w = do(t, h, "POST", "/v1/messages", ask(tool+`,"thinking":{"type":"disabled"},"tool_choice":{"type":"any"}`))
	if decode(t, w.Body.String(), &m); *m.StopReason != "tool_use" {
		t.Errorf("a forced call: %s", w.Body)
	}
	for fields, status := range map[string]int{
		`"top_k":1.5`: 400, `"tools":[{"type":"bash_20250124","name":"bash"}]`: 400, `"nope":1`: 400, `"mcp_servers":[{}]`: 400,
		`"messages":[{"role":"user","content":[{"type":"image"}]}]`: 400,
	} {
		w := do(t, h, "POST", "/v1/messages", `{"model":"story","max_tokens":5,`+fields+`}`)
		if w.Code != status || !strings.HasPrefix(w.Body.String(), `{"type":"error","error":{"type":"invalid_request_error","message":"`) {
			t.Errorf("%s: %d %s", fields, w.Code, w.Body)
		}
	}
}

func TestOllamasAnswersHaveTheirShape(t *testing.T) {
	h := newHandler(t, newTalker(t, qwen, oneCall))
	w := do(t, h, "POST", "/api/chat", `{"model":"story","messages":[{"role":"user","content":"Hi"}],"options":{"temperature":0},"tools":[`+weatherTool+`]}`)
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	var last, call ollamaAnswer
	decode(t, lines[len(lines)-1], &last)
	decode(t, lines[len(lines)-2], &call)
	if !last.Done || last.Reason != "stop" || last.Count == 0 || last.Total == 0 || len(call.Message.Calls) != 1 || w.Header().Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("stream %s", w.Body)
	}
	w = do(t, h, "POST", "/api/generate", `{"model":"story","prompt":"Hi","raw":true,"stream":false,"options":{"temperature":0,"num_predict":3,"num_ctx":4096}}`)
	var whole ollamaAnswer
	if decode(t, w.Body.String(), &whole); whole.Reason != "length" || whole.Count != 3 || whole.Response == nil {
		t.Errorf("answer %s", w.Body)
	}
	for _, c := range [][3]string{
		{"GET", "/api/tags", ""},
		{"GET", "/api/version", ""},
		{"GET", "/api/ps", ""},
		{"POST", "/api/show", `{"model":"story"}`},
		{"POST", "/tokenize", `{"content":"Hi","with_pieces":true}`},
		{"POST", "/tokenize", `{"messages":[{"role":"user","content":"Hi"}]}`},
		{"POST", "/detokenize", `{"tokens":[1,2,3]}`},
		{"POST", "/v1/messages/count_tokens", `{"model":"story","messages":[{"role":"user","content":"Hi"}]}`},
	} {
		if w := do(t, h, c[0], c[1], c[2]); w.Code != 200 {
			t.Errorf("%v: %d %s", c, w.Code, w.Body)
		}
	}
	for body, want := range map[string]string{
		`{"model":"none","messages":[{"role":"user","content":"Hi"}]}`:                                  "none",
		`{"model":"story","messages":[{"role":"user","content":"Hi","images":["x"]}]}`:                  "images",
		`{"model":"story","messages":[{"role":"user","content":"Hi"}],"options":{"mirostat":2}}`:        "mirostat",
		`{"model":"story","messages":[{"role":"user","content":"Hi"}],"format":{"not":{}}}`:             "not",
		`{"model":"story","messages":[{"role":"user","content":"Hi"}],"options":{"temperature":"hot"}}`: "temperature",
	} {
		w := do(t, h, "POST", "/api/chat", body)
		var e struct{ Error string }
		if decode(t, w.Body.String(), &e); w.Code < 400 || !strings.Contains(e.Error, want) {
			t.Errorf("%s: %d %s, want %s", body, w.Code, w.Body, want)
		}
	}
	w = do(t, h, "POST", "/tokenize", `{"content":"Hi there"}`)
	var tokens struct {
		Tokens []int
		Count  int
	}
	if decode(t, w.Body.String(), &tokens); len(tokens.Tokens) == 0 || tokens.Count != len(tokens.Tokens) {
		t.Errorf("tokens %s", w.Body)
	}
}
