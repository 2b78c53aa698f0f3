package grammar

import (
	"fmt"
	"slices"
)

func readItems(_ *schemas, w *want, v any, path string) error {
	switch v := v.(type) {
	case []any: // before draft 2020-12
		return readPrefix(nil, w, v, path)
	case bool:
		w.closedItems = w.closedItems || !v
		return nil
	}
	w.items = append(w.items, v)
	return nil
}

// readFurtherItems reads what prefixItems leaves, before draft 2020-12.
func readFurtherItems(s *schemas, w *want, v any, path string) error {
	if _, list := v.([]any); list {
		return wrong(path, v, "a schema")
	}
	return readItems(s, w, v, path)
}

func readPrefix(_ *schemas, w *want, v any, path string) error {
	list, ok := v.([]any)
	if !ok {
		return wrong(path, v, "a list of schemas")
	}
	if len(w.prefix) > 0 && len(w.prefix) != len(list) {
		return fmt.Errorf("%s: two lists of different length for one array are not supported", at(path))
	}
	for i, e := range list {
		if i == len(w.prefix) {
			w.prefix = append(w.prefix, nil)
		}
		w.prefix[i] = append(w.prefix[i], e)
	}
	return nil
}

func readUnique(_ *schemas, w *want, v any, path string) error {
	if v == true {
		return fmt.Errorf("%s is not supported: want false or nothing", at(path))
	}
	return nil
}

func readProperties(_ *schemas, w *want, v any, path string) error {
	o, ok := v.(*ordered)
	if !ok {
		return wrong(path, v, "an object of schemas")
	}
	for _, name := range o.keys {
		p := w.property(name)
		p.of = append(p.of, o.vals[name])
	}
	return nil
}

func readRequired(_ *schemas, w *want, v any, path string) error {
	list, ok := v.([]any)
	if !ok {
		return wrong(path, v, "a list of names")
	}
	for _, e := range list {
		name, ok := e.(string)
		if !ok {
			return wrong(path, e, "a name")
		}
		if !slices.Contains(w.required, name) {
			w.required = append(w.required, name)
		}
	}
	return nil
}

func readFurther(_ *schemas, w *want, v any, _ string) error {
	switch v {
	case false:
		w.closed = true
	case true:
		w.open = true
	default:
		w.open = true
		w.more = append(w.more, v)
	}
	return nil
}

// both is the schema that all of list must meet.
func both(list []any) any {
	if len(list) == 1 {
		return list[0]
	}
	return &ordered{keys: []string{"allOf"}, vals: map[string]any{"allOf": list}}
}

// apart reports whether it is plain that no value meets both a and b.
func (s *schemas) apart(a, b any, depth int) bool {
	x, y := newWant(""), newWant("")
	if depth > 4 || s.read(&x, a, "") != nil || s.read(&y, b, "") != nil {
		return false
	}
	if x.kinds&y.kinds == 0 || x.never || y.never {
		return true
	}
	if x.excludes(y) || y.excludes(x) {
		return true
	}
	return x.kinds&y.kinds == isObject && (s.apartByProperty(x, y, depth) || x.lacks(y) || y.lacks(x))
}

// excludes reports whether o allows none of the values that w lists.
func (w *want) excludes(o want) bool {
	return w.listed && (noneOf(w.values, o) || o.listed && !w.shares(o))
}

// shares reports whether the lists of w and o have a value in common.
func (w *want) shares(o want) bool {
	return slices.ContainsFunc(w.values, func(v any) bool {
		return slices.ContainsFunc(o.values, func(u any) bool { return sameValue(v, u) })
	})
}

// apartByProperty reports whether both need a property that can't meet both.
func (s *schemas) apartByProperty(x, y want, depth int) bool {
	for _, p := range x.props {
		if q := slices.IndexFunc(y.props, func(q prop) bool { return q.name == p.name }); q >= 0 &&
			slices.Contains(x.required, p.name) && slices.Contains(y.required, p.name) &&
			s.apart(both(p.of), both(y.props[q].of), depth+1) {
			return true
		}
	}
	return false
}

// noneOf reports whether w allows none of values, by their kinds alone.
func noneOf(values []any, w want) bool {
	return !slices.ContainsFunc(values, func(v any) bool { return w.kinds&kindOf(v) != 0 })
}

// lacks reports whether o needs a property that w has not and does not allow.
func (w *want) lacks(o want) bool {
	return w.closed && len(w.more) == 0 && slices.ContainsFunc(o.required, func(name string) bool {
		return !slices.ContainsFunc(w.props, func(p prop) bool { return p.name == name })
	})
}
