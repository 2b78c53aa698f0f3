package openai

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/shardnode/shardnode/shard/chat"
	"github.com/shardnode/shardnode/shard/reply"
)

const (
	maxTools     = 128 // as OpenAI
	maxNameBytes = 64  // of a function, as OpenAI
)

// A tool is a function that the model may call.
type tool struct {
	reply.Tool
	description string
	// strict asks for arguments of the schema whatever else happens.
	strict bool
	field  string // where its schema stands, for errors
}

// toolMode says whether calls may, must or must not come.
type toolMode uint8

const (
	toolsAuto toolMode = iota
	toolsNone
	toolsRequired
)

// A toolUse is all that a request says of tools.
type toolUse struct {
	tools []tool
	mode  toolMode
	// only are the names of those that may be called; empty: all.
	only []string
	// single asks for at most one call.
	single bool
}

// callable returns the tools that may be called.
func (u *toolUse) callable() []tool {
	if len(u.only) == 0 {
		return u.tools
	}
	return slices.DeleteFunc(slices.Clone(u.tools), func(t tool) bool { return !slices.Contains(u.only, t.Name) })
}

// list returns the tools as templates take them; nil for none.
func (u *toolUse) list() *chat.List {
	if len(u.tools) == 0 || u.mode == toolsNone {
		return nil
	}
	items := make([]any, len(u.tools))
	for i, t := range u.tools {
		f, d := &chat.Dict{}, &chat.Dict{}
		f.Set("name", t.Name)
		f.Set("description", t.description)
		params := t.Parameters
		if params == nil {
			params = []byte(`{"type":"object","properties":{}}`)
		}
		v, _ := chat.FromJSON(params) // it was read before
		f.Set("parameters", v)
		d.Set("type", "function")
		d.Set("function", f)
		items[i] = d
	}
	return chat.NewList(items...)
}

// readToolUse reads tools, tool_choice and parallel_tool_calls as chat
// completions have them.
func readToolUse(o *object) toolUse {
	var u toolUse
	raws, _ := o.list("tools", maxTools)
	for i, raw := range raws {
		t, err := readObject(fmt.Sprintf("%stools[%d].", o.path, i), raw)
		if err == nil {
			t.only("type", "is not supported: want function", `"function"`)
			if f, ok := t.object("function"); ok {
				u.tools = append(u.tools, readFunction(f))
				t.join(f.done())
			} else {
				t.fail("function", "missing_required_parameter", "%sfunction is missing", t.path)
			}
			err = t.done()
		}
		o.join(err)
	}
	u.readChoice(o)
	u.finish(o)
	return u
}

// readFunction reads what a tool is.
func readFunction(f *object) tool {
	t := tool{field: f.path + "parameters"}
	name, ok := f.text("name")
	switch {
	case !ok:
		f.fail("name", "missing_required_parameter", "%sname is missing", f.path)
	case !isFunctionName(name):
		f.fail("name", "invalid_value", "%sname is %q, want 1 to %d letters, digits, _ and -", f.path, short([]byte(name)), maxNameBytes)
	}
	t.Name = name
	t.description, _ = f.text("description")
	t.strict = f.flag("strict")
	t.Parameters = f.schema("parameters")
	return t
}

func isFunctionName(s string) bool {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-') {
			return false
		}
	}
	return s != "" && len(s) <= maxNameBytes
}

// schema reads a JSON Schema, whose meaning is not looked at; nil is none.
func (o *object) schema(field string) json.RawMessage {
	raw, ok := o.take(field)
	if !ok {
		return nil
	}
	if _, err := chat.DictFromJSON(raw); err != nil {
		o.wrongType(field, raw, "an object")
		return nil
	}
	return raw
}

// join keeps the error of something inside o.
func (o *object) join(err *apiError) {
	if err != nil && o.err == nil {
		o.err = err
	}
}

// readChoice reads tool_choice.
func (u *toolUse) readChoice(o *object) {
	if len(u.tools) == 0 {
		u.mode = toolsNone
	}
	raw, ok := o.fields["tool_choice"]
	if !ok || jsonKind(raw) == "null" {
		o.accept("tool_choice")
		return
	}
	if jsonKind(raw) == "a string" {
		s, _ := o.text("tool_choice")
		u.mode, ok = map[string]toolMode{"none": toolsNone, "auto": toolsAuto, "required": toolsRequired}[s]
		if !ok {
			o.fail("tool_choice", "invalid_value", "tool_choice is %q, want none, auto, required or a function", short([]byte(s)))
		}
		return
	}
	c, ok := o.object("tool_choice")
	if !ok {
		return
	}
	switch kind, _ := c.text("type"); kind {
	case "function":
		u.mode = toolsRequired
		u.only = []string{functionName(c)}
		u.single = true
	case "allowed_tools":
		u.readAllowed(c)
	default:
		c.fail("type", "unsupported_parameter", "tool_choice.type is %q, want function or allowed_tools", short([]byte(kind)))
	}
	o.join(c.done())
}

// functionName reads {"function": {"name": ...}}, or the name as the Responses
// API has it.
func functionName(c *object) string {
	if name, ok := c.text("name"); ok {
		return name
	}
	f, ok := c.object("function")
	if !ok {
		c.fail("function", "missing_required_parameter", "%sfunction is missing", c.path)
		return ""
	}
	name, ok := f.text("name")
	if !ok {
		f.fail("name", "missing_required_parameter", "%sname is missing", f.path)
	}
	c.join(f.done())
	return name
}

// readAllowed reads a choice among some of the tools.
func (u *toolUse) readAllowed(c *object) {
	in, ok := c.object("allowed_tools")
	if !ok {
		in = c // as the Responses API has it
	}
	mode, _ := in.text("mode")
	switch mode {
	case "auto":
	case "required":
		u.mode = toolsRequired
	default:
		in.fail("mode", "invalid_value", "%smode is %q, want auto or required", in.path, short([]byte(mode)))
	}
	raws, _ := in.list("tools", maxTools)
	for i, raw := range raws {
		t, err := readObject(fmt.Sprintf("%stools[%d].", in.path, i), raw)
		if err == nil {
			t.only("type", "is not supported: want function", `"function"`)
			u.only = append(u.only, functionName(t))
			err = t.done()
		}
		in.join(err)
	}
	if in != c {
		c.join(in.done())
	}
}

// finish reads parallel_tool_calls and checks that all fits together.
func (u *toolUse) finish(o *object) {
	if raw, ok := o.fields["parallel_tool_calls"]; ok && jsonKind(raw) != "null" {
		u.single = !o.flag("parallel_tool_calls") || u.single
	} else {
		o.accept("parallel_tool_calls")
	}
	if len(u.tools) == 0 {
		if u.mode == toolsRequired {
			o.fail("tool_choice", "invalid_value", "tool_choice asks for a call, and there are no tools")
		}
		u.mode = toolsNone
		return
	}
	for _, name := range u.only {
		if !slices.ContainsFunc(u.tools, func(t tool) bool { return t.Name == name }) {
			o.fail("tool_choice", "invalid_value", "tool_choice names the function %q, which is not among the tools", short([]byte(name)))
		}
	}
	for i, t := range u.tools {
		if slices.ContainsFunc(u.tools[:i], func(o tool) bool { return o.Name == t.Name }) {
			o.fail("tools", "invalid_value", "tools has the function %q twice", t.Name)
		}
	}
}
