package openai

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard/chat"
)

const (
	maxMessages  = 10_000
	maxParts     = 1_000 // of one message
	maxToolCalls = 128   // of one message, as OpenAI
)

// readMessages takes the messages and returns them as templates want them.
func readMessages(o *object) *chat.List {
	raws, ok := o.list("messages", maxMessages)
	if len(raws) == 0 {
		code := "missing_required_parameter"
		if ok {
			code = "invalid_value"
		}
		o.fail("messages", code, "messages has no entry, want at least one")
		return nil
	}
	out := make([]any, len(raws))
	for i, raw := range raws {
		m, err := readObject(fmt.Sprintf("messages[%d].", i), raw)
		if err == nil {
			out[i], err = readMessage(m)
		}
		if err != nil {
			if o.err == nil {
				o.err = err
			}
			return nil
		}
	}
	return chat.NewList(out...)
}

// roles are those of OpenAI; templates know a developer as system.
var roles = []string{"system", "developer", "user", "assistant", "tool"}

// readMessage reads one message.
func readMessage(o *object) (*chat.Dict, *apiError) {
	d := &chat.Dict{}
	role, ok := o.text("role")
	if !ok {
		o.fail("role", "missing_required_parameter", "%srole is missing", o.path)
	}
	if !slices.Contains(roles, role) {
		o.fail("role", "invalid_value", "%srole is %q, want one of %s", o.path, short([]byte(role)), strings.Join(roles, ", "))
	}
	if role == "developer" {
		role = "system"
	}
	d.Set("role", role)
	calls, called := readToolCalls(o, role)
	content, ok := readContent(o)
	if !ok && !called {
		o.fail("content", "missing_required_parameter", "%scontent is missing", o.path)
	}
	d.Set("content", content)
	if called {
		d.Set("tool_calls", calls)
	}
	for _, field := range []string{"name", "reasoning_content"} {
		if s, ok := o.text(field); ok {
			d.Set(field, s)
		}
	}
	if role == "tool" {
		id, ok := o.text("tool_call_id")
		if !ok {
			o.fail("tool_call_id", "missing_required_parameter", "%stool_call_id is missing", o.path)
		}
		d.Set("tool_call_id", id)
	}
	// What clients send back of an answer: empty here, or without meaning.
	o.only("refusal", "is not supported")
	o.only("audio", "is not supported: the models read text")
	o.only("function_call", "is not supported: it is deprecated, use tool_calls")
	o.accept("annotations")
	return d, o.done()
}

// readContent reads a text or a list of text parts, which are joined by line
// ends (as llama.cpp and vLLM do).
func readContent(o *object) (string, bool) {
	if jsonKind(o.fields["content"]) != "an array" {
		return o.text("content")
	}
	raws, ok := o.list("content", maxParts)
	if !ok {
		return "", false
	}
	if len(raws) == 0 {
		o.fail("content", "invalid_value", "%scontent has no part, want at least one", o.path)
		return "", false
	}
	parts := make([]string, len(raws))
	for i, raw := range raws {
		p, err := readObject(fmt.Sprintf("%scontent[%d].", o.path, i), raw)
		if err == nil {
			parts[i], err = readPart(p)
		}
		if err != nil {
			if o.err == nil {
				o.err = err
			}
			return "", false
		}
	}
	return strings.Join(parts, "\n"), true
}

// readPart reads one part of a content.
func readPart(o *object) (string, *apiError) {
	kind, ok := o.text("type")
	if !ok {
		o.fail("type", "missing_required_parameter", "%stype is missing", o.path)
	}
	part := strings.TrimSuffix(o.path, ".")
	switch kind {
	case "text":
	case "image_url", "input_audio", "file":
		return "", invalid(part, "unsupported_content", "%s is of type %s: the models read text only", part, kind)
	default:
		o.fail("type", "invalid_value", "%stype is %q, want text", o.path, short([]byte(kind)))
	}
	text, ok := o.text("text")
	if !ok {
		o.fail("text", "missing_required_parameter", "%stext is missing", o.path)
	}
	o.accept("cache_control", "prompt_cache_breakpoint")
	return text, o.done()
}

// readToolCalls reads the calls that an assistant made earlier in the chat.
func readToolCalls(o *object, role string) (*chat.List, bool) {
	raws, ok := o.list("tool_calls", maxToolCalls)
	if !ok || len(raws) == 0 {
		return nil, false
	}
	if role != "assistant" {
		o.fail("tool_calls", "invalid_value", "%stool_calls is only for the role assistant", o.path)
		return nil, false
	}
	out := make([]any, len(raws))
	for i, raw := range raws {
		c, err := readObject(fmt.Sprintf("%stool_calls[%d].", o.path, i), raw)
		if err == nil {
			out[i], err = readToolCall(c)
		}
		if err != nil {
			if o.err == nil {
				o.err = err
			}
			return nil, false
		}
	}
	return chat.NewList(out...), true
}

// readToolCall reads one call. Templates print its arguments as JSON, so an
// object in them is handed over as one; what is not stays a string.
func readToolCall(o *object) (*chat.Dict, *apiError) {
	o.only("type", "is not supported: want function", `"function"`)
	id, _ := o.text("id")
	fn, ok := o.object("function")
	if !ok {
		o.fail("function", "missing_required_parameter", "%sfunction is missing", o.path)
		return nil, o.err
	}
	name, ok := fn.text("name")
	if !ok || name == "" {
		fn.fail("name", "missing_required_parameter", "%sname is missing", fn.path)
	}
	args, _ := fn.text("arguments")
	if err := fn.done(); err != nil {
		return nil, err
	}
	return callDict(id, name, args), o.done()
}
