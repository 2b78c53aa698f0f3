package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// FromJSON decodes one JSON value to the values of templates: nil, bool,
// int64, float64, string, *List, and *Dict with the keys in their order.
func FromJSON(b []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := decode(d, 0)
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("read JSON: want one value, found more after it")
	}
	return v, nil
}

// ListFromJSON decodes a JSON array, such as messages or tools.
func ListFromJSON(b []byte) (*List, error) {
	v, err := FromJSON(b)
	if err != nil {
		return nil, err
	}
	l, ok := v.(*List)
	if !ok {
		return nil, fmt.Errorf("read JSON: want an array [...], found %s", jsonName(v))
	}
	return l, nil
}

// DictFromJSON decodes a JSON object, such as extra variables.
func DictFromJSON(b []byte) (*Dict, error) {
	v, err := FromJSON(b)
	if err != nil {
		return nil, err
	}
	d, ok := v.(*Dict)
	if !ok {
		return nil, fmt.Errorf("read JSON: want an object {...}, found %s", jsonName(v))
	}
	return d, nil
}

func jsonName(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a string"
	case *List:
		return "an array"
	case *Dict:
		return "an object"
	}
	return "a number"
}

func decode(d *json.Decoder, depth int) (any, error) {
	if depth > maxValueDepth {
		return nil, fmt.Errorf("want at most %d nested values", maxValueDepth)
	}
	t, err := d.Token()
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			return decodeList(d, depth)
		}
		return decodeDict(d, depth)
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return n, nil
		}
		f, err := t.Float64()
		if err != nil {
			return nil, fmt.Errorf("number %s is too large", t)
		}
		return f, nil
	}
	return t, nil
}

func decodeList(d *json.Decoder, depth int) (any, error) {
	l := &List{}
	for d.More() {
		v, err := decode(d, depth+1)
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, v)
	}
	_, err := d.Token()
	return l, err
}

func decodeDict(d *json.Decoder, depth int) (any, error) {
	m := &Dict{}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := decode(d, depth+1)
		if err != nil {
			return nil, err
		}
		m.put(k, k, v)
	}
	_, err := d.Token()
	return m, err
}

// encoder writes JSON as Python's json.dumps.
type encoder struct {
	r          *render
	b          strings.Builder
	indent     string // of one level; "" with oneLine
	oneLine    bool
	item, key  string // separators
	sortKeys   bool
	ascii      bool
	sizeLogged int
}

// toJSON is the filter tojson as transformers defines it.
func toJSON(v any, c *callArgs) any {
	e := &encoder{r: c.r, oneLine: true, item: ", ", key: ": "}
	e.ascii = truth(c.arg(0, "ensure_ascii", false))
	e.sortKeys = truth(c.arg(3, "sort_keys", false))
	indent := c.arg(1, "indent", nil)
	if s, ok := text(indent); ok {
		e.oneLine, e.indent = false, s
	} else if indent != nil {
		n := min(max(c.int(1, "indent", 0), 0), 1000)
		e.oneLine, e.indent = false, strings.Repeat(" ", int(n))
	}
	if !e.oneLine {
		e.item = ","
	}
	if sep := c.arg(2, "separators", nil); sep != nil {
		pair := c.r.items(sep)
		if len(pair) != 2 {
			c.r.fail("separators must be a pair (item, key)")
		}
		e.item, e.key = c.r.str(pair[0]), c.r.str(pair[1])
	}
	e.value(v, 0)
	return e.b.String()
}

// charge counts what was written since the last time.
func (e *encoder) charge() {
	if e.b.Len()-e.sizeLogged >= bytesPerStep {
		e.r.step((e.b.Len() - e.sizeLogged) / bytesPerStep)
		e.sizeLogged = e.b.Len()
	}
	if e.b.Len() > maxStringBytes {
		e.r.limit("bytes in a string", maxStringBytes)
	}
}

func (e *encoder) newline(depth int) {
	if !e.oneLine {
		e.b.WriteByte('\n')
		for range depth {
			e.b.WriteString(e.indent)
		}
	}
	e.charge()
}

func (e *encoder) value(v any, depth int) {
	e.r.deeper(depth)
	e.charge()
	switch v := v.(type) {
	case nil:
		e.b.WriteString("null")
	case bool:
		e.b.WriteString(strconv.FormatBool(v))
	case int64:
		e.b.WriteString(strconv.FormatInt(v, 10))
	case float64:
		e.b.WriteString(jsonFloat(v))
	case string:
		e.text(v)
	case markup:
		e.text(string(v))
	case *List:
		if v.kind > kindTuple {
			e.refuse(v)
		}
		e.list(v, depth)
	case *Dict:
		e.dict(v, depth)
	default:
		e.refuse(v)
	}
}

func (e *encoder) refuse(v any) {
	e.r.fail("Object of type %s is not JSON serializable", typeName(v))
}

func jsonFloat(f float64) string {
	switch s := formatFloat(f); s {
	case "nan":
		return "NaN"
	case "inf":
		return "Infinity"
	case "-inf":
		return "-Infinity"
	default:
		return s
	}
}

func (e *encoder) list(l *List, depth int) {
	if len(l.items) == 0 {
		e.b.WriteString("[]")
		return
	}
	e.b.WriteByte('[')
	for i, x := range l.items {
		if i > 0 {
			e.b.WriteString(e.item)
		}
		e.newline(depth + 1)
		e.value(x, depth+1)
	}
	e.newline(depth)
	e.b.WriteByte(']')
}

func (e *encoder) dict(d *Dict, depth int) {
	if d.Len() == 0 {
		e.b.WriteString("{}")
		return
	}
	keys := d.keys
	if e.sortKeys {
		keys = e.r.sorted(keys, func(x any) any { return x }, false)
	}
	e.b.WriteByte('{')
	for i, k := range keys {
		if i > 0 {
			e.b.WriteString(e.item)
		}
		e.newline(depth + 1)
		switch k := k.(type) {
		case string, markup, bool, int64, float64, nil:
			s, ok := text(k)
			if !ok {
				s = e.scalarKey(k)
			}
			e.text(s)
		default:
			e.r.fail("keys must be str, int, float, bool or None, not %s", typeName(k))
		}
		e.b.WriteString(e.key)
		v, _ := d.lookup(e.r, k)
		e.value(v, depth+1)
	}
	e.newline(depth)
	e.b.WriteByte('}')
}

// scalarKey writes a key that is not a string as JSON has it.
func (e *encoder) scalarKey(k any) string {
	sub := &encoder{r: e.r, oneLine: true}
	sub.value(k, 0)
	return sub.b.String()
}

// text writes a JSON string with the escapes of json.dumps.
func (e *encoder) text(s string) {
	e.r.grow(len(s))
	e.b.WriteByte('"')
	for _, c := range s {
		if i := strings.IndexRune("\"\\\n\r\t\b\f", c); i >= 0 {
			e.b.WriteByte('\\')
			e.b.WriteByte("\"\\nrtbf"[i])
			continue
		}
		switch {
		case c < 0x20, e.ascii && c >= 0x7f && c < 0x10000:
			e.b.Write(appendHex([]byte(`\u`), c, 4))
		case e.ascii && c >= 0x10000:
			c -= 0x10000
			b := appendHex([]byte(`\u`), 0xd800+c>>10, 4)
			e.b.Write(appendHex(append(b, `\u`...), 0xdc00+c&0x3ff, 4))
		default:
			e.b.WriteRune(c)
		}
	}
	e.b.WriteByte('"')
}
