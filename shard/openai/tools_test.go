package openai

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/tokenizer"
	"github.com/shardnode/shardnode/shard/weights"
	"github.com/shardnode/shardnode/shard/weights/story"
)

// withTemplate is metadata with another chat template.
type withTemplate struct {
	tokenizer.Metadata
	source string
}

func (m withTemplate) Str(key string) (string, bool) {
	if key == "tokenizer.chat_template" {
		return m.source, true
	}
	return m.Metadata.Str(key)
}

// qwen is a template that calls tools and reasons as Qwen's do.
const qwen = `{% if tools %}<|im_start|>system
Call with <tool_call>: {{ tools|tojson }}<|im_end|>
{% endif %}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% for c in m.tool_calls %}<tool_call>{{ c.function|tojson }}</tool_call>{% endfor %}<|im_end|>
{% endfor %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}`

// newTalker returns a backend whose model has a template of its own.
func newTalker(t testing.TB, source, text string) *fakeBackend {
	t.Helper()
	f, err := weights.OpenBytes("story.gguf", story.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	b := newBackend(t, text)
	if b.text, err = generate.ReadText(withTemplate{f.Meta(), source}); err != nil {
		t.Fatal(err)
	}
	return b
}

const weatherTool = `{"type":"function","function":{"name":"get_weather","description":"Weather.","parameters":{"type":"object",
	"properties":{"unit":{"enum":["c","f"]},"days":{"type":"integer","minimum":1,"maximum":9}},"required":["unit","days"],"additionalProperties":false}}}`

const nowTool = `{"type":"function","function":{"name":"now"}}`

// chatOf asks whole and streamed and returns the answer, which must be the same.
func chatOf(t *testing.T, h *Handler, fields string, check func(name, text string)) chatMessage {
	t.Helper()
	w := do(t, h, "POST", "/v1/chat/completions", chatBody(fields))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	var whole chatAnswer
	decode(t, w.Body.String(), &whole)
	check("CreateChatCompletionResponse", w.Body.String())
	data, _ := sse(t, do(t, h, "POST", "/v1/chat/completions", chatBody(fields+`,"stream":true`)).Body.String())
	var text, finish string
	var m chatMessage
	for _, d := range data[:len(data)-1] {
		check("CreateChatCompletionStreamResponse", d)
		var c chatChunk
		decode(t, d, &c)
		delta := c.Choices[0].Delta
		if delta.Content != nil {
			text += *delta.Content
		}
		m.Reasoning += delta.Reasoning
		for _, call := range delta.Calls {
			if call.ID != "" {
				m.Calls = append(m.Calls, chatCall{Type: call.Type, Function: chatFunc{Name: call.Function.Name}})
			}
			m.Calls[*call.Index].Function.Arguments += call.Function.Arguments
		}
		if c.Choices[0].FinishReason != nil {
			finish = *c.Choices[0].FinishReason
		}
	}
	got := whole.Choices[0].Message
	for i := range got.Calls {
		if !strings.HasPrefix(got.Calls[i].ID, "call_") {
			t.Errorf("call %+v has no id", got.Calls[i])
		}
		got.Calls[i].ID = ""
	}
	a, _ := json.Marshal(got.Calls)
	b, _ := json.Marshal(m.Calls)
	if text != got.text() || m.Reasoning != got.Reasoning || string(a) != string(b) || finish != *whole.Choices[0].FinishReason {
		t.Errorf("streamed %q %q %s (%s), whole %q %q %s (%s)", text, m.Reasoning, b, finish, got.text(), got.Reasoning, a, *whole.Choices[0].FinishReason)
	}
	if want := map[bool]string{true: "tool_calls", false: "stop"}[len(m.Calls) > 0]; finish != want {
		t.Errorf("finish_reason %s, want %s", finish, want)
	}
	return got
}

func TestCallsOfToolsAreReadAndStreamed(t *testing.T) {
	check := schemas(t)
	b := newTalker(t, qwen, "<think>\nHm.\n</think>\n\nLet me see.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"unit\": \"c\", \"days\": 2}}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>")
	h := newHandler(t, b)
	tools := `"temperature":0,"tools":[` + weatherTool + "," + nowTool + `]`
	m := chatOf(t, h, tools, check)
	if m.Reasoning != "Hm." || m.text() != "Let me see." || len(m.Calls) != 2 ||
		m.Calls[0].Function != (chatFunc{"get_weather", `{"unit": "c", "days": 2}`}) || m.Calls[1].Function != (chatFunc{"now", "{}"}) {
		t.Errorf("answer %+v", m)
	}
	if m = chatOf(t, h, tools+`,"parallel_tool_calls":false`, check); len(m.Calls) != 1 {
		t.Errorf("%d calls without parallel calls", len(m.Calls))
	}
	if m = chatOf(t, h, tools+`,"tool_choice":"none"`, check); len(m.Calls) != 0 || !strings.Contains(m.text(), "<tool_call>") {
		t.Errorf("answer %+v with tool_choice none", m)
	}
	if m = chatOf(t, h, `"temperature":0,"logprobs":true,"reasoning_effort":"none"`, check); m.Reasoning != "Hm." {
		t.Errorf("answer %+v with logprobs", m)
	}
}

func TestCallsAreForcedByGrammar(t *testing.T) {
	check := schemas(t)
	b := newTalker(t, qwen, tale)
	h := newHandler(t, b)
	tools := `"temperature":0,"tools":[` + weatherTool + "," + nowTool + `]`
	for _, choice := range []string{
		`"required","parallel_tool_calls":false`, `{"type":"function","function":{"name":"get_weather"}}`,
		`{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"type":"function","function":{"name":"get_weather"}}]}},"parallel_tool_calls":false`,
	} {
		m := chatOf(t, h, tools+`,"reasoning_effort":"none","tool_choice":`+choice, check)
		var args struct {
			Unit string
			Days int
		}
		if len(m.Calls) != 1 || m.text() != "" || json.Unmarshal([]byte(m.Calls[0].Function.Arguments), &args) != nil {
			t.Errorf("tool_choice %s: %+v", choice, m)
			continue
		}
		if m.Calls[0].Function.Name == "get_weather" && (args.Days < 1 || args.Days > 9 || args.Unit != "c" && args.Unit != "f") {
			t.Errorf("tool_choice %s: %+v", choice, m)
		}
	}
	strict := strings.Replace(weatherTool, `"description"`, `"strict":true,"description"`, 1)
	if m := chatOf(t, h, `"temperature":0,"tools":[`+strict+`]`, check); m.text() != tale {
		t.Errorf("with a strict tool that is not called: %+v", m)
	}
	bad := strings.Replace(strict, `"type":"integer"`, `"type":"integer","not":{}`, 1)
	w := do(t, h, "POST", "/v1/chat/completions", chatBody(`"tools":[`+bad+`]`))
	if param, code := errorOf(t, w.Body.String()); w.Code != 400 || param != "tools[0].function.parameters" || code != "invalid_schema" {
		t.Errorf("a strict tool with a schema that can't be kept: %d %s", w.Code, w.Body)
	}
}

func TestAnswersHaveTheFormThatIsAskedFor(t *testing.T) {
	check := schemas(t)
	for name, b := range map[string]*fakeBackend{"plain": newBackend(t, tale), "thinking": newTalker(t, qwen, tale)} {
		h := newHandler(t, b)
		var v struct {
			Mood string
			Age  int
		}
		const schema = `{"type":"object","properties":{"mood":{"enum":["happy","sad"]},"age":{"type":"integer","minimum":3,"maximum":7}},"required":["mood","age"]}`
		for _, format := range []string{
			`"response_format":{"type":"json_schema","json_schema":{"name":"pet","strict":true,"schema":` + schema + `}}`,
			`"response_format":{"type":"json_schema","json_schema":{"name":"pet","schema":` + schema + `}},"logprobs":true,"top_logprobs":3`,
		} {
			if name == "thinking" {
				format += `,"reasoning_effort":"none"`
			}
			m := chatOf(t, h, `"temperature":0,`+format, check)
			if err := json.Unmarshal([]byte(m.text()), &v); err != nil || v.Mood == "" || v.Age < 3 {
				t.Errorf("%s %s: %v in %q", name, format, err, m.text())
			}
		}
		if name == "thinking" {
			continue // the model would reason for ever
		}
		if m := chatOf(t, h, `"temperature":0,"grammar":"root ::= \"yes\" | \"no\""`, check); m.text() != "yes" && m.text() != "no" {
			t.Errorf("%s: a grammar gave %q", name, m.text())
		}
	}
	h := newHandler(t, newBackend(t, tale))
	w := do(t, h, "POST", "/v1/completions", `{"model":"story","prompt":"Hi","grammar":"root ::= \"ab\" [0-9]{2}"}`)
	var a completionAnswer
	if decode(t, w.Body.String(), &a); len(a.Choices[0].Text) != 4 || !strings.HasPrefix(a.Choices[0].Text, "ab") {
		t.Errorf("a completion of a grammar: %s", w.Body)
	}
}
