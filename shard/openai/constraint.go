package openai

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/generate"
	"github.com/shardnode/shardnode/shard/grammar"
	"github.com/shardnode/shardnode/shard/reply"
)

// A wanted is the form that a request wants of the answer's text.
type wanted struct {
	generate.Constraint
	object bool   // any JSON object
	field  string // that asked for it, for errors
}

func (w wanted) some() bool { return w.field != "" }

// expr returns the texts that w allows.
func (w wanted) expr() (*grammar.Expr, error) {
	if w.object {
		return grammar.JSONObject(), nil
	}
	return w.Expr()
}

// check refuses what can't be a form.
func (w wanted) check(o *object) {
	if _, err := w.expr(); err != nil {
		o.join(invalid(o.path+w.field, "invalid_grammar", "%s: %v", w.field, err))
	}
}

// readGrammar reads llama.cpp's field.
func readGrammar(o *object) wanted {
	text, ok := o.text("grammar")
	if !ok || text == "" {
		return wanted{}
	}
	w := wanted{Constraint: generate.Constraint{Grammar: text}, field: "grammar"}
	w.check(o)
	return w
}

// readResponseFormat reads response_format.
func readResponseFormat(o *object) wanted {
	f, ok := o.object("response_format")
	if !ok {
		return wanted{}
	}
	var w wanted
	switch kind, _ := f.text("type"); kind {
	case "text":
	case "json_object":
		w = wanted{object: true, field: "response_format"}
	case "json_schema":
		s, ok := f.object("json_schema")
		if !ok {
			f.fail("json_schema", "missing_required_parameter", "%sjson_schema is missing", f.path)
			break
		}
		w = readNamedSchema(s)
		w.field = "response_format.json_schema.schema"
		f.join(s.done())
	default:
		f.fail("type", "invalid_value", "%stype is %q, want text, json_object or json_schema", f.path, short([]byte(kind)))
	}
	o.join(f.done())
	if o.err == nil && w.some() {
		w.check(o)
	}
	return w
}

// readNamedSchema reads a schema with its name, strictness and description. It
// is kept to whether strict is asked for or not.
func readNamedSchema(s *object) wanted {
	if name, ok := s.text("name"); !ok {
		s.fail("name", "missing_required_parameter", "%sname is missing", s.path)
	} else if !isFunctionName(name) {
		s.fail("name", "invalid_value", "%sname is %q, want 1 to %d letters, digits, _ and -", s.path, short([]byte(name)), maxNameBytes)
	}
	_, _ = s.text("description") // for the model, which has the schema's own
	s.flag("strict")
	raw := s.schema("schema")
	if raw == nil {
		return wanted{object: true}
	}
	return wanted{Constraint: generate.Constraint{Schema: string(raw)}}
}

// tailTokens is how much of a prompt is looked at for the start of reasoning.
const tailTokens = 24

// understand sets what j needs to understand its answer: the parser, and the
// form that the answer must have.
func (r *chatRequest) understand(j *job, ids []shard.Token) error {
	text := j.target.Text
	f := reply.Detect(text.Source())
	end := text.Tokenizer.DecodeSpecial(ids[max(0, len(ids)-tailTokens):])
	var tools []reply.Tool
	if r.use.mode != toolsNone {
		if !f.Calls() {
			return invalid("tools", "unsupported_parameter", "tools: it is not known how this model calls tools, its chat template has none of the forms that are")
		}
		for _, t := range r.use.callable() {
			tools = append(tools, t.Tool)
		}
		j.oneCall = r.use.single
	}
	if len(tools) > 0 || f.Reasons() {
		j.parser = func() *reply.Parser { return f.Parser(end, tools) }
	}
	key, maker := r.form(f, end, tools)
	if maker == nil {
		return nil
	}
	if r.ignoreEnd {
		return invalid("ignore_eos", "invalid_value", "ignore_eos makes no sense with an answer that has a form")
	}
	form, err := text.FormOf(key, maker)
	if bad, ok := errors.AsType[*reply.ToolError](err); ok {
		return invalid(r.use.callable()[bad.Index].field, "invalid_schema", "%v", bad)
	}
	if err != nil {
		return invalid(r.want.field, "invalid_grammar", "%v", err)
	}
	j.form = form
	return nil
}

// form returns the name and the maker of the form of the answer; nil is none.
func (r *chatRequest) form(f reply.Format, end string, tools []reply.Tool) (string, func() (*grammar.Expr, error)) {
	n := reply.SomeCalls
	if r.use.single {
		n = reply.OneCall
	}
	tools = r.loosen(tools)
	strict := false
	for _, t := range r.use.callable() {
		strict = strict || t.strict
	}
	name := []any{f.Name(), end, n, tools, r.want.Constraint, r.want.object, r.use.mode}
	var maker func() (*grammar.Expr, error)
	switch {
	case r.use.mode == toolsRequired:
		maker = func() (*grammar.Expr, error) { return f.Expr(end, tools, n) }
	case r.want.some():
		maker = func() (*grammar.Expr, error) {
			e, err := r.want.expr()
			if err != nil {
				return nil, err
			}
			if e = f.Answer(end, e); len(tools) == 0 {
				return e, nil
			}
			calls, err := f.Expr(end, tools, n)
			return grammar.Or(e, calls), err
		}
	case len(tools) > 0 && strict:
		maker = func() (*grammar.Expr, error) { return f.Auto(end, tools, n) }
	default:
		return "", nil
	}
	key, err := json.Marshal(name)
	if err != nil {
		panic("openai: name a form: " + err.Error())
	}
	return string(key), maker
}

// loosen takes the schemas from tools that need not be kept to and can't be.
func (r *chatRequest) loosen(tools []reply.Tool) []reply.Tool {
	out := make([]reply.Tool, len(tools))
	for i, t := range r.use.callable()[:len(tools)] {
		out[i] = t.Tool
		if _, err := grammar.FromSchema(t.Parameters); err != nil && !t.strict {
			out[i].Parameters = nil
		}
	}
	return out
}

// readEffort reads reasoning_effort.
func readEffort(o *object) string {
	effort, ok := o.text("reasoning_effort")
	if ok {
		switch effort {
		case "none", "minimal", "low", "medium", "high", "xhigh", "max":
		default:
			o.fail("reasoning_effort", "invalid_value", "reasoning_effort is %q, want none, minimal, low, medium, high, xhigh or max", short([]byte(effort)))
		}
	}
	return effort
}

// applyEffort sets the variables by which templates know how much to reason.
func (r *chatRequest) applyEffort(source string) *apiError {
	if r.effort == "" && !r.thinking && !r.noThinking {
		return nil
	}
	known := strings.Contains(source, "reasoning_effort") && r.effort != "none" && r.effort != ""
	if known {
		r.set("reasoning_effort", r.effort)
	}
	for _, name := range []string{"enable_thinking", "thinking"} {
		if strings.Contains(source, name+" ") || strings.Contains(source, name+")") {
			known = true
			r.set(name, r.effort != "none" && !r.noThinking)
			break
		}
	}
	if !known && r.effort != "" && (r.effort != "none" || reply.Detect(source).Reasons()) {
		return invalid("reasoning_effort", "unsupported_parameter", "reasoning_effort is not supported by this model's chat template")
	}
	return nil
}

// set gives the template a variable, unless the client did.
func (r *chatRequest) set(name string, v any) {
	if r.extra == nil {
		r.extra = newDict()
	}
	if _, there := r.extra.Get(name); !there {
		r.extra.Set(name, v)
	}
}
