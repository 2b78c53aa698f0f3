package openai

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestWhatIsWrongIsNamed(t *testing.T) {
	h := newHandler(t, newBackend(t, tale))
	msg := func(m string) string { return `{"model":"story","messages":[` + m + `]}` }
	for name, c := range map[string]struct{ body, param, code string }{
		"garbage":            {`{"model":`, "", "invalid_json"},
		"not JSON":           {`hello`, "", "invalid_json"},
		"array":              {`[]`, "", "invalid_type"},
		"two values":         {chatBody("") + "{}", "", "invalid_json"},
		"bad UTF-8":          {"{\"model\":\"\xff\"}", "", "invalid_json"},
		"deep":               {strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000), "", "invalid_json"},
		"twice":              {chatBody(`"seed":1,"seed":2`), "seed", "invalid_json"},
		"unknown":            {chatBody(`"temperatur":1`), "temperatur", "unknown_parameter"},
		"case":               {chatBody(`"Temperature":1`), "Temperature", "unknown_parameter"},
		"no model":           {`{"messages":[{"role":"user","content":"x"}]}`, "model", "missing_required_parameter"},
		"no messages":        {`{"model":"story"}`, "messages", "missing_required_parameter"},
		"empty messages":     {msg(""), "messages", "invalid_value"},
		"null message":       {msg("null"), "messages[0]", "invalid_type"},
		"no role":            {msg(`{"content":"x"}`), "messages[0].role", "missing_required_parameter"},
		"bad role":           {msg(`{"role":"robot","content":"x"}`), "messages[0].role", "invalid_value"},
		"no content":         {msg(`{"role":"user"}`), "messages[0].content", "missing_required_parameter"},
		"content number":     {msg(`{"role":"user","content":5}`), "messages[0].content", "invalid_type"},
		"no parts":           {msg(`{"role":"user","content":[]}`), "messages[0].content", "invalid_value"},
		"image":              {msg(`{"role":"user","content":[{"type":"text","text":"x"},{"type":"image_url","image_url":{"url":"x"}}]}`), "messages[0].content[1]", "unsupported_content"},
		"audio part":         {msg(`{"role":"user","content":[{"type":"input_audio"}]}`), "messages[0].content[0]", "unsupported_content"},
		"odd part":           {msg(`{"role":"user","content":[{"type":"odd"}]}`), "messages[0].content[0].type", "invalid_value"},
		"part field":         {msg(`{"role":"user","content":[{"type":"text","text":"x","y":1}]}`), "messages[0].content[0].y", "unknown_parameter"},
		"message field":      {msg(`{"role":"user","content":"x","y":1}`), "messages[0].y", "unknown_parameter"},
		"tool without id":    {msg(`{"role":"tool","content":"x"}`), "messages[0].tool_call_id", "missing_required_parameter"},
		"calls of a user":    {msg(`{"role":"user","content":"x","tool_calls":[{"id":"1"}]}`), "messages[0].tool_calls", "invalid_value"},
		"temperature text":   {chatBody(`"temperature":"hot"`), "temperature", "invalid_type"},
		"temperature high":   {chatBody(`"temperature":2.1`), "temperature", "invalid_value"},
		"temperature huge":   {chatBody(`"temperature":1e999`), "temperature", "invalid_type"},
		"top_p":              {chatBody(`"top_p":-1`), "top_p", "invalid_value"},
		"top_k":              {chatBody(`"top_k":1.5`), "top_k", "invalid_type"},
		"min_p":              {chatBody(`"min_p":2`), "min_p", "invalid_value"},
		"repeat_penalty":     {chatBody(`"repeat_penalty":0`), "repeat_penalty", "invalid_value"},
		"penalty":            {chatBody(`"presence_penalty":3`), "presence_penalty", "invalid_value"},
		"max_tokens 0":       {chatBody(`"max_tokens":0`), "max_tokens", "invalid_value"},
		"max_tokens twice":   {chatBody(`"max_tokens":5,"max_completion_tokens":6`), "max_tokens", "invalid_value"},
		"n":                  {chatBody(`"n":17`), "n", "invalid_value"},
		"seed":               {chatBody(`"seed":"x"`), "seed", "invalid_type"},
		"stop empty":         {chatBody(`"stop":""`), "stop", "invalid_value"},
		"stop null in list":  {chatBody(`"stop":[null]`), "stop", "invalid_type"},
		"stop many":          {chatBody(`"stop":["1","2","3","4","5","6","7","8","9","a","b","c","d","e","f","g","h"]`), "stop", "invalid_value"},
		"bias of words":      {chatBody(`"logit_bias":{"fox":1}`), "logit_bias", "invalid_value"},
		"bias too high":      {chatBody(`"logit_bias":{"1":101}`), "logit_bias", "invalid_value"},
		"bias beyond":        {chatBody(`"logit_bias":{"2048":1}`), "logit_bias", "invalid_value"},
		"top_logprobs alone": {chatBody(`"top_logprobs":2`), "top_logprobs", "invalid_value"},
		"top_logprobs many":  {chatBody(`"logprobs":true,"top_logprobs":21`), "top_logprobs", "invalid_value"},
		"logprobs number":    {chatBody(`"logprobs":1`), "logprobs", "invalid_type"},
		"stream text":        {chatBody(`"stream":"yes"`), "stream", "invalid_type"},
		"options alone":      {chatBody(`"stream_options":{"include_usage":true}`), "stream_options", "invalid_value"},
		"odd option":         {chatBody(`"stream":true,"stream_options":{"x":true}`), "stream_options.x", "unknown_parameter"},
		"odd format":         {chatBody(`"response_format":{"type":"xml"}`), "response_format.type", "invalid_value"},
		"no schema":          {chatBody(`"response_format":{"type":"json_schema"}`), "response_format.json_schema", "missing_required_parameter"},
		"schema name":        {chatBody(`"response_format":{"type":"json_schema","json_schema":{"schema":{}}}`), "response_format.json_schema.name", "missing_required_parameter"},
		"schema keyword":     {chatBody(`"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":{"not":{}}}}`), "response_format.json_schema.schema", "invalid_grammar"},
		"grammar":            {chatBody(`"grammar":"root ::= a"`), "grammar", "invalid_grammar"},
		"two forms":          {chatBody(`"grammar":"root ::= \"a\"","response_format":{"type":"json_object"}`), "grammar", "invalid_value"},
		"tools":              {chatBody(`"tools":[{"type":"function","function":{"name":"f"}}]`), "tools", "unsupported_parameter"},
		"tool name":          {chatBody(`"tools":[{"type":"function","function":{"name":"f g"}}]`), "tools[0].function.name", "invalid_value"},
		"tool type":          {chatBody(`"tools":[{"type":"custom","custom":{"name":"f"}}]`), "tools[0].type", "unsupported_parameter"},
		"tool parameters":    {chatBody(`"tools":[{"type":"function","function":{"name":"f","parameters":[]}}]`), "tools[0].function.parameters", "invalid_type"},
		"tool twice":         {chatBody(`"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}]`), "tools", "invalid_value"},
		"tool_choice":        {chatBody(`"tool_choice":"required"`), "tool_choice", "invalid_value"},
		"tool_choice name":   {chatBody(`"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}`), "tool_choice", "invalid_value"},
		"effort":             {chatBody(`"reasoning_effort":"huge"`), "reasoning_effort", "invalid_value"},
		"effort of none":     {chatBody(`"reasoning_effort":"high"`), "reasoning_effort", "unsupported_parameter"},
		"functions":          {chatBody(`"functions":[{"name":"f"}]`), "functions", "unsupported_parameter"},
		"audio":              {chatBody(`"audio":{"voice":"x"}`), "audio", "unsupported_parameter"},
		"modalities":         {chatBody(`"modalities":["text","audio"]`), "modalities", "unsupported_parameter"},
		"store":              {chatBody(`"store":true`), "store", "unsupported_parameter"},
		"web search":         {chatBody(`"web_search_options":{}`), "web_search_options", "unsupported_parameter"},
		"kwargs":             {chatBody(`"chat_template_kwargs":[]`), "chat_template_kwargs", "invalid_type"},
		"too long":           {`{"model":"story","messages":[{"role":"user","content":"` + strings.Repeat("fox ", 2000) + `"}]}`, "messages", "context_length_exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			w := do(t, h, "POST", "/v1/chat/completions", c.body)
			if param, code := errorOf(t, w.Body.String()); w.Code != 400 || param != c.param || code != c.code {
				t.Errorf("status %d: %s\nwant 400, param %q, code %q", w.Code, w.Body, c.param, c.code)
			}
		})
	}
	for name, c := range map[string]struct{ fields, param, code string }{
		"no prompt":    {`"n":1`, "prompt", "missing_required_parameter"},
		"empty list":   {`"prompt":[]`, "prompt", "invalid_value"},
		"null in ids":  {`"prompt":[1,null]`, "prompt", "invalid_type"},
		"mixed":        {`"prompt":["a",{}]`, "prompt", "invalid_type"},
		"bad id":       {`"prompt":[2048]`, "prompt", "invalid_value"},
		"negative id":  {`"prompt":[-1]`, "prompt", "invalid_value"},
		"suffix":       {`"prompt":"a","suffix":"b"`, "suffix", "unsupported_parameter"},
		"best_of":      {`"prompt":"a","best_of":3`, "best_of", "unsupported_parameter"},
		"logprobs":     {`"prompt":"a","logprobs":6`, "logprobs", "invalid_value"},
		"echo":         {`"prompt":"a","logprobs":1,"echo":true`, "logprobs", "unsupported_parameter"},
		"many answers": {`"prompt":["a","b","c","d","e"],"n":16`, "prompt", "invalid_value"},
		"chat field":   {`"prompt":"a","messages":[]`, "messages", "unknown_parameter"},
	} {
		t.Run("completion "+name, func(t *testing.T) {
			w := do(t, h, "POST", "/v1/completions", `{"model":"story",`+c.fields+`}`)
			if param, code := errorOf(t, w.Body.String()); w.Code != 400 || param != c.param || code != c.code {
				t.Errorf("status %d: %s\nwant 400, param %q, code %q", w.Code, w.Body, c.param, c.code)
			}
		})
	}
}

func TestWhatIsHarmlessIsAccepted(t *testing.T) {
	h := newHandler(t, newBackend(t, tale))
	for _, fields := range []string{
		`"user":"me","metadata":{"a":"b"},"store":false,"safety_identifier":"x","prompt_cache_key":"k"`,
		`"temperature":null,"top_p":0,"top_k":-1,"min_p":0.05,"repeat_penalty":1.1,"repeat_last_n":0`,
		`"presence_penalty":-2,"frequency_penalty":2,"seed":-9223372036854775808,"logit_bias":{"5":-100}`,
		`"tools":[],"tool_choice":"none","response_format":{"type":"text"},"modalities":["text"],"service_tier":"auto"`,
		`"max_tokens":5.0,"n":1,"stream":false,"logprobs":false,"top_logprobs":0,"stop":["a","b"]`,
		`"chat_template_kwargs":{"enable_thinking":false}`,
	} {
		if w := do(t, h, "POST", "/v1/chat/completions", chatBody(fields)); w.Code != 200 {
			t.Errorf("%s: status %d: %s", fields, w.Code, w.Body)
		}
	}
}

func TestMessagesComeToTheTemplateAsItKnowsThem(t *testing.T) {
	req, err := parseChat([]byte(`{"model":"story","messages":[
		{"role":"developer","content":"Be brief."},
		{"role":"user","content":[{"type":"text","text":"one"},{"type":"text","text":"two"}],"name":"Ann"},
		{"role":"assistant","content":null,"refusal":null,"annotations":[],"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},
		{"role":"tool","tool_call_id":"c1","content":"42"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	b := newBackend(t, "")
	p, bad := chatPrompt(&req, b.text, testTime)
	if bad != nil {
		t.Fatal(bad)
	}
	text := b.text.Tokenizer.DecodeSpecial(p.ids)
	for _, want := range []string{"<|im_start|>system\nBe brief.", "<|im_start|>user\none\ntwo", "<|im_start|>tool\n42"} {
		if !strings.Contains(text, want) {
			t.Errorf("prompt %q, want %q in it", text, want)
		}
	}
}

func TestEveryFieldIsReadByOneName(t *testing.T) {
	req, err := parseChat([]byte(chatBody(`"stream":true,"temperature":0.5,"top_k":3,"top_p":0.25,"min_p":0.125,"seed":9,
		"repeat_penalty":1.5,"repeat_last_n":7,"presence_penalty":0.75,"frequency_penalty":-0.75,"n":2,"max_tokens":11,
		"stop":"x","ignore_eos":true,"logprobs":true,"top_logprobs":4,"logit_bias":{"3":-1},"stream_options":{"include_usage":true}`)))
	if err != nil {
		t.Fatal(err)
	}
	want := settings{model: "story", stream: true, usage: true, choices: 2, maxTokens: 11, stop: []string{"x"}, ignoreEnd: true}
	want.sampling.Temperature, want.sampling.TopK, want.sampling.TopP, want.sampling.MinP = 0.5, 3, 0.25, 0.125
	want.sampling.Seed, want.sampling.RepeatPenalty, want.sampling.RepeatLastN = 9, 1.5, 7
	want.sampling.PresencePenalty, want.sampling.FrequencyPenalty = 0.75, -0.75
	want.sampling.Logprobs, want.sampling.TopLogprobs = true, 4
	want.sampling.LogitBias = req.sampling.LogitBias
	if !reflect.DeepEqual(req.settings, want) || req.sampling.LogitBias[3] != -1 {
		t.Errorf("settings %+v, want %+v", req.settings, want)
	}
}

func FuzzParseChat(f *testing.F) {
	f.Add([]byte(chatBody(`"stop":["a"],"logit_bias":{"1":2},"stream":true,"stream_options":{}`)))
	f.Add([]byte(`{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]}]}`))
	f.Add([]byte(`{"messages":[[]],"n":1e3,"x":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := parseChat(body)
		if err != nil {
			if err.status != http.StatusBadRequest || err.message == "" {
				t.Errorf("error %+v, want a 400 with a message", err)
			}
			return
		}
		if req.model == "" || req.choices < 1 || req.choices > maxChoices || req.messages.Len() == 0 {
			t.Errorf("accepted %+v", req)
		}
	})
}

func FuzzParseCompletion(f *testing.F) {
	f.Add([]byte(`{"model":"m","prompt":["a","b"],"echo":true,"logprobs":1}`))
	f.Add([]byte(`{"model":"m","prompt":[[1,2],[3]],"best_of":1}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := parseCompletion(body)
		if err == nil && (req.model == "" || len(req.prompts) == 0 || len(req.prompts)*req.choices > maxPrompts) {
			t.Errorf("accepted %+v", req)
		}
	})
}
