package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// A scheduleFlag says at which times of the day something may be done, in the
// machine's own time zone. Empty means always.
type scheduleFlag struct {
	text  string
	spans []daySpan
}

// A daySpan is a time from one minute of the day up to, not including, another,
// over midnight if the first is later.
type daySpan struct{ from, to time.Duration }

func (d daySpan) has(at time.Duration) bool {
	if d.from < d.to {
		return d.from <= at && at < d.to
	}
	return at >= d.from || at < d.to
}

// String returns the flag's value.
func (s *scheduleFlag) String() string { return s.text }

// Type names the flag's kind in help.
func (s *scheduleFlag) Type() string { return "times" }

// Set reads "22:00-07:00", or several of them with commas.
func (s *scheduleFlag) Set(text string) error {
	var spans []daySpan
	for part := range strings.SplitSeq(text, ",") {
		from, to, ok := strings.Cut(strings.TrimSpace(part), "-")
		a, err1 := timeOfDay(from)
		b, err2 := timeOfDay(to)
		if !ok || err1 != nil || err2 != nil || a == b {
			return fmt.Errorf("%q: want times of the day such as 22:00-07:00", text)
		}
		spans = append(spans, daySpan{a, b})
	}
	s.text, s.spans = text, spans
	return nil
}

func timeOfDay(text string) (time.Duration, error) {
	if text == "24:00" {
		return 0, nil
	}
	t, err := time.Parse("15:04", strings.TrimSpace(text))
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, err
}

func (s *scheduleFlag) empty() bool { return len(s.spans) == 0 }

// has reports whether now is in one of the times.
func (s *scheduleFlag) has(now time.Time) bool {
	at := time.Duration(now.Hour())*time.Hour + time.Duration(now.Minute())*time.Minute
	return s.empty() || slices.ContainsFunc(s.spans, func(d daySpan) bool { return d.has(at) })
}
