package chat

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// soft turns v into a string; markup stays markup.
func soft(v any, c *callArgs) any {
	if m, ok := v.(markup); ok {
		return m
	}
	return c.r.str(v)
}

func safe(v any, c *callArgs) any { return markup(c.r.str(v)) }

func escape(v any, c *callArgs) any { return c.r.escape(v) }

func forceEscape(v any, c *callArgs) any { return c.r.escape(c.r.str(v)) }

func textFilter(f func(string) string) filter {
	return func(v any, c *callArgs) any {
		s := c.r.str(v)
		c.r.grow(len(s))
		return like(v, f(s))
	}
}

// lower is Python's str.lower, which lowers İ to two characters.
func lower(s string) string { return strings.ToLower(strings.ReplaceAll(s, "İ", "i\u0307")) }

func trimFilter(v any, c *callArgs) any {
	s := c.r.str(v)
	c.r.grow(len(s))
	return like(v, strip(s, c, true, true))
}

// titleFilter raises the first letter of every word, where str.title takes a
// word to be a run of letters.
func titleFilter(v any, c *callArgs) any {
	s := c.r.str(v)
	c.r.grow(len(s))
	start := true
	return strings.Map(func(x rune) rune {
		was := start
		start = x == '-' || isSpace(x) || strings.ContainsRune("({[<", x)
		if was {
			return unicode.ToTitle(x)
		}
		return unicode.ToLower(x)
	}, s)
}

func replaceFilter(v any, c *callArgs) any {
	n := -1
	if c.arg(2, "count", nil) != nil {
		n = int(max(min(c.int(2, "count", -1), maxStringBytes), -1))
	}
	return c.r.replaced(c.r.str(v), c.r.str(c.need(0, "old")), c.r.str(c.need(1, "new")), n)
}

// indent puts width spaces (or a text) before every line but the first.
func indent(v any, c *callArgs) any {
	s := c.r.str(v)
	by, ok := text(c.arg(0, "width", int64(4)))
	if !ok {
		n := c.int(0, "width", 4)
		c.r.grow(int(min(max(n, 0), maxStringBytes+1)))
		by = strings.Repeat(" ", int(max(n, 0)))
	}
	first := truth(c.arg(1, "first", false))
	blank := truth(c.arg(2, "blank", false))
	if n := strings.Count(s, "\n") + 1; len(by) > maxStringBytes/n {
		c.r.limit("bytes in a string", maxStringBytes)
	} else {
		c.r.grow(len(s) + n*len(by))
	}
	if blank {
		s = strings.ReplaceAll(s, "\n", "\n"+by)
	} else {
		lines := splitLines(s+"\n", &callArgs{r: c.r})
		for i, l := range lines {
			if i > 0 && l != "" {
				lines[i] = by + l
			}
		}
		s = strings.Join(lines, "\n")
	}
	if first {
		s = by + s
	}
	return like(v, s)
}

// truncate shortens a text to length characters, at a word if it can.
func truncate(v any, c *callArgs) any {
	s := c.r.str(v)
	c.r.grow(len(s))
	end := "..."
	if c.has(2, "end") {
		end = c.str(2, "end")
	}
	n, leeway := c.int(0, "length", 255), int64(5)
	if c.arg(3, "leeway", nil) != nil {
		leeway = c.int(3, "leeway", 5)
	}
	tail := int64(utf8.RuneCountInString(end))
	if n < tail {
		c.r.fail("expected length >= %d, got %d", tail, n)
	}
	if leeway < 0 {
		c.r.fail("expected leeway >= 0, got %d", leeway)
	}
	runes := []rune(s)
	if int64(len(runes)) <= n || int64(len(runes))-n <= leeway {
		return like(v, s)
	}
	cut := string(runes[:n-tail])
	if !truth(c.arg(1, "killwords", false)) {
		if i := strings.LastIndexByte(cut, ' '); i >= 0 {
			cut = cut[:i]
		}
	}
	return like(v, cut+end)
}

func wordCount(v any, c *callArgs) any {
	s := c.r.str(v)
	c.r.grow(len(s))
	words := strings.FieldsFunc(s, func(x rune) bool {
		return x != '_' && !unicode.IsLetter(x) && !unicode.IsNumber(x)
	})
	return int64(len(words))
}

// wordWrap breaks lines at words so that none is longer than width.
func wordWrap(v any, c *callArgs) any {
	width := int(min(max(c.int(0, "width", 79), 1), maxStringBytes))
	glue := "\n"
	if c.arg(2, "wrapstring", nil) != nil {
		glue = c.str(2, "wrapstring")
	}
	breaks := truth(c.arg(1, "break_long_words", true))
	var out []string
	for _, line := range splitLines(c.r.str(v), &callArgs{r: c.r}) {
		out = append(out, c.r.wrapLine(line, width, breaks)...)
	}
	return c.r.joined(c.r.strings(out), glue, true)
}

func (r *render) wrapLine(line string, width int, breaks bool) []string {
	var out []string
	cur := []rune{}
	for _, word := range strings.Fields(line) {
		w := []rune(word)
		r.step(1 + len(w)/bytesPerStep)
		if len(cur) > 0 && len(cur)+1+len(w) <= width {
			cur = append(append(cur, ' '), w...)
			continue
		}
		if len(cur) > 0 {
			out = append(out, string(cur))
		}
		for breaks && len(w) > width {
			out = append(out, string(w[:width]))
			w = w[width:]
		}
		cur = append([]rune{}, w...)
	}
	return append(out, string(cur))
}

func center(v any, c *callArgs) any {
	return like(v, c.r.padded(c.r.str(v), " ", c.int(0, "width", 80), 1))
}

func formatFilter(v any, c *callArgs) any {
	var args any = tuple(c.pos...)
	if c.kw != nil {
		args = c.kw
	}
	return c.r.percentOf(v, c.r.str(v), args)
}

// tagPattern is what striptags removes: comments and tags.
var tagPattern = regexp.MustCompile(`(?s)<!--.*?-->|<[^>]*>`)

func stripTags(v any, c *callArgs) any {
	s := c.r.str(v)
	c.r.grow(2 * len(s))
	s = strings.Join(strings.Fields(tagPattern.ReplaceAllString(s, "")), " ")
	return strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#34;", `"`, "&quot;", `"`, "&#39;", "'", "&amp;", "&").Replace(s)
}

// urlEncode quotes a text for a URL, or a dict as a query.
func urlEncode(v any, c *callArgs) any {
	if d, ok := v.(*Dict); ok {
		var out []string
		for i, k := range d.keys {
			out = append(out, url.QueryEscape(c.r.str(k))+"="+url.QueryEscape(c.r.str(d.values[i])))
		}
		return c.r.joined(c.r.strings(out), "&", true)
	}
	s := c.r.str(v)
	c.r.grow(3 * len(s))
	return strings.NewReplacer("+", "%20", "%2F", "/", "%7E", "~").Replace(url.QueryEscape(s))
}
