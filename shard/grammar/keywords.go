package grammar

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// annotations say something about a value and ask for nothing.
var annotations = []string{
	"$schema", "$id", "id", "$comment", "$defs", "definitions", "$anchor", "title", "description", "default", "example", "examples",
	"deprecated", "readOnly", "writeOnly", "contentEncoding", "contentMediaType", "contentSchema", "discriminator", "externalDocs",
	"propertyOrdering", "enumNames", "enumDescriptions", "markdownDescription", "errorMessage", "strict",
}

func isAnnotation(key string) bool {
	return strings.HasPrefix(key, "x-") || slices.Contains(annotations, key)
}

// A keyword reads the value v of one keyword into w.
type keyword func(s *schemas, w *want, v any, path string) error

// keywords are those that are kept. Each is read on its own; what several say
// together is left to emit.
func keywords() map[string]keyword {
	return map[string]keyword{
		"type": readType, "enum": readEnum, "const": readConst, "nullable": readNullable,
		"$ref": (*schemas).readRef, "allOf": (*schemas).readAllOf, "anyOf": readAnyOf, "oneOf": (*schemas).readOneOf,

		"minLength": count(func(w *want, n int) { w.minLength = max(w.minLength, n) }),
		"maxLength": count(func(w *want, n int) { w.maxLength = least(w.maxLength, min(n, maxRepeat)) }),
		"pattern":   readPattern,
		"format":    readFormat,

		"minimum":          number(func(w *want, r *big.Rat) { w.raise(bound{at: r}) }),
		"maximum":          number(func(w *want, r *big.Rat) { w.lower(bound{at: r}) }),
		"exclusiveMinimum": number(func(w *want, r *big.Rat) { w.raise(bound{r, true}) }),
		"exclusiveMaximum": number(func(w *want, r *big.Rat) { w.lower(bound{r, true}) }),
		"multipleOf":       readMultiple,

		"items": readItems, "prefixItems": readPrefix, "additionalItems": readFurtherItems,
		"minItems":    count(func(w *want, n int) { w.minItems = max(w.minItems, n) }),
		"maxItems":    count(func(w *want, n int) { w.maxItems = least(w.maxItems, min(n, maxRepeat)) }),
		"uniqueItems": readUnique,

		"properties": readProperties, "required": readRequired, "additionalProperties": readFurther, "unevaluatedProperties": readFurther,
		"propertyNames": func(_ *schemas, w *want, v any, _ string) error { w.names = append(w.names, v); return nil },
		"minProperties": count(func(w *want, n int) { w.minProps = max(w.minProps, n) }),
		"maxProperties": count(func(w *want, n int) { w.maxProps = least(w.maxProps, min(n, maxRepeat)) }),
	}
}

// read adds to w what the schema v asks.
func (s *schemas) read(w *want, v any, path string) error {
	switch v := v.(type) {
	case bool:
		w.never, w.keyed = w.never || !v, w.keyed || !v
		return nil
	case *ordered:
		return s.readKeywords(w, v, path)
	}
	return fmt.Errorf("%s is %.40s, want an object, true or false", at(path), jsonText(v))
}

func (s *schemas) readKeywords(w *want, o *ordered, path string) error {
	known := keywords()
	for _, k := range o.keys {
		v := o.vals[k]
		if isAnnotation(k) {
			continue
		}
		if k == "exclusiveMinimum" || k == "exclusiveMaximum" { // a flag in draft 4
			if done, err := w.draft4(k, v, o, path); done || err != nil {
				if err != nil {
					return err
				}
				continue
			}
		}
		read := known[k]
		if read == nil {
			return fmt.Errorf("%s: %s is not supported", at(path), k)
		}
		if k != "anyOf" && k != "oneOf" && k != "allOf" {
			w.keyed = true
		}
		if err := read(s, w, v, path+"/"+k); err != nil {
			return err
		}
	}
	return nil
}

func wrong(path string, v any, want string) error {
	return fmt.Errorf("%s is %.40s, want %s", at(path), jsonText(v), want)
}

func least(a, b int) int {
	if a == NoLimit {
		return b
	}
	return min(a, b)
}

// count reads a number of things.
func count(set func(*want, int)) keyword {
	return func(_ *schemas, w *want, v any, path string) error {
		n, ok := v.(json.Number)
		if !ok {
			return wrong(path, v, "a number")
		}
		f, err := n.Float64()
		if err != nil || !isWhole(f) || f < 0 {
			return wrong(path, v, "a whole number")
		}
		set(w, int(min(f, 2*maxRepeat)))
		return nil
	}
}

func number(set func(*want, *big.Rat)) keyword {
	return func(_ *schemas, w *want, v any, path string) error {
		n, ok := v.(json.Number)
		if !ok {
			return wrong(path, v, "a number")
		}
		r, err := rational(n)
		if err != nil {
			return fmt.Errorf("%s: %w", at(path), err)
		}
		set(w, r)
		return nil
	}
}

// raise makes the lower bound of w at least b.
func (w *want) raise(b bound) {
	if w.low == nil || b.at.Cmp(w.low.at) > 0 || b.at.Cmp(w.low.at) == 0 && b.open {
		w.low = &b
	}
}

// lower makes the upper bound of w at most b.
func (w *want) lower(b bound) {
	if w.high == nil || b.at.Cmp(w.high.at) < 0 || b.at.Cmp(w.high.at) == 0 && b.open {
		w.high = &b
	}
}

// draft4 reads an exclusive bound as JSON Schema's draft 4 writes it: a flag
// beside the bound.
func (w *want) draft4(k string, v any, o *ordered, path string) (bool, error) {
	flag, ok := v.(bool)
	if !ok {
		return false, nil
	}
	beside := map[string]string{"exclusiveMinimum": "minimum", "exclusiveMaximum": "maximum"}[k]
	if n, ok := o.vals[beside].(json.Number); ok && flag {
		r, err := rational(n)
		if err != nil {
			return true, fmt.Errorf("%s: %w", at(path), err)
		}
		if k == "exclusiveMinimum" {
			w.raise(bound{r, true})
		} else {
			w.lower(bound{r, true})
		}
	}
	return true, nil
}

func readType(_ *schemas, w *want, v any, path string) error {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var k kinds
	for _, t := range list {
		name, _ := t.(string)
		kind := kindNames[name]
		if kind == 0 {
			return wrong(path, t, "null, boolean, integer, number, string, array or object")
		}
		k |= kind
	}
	w.kinds &= k
	w.typed = true
	return nil
}

func readEnum(_ *schemas, w *want, v any, path string) error {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return wrong(path, v, "a list of values")
	}
	if w.listed {
		list = slices.DeleteFunc(slices.Clone(list), func(v any) bool {
			return !slices.ContainsFunc(w.values, func(o any) bool { return sameValue(v, o) })
		})
	}
	w.listed, w.values = true, list
	return nil
}

func readConst(s *schemas, w *want, v any, path string) error {
	return readEnum(s, w, []any{v}, path)
}

func readNullable(_ *schemas, w *want, v any, path string) error {
	if v == false {
		return nil
	}
	return fmt.Errorf("%s: nullable is not of JSON Schema: want \"type\": [..., \"null\"]", at(path))
}

func (s *schemas) readRef(w *want, v any, path string) error {
	ref, ok := v.(string)
	if !ok {
		return wrong(path, v, "a string")
	}
	to, err := s.resolve(ref, path)
	if err != nil {
		return err
	}
	return s.nested(func() error { return s.read(w, to, ref) })
}

// nested bounds what refers to itself.
func (s *schemas) nested(f func() error) error {
	s.work++
	if s.depth++; s.depth > maxNesting || s.work > maxSchemas {
		return errors.New("the schema is nested too deeply, or refers to itself without end")
	}
	defer func() { s.depth-- }()
	return f()
}

func (s *schemas) readAllOf(w *want, v any, path string) error {
	list, ok := v.([]any)
	if !ok {
		return wrong(path, v, "a list of schemas")
	}
	for i, e := range list {
		err := s.nested(func() error { return s.read(w, e, fmt.Sprintf("%s/%d", path, i)) })
		if err != nil {
			return err
		}
	}
	return nil
}

func readAnyOf(_ *schemas, w *want, v any, path string) error {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return wrong(path, v, "a list of schemas")
	}
	w.choices = append(w.choices, choice{path, list})
	return nil
}

func (s *schemas) readOneOf(w *want, v any, path string) error {
	list, _ := v.([]any)
	for i := range list {
		for k := range i {
			if !s.apart(list[k], list[i], 0) {
				return fmt.Errorf("%s: oneOf is supported where at most one alternative can be valid, which is not plain of %d and %d: use anyOf", at(path), k, i)
			}
		}
	}
	return readAnyOf(s, w, v, path)
}

func readPattern(_ *schemas, w *want, v any, path string) error {
	p, ok := v.(string)
	if !ok {
		return wrong(path, v, "a string")
	}
	w.patterns = append(w.patterns, p)
	return nil
}

// plainFormats ask for no more than the type does.
var plainFormats = []string{"int64", "float", "double", "password", "binary", "byte"}

func readFormat(_ *schemas, w *want, v any, path string) error {
	f, ok := v.(string)
	switch {
	case !ok:
		return wrong(path, v, "a string")
	case slices.Contains(plainFormats, f):
		return nil
	case f == "int32":
		w.raise(bound{at: big.NewRat(-1<<31, 1)})
		w.lower(bound{at: big.NewRat(1<<31-1, 1)})
		return nil
	case formats[f] == "":
		return fmt.Errorf("%s: format %.40q is not supported", at(path), f)
	case w.format != "" && w.format != f:
		return fmt.Errorf("%s: two formats of one value are not supported", at(path))
	}
	w.format = f
	return nil
}

func readMultiple(s *schemas, w *want, v any, path string) error {
	return number(func(w *want, r *big.Rat) {
		if w.multiple != nil && w.multiple.Cmp(r) != 0 {
			r = new(big.Rat) // refused by emit
		}
		w.multiple = r
	})(s, w, v, path)
}
