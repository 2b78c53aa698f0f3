package openai

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/shardnode/shardnode/shard/chat"
)

// parseMessages reads the body of POST /v1/messages, Anthropic's API
// (docs.anthropic.com, "Messages"), as a chat.
func parseMessages(body []byte) (*chatRequest, *apiError) {
	o, err := readObject("", body)
	if err != nil {
		return nil, err
	}
	return parseMessagesObject(o)
}

func parseMessagesObject(o *object) (*chatRequest, *apiError) {
	r := &chatRequest{}
	most := o.integer("max_tokens", 0, 1, 1<<31)
	if most == 0 {
		o.fail("max_tokens", "missing_required_parameter", "max_tokens is missing")
	}
	r.readAnthropicInput(o)
	r.readAnthropicTools(o)
	r.readThinking(o)
	r.readOutput(o)
	o.only("service_tier", "is not supported", `"auto"`, `"standard_only"`)
	o.only("container", "is not supported")
	o.only("mcp_servers", "is not supported", `[]`)
	o.only("context_management", "is not supported")
	o.accept("metadata", "cache_control")
	r.settings = readSettings(renamed(o, "stop_sequences", "stop"))
	r.maxTokens = int(most)
	return r, o.done()
}

// readAnthropicInput reads system and messages.
func (r *chatRequest) readAnthropicInput(o *object) {
	in := inputReader{}
	if text := anthropicText(o, "system"); text != "" {
		in.items = append(in.items, turn("system", text))
	}
	raws, ok := o.list("messages", maxMessages)
	if len(raws) == 0 {
		code := "missing_required_parameter"
		if ok {
			code = "invalid_value"
		}
		o.fail("messages", code, "messages has no entry, want at least one")
	}
	for i, raw := range raws {
		m, err := readObject(fmt.Sprintf("messages[%d].", i), raw)
		if err == nil {
			in.blocks(m)
			err = m.done()
		}
		o.join(err)
	}
	in.flush()
	r.messages = chat.NewList(in.items...)
}

// anthropicText reads a text or a list of blocks of text.
func anthropicText(o *object, field string) string {
	if _, ok := o.fields[field]; !ok {
		return ""
	}
	in := &object{path: o.path, fields: map[string]json.RawMessage{"content": o.fields[field]}}
	delete(o.fields, field)
	text := readParts(in)
	o.join(in.err)
	return text
}

// blocks reads one message, which may hold results of tools and calls.
func (in *inputReader) blocks(o *object) {
	role, _ := o.text("role")
	if role != "user" && role != "assistant" && role != "system" {
		o.fail("role", "invalid_value", "%srole is %q, want user or assistant", o.path, short([]byte(role)))
	}
	if jsonKind(o.fields["content"]) != "an array" {
		text, ok := o.text("content")
		if !ok {
			o.fail("content", "missing_required_parameter", "%scontent is missing", o.path)
		}
		in.say(role, text)
		return
	}
	raws, _ := o.list("content", maxParts)
	var texts []string
	for i, raw := range raws {
		b, err := readObject(fmt.Sprintf("%scontent[%d].", o.path, i), raw)
		if err == nil {
			if text, ok := in.block(b); ok {
				texts = append(texts, text)
			}
			err = b.done()
		}
		o.join(err)
	}
	if len(texts) > 0 {
		in.say(role, strings.Join(texts, "\n"))
	}
}

// say adds a text of a role.
func (in *inputReader) say(role, text string) {
	if role == "assistant" {
		in.answer().Set("content", text)
		return
	}
	in.flush()
	in.items = append(in.items, turn(role, text))
}

// block reads one block of a message, and returns its text.
func (in *inputReader) block(o *object) (string, bool) {
	kind, _ := o.text("type")
	o.accept("cache_control", "citations", "signature", "caller")
	switch kind {
	case "text":
		return o.text("text")
	case "thinking":
		text, _ := o.text("thinking")
		in.answer().Set("reasoning_content", text)
	case "redacted_thinking":
		o.accept("data")
	case "tool_use":
		id, _ := o.text("id")
		name, _ := o.text("name")
		args, ok := o.take("input")
		if !ok {
			args = json.RawMessage("{}")
		}
		in.answer()
		in.calls = append(in.calls, callDict(id, name, string(args)))
	case "tool_result":
		in.flush()
		id, _ := o.text("tool_use_id")
		text := anthropicText(o, "content")
		if o.flag("is_error") {
			text = "Error: " + text
		}
		d := turn("tool", text)
		d.Set("tool_call_id", id)
		in.items = append(in.items, d)
	default:
		part := strings.TrimSuffix(o.path, ".")
		o.join(invalid(part, "unsupported_content", "%s is of type %s: the models read text only", part, short([]byte(kind))))
	}
	return "", false
}

// readAnthropicTools reads tools and tool_choice.
func (r *chatRequest) readAnthropicTools(o *object) {
	raws, _ := o.list("tools", maxTools)
	for i, raw := range raws {
		t, err := readObject(fmt.Sprintf("tools[%d].", i), raw)
		if err == nil {
			t.only("type", "is not supported: want custom", `"custom"`)
			t.accept("cache_control", "input_examples", "eager_input_streaming")
			f := readFunction(renamed(t, "input_schema", "parameters"))
			f.field = t.path + "input_schema"
			r.use.tools = append(r.use.tools, f)
			err = t.done()
		}
		o.join(err)
	}
	if len(r.use.tools) == 0 {
		r.use.mode = toolsNone
	}
	if c, ok := o.object("tool_choice"); ok {
		switch kind, _ := c.text("type"); kind {
		case "auto":
		case "none":
			r.use.mode = toolsNone
		case "any":
			r.use.mode = toolsRequired
		case "tool":
			name, _ := c.text("name")
			r.use.mode, r.use.only = toolsRequired, []string{name}
			r.use.single = true
		default:
			c.fail("type", "invalid_value", "tool_choice.type is %q, want auto, any, tool or none", short([]byte(kind)))
		}
		r.use.single = c.flag("disable_parallel_tool_use") || r.use.single
		o.join(c.done())
	}
	r.use.finish(o)
}

// readThinking reads whether the model should reason.
func (r *chatRequest) readThinking(o *object) {
	t, ok := o.object("thinking")
	if !ok {
		return
	}
	switch kind, _ := t.text("type"); kind {
	case "enabled", "adaptive":
		r.thinking = true
	case "disabled":
		r.effort = "none"
	default:
		t.fail("type", "invalid_value", "thinking.type is %q, want enabled, adaptive or disabled", short([]byte(kind)))
	}
	t.accept("budget_tokens", "display") // upper bounds and wishes
	o.join(t.done())
}

// readOutput reads the form of the answer.
func (r *chatRequest) readOutput(o *object) {
	out, ok := o.object("output_config")
	if !ok {
		return
	}
	if f, ok := out.object("format"); ok {
		f.only("type", "is not supported: want json_schema", `"json_schema"`)
		r.want.Schema, r.want.field = string(f.schema("schema")), "output_config.format.schema"
		out.join(f.done())
	}
	if effort, ok := out.text("effort"); ok {
		r.effort = effort
	}
	o.join(out.done())
	if o.err == nil && r.want.some() {
		r.want.check(o)
	}
}

// readMessagesJob makes the job of a request of Anthropic's API.
func (h *Handler) readMessagesJob(body []byte) (*job, *apiError) {
	req, err := parseMessages(body)
	if err != nil {
		return nil, err
	}
	return h.chatJob(req, func(m Model) format { return newMessagesFormat(m.ID) })
}
