package chat

import (
	"fmt"
	"strings"
)

// strftimeLayouts are Python's directives in the C locale as layouts of
// package time.
var strftimeLayouts = map[byte]string{
	'Y': "2006", 'm': "01", 'd': "02", 'b': "Jan", 'h': "Jan", 'B': "January", 'A': "Monday", 'a': "Mon",
	'H': "15", 'M': "04", 'S': "05", 'y': "06", 'I': "03", 'p': "PM", 'Z': "", 'z': "", 'j': "002", 'e': "_2",
	'f': "000000", 'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06",
	'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'X': "15:04:05",
}

// strftime formats the time of the render as Python's datetime.strftime.
func (r *render) strftime(format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		r.grow(b.Len() / 1024)
		if format[i] != '%' || i+1 >= len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		bare := format[i] == '-' && i+1 < len(format) // glibc: no padding
		if bare {
			i++
		}
		s := r.directive(format[i])
		if bare {
			if s = strings.TrimLeft(s, "0 "); s == "" {
				s = "0"
			}
		}
		b.WriteString(s)
	}
	return b.String()
}

func (r *render) directive(c byte) string {
	switch c {
	case '%':
		return "%"
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 's':
		return fmt.Sprint(r.now.Unix())
	case 'f':
		return fmt.Sprintf("%06d", r.now.Nanosecond()/1000)
	case 'w':
		return fmt.Sprint(int(r.now.Weekday()))
	case 'u':
		return fmt.Sprint((int(r.now.Weekday())+6)%7 + 1)
	case 'U': // weeks begin on Sunday
		return fmt.Sprintf("%02d", (r.now.YearDay()+6-int(r.now.Weekday()))/7)
	case 'W': // on Monday
		return fmt.Sprintf("%02d", (r.now.YearDay()+6-(int(r.now.Weekday())+6)%7)/7)
	case 'G', 'V':
		y, w := r.now.ISOWeek()
		if c == 'G' {
			return fmt.Sprint(y)
		}
		return fmt.Sprintf("%02d", w)
	}
	if layout, ok := strftimeLayouts[c]; ok {
		return r.now.Format(layout)
	}
	return "%" + string(rune(c))
}
