package openai

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard/chat"
)

// A responseRequest is the body of POST /v1/responses: a chat in other words,
// and what the answer repeats of it.
type responseRequest struct {
	chatRequest
	echo responseEcho
}

// parseResponse reads a request of the Responses API. Nothing is kept between
// requests, so a client sends the whole conversation.
func parseResponse(body []byte) (*responseRequest, *apiError) {
	o, err := readObject("", body)
	if err != nil {
		return nil, err
	}
	r := &responseRequest{}
	r.echo.read(o)
	// What completions call otherwise.
	r.maxTokens = int(o.integer("max_output_tokens", 0, 1, 1<<31))
	if opts, ok := o.object("stream_options"); ok {
		opts.only("include_obfuscation", "is not supported: want false or nothing", "false")
		o.join(opts.done())
	}
	most := r.maxTokens
	r.settings = readSettings(o)
	if r.settings.choices != 1 {
		o.fail("n", "unsupported_parameter", "n is not of the Responses API")
	}
	r.maxTokens = most
	r.readInput(o)
	r.readResponseTools(o)
	r.readText(o)
	if reasoning, ok := o.object("reasoning"); ok {
		r.effort = readEffort(renamed(reasoning, "effort", "reasoning_effort"))
		reasoning.only("summary", "is not supported: the reasoning itself comes", `"auto"`)
		reasoning.only("generate_summary", "is not supported: the reasoning itself comes", `"auto"`)
		o.join(reasoning.done())
	}
	refuseResponseFields(o)
	return r, o.done()
}

// renamed gives a field of o another name.
func renamed(o *object, from, to string) *object {
	if raw, ok := o.fields[from]; ok {
		delete(o.fields, from)
		o.fields[to] = raw
	}
	return o
}

func refuseResponseFields(o *object) {
	o.only("previous_response_id", "is not supported: answers are not kept, send the whole conversation")
	o.only("conversation", "is not supported: conversations are not kept")
	o.only("prompt", "is not supported: there are no stored prompts")
	o.only("background", "is not supported", `false`)
	o.only("store", "is not supported: answers are not kept", `false`)
	o.only("truncation", "is not supported: want disabled", `"disabled"`)
	o.only("service_tier", "is not supported", `"auto"`, `"default"`)
	o.only("max_tool_calls", "is not supported: there are no tools but functions")
	o.only("top_logprobs", "is not supported in the Responses API: use chat completions", `0`)
	o.only("moderation", "is not supported")
	o.only("context_management", "is not supported", `[]`)
	// The reasoning comes as it is, so there is nothing to encrypt.
	o.only("include", "asks for what is not supported", `[]`, `["reasoning.encrypted_content"]`)
	o.accept("safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options")
}

// readText reads the form of the answer.
func (r *responseRequest) readText(o *object) {
	r.want = readGrammar(o)
	text, ok := o.object("text")
	if !ok {
		return
	}
	text.only("verbosity", "is not supported", `"medium"`)
	if f, ok := text.object("format"); ok {
		switch kind, _ := f.text("type"); kind {
		case "text":
		case "json_object":
			r.want = wanted{object: true, field: "text.format"}
		case "json_schema":
			r.want = readNamedSchema(f)
			r.want.field = "text.format.schema"
		default:
			f.fail("type", "invalid_value", "%stype is %q, want text, json_object or json_schema", f.path, short([]byte(kind)))
		}
		text.join(f.done())
	}
	o.join(text.done())
	if o.err == nil && r.want.some() {
		r.want.check(o)
	}
}

// readResponseTools reads tools that are written flat.
func (r *responseRequest) readResponseTools(o *object) {
	raws, _ := o.list("tools", maxTools)
	for i, raw := range raws {
		t, err := readObject(fmt.Sprintf("tools[%d].", i), raw)
		if err == nil {
			t.only("type", "is not supported: want function", `"function"`)
			r.use.tools = append(r.use.tools, readFunction(t))
			err = t.done()
		}
		o.join(err)
	}
	r.use.readChoice(o)
	r.use.finish(o)
}

// readInput reads instructions and input as messages.
func (r *responseRequest) readInput(o *object) {
	var items []any
	if s, ok := o.text("instructions"); ok {
		items = append(items, turn("system", s))
	}
	raw, ok := o.fields["input"]
	if !ok || jsonKind(raw) == "null" {
		o.fail("input", "missing_required_parameter", "input is missing")
		return
	}
	if jsonKind(raw) == "a string" {
		s, _ := o.text("input")
		r.messages = chat.NewList(append(items, turn("user", s))...)
		return
	}
	raws, _ := o.list("input", maxMessages)
	in := inputReader{items: items}
	for i, raw := range raws {
		it, err := readObject(fmt.Sprintf("input[%d].", i), raw)
		if err == nil {
			in.item(it)
			err = it.done()
		}
		o.join(err)
	}
	if in.flush(); len(in.items) == 0 {
		o.fail("input", "invalid_value", "input has no entry, want at least one")
	}
	r.messages = chat.NewList(in.items...)
}

func turn(role, content string) *chat.Dict {
	d := &chat.Dict{}
	d.Set("role", role)
	d.Set("content", content)
	return d
}

// An inputReader makes messages of the items of an input. What an assistant
// thought, said and called stands in several items and is one message.
type inputReader struct {
	items     []any
	assistant *chat.Dict
	calls     []any
}

// answer returns the assistant's message under way.
func (in *inputReader) answer() *chat.Dict {
	if in.assistant == nil {
		in.assistant = turn("assistant", "")
	}
	return in.assistant
}

func (in *inputReader) flush() {
	if in.assistant == nil {
		return
	}
	if len(in.calls) > 0 {
		in.assistant.Set("tool_calls", chat.NewList(in.calls...))
	}
	in.items = append(in.items, in.assistant)
	in.assistant, in.calls = nil, nil
}

// item reads one item.
func (in *inputReader) item(o *object) {
	kind, ok := o.text("type")
	if !ok {
		kind = "message"
	}
	o.accept("id", "status", "phase", "namespace", "caller")
	switch kind {
	case "message":
		in.message(o)
	case "function_call":
		id, _ := o.text("call_id")
		name, _ := o.text("name")
		args, _ := o.text("arguments")
		in.answer()
		in.calls = append(in.calls, callDict(id, name, args))
	case "function_call_output":
		in.flush()
		id, _ := o.text("call_id")
		d := turn("tool", readParts(renamed(o, "output", "content")))
		d.Set("tool_call_id", id)
		in.items = append(in.items, d)
	case "reasoning":
		if text := readParts(o); text != "" {
			in.answer().Set("reasoning_content", text)
		}
		o.accept("summary", "encrypted_content")
	default:
		o.fail("type", "unsupported_parameter", "%stype is %q, want message, function_call, function_call_output or reasoning", o.path, short([]byte(kind)))
	}
}

func (in *inputReader) message(o *object) {
	role, _ := o.text("role")
	if !slices.Contains(roles[:4], role) {
		o.fail("role", "invalid_value", "%srole is %q, want one of %s", o.path, short([]byte(role)), strings.Join(roles[:4], ", "))
	}
	text := readParts(o)
	if role == "assistant" {
		in.answer().Set("content", text)
		return
	}
	in.flush()
	if role == "developer" {
		role = "system"
	}
	in.items = append(in.items, turn(role, text))
}

// readParts reads content: a text, or a list of parts of text.
func readParts(o *object) string {
	if jsonKind(o.fields["content"]) != "an array" {
		s, _ := o.text("content")
		return s
	}
	raws, _ := o.list("content", maxParts)
	var texts []string
	for i, raw := range raws {
		p, err := readObject(fmt.Sprintf("%scontent[%d].", o.path, i), raw)
		if err == nil {
			kind, _ := p.text("type")
			switch kind {
			case "input_text", "output_text", "text", "reasoning_text", "summary_text":
				s, _ := p.text("text")
				texts = append(texts, s)
			case "refusal":
				s, _ := p.text("refusal")
				texts = append(texts, s)
			default:
				part := strings.TrimSuffix(p.path, ".")
				p.join(invalid(part, "unsupported_content", "%s is of type %s: the models read text only", part, short([]byte(kind))))
			}
			p.accept("annotations", "logprobs", "cache_control", "prompt_cache_breakpoint")
			err = p.done()
		}
		o.join(err)
	}
	return strings.Join(texts, "\n")
}

// callDict is a call of a tool as templates take it.
func callDict(id, name, args string) *chat.Dict {
	f, call := &chat.Dict{}, &chat.Dict{}
	f.Set("name", name)
	if v, err := chat.DictFromJSON(json.RawMessage(args)); err == nil {
		f.Set("arguments", v)
	} else {
		f.Set("arguments", args)
	}
	call.Set("id", id)
	call.Set("type", "function")
	call.Set("function", f)
	return call
}

// readResponse makes the job of a request of the Responses API.
func (h *Handler) readResponse(body []byte) (*job, *apiError) {
	req, err := parseResponse(body)
	if err != nil {
		return nil, err
	}
	return h.chatJob(&req.chatRequest, func(m Model) format { return newResponsesFormat(m.ID, req) })
}
