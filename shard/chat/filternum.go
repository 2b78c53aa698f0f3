package chat

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// toInt reads an integer, in another base if asked, or gives the default.
func toInt(v any, c *callArgs) any {
	def := c.arg(0, "default", int64(0))
	base := c.int(1, "base", 10)
	if n, ok := integer(v); ok {
		return n
	}
	if f, ok := v.(float64); ok {
		if !whole(math.Trunc(f)) {
			return def
		}
		return int64(f)
	}
	s, ok := text(v)
	if !ok {
		c.r.checkDefined(v)
		return def
	}
	s = strings.TrimFunc(s, isSpace)
	if base < 0 || base == 1 || base > 36 {
		c.r.fail("int() base must be >= 2 and <= 36, or 0")
	}
	if n, err := strconv.ParseInt(basePrefix(s, base), int(base), 64); err == nil {
		return n
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && whole(math.Trunc(f)) && !strings.ContainsAny(s, "xX") {
		return int64(f)
	}
	return def
}

// basePrefix removes the prefix that Python allows for the base it names, and
// underscores between digits.
func basePrefix(s string, base int64) string {
	sign, digits := "", s
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, digits = s[:1], s[1:]
	}
	name := map[int64]string{16: "0x", 8: "0o", 2: "0b"}[base]
	if name != "" && len(digits) > 2 && strings.EqualFold(digits[:2], name) {
		digits = digits[2:]
	}
	if base != 0 && digits != "" && digits[0] != '_' && digits[len(digits)-1] != '_' && !strings.Contains(digits, "__") {
		digits = strings.ReplaceAll(digits, "_", "")
	}
	return sign + digits
}

func toFloat(v any, c *callArgs) any {
	if f, ok := number(v); ok {
		return f
	}
	if s, ok := text(v); ok {
		if f, err := strconv.ParseFloat(strings.TrimFunc(s, isSpace), 64); err == nil && !strings.ContainsAny(s, "xX") {
			return f
		}
	}
	c.r.checkDefined(v)
	return c.arg(0, "default", 0.0)
}

func abs(v any, c *callArgs) any {
	if n, ok := integer(v); ok {
		if n < 0 {
			return c.r.integers("-", 0, n)
		}
		return n
	}
	f, ok := v.(float64)
	if !ok {
		c.r.checkDefined(v)
		c.r.fail("bad operand type for abs(): '%s'", typeName(v))
	}
	return math.Abs(f)
}

// round rounds to a number of digits, half to even unless told "ceil" or
// "floor".
func round(v any, c *callArgs) any {
	f, ok := number(v)
	if !ok {
		c.r.checkDefined(v)
		c.r.fail("type %s doesn't define __round__ method", typeName(v))
	}
	digits := min(max(c.int(0, "precision", 0), -300), 300)
	scale := math.Pow(10, float64(digits))
	switch how := c.arg(1, "method", "common"); how {
	case "ceil":
		return math.Ceil(f*scale) / scale
	case "floor":
		return math.Floor(f*scale) / scale
	case "common":
	default:
		c.r.fail("method must be common, ceil or floor")
	}
	n, whole := integer(v)
	if whole && digits >= 0 {
		return n
	}
	if digits < 0 {
		f = math.RoundToEven(f*scale) * math.Pow(10, float64(-digits))
		if whole {
			return int64(f)
		}
		return f
	}
	exact, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(digits), 64), 64)
	if err != nil {
		return f
	}
	return exact
}

func defaultFilter(v any, c *callArgs) any {
	if isUndefined(v) || truth(c.arg(1, "boolean", false)) && !truth(v) {
		return c.arg(0, "default_value", "")
	}
	return v
}

// attrFilter looks up an attribute, never an element.
func attrFilter(v any, c *callArgs) any {
	name := c.r.str(c.need(0, "name"))
	c.r.checkDefined(v)
	if x, ok := attribute(v, name); ok {
		return x
	}
	return missing(c.r, v, name)
}

// fileSize writes a number of bytes for people.
func fileSize(v any, c *callArgs) any {
	f, ok := toFloat(v, c).(float64)
	if !ok {
		c.r.fail("a size must be a number, not %s", typeName(v))
	}
	base, suffix := 1000.0, "B"
	if truth(c.arg(0, "binary", false)) {
		base, suffix = 1024, "iB"
	}
	if f == 1 {
		return "1 Byte"
	}
	if f < base {
		return fmt.Sprintf("%.0f Bytes", math.Trunc(f))
	}
	units := "kMGTPEZY"
	if base == 1024 {
		units = "KMGTPEZY"
	}
	i := 0
	for f /= base; f >= base && i < len(units)-1; i++ {
		f /= base
	}
	return fmt.Sprintf("%.1f %c%s", f, units[i], suffix)
}
