package chat

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// strMethod is a method of Python's str, called on s.
type strMethod func(s string, c *callArgs) any

// strTextMethods return a string; markup stays markup.
var strTextMethods = map[string]func(s string, c *callArgs) string{
	"strip":        func(s string, c *callArgs) string { return strip(s, c, true, true) },
	"lstrip":       func(s string, c *callArgs) string { return strip(s, c, true, false) },
	"rstrip":       func(s string, c *callArgs) string { return strip(s, c, false, true) },
	"upper":        func(s string, _ *callArgs) string { return upper(s) },
	"lower":        func(s string, _ *callArgs) string { return lower(s) },
	"casefold":     func(s string, _ *callArgs) string { return strings.ReplaceAll(lower(s), "ß", "ss") },
	"title":        func(s string, _ *callArgs) string { return title(s) },
	"capitalize":   func(s string, _ *callArgs) string { return capitalize(s) },
	"swapcase":     func(s string, _ *callArgs) string { return strings.Map(swapCase, s) },
	"replace":      func(s string, c *callArgs) string { return replace(s, c) },
	"removeprefix": func(s string, c *callArgs) string { return strings.TrimPrefix(s, c.str(0, "prefix")) },
	"removesuffix": func(s string, c *callArgs) string { return strings.TrimSuffix(s, c.str(0, "suffix")) },
	"join":         func(s string, c *callArgs) string { return c.r.joined(c.need(0, "iterable"), s, true) },
	"ljust":        func(s string, c *callArgs) string { return pad(s, c, 0) },
	"rjust":        func(s string, c *callArgs) string { return pad(s, c, 2) },
	"center":       func(s string, c *callArgs) string { return pad(s, c, 1) },
	"zfill":        zfill,
	"expandtabs":   expandTabs,
}

// strMethods return something else.
var strMethods = map[string]strMethod{
	"startswith": func(s string, c *callArgs) any { return affix(s, c, strings.HasPrefix) },
	"endswith":   func(s string, c *callArgs) any { return affix(s, c, strings.HasSuffix) },
	"find":       func(s string, c *callArgs) any { return find(s, c, strings.Index) },
	"rfind":      func(s string, c *callArgs) any { return find(s, c, strings.LastIndex) },
	"index":      func(s string, c *callArgs) any { return found(c, find(s, c, strings.Index)) },
	"rindex":     func(s string, c *callArgs) any { return found(c, find(s, c, strings.LastIndex)) },
	"count":      countIn,
	"split":      func(s string, c *callArgs) any { return c.r.strings(split(s, c, false)) },
	"rsplit":     func(s string, c *callArgs) any { return c.r.strings(split(s, c, true)) },
	"splitlines": func(s string, c *callArgs) any { return c.r.strings(splitLines(s, c)) },
	"partition":  func(s string, c *callArgs) any { return partition(s, c, false) },
	"rpartition": func(s string, c *callArgs) any { return partition(s, c, true) },
	"isdigit":    func(s string, _ *callArgs) any { return all(s, unicode.IsDigit) },
	"isdecimal":  func(s string, _ *callArgs) any { return all(s, unicode.IsDigit) },
	"isnumeric":  func(s string, _ *callArgs) any { return all(s, unicode.IsNumber) },
	"isalpha":    func(s string, _ *callArgs) any { return all(s, unicode.IsLetter) },
	"isalnum": func(s string, _ *callArgs) any {
		return all(s, func(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) })
	},
	"isspace": func(s string, _ *callArgs) any { return all(s, isSpace) },
	"isascii": func(s string, _ *callArgs) any {
		return strings.IndexFunc(s, func(c rune) bool { return c >= utf8.RuneSelf }) < 0
	},
	"isupper": func(s string, _ *callArgs) any { return isUpper(s) },
	"islower": func(s string, _ *callArgs) any { return isLower(s) },
	"istitle": func(s string, _ *callArgs) any { return s == title(s) && s != upper(s) },
}

// strAttr returns a method of a string.
func strAttr(x any, name string) (any, bool) {
	s, _ := text(x)
	if m, ok := strTextMethods[name]; ok {
		return function(func(c *callArgs) any {
			c.r.grow(len(s))
			if name == "join" || name == "replace" {
				c = c.escapedFor(x)
			}
			return like(x, m(s, c))
		}), true
	}
	m, ok := strMethods[name]
	if name == "format" { // not in the table, which it would refer to itself
		m, ok = func(s string, c *callArgs) any { return like(x, c.r.format(s, c.escapedFor(x))) }, true
	}
	if !ok {
		return nil, false
	}
	return function(func(c *callArgs) any {
		c.r.grow(len(s))
		v := m(s, c)
		if l, ok := v.(*List); ok && like(x, "") != any("") {
			for i, part := range l.items {
				l.items[i] = like(x, part.(string))
			}
		}
		return v
	}), true
}

// escapedFor returns c with its strings escaped if the method belongs to
// markup.
func (c *callArgs) escapedFor(receiver any) *callArgs {
	if _, ok := receiver.(markup); !ok {
		return c
	}
	out := &callArgs{r: c.r}
	for _, v := range c.pos {
		out.pos = append(out.pos, c.r.escapedArg(v))
	}
	if c.kw != nil {
		out.kw = &Dict{}
		for i, k := range c.kw.keys {
			out.kw.set(c.r, k, c.r.escapedArg(c.kw.values[i]))
		}
	}
	return out
}

// escapedArg escapes a string, and the strings of a list or dict.
func (r *render) escapedArg(v any) any {
	switch v := v.(type) {
	case string:
		return r.escape(v)
	case *List:
		r.growItems(len(v.items))
		out := &List{kind: v.kind}
		for _, x := range v.items {
			if s, ok := x.(string); ok {
				x = r.escape(s)
			}
			out.items = append(out.items, x)
		}
		return out
	case *Dict:
		r.growItems(v.Len())
		out := &Dict{}
		for i, k := range v.keys {
			x := v.values[i]
			if s, ok := x.(string); ok {
				x = r.escape(s)
			}
			out.set(r, k, x)
		}
		return out
	}
	return v
}

func (r *render) strings(a []string) *List {
	r.growItems(len(a))
	l := &List{items: make([]any, len(a))}
	for i, s := range a {
		l.items[i] = s
	}
	return l
}

// strip removes white space, or the characters of the argument.
func strip(s string, c *callArgs, left, right bool) string {
	cut := isSpace
	if v := c.arg(0, "chars", nil); v != nil {
		set := c.str(0, "chars")
		cut = func(x rune) bool { return strings.ContainsRune(set, x) }
	}
	if left {
		s = strings.TrimLeftFunc(s, cut)
	}
	if right {
		s = strings.TrimRightFunc(s, cut)
	}
	return s
}

func upper(s string) string { return strings.ReplaceAll(strings.ToUpper(s), "ß", "SS") }

func swapCase(c rune) rune {
	if unicode.IsUpper(c) {
		return unicode.ToLower(c)
	}
	return unicode.ToUpper(c)
}

func capitalize(s string) string {
	c, w := utf8.DecodeRuneInString(s)
	if w == 0 {
		return s
	}
	return string(unicode.ToTitle(c)) + strings.ToLower(s[w:])
}

// title raises the first letter of every run of letters.
func title(s string) string {
	inWord := false
	return strings.Map(func(c rune) rune {
		was := inWord
		inWord = unicode.IsLetter(c)
		if inWord && was {
			return unicode.ToLower(c)
		}
		if inWord {
			return unicode.ToTitle(c)
		}
		return c
	}, s)
}

// replace replaces the first count occurrences, all by default.
func replace(s string, c *callArgs) string {
	from, to := c.str(0, "old"), c.str(1, "new")
	n := int(max(min(c.int(2, "count", -1), maxStringBytes), -1))
	return c.r.replaced(s, from, to, n)
}

func (r *render) replaced(s, from, to string, n int) string {
	hits := strings.Count(s, from)
	if n >= 0 {
		hits = min(hits, n)
	}
	if hits > 0 && len(to) > maxStringBytes/hits {
		r.limit("bytes in a string", maxStringBytes)
	}
	r.grow(len(s) + hits*len(to))
	return strings.Replace(s, from, to, n)
}

func affix(s string, c *callArgs, has func(s, affix string) bool) bool {
	v := c.need(0, "prefix")
	s, _ = within(s, c)
	if l, ok := v.(*List); ok && l.kind == kindTuple {
		for _, x := range l.items {
			if p, ok := text(x); ok && has(s, p) {
				return true
			}
		}
		return false
	}
	return has(s, c.str(0, "prefix"))
}

// expandTabs fills tabs with spaces up to columns that are multiples of tabsize.
func expandTabs(s string, c *callArgs) string {
	size := c.int(0, "tabsize", 8)
	c.r.grow(len(s))
	var b strings.Builder
	column := int64(0)
	for _, r := range s {
		switch {
		case r == '\t' && size > 0:
			n := size - column%size
			if c.r.step(1); int64(b.Len())+n > maxStringBytes {
				c.r.limit("bytes in a string", maxStringBytes)
			}
			b.WriteString(strings.Repeat(" ", int(n)))
			column += n
			continue
		case r == '\t':
			continue
		case r == '\n', r == '\r':
			column = -1
		}
		b.WriteRune(r)
		column++
	}
	return b.String()
}

// within cuts s to the optional bounds in arguments 1 and 2, and returns how
// many characters it cut from the front.
func within(s string, c *callArgs) (string, int) {
	if len(c.pos) < 2 {
		return s, 0
	}
	runes := []rune(s)
	n := int64(len(runes))
	bound := func(i int, def int64) int64 {
		if c.arg(i, "", nil) == nil {
			return def
		}
		v := c.int(i, "", def)
		if v < 0 {
			v = max(v+n, 0)
		}
		return min(v, n)
	}
	lo, hi := bound(1, 0), bound(2, n)
	if lo > hi {
		return "", int(lo)
	}
	return string(runes[lo:hi]), int(lo)
}

func find(s string, c *callArgs, index func(s, sub string) int) int64 {
	sub := c.str(0, "sub")
	s, skipped := within(s, c)
	i := index(s, sub)
	if i < 0 {
		return -1
	}
	return int64(skipped + utf8.RuneCountInString(s[:i]))
}

func found(c *callArgs, i int64) int64 {
	if i < 0 {
		c.r.fail("substring not found")
	}
	return i
}

func countIn(s string, c *callArgs) any {
	sub := c.str(0, "sub")
	s, _ = within(s, c)
	return int64(strings.Count(s, sub))
}

// split cuts s at a separator, or at white space, at most maxsplit times.
func split(s string, c *callArgs, fromRight bool) []string {
	n := int(max(min(c.int(1, "maxsplit", -1), maxItems), -1))
	if c.arg(0, "sep", nil) == nil {
		return splitSpace(s, n, fromRight)
	}
	sep := c.str(0, "sep")
	if sep == "" {
		c.r.fail("empty separator")
	}
	c.r.growItems(strings.Count(s, sep))
	if n < 0 {
		return strings.Split(s, sep)
	}
	if !fromRight {
		return strings.SplitN(s, sep, n+1)
	}
	var back []string
	for ; n > 0; n-- {
		i := strings.LastIndex(s, sep)
		if i < 0 {
			break
		}
		back = append(back, s[i+len(sep):])
		s = s[:i]
	}
	return reversed(append(back, s))
}

func reversed(a []string) []string {
	for i, j := 0, len(a)-1; i < j; i, j = i+1, j-1 {
		a[i], a[j] = a[j], a[i]
	}
	return a
}

func splitSpace(s string, n int, fromRight bool) []string {
	if n < 0 {
		return strings.FieldsFunc(s, isSpace)
	}
	var out []string
	if fromRight {
		for s = strings.TrimRightFunc(s, isSpace); s != "" && n > 0; n-- {
			i := strings.LastIndexFunc(s, isSpace)
			_, w := utf8.DecodeRuneInString(s[max(i, 0):])
			if i < 0 {
				w = 0
			}
			out = append(out, s[max(i, 0)+w:])
			s = strings.TrimRightFunc(s[:max(i, 0)], isSpace)
		}
		if s != "" {
			out = append(out, s)
		}
		return reversed(out)
	}
	for s = strings.TrimLeftFunc(s, isSpace); s != "" && n > 0; n-- {
		i := strings.IndexFunc(s, isSpace)
		if i < 0 {
			i = len(s)
		}
		out = append(out, s[:i])
		s = strings.TrimLeftFunc(s[i:], isSpace)
	}
	if s != "" {
		out = append(out, s)
	}
	return out
}

func splitLines(s string, c *callArgs) []string {
	keep := truth(c.arg(0, "keepends", false))
	var out []string
	for s != "" {
		i := strings.IndexAny(s, "\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029")
		if i < 0 {
			return append(out, s)
		}
		_, w := utf8.DecodeRuneInString(s[i:])
		if strings.HasPrefix(s[i:], "\r\n") {
			w = 2
		}
		if keep {
			out = append(out, s[:i+w])
		} else {
			out = append(out, s[:i])
		}
		s = s[i+w:]
	}
	return out
}

func partition(s string, c *callArgs, fromRight bool) any {
	sep := c.str(0, "sep")
	if sep == "" {
		c.r.fail("empty separator")
	}
	if fromRight {
		if i := strings.LastIndex(s, sep); i >= 0 {
			return tuple(s[:i], sep, s[i+len(sep):])
		}
		return tuple("", "", s)
	}
	if a, b, ok := strings.Cut(s, sep); ok {
		return tuple(a, sep, b)
	}
	return tuple(s, "", "")
}

func all(s string, is func(rune) bool) bool {
	return s != "" && strings.IndexFunc(s, func(c rune) bool { return !is(c) }) < 0
}

func isUpper(s string) bool { return s == strings.ToUpper(s) && s != strings.ToLower(s) }
func isLower(s string) bool { return s == strings.ToLower(s) && s != strings.ToUpper(s) }

// pad widens s with a fill character; where is 0 for text at the left, 1 for
// the middle, 2 for the right.
func pad(s string, c *callArgs, where int) string {
	fill := " "
	if c.has(1, "fillchar") {
		fill = c.str(1, "fillchar")
	}
	if utf8.RuneCountInString(fill) != 1 {
		c.r.fail("the fill character must be exactly one character long")
	}
	return c.r.padded(s, fill, c.int(0, "width", 0), where)
}

func (r *render) padded(s, fill string, width int64, where int) string {
	n := int(min(width, maxStringBytes+1)) - utf8.RuneCountInString(s)
	if n <= 0 {
		return s
	}
	r.grow(len(s) + n*len(fill))
	left := 0
	switch where {
	case 1:
		left = n / 2
		if n&1 == 1 && int(width)&1 == 1 {
			left++
		}
	case 2:
		left = n
	}
	return strings.Repeat(fill, left) + s + strings.Repeat(fill, n-left)
}

func zfill(s string, c *callArgs) string {
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	return sign + c.r.padded(s, "0", c.int(0, "width", 0)-int64(len(sign)), 2)
}
