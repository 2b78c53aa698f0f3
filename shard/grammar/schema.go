package grammar

import (
	"errors"
	"fmt"
	"strings"
)

// FromSchema returns the JSON values that the JSON Schema src allows, or the
// greater part of them: every answer of the form is valid, and what is left out
// stands in DESIGN.md. A keyword that can't be kept is an error that names it.
func FromSchema(src []byte) (*Expr, error) {
	if len(src) > maxSourceBytes {
		return nil, fmt.Errorf("the schema has %d bytes, want at most %d", len(src), maxSourceBytes)
	}
	root, err := parseJSON(src)
	if err != nil {
		return nil, fmt.Errorf("the schema is not JSON: %w", err)
	}
	s := &schemas{root: root, parts: newJSONParts(), refs: map[string]*Expr{}}
	e, err := s.form(root, "")
	if err != nil {
		return nil, err
	}
	if _, err := study(e); err != nil {
		return nil, fmt.Errorf("the schema: %w", err)
	}
	return e, nil
}

// schemas turns the schemas of one document into expressions.
type schemas struct {
	root  any
	parts *jsonParts
	refs  map[string]*Expr // rules of what is referred to
	depth int
	work  int // schemas read so far
}

// maxSchemas bounds the schemas that are read, those that allOf, anyOf and $ref
// multiply included.
const maxSchemas = 20_000

// form returns the values that the schema v allows. path is where it stands.
func (s *schemas) form(v any, path string) (*Expr, error) {
	if s.depth++; s.depth > maxNesting {
		return nil, fmt.Errorf("%s: schemas are nested more than %d deep", at(path), maxNesting)
	}
	defer func() { s.depth-- }()
	if s.work++; s.work > maxSchemas {
		return nil, errors.New("the schema is too large: its parts multiply")
	}
	if ref, only := onlyRef(v); only {
		return s.refer(ref, path)
	}
	w := newWant(path)
	if err := s.read(&w, v, path); err != nil {
		return nil, err
	}
	return s.choose(w)
}

func at(path string) string {
	if path == "" {
		return "the schema"
	}
	return "the schema at " + path
}

// onlyRef returns what v refers to, if v says nothing else.
func onlyRef(v any) (string, bool) {
	o, ok := v.(*ordered)
	if !ok {
		return "", false
	}
	ref, ok := o.vals["$ref"].(string)
	if !ok {
		return "", false
	}
	for _, k := range o.keys {
		if k != "$ref" && !isAnnotation(k) {
			return "", false
		}
	}
	return ref, true
}

// refer returns the rule of what ref names.
func (s *schemas) refer(ref, path string) (*Expr, error) {
	if r := s.refs[ref]; r != nil {
		return r, nil
	}
	v, err := s.resolve(ref, path)
	if err != nil {
		return nil, err
	}
	r := rule(ref)
	s.refs[ref] = r
	body, err := s.form(v, ref)
	if err != nil {
		r.define(class()) // for those that refer to it too and can do without
		return nil, err
	}
	return r.define(body), nil
}

// resolve finds what ref names: a part of this document (RFC 6901).
func (s *schemas) resolve(ref, path string) (any, error) {
	rest, ok := strings.CutPrefix(ref, "#")
	if !ok || rest != "" && rest[0] != '/' {
		return nil, fmt.Errorf("%s: $ref %q is not supported: want a place in this schema, such as #/$defs/name", at(path), ref)
	}
	v := s.root
	if rest == "" {
		return v, nil
	}
	for part := range strings.SplitSeq(rest[1:], "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~", "%25", "%", "%24", "$").Replace(part)
		switch in := v.(type) {
		case *ordered:
			v, ok = in.vals[part]
		case []any:
			n := 0
			_, err := fmt.Sscanf(part, "%d", &n)
			if ok = err == nil && n >= 0 && n < len(in); ok {
				v = in[n]
			}
		default:
			ok = false
		}
		if !ok {
			return nil, fmt.Errorf("%s: $ref %q names nothing", at(path), ref)
		}
	}
	return v, nil
}

// choose returns the values that w allows: of each choice, one alternative.
func (s *schemas) choose(w want) (*Expr, error) {
	if len(w.choices) == 0 {
		return s.emit(w)
	}
	c := w.choices[0]
	w.choices = w.choices[1:]
	var alts []*Expr
	var failed error
	for i, v := range c.of {
		path := fmt.Sprintf("%s/%d", c.path, i)
		var e *Expr
		var err error
		if w.plain() {
			e, err = s.form(v, path)
		} else {
			merged := w.clone()
			if s.work++; s.work > maxSchemas {
				return nil, errors.New("the schema is too large: its parts multiply")
			}
			if err = s.read(&merged, v, path); err == nil {
				e, err = s.choose(merged)
			}
		}
		if _, none := errors.AsType[*emptyError](err); none {
			failed = err // this alternative allows nothing; another may
			continue
		}
		if err != nil {
			return nil, err
		}
		alts = append(alts, e)
	}
	if len(alts) == 0 {
		if failed == nil {
			failed = &emptyError{c.path, "no alternative"}
		}
		return nil, failed
	}
	return Or(alts...), nil
}

// An emptyError says that no value is allowed.
type emptyError struct{ path, why string }

func (e *emptyError) Error() string {
	return fmt.Sprintf("%s: no value is valid: %s", at(e.path), e.why)
}

// emit returns the values that w allows, which has no choices any more.
func (s *schemas) emit(w want) (*Expr, error) {
	if w.never {
		return nil, &emptyError{w.path, "false"}
	}
	if w.listed {
		return s.listed(w)
	}
	w.conclude()
	var alts []*Expr
	for _, k := range []struct {
		kind kinds
		make func(want) (*Expr, error)
	}{
		{isObject, s.object},
		{isArray, s.array},
		{isString, s.text},
		{isNumber, s.number},
		{isInteger, s.integer},
		{isBool, func(want) (*Expr, error) { return Or(Text("true"), Text("false")), nil }},
		{isNull, func(want) (*Expr, error) { return Text("null"), nil }},
	} {
		if w.kinds&k.kind == 0 || k.kind == isInteger && w.kinds&isNumber != 0 {
			continue
		}
		e, err := k.make(w)
		if err != nil {
			return nil, err
		}
		alts = append(alts, e)
	}
	if len(alts) == 0 {
		return nil, &emptyError{w.path, "the types exclude each other"}
	}
	return Or(alts...), nil
}

// listed returns the values of enum or const that the rest of w allows.
func (s *schemas) listed(w want) (*Expr, error) {
	var alts []*Expr
	for _, v := range w.values {
		ok, err := w.allows(v)
		if err != nil {
			return nil, err
		}
		if ok {
			alts = append(alts, Text(jsonText(v)))
		}
	}
	if len(alts) == 0 {
		return nil, &emptyError{w.path, "the rest excludes all values of enum"}
	}
	return Or(alts...), nil
}
