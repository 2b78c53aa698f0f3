package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// An object reads the fields of one JSON object. Each field is taken once;
// what is left at done is not known. The first error is kept, and later calls
// do nothing. A field that is null counts as absent, as in OpenAI's schema.
type object struct {
	path   string // where it stands, for errors: "messages[2]."; "" at the top
	fields map[string]json.RawMessage
	err    *apiError
}

// maxFields bounds the fields of one object: OpenAI's largest has 40, and
// logit_bias, which is read otherwise, 1,024.
const maxFields = 256

// readObject reads the JSON object raw, which stands at path.
func readObject(path string, raw []byte) (*object, *apiError) {
	o := &object{path: path, fields: map[string]json.RawMessage{}}
	name := strings.TrimSuffix(path, ".")
	if !utf8.Valid(raw) {
		return nil, invalid(name, "invalid_json", "the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil {
		return nil, syntaxError(name, err)
	} else if t != json.Delim('{') {
		return nil, invalid(name, "invalid_type", "%s is %s, want an object", orBody(name), jsonKind(raw))
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, syntaxError(name, err)
		}
		key, _ := t.(string) // keys are strings, or Token fails
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, syntaxError(name, err)
		}
		if _, twice := o.fields[key]; twice {
			return nil, invalid(path+key, "invalid_json", "%s%s comes twice", path, key)
		}
		if o.fields[key] = value; len(o.fields) > maxFields {
			return nil, invalid(name, "invalid_json", "%s has more than %d fields", orBody(name), maxFields)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, syntaxError(name, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, invalid(name, "invalid_json", "%s goes on after the JSON object", orBody(name))
	}
	return o, nil
}

func orBody(name string) string {
	if name == "" {
		return "the body"
	}
	return name
}

func syntaxError(param string, err error) *apiError {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid(param, "invalid_json", "%s is not JSON: it ends too early", orBody(param))
	}
	return invalid(param, "invalid_json", "%s is not JSON: %v", orBody(param), err)
}

// jsonKind names the kind of a JSON value, for people.
func jsonKind(raw []byte) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "empty"
	}
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// fail keeps the first error.
func (o *object) fail(field, code, format string, args ...any) {
	if o.err == nil {
		o.err = invalid(o.path+field, code, format, args...)
	}
}

// take returns the value of field, and false if it is absent, null, or an
// error came before.
func (o *object) take(field string) (json.RawMessage, bool) {
	raw, ok := o.fields[field]
	delete(o.fields, field)
	return raw, ok && o.err == nil && !bytes.Equal(raw, []byte("null"))
}

func (o *object) wrongType(field string, raw []byte, want string) {
	o.fail(field, "invalid_type", "%s%s is %s, want %s", o.path, field, jsonKind(raw), want)
}

// text reads a string.
func (o *object) text(field string) (string, bool) {
	raw, ok := o.take(field)
	if !ok {
		return "", false
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		o.wrongType(field, raw, "a string")
		return "", false
	}
	return s, true
}

// flag reads a boolean; absent is false.
func (o *object) flag(field string) bool {
	raw, ok := o.take(field)
	var b bool
	if ok && json.Unmarshal(raw, &b) != nil {
		o.wrongType(field, raw, "true or false")
	}
	return b
}

// number reads a number between lo and hi, or returns or if it is absent.
func (o *object) number(field string, or, lo, hi float64) float64 {
	raw, ok := o.take(field)
	if !ok {
		return or
	}
	var f float64
	if jsonKind(raw) != "a number" || json.Unmarshal(raw, &f) != nil {
		o.wrongType(field, raw, "a number")
		return or
	}
	if f < lo || f > hi {
		o.fail(field, "invalid_value", "%s%s is %v, want %v to %v", o.path, field, f, lo, hi)
		return or
	}
	return f
}

// integer reads a whole number between lo and hi, or returns or if it is absent.
func (o *object) integer(field string, or, lo, hi int64) int64 {
	raw, ok := o.take(field)
	if !ok {
		return or
	}
	n, ok := wholeNumber(raw)
	if !ok {
		o.fail(field, "invalid_type", "%s%s is %s, want a whole number", o.path, field, short(raw))
		return or
	}
	if n < lo || n > hi {
		o.fail(field, "invalid_value", "%s%s is %d, want %d to %d", o.path, field, n, lo, hi)
		return or
	}
	return n
}

// wholeNumber reads 12, and 12.0 as some clients write it.
func wholeNumber(raw []byte) (int64, bool) {
	var n int64
	if json.Unmarshal(raw, &n) == nil {
		return n, true
	}
	var f float64
	if json.Unmarshal(raw, &f) != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// short returns the beginning of raw, for people.
func short(raw []byte) string {
	const most = 40
	if len(raw) > most {
		return strings.ToValidUTF8(string(raw[:most]), "") + "..."
	}
	return string(raw)
}

// list reads an array of at most most values.
func (o *object) list(field string, most int) ([]json.RawMessage, bool) {
	raw, ok := o.take(field)
	if !ok {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('[') {
		o.wrongType(field, raw, "an array")
		return nil, false
	}
	var l []json.RawMessage
	for d.More() {
		if len(l) == most {
			o.fail(field, "invalid_value", "%s%s has more than %d entries", o.path, field, most)
			return nil, false
		}
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			o.err = syntaxError(o.path+field, err)
			return nil, false
		}
		l = append(l, v)
	}
	return l, true
}

// object reads an object.
func (o *object) object(field string) (*object, bool) {
	raw, ok := o.take(field)
	if !ok {
		return nil, false
	}
	in, err := readObject(o.path+field+".", raw)
	if err != nil {
		o.err = err
		return nil, false
	}
	return in, true
}

// accept takes fields that change nothing here, see DESIGN.md.
func (o *object) accept(fields ...string) {
	for _, f := range fields {
		delete(o.fields, f)
	}
}

// only takes a field that may be absent or one of the JSON texts in plain,
// which ask for nothing special. why ends the sentence "NAME ...".
func (o *object) only(field, why string, plain ...string) {
	raw, ok := o.take(field)
	if !ok {
		return
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil || !slices.Contains(plain, b.String()) {
		o.fail(field, "unsupported_parameter", "%s%s %s", o.path, field, why)
	}
}

// done returns the first error; a field that nobody took is one.
func (o *object) done() *apiError {
	if o.err == nil && len(o.fields) > 0 {
		field := slices.Min(slices.Collect(maps.Keys(o.fields)))
		o.fail(field, "unknown_parameter", "unknown field %s%s", o.path, short([]byte(field)))
	}
	return o.err
}
