package chat

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// percent is Python's format % args.
func (r *render) percent(f string, v any) string {
	p := &percentFormat{r: r, args: []any{v}, whole: v}
	if l, ok := v.(*List); ok && l.kind == kindTuple {
		p.args = l.items
	}
	return p.format(f)
}

type percentFormat struct {
	r     *render
	args  []any
	whole any // the right operand, which %(name)s looks into
	next  int
	named bool
	b     strings.Builder
}

func (p *percentFormat) arg() any {
	if p.next >= len(p.args) {
		p.r.fail("not enough arguments for format string")
	}
	p.next++
	return p.args[p.next-1]
}

func (p *percentFormat) format(f string) string {
	for f != "" {
		i := strings.IndexByte(f, '%')
		if i < 0 {
			break
		}
		p.b.WriteString(f[:i])
		f = p.verb(f[i+1:])
		p.r.grow(p.b.Len())
	}
	p.b.WriteString(f)
	_, isDict := p.whole.(*Dict)
	if p.next < len(p.args) && !p.named && !isDict {
		p.r.fail("not all arguments converted during string formatting")
	}
	return p.b.String()
}

// verb formats one argument as f, which follows a %, says, and returns the
// rest of f.
func (p *percentFormat) verb(f string) string {
	var v any
	has := false
	if strings.HasPrefix(f, "(") {
		name, rest, ok := strings.Cut(f[1:], ")")
		d, isDict := p.whole.(*Dict)
		if !ok || !isDict {
			p.r.fail("format requires a mapping")
		}
		if v, ok = d.Get(name); !ok {
			p.r.fail("format has no value for %s", quote(name))
		}
		f, has, p.named = rest, true, true
	}
	n := 0
	for n < len(f) && strings.IndexByte("-+ #0123456789.", f[n]) >= 0 {
		n++
	}
	if n >= len(f) {
		p.r.fail("incomplete format")
	}
	flags, verb := f[:n], f[n]
	f = f[n+1:]
	if verb == '%' {
		p.b.WriteByte('%')
		return f
	}
	if !has {
		v = p.arg()
	}
	p.b.WriteString(p.r.percentVerb(v, percentSpec(flags), verb))
	return f
}

// percentVerb formats v as one verb says.
func (r *render) percentVerb(v any, spec formatSpec, verb byte) string {
	k, whole := integer(v)
	f, real := number(v)
	switch verb {
	case 's', 'r':
		spec.zero, spec.verb = false, 's'
		if verb == 'r' {
			return r.formatText(r.repr(v), spec)
		}
		return r.formatText(r.str(v), spec)
	case 'c':
		return r.formatText(r.character(v), spec)
	case 'd', 'i', 'u':
		if !real {
			r.fail("%%%c format: a real number is required, not %s", verb, typeName(v))
		}
		if !whole {
			k = int64(f)
		}
		return r.formatInt(k, spec, 'd')
	case 'x', 'X', 'o':
		if !whole {
			r.fail("%%%c format: an integer is required, not %s", verb, typeName(v))
		}
		return r.formatInt(k, spec, verb)
	case 'f', 'F', 'e', 'E', 'g', 'G':
		if !real {
			r.fail("must be real number, not %s", typeName(v))
		}
		return r.formatReal(f, spec, verb)
	}
	r.fail("unsupported format character '%c'", verb)
	return ""
}

// character returns the one character that %c formats.
func (r *render) character(v any) string {
	s, ok := text(v)
	if k, whole := integer(v); whole && k >= 0 && k <= utf8.MaxRune {
		s, ok = string(rune(k)), true
	}
	if !ok || utf8.RuneCountInString(s) != 1 {
		r.fail("%%c requires int or char")
	}
	return s
}

// formatSpec is Python's format specification.
type formatSpec struct {
	fill      string
	align     byte // < > ^ or 0
	sign      byte
	alt, zero bool
	comma     string
	width     int
	precision int // -1: none
	verb      byte
}

func percentSpec(flags string) formatSpec {
	sp := formatSpec{fill: " ", align: '>', precision: -1}
	i := 0
	for ; i < len(flags) && strings.IndexByte("-+ #0", flags[i]) >= 0; i++ {
		switch flags[i] {
		case '-':
			sp.align = '<'
		case '+', ' ':
			sp.sign = flags[i]
		case '#':
			sp.alt = true
		case '0':
			sp.zero = true
		}
	}
	sp.width, sp.precision = widths(flags[i:])
	return sp
}

// widths reads "width.precision".
func widths(s string) (width, precision int) {
	w, p, dot := strings.Cut(s, ".")
	width, _ = strconv.Atoi(w)
	if !dot {
		return width, -1
	}
	precision, _ = strconv.Atoi(p)
	return width, precision
}

// finish pads a number or text to its width.
func (r *render) finish(body string, sp formatSpec) string {
	where := 2
	switch sp.align {
	case '<':
		where = 0
	case '^':
		n := sp.width - utf8.RuneCountInString(body)
		if n <= 0 {
			return body
		}
		r.grow(sp.width * len(sp.fill))
		return strings.Repeat(sp.fill, n/2) + body + strings.Repeat(sp.fill, n-n/2)
	}
	return r.padded(body, sp.fill, int64(sp.width), where)
}

func (r *render) formatText(s string, sp formatSpec) string {
	if sp.precision >= 0 && utf8.RuneCountInString(s) > sp.precision {
		s = string([]rune(s)[:sp.precision])
	}
	if sp.align == 0 {
		sp.align = '<'
	}
	return r.finish(s, sp)
}

func (r *render) formatInt(n int64, sp formatSpec, verb byte) string {
	base := map[byte]int{'x': 16, 'X': 16, 'o': 8, 'b': 2}[verb]
	if base == 0 {
		base = 10
	}
	digits := strings.TrimPrefix(strconv.FormatInt(n, base), "-")
	if verb == 'X' {
		digits = strings.ToUpper(digits)
	}
	if sp.alt && base != 10 {
		digits = "0" + string(rune(verb)) + digits
	}
	return r.signed(digits, n < 0, sp)
}

func (r *render) formatReal(f float64, sp formatSpec, verb byte) string {
	if sp.precision < 0 {
		sp.precision = 6
	}
	if sp.precision > 1000 {
		r.limit("digits after the point", 1000)
	}
	low := verb | 0x20
	if low == 'g' {
		sp.precision = max(sp.precision, 1)
	}
	s := strconv.FormatFloat(math.Abs(f), low, sp.precision, 64)
	switch {
	case math.IsInf(f, 0):
		s = "inf"
	case math.IsNaN(f):
		s = "nan"
	}
	if verb < 'a' {
		s = strings.ToUpper(s)
	}
	return r.signed(s, f < 0, sp)
}

// signed adds the sign, the separators of thousands and the padding.
func (r *render) signed(digits string, negative bool, sp formatSpec) string {
	if sp.comma != "" {
		whole, rest, dot := strings.Cut(digits, ".")
		for i := len(whole) - 3; i > 0; i -= 3 {
			whole = whole[:i] + sp.comma + whole[i:]
		}
		digits = whole
		if dot {
			digits += "." + rest
		}
	}
	sign := ""
	switch {
	case negative:
		sign = "-"
	case sp.sign == '+' || sp.sign == ' ':
		sign = string(rune(sp.sign))
	}
	if sp.zero && sp.align != '<' {
		return sign + r.padded(digits, "0", int64(sp.width-len(sign)), 2)
	}
	if sp.align == 0 {
		sp.align = '>'
	}
	return r.finish(sign+digits, sp)
}
