package reply

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/shardnode/shardnode/shard/grammar"
)

// A ToolError says that a tool's parameters can't be kept to.
type ToolError struct {
	Index int // of the tool
	Err   error
}

// Error says what is wrong.
func (e *ToolError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ToolError) Unwrap() error { return e.Err }

// Calls says how many calls an answer may have.
type Calls uint8

// The numbers of calls.
const (
	OneCall Calls = iota
	SomeCalls
)

// Expr returns the answers that call one of tools, or several, after a prompt
// that ends with promptEnd. Before the calls stands at most reasoning. It
// returns a [*ToolError] if the schema of a tool can't be kept.
func (f Format) Expr(promptEnd string, tools []Tool, n Calls) (*grammar.Expr, error) {
	c := f.call
	var alts []*grammar.Expr
	for i, t := range tools {
		e, err := c.one(t)
		if err != nil {
			return nil, &ToolError{i, err}
		}
		alts = append(alts, e)
	}
	one := grammar.Or(alts...)
	most := 0
	if n == SomeCalls && c != &llama && !f.channels {
		most = grammar.NoLimit
	}
	sep := grammar.Text("\n")
	if c.kind == callObject && c.list {
		sep = grammar.Text(", ")
	} else if c.section != "" && c.kind == callNamed {
		sep = grammar.Text("")
	}
	section, sectionEnd := c.section, c.sectionEnd
	if c == &qwenCoder { // each call has a section of its own
		one = grammar.Seq(grammar.Marked(section), sep, one, sep, grammar.Marked(sectionEnd))
		section, sectionEnd = "", ""
	}
	calls := grammar.Seq(one, grammar.Repeat(grammar.Seq(sep, one), 0, most))
	parts := []*grammar.Expr{f.before(promptEnd), grammar.Marked(section)}
	switch {
	case c.list:
		parts = append(parts, grammar.Text("["), calls, grammar.Text("]"))
	case section != "" && c.kind == callTagged:
		parts = append(parts, grammar.Text("\n"), calls, grammar.Text("\n"))
	default:
		parts = append(parts, calls)
	}
	return grammar.Seq(append(parts, grammar.Marked(sectionEnd))...), nil
}

// Auto returns the answers that may call tools, and are free otherwise: what
// keeps the arguments to the tools' schemas when nothing forces a call.
func (f Format) Auto(promptEnd string, tools []Tool, n Calls) (*grammar.Expr, error) {
	calls, err := f.Expr(promptEnd, tools, n)
	if err != nil {
		return nil, err
	}
	before := f.before(promptEnd)
	switch c := f.call; {
	case f.channels:
		text := grammar.Seq(before, grammar.Marked("<|channel|>final<|message|>"), grammar.Without("<|end|>"))
		return grammar.Or(text, calls), nil
	case c == &llama:
		return grammar.Or(calls, grammar.Seq(before, notObject())), nil
	default:
		// Text, and calls after it.
		text := grammar.Without(c.start())
		bare, err := Format{call: c}.Expr("", tools, n)
		return grammar.Seq(before, text, grammar.Repeat(bare, 0, 1)), err
	}
}

// notObject is text that does not begin like a call of Llama 3.
func notObject() *grammar.Expr {
	e, err := grammar.ParseGBNF(`root ::= ([^{ \n\t] [^\x00]*)?`)
	if err != nil {
		panic("reply: " + err.Error())
	}
	return e
}

// before is what may stand before the calls.
func (f Format) before(promptEnd string) *grammar.Expr {
	space := grammar.Repeat(grammar.Text("\n"), 0, 2)
	maybe := func(e ...*grammar.Expr) *grammar.Expr { return grammar.Repeat(grammar.Seq(e...), 0, 1) }
	if f.channels {
		return maybe(grammar.Marked("<|channel|>analysis<|message|>"), grammar.Until("<|end|>"), grammar.Marked("<|start|>assistant"))
	}
	if f.thinkClose == "" {
		return grammar.Text("")
	}
	open := strings.LastIndex(promptEnd, f.thinkOpen)
	switch {
	case open >= 0 && strings.Contains(promptEnd[open:], f.thinkClose):
		return space // the prompt says that there is nothing to reason about
	case open >= 0:
		return grammar.Seq(grammar.Until(f.thinkClose), space)
	}
	return maybe(grammar.Marked(f.thinkOpen), grammar.Until(f.thinkClose), space)
}

// Answer is the answers that reason and then are of the form e.
func (f Format) Answer(promptEnd string, e *grammar.Expr) *grammar.Expr {
	if f.channels {
		return grammar.Seq(f.before(promptEnd), grammar.Marked("<|channel|>final<|message|>"), e)
	}
	return grammar.Seq(f.before(promptEnd), e)
}

// one is a call of t.
func (c *callForm) one(t Tool) (*grammar.Expr, error) {
	args := grammar.JSONObject()
	if len(t.Parameters) > 0 && c.kind != callTagged {
		var err error
		if args, err = grammar.FromSchema(t.Parameters); err != nil {
			return nil, err
		}
	}
	switch c.kind {
	case callObject:
		call := grammar.Seq(grammar.Text(fmt.Sprintf(`{"name": %s, %q: `, quote(t.Name), c.argsKey)), args, grammar.Text("}"))
		if c.open == "" {
			return call, nil
		}
		return grammar.Seq(grammar.Marked(c.open), grammar.Text("\n"), call, grammar.Text("\n"), grammar.Marked(c.close)), nil
	case callNamed:
		end := c.argsEnd + c.close
		if c == &gptOSS {
			end = "" // it ends the answer
		}
		return grammar.Seq(grammar.Marked(c.open+c.prefix+t.Name+c.suffix+c.nameEnd[0]), args, grammar.Marked(end)), nil
	}
	return c.tagged(t)
}

// maxSchemaBytes bounds the parameters of a tool, as package grammar does.
const maxSchemaBytes = 1 << 18

// tagged is a call whose parameters stand in tags of their own, in the order of
// the schema.
func (c *callForm) tagged(t Tool) (*grammar.Expr, error) {
	if len(t.Parameters) == 0 {
		any := grammar.Seq(grammar.Marked(c.key), grammar.Until(c.keyEnd+c.gap()+c.value), grammar.Until(c.valueEnd), grammar.Text("\n"))
		return grammar.Seq(c.head(t), grammar.Repeat(any, 0, grammar.NoLimit), grammar.Marked(c.close)), nil
	}
	if len(t.Parameters) > maxSchemaBytes {
		return nil, fmt.Errorf("the schema has %d bytes, want at most %d", len(t.Parameters), maxSchemaBytes)
	}
	var schema struct {
		Properties json.RawMessage `json:"properties"`
		Required   []string        `json:"required"`
	}
	if err := json.Unmarshal(t.Parameters, &schema); err != nil {
		return nil, fmt.Errorf("the schema is not JSON: %w", err)
	}
	required := map[string]bool{}
	for _, name := range schema.Required {
		required[name] = true
	}
	parts := []*grammar.Expr{c.head(t)}
	names, props, err := fields(schema.Properties)
	if err != nil {
		return nil, err
	}
	line := ""
	if c.lines {
		line = "\n"
	}
	for i, name := range names {
		value, err := paramValue(props[i], line+c.valueEnd)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		p := grammar.Seq(grammar.Marked(c.key+name+c.keyEnd+c.gap()+c.value+line), value, grammar.Text("\n"))
		if !required[name] {
			p = grammar.Repeat(p, 0, 1)
		}
		parts = append(parts, p)
	}
	return grammar.Seq(append(parts, grammar.Marked(c.close))...), nil
}

// head is a tagged call up to its parameters.
func (c *callForm) head(t Tool) *grammar.Expr {
	return grammar.Marked(c.open + t.Name + strings.TrimSuffix(c.nameEnd[0], "\n") + "\n")
}

// gap stands between the key and the value of a parameter.
func (c *callForm) gap() string {
	if c.value == "" {
		return ""
	}
	return "\n"
}

// paramValue is the values of a schema and end: strings as they are, all else
// as JSON.
func paramValue(schema []byte, end string) (*grammar.Expr, error) {
	var s struct {
		Type any             `json:"type"`
		Enum json.RawMessage `json:"enum"`
		Rest map[string]any  `json:"-"`
	}
	if json.Unmarshal(schema, &s) != nil || s.Type != "string" {
		e, err := grammar.FromSchema(schema)
		return grammar.Seq(e, grammar.Marked(end)), err
	}
	if len(s.Enum) > 0 {
		var values []string
		if err := json.Unmarshal(s.Enum, &values); err != nil {
			return nil, fmt.Errorf("enum of a string: %w", err)
		}
		var alts []*grammar.Expr
		for _, v := range values {
			alts = append(alts, grammar.Text(v))
		}
		return grammar.Seq(grammar.Or(alts...), grammar.Marked(end)), nil
	}
	_ = json.Unmarshal(schema, &s.Rest) // it is an object, as seen above
	for _, k := range []string{"const", "pattern", "format", "minLength", "maxLength"} {
		if s.Rest[k] != nil {
			return nil, fmt.Errorf("%s of a string is not supported in the calls of this model", k)
		}
	}
	return grammar.Until(end), nil
}

// fields returns the fields of a JSON object in their order.
func fields(raw []byte) (names []string, values []json.RawMessage, err error) {
	if len(raw) == 0 {
		return nil, nil, nil
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, nil, fmt.Errorf("properties is no object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		name, _ := t.(string)
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, nil, err
		}
		names, values = append(names, name), append(values, v)
	}
	return names, values, nil
}
