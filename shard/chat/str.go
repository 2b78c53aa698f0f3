package chat

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// str is Python's str().
func (r *render) str(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case undefined:
		return ""
	}
	return r.repr(v)
}

// repr is Python's repr().
func (r *render) repr(v any) string {
	switch v := v.(type) {
	case *List, *Dict:
		var b strings.Builder
		r.reprInto(&b, v, 0)
		return b.String()
	case tupleHash:
		return "(" + string(v) + ")"
	case string:
		r.grow(len(v))
		return quote(v)
	case markup:
		return "Markup(" + quote(string(v)) + ")"
	}
	return reprScalar(v)
}

func reprScalar(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return formatFloat(v)
	case undefined:
		return "Undefined"
	case *loopVar:
		return "<LoopContext " + strconv.Itoa(v.at+1) + "/" + strconv.Itoa(len(v.items)) + ">"
	case *macroValue:
		return "<Macro " + quote(v.def.name) + ">"
	case *namespace:
		return "<Namespace>"
	}
	return "<" + typeName(v) + " object>"
}

// reprInto writes nested values, within the bounds of strings and depth.
func (r *render) reprInto(b *strings.Builder, v any, depth int) {
	r.deeper(depth)
	if b.Len() > maxStringBytes {
		r.grow(b.Len())
	}
	switch v := v.(type) {
	case *List:
		if v.kind == kindRange {
			b.WriteString(reprRange(v))
			return
		}
		open, end := brackets(v)
		b.WriteString(open)
		for i, x := range v.items {
			if i > 0 {
				b.WriteString(", ")
			}
			r.reprInto(b, x, depth+1)
		}
		b.WriteString(end)
	case *Dict:
		b.WriteByte('{')
		for i, k := range v.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			r.reprInto(b, k, depth+1)
			b.WriteString(": ")
			r.reprInto(b, v.values[i], depth+1)
		}
		b.WriteByte('}')
	default:
		b.WriteString(r.repr(v))
	}
}

// reprRange writes a range by its bounds, as far as its items tell them.
func reprRange(l *List) string {
	lo, hi, step := int64(0), int64(0), int64(1)
	if n := len(l.items); n > 0 {
		lo, _ = integer(l.items[0])
		if n > 1 {
			second, _ := integer(l.items[1])
			step = second - lo
		}
		hi = lo + step*int64(n)
	}
	s := "range(" + strconv.FormatInt(lo, 10) + ", " + strconv.FormatInt(hi, 10)
	if step != 1 {
		s += ", " + strconv.FormatInt(step, 10)
	}
	return s + ")"
}

func brackets(l *List) (open, end string) {
	switch l.kind {
	case kindTuple:
		if len(l.items) == 1 {
			return "(", ",)"
		}
		return "(", ")"
	case kindList:
		return "[", "]"
	}
	return listNames[l.kind] + "([", "])"
}

// formatFloat is Python's repr of a float: the shortest digits that read back
// the same, with an exponent below 1e-4 and from 1e16 on.
func formatFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quote is Python's repr of a string.
func quote(s string) string {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	b := make([]byte, 0, len(s)+2)
	b = append(b, q)
	for _, c := range s {
		switch {
		case c == rune(q) || c == '\\':
			b = append(b, '\\', byte(c))
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == ' ' || unicode.IsPrint(c):
			b = utf8.AppendRune(b, c)
		case c < 0x100:
			b = appendHex(append(b, `\x`...), c, 2)
		case c < 0x10000:
			b = appendHex(append(b, `\u`...), c, 4)
		default:
			b = appendHex(append(b, `\U`...), c, 8)
		}
	}
	return string(append(b, q))
}

func appendHex(b []byte, c rune, digits int) []byte {
	for i := digits - 1; i >= 0; i-- {
		b = append(b, "0123456789abcdef"[c>>(4*i)&15])
	}
	return b
}

// isSpace is Python's str.isspace for one character: Go's, and the four
// separators of ASCII.
func isSpace(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f }

// escapeHTML is markupsafe's escape.
var escapeHTML = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")

// escape escapes v unless it is markup already.
func (r *render) escape(v any) markup {
	if m, ok := v.(markup); ok {
		return m
	}
	s := r.str(v)
	r.grow(6 * len(s))
	return markup(escapeHTML.Replace(s))
}
