package chat

import (
	"strings"
	"time"
)

// A Template is a parsed chat template.
type Template struct{ body []node }

// Parse reads a template. It returns an [*Error] with the line of a mistake,
// or a [*LimitError].
func Parse(src string) (t *Template, err error) {
	defer catch(&err)
	if len(src) > maxSourceBytes {
		return nil, &LimitError{1, "bytes of source", maxSourceBytes}
	}
	src = strings.ToValidUTF8(src, "\ufffd")
	p := &parser{toks: lex(src)}
	body, _ := p.body()
	return &Template{body}, nil
}

// Vars are what a template is given. They are not changed.
type Vars struct {
	// Messages is the conversation: [FromMessages], or [ListFromJSON] for
	// messages that have more than a role and a text.
	Messages *List

	// Tools are the functions that the model may call, as OpenAI's API has
	// them. Nil: none.
	Tools *List

	// BOS and EOS are the texts of the model's first and last token, "" if it
	// has none.
	BOS, EOS string

	// AddGenerationPrompt asks for the beginning of the assistant's answer.
	AddGenerationPrompt bool

	// Now is what strftime_now prints. The zero time: a template that asks for
	// the date is given none (strftime_now is undefined).
	Now time.Time

	// Extra are further variables, by name, e.g. enable_thinking. They win
	// over the above.
	Extra *Dict
}

// Render returns the text that the template makes of v. It returns a
// [*RaiseError] when the template refuses v, an [*Error] when it does
// something that is not defined, and a [*LimitError] when it does too much.
func (t *Template) Render(v Vars) (string, error) { return t.render(v, maxSteps) }

// render renders with a budget of steps.
func (t *Template) render(v Vars, steps int) (out string, err error) {
	defer catch(&err)
	r := &render{line: 1, now: v.Now, budget: steps, filters: filters, tests: tests}
	w := &sink{}
	run(r, t.body, &scope{vars: r.variables(v)}, w)
	return w.String(), nil
}

// render is the state of one render.
type render struct {
	line  int // of the statement or call under way
	calls int // nested calls of macros
	now   time.Time

	// steps is the work done; invariant: steps <= budget.
	steps, budget int

	// filters and tests are the tables of those names; they come from here
	// because some filters look up others.
	filters map[string]filter
	tests   map[string]test
}

// variables returns the outermost scope.
func (r *render) variables(v Vars) map[string]any {
	m := map[string]any{
		"namespace":       function(r.namespace),
		"dict":            function(r.dict),
		"range":           function(r.rangeOf),
		"cycler":          function(r.cycler),
		"joiner":          function(r.joiner),
		"raise_exception": function(r.raise),

		"messages":              v.Messages,
		"bos_token":             v.BOS,
		"eos_token":             v.EOS,
		"add_generation_prompt": v.AddGenerationPrompt,
	}
	if v.Messages == nil {
		m["messages"] = &List{}
	}
	if v.Tools != nil {
		m["tools"] = v.Tools
	}
	if !v.Now.IsZero() {
		m["strftime_now"] = function(r.strftimeNow)
	}
	if v.Extra != nil {
		for i, k := range v.Extra.keys {
			if s, ok := text(k); ok {
				m[s] = v.Extra.values[i]
			}
		}
	}
	return m
}

// scope holds the variables of a block; names not found are looked up in its
// parent.
type scope struct {
	vars   map[string]any
	parent *scope
}

func (s *scope) set(name string, v any) {
	if s.vars == nil {
		s.vars = make(map[string]any)
	}
	s.vars[name] = v
}

func (s *scope) get(name string) (any, bool) {
	for x := s; x != nil; x = x.parent {
		if v, ok := x.vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

func (s *scope) inner() *scope { return &scope{parent: s} }

// sink collects what a template writes, up to maxStringBytes.
type sink struct{ strings.Builder }

func (w *sink) write(r *render, s string) {
	r.grow(len(s))
	if w.Len()+len(s) > maxStringBytes {
		r.limit("bytes of output", maxStringBytes)
	}
	w.WriteString(s)
}
