package chat

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// format is Python's str.format, with names, places, attributes, conversions
// and format specifications.
func (r *render) format(f string, c *callArgs) string {
	var b strings.Builder
	next := 0
	for f != "" {
		i := strings.IndexAny(f, "{}")
		if i < 0 {
			break
		}
		b.WriteString(f[:i])
		if i+1 < len(f) && f[i+1] == f[i] {
			b.WriteByte(f[i])
			f = f[i+2:]
			continue
		}
		end := strings.IndexByte(f[i:], '}')
		if f[i] == '}' || end < 0 {
			r.fail("single '%c' encountered in format string", f[i])
		}
		b.WriteString(r.field(f[i+1:i+end], c, &next))
		r.grow(b.Len())
		f = f[i+end+1:]
	}
	b.WriteString(f)
	return b.String()
}

// field formats what stands between braces.
func (r *render) field(f string, c *callArgs, next *int) string {
	f, spec, _ := strings.Cut(f, ":")
	f, conversion, _ := strings.Cut(f, "!")
	n := strings.IndexAny(f, ".[")
	if n < 0 {
		n = len(f)
	}
	v := r.fieldArg(f[:n], c, next)
	for f = f[n:]; f != ""; {
		var key string
		if f[0] == '[' {
			var ok bool
			if key, f, ok = strings.Cut(f[1:], "]"); !ok {
				r.fail("missing ']' in format string")
			}
			if k, err := strconv.ParseInt(key, 10, 64); err == nil {
				v = r.index(v, k)
			} else {
				v = r.index(v, key)
			}
			continue
		}
		n := strings.IndexAny(f[1:], ".[") + 1
		if n == 0 {
			n = len(f)
		}
		v, f = r.attr(v, f[1:n]), f[n:]
	}
	switch conversion {
	case "r":
		v = r.repr(v)
	case "s":
		v = r.str(v)
	}
	return r.formatValue(v, spec)
}

func (r *render) fieldArg(name string, c *callArgs, next *int) any {
	k, err := strconv.Atoi(name)
	if name == "" && *next >= 0 {
		k, err = *next, nil
		*next++
	} else if err == nil && *next <= 0 {
		*next = -1
	} else if name == "" || err == nil {
		r.fail("cannot mix {} and {0} in one format string")
	}
	if err == nil {
		if k < 0 || k >= len(c.pos) {
			r.fail("replacement index %d out of range for positional args tuple", k)
		}
		return c.pos[k]
	}
	v, ok := c.kw.Get(name)
	if !ok {
		r.fail("no argument named %s", quote(name))
	}
	return v
}

// formatValue is Python's format(v, spec).
func (r *render) formatValue(v any, spec string) string {
	if spec == "" {
		return r.str(v)
	}
	sp := parseSpec(spec)
	if n, ok := integer(v); ok && strings.IndexByte("dxXobn\x00", sp.verb) >= 0 {
		return r.formatInt(n, sp, sp.verb)
	}
	if f, ok := number(v); ok {
		switch sp.verb {
		case '%':
			if sp.precision < 0 {
				sp.precision = 6
			}
			return r.signed(strings.TrimPrefix(r.formatReal(f*100, formatSpec{precision: sp.precision}, 'f'), "-")+"%", f < 0, sp)
		case 0:
			if sp.precision < 0 {
				return r.signed(strings.TrimPrefix(formatFloat(f), "-"), f < 0, sp)
			}
			sp.verb = 'g'
		}
		if strings.IndexByte("eEfFgG", sp.verb) >= 0 {
			return r.formatReal(f, sp, sp.verb)
		}
	}
	s, ok := text(v)
	if !ok || sp.verb != 0 && sp.verb != 's' {
		r.fail("unsupported format %s for '%s' object", quote(spec), typeName(v))
	}
	return r.formatText(s, sp)
}

// parseSpec reads [[fill]align][sign][#][0][width][,][.precision][type].
func parseSpec(s string) formatSpec {
	sp := formatSpec{fill: " ", precision: -1}
	_, w := utf8.DecodeRuneInString(s)
	if len(s) > w && strings.IndexByte("<>^=", s[w]) >= 0 {
		sp.fill, sp.align, s = s[:w], s[w], s[w+1:]
	} else if strings.IndexByte("<>^=", s[0]) >= 0 {
		sp.align, s = s[0], s[1:]
	}
	take := func(set string) byte {
		if s != "" && strings.IndexByte(set, s[0]) >= 0 {
			c := s[0]
			s = s[1:]
			return c
		}
		return 0
	}
	sp.sign = take("+- ")
	sp.alt = take("#") != 0
	sp.zero = take("0") != 0
	n := len(s) - len(strings.TrimLeft(s, "0123456789"))
	sp.width, _ = widths(s[:n])
	s = s[n:]
	if c := take(",_"); c != 0 {
		sp.comma = string(rune(c))
	}
	if take(".") != 0 {
		n = len(s) - len(strings.TrimLeft(s, "0123456789"))
		_, sp.precision = widths("." + s[:n])
		s = s[n:]
	}
	if s != "" {
		sp.verb = s[len(s)-1]
	}
	return sp
}
