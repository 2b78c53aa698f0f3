package sample

import (
	"fmt"
	"strings"
)

const (
	maxStops     = 64   // OpenAI allows 4
	maxStopBytes = 1024 // of one stop string
)

// Stops looks for stop strings in streamed text. It holds back text that may
// turn out to be the start of one. The zero Stops finds nothing.
type Stops struct {
	stops   []string
	held    string // a possible start of a stop string
	stopped bool
	which   string // that stopped
}

// NewStops returns a matcher for the given strings.
func NewStops(stops []string) (*Stops, error) {
	if len(stops) > maxStops {
		return nil, fmt.Errorf("stop: %d strings, want at most %d", len(stops), maxStops)
	}
	for _, s := range stops {
		if s == "" || len(s) > maxStopBytes {
			return nil, fmt.Errorf("stop: a string of %d bytes, want 1 to %d", len(s), maxStopBytes)
		}
	}
	return &Stops{stops: append([]string(nil), stops...)}, nil
}

// Push takes the next piece of text. It returns what may be shown now, and
// whether a stop string has been completed: then out ends just before the one
// that was completed first (the longest of those that end there), and all later
// text is dropped. How the text is cut into pieces does not matter.
func (s *Stops) Push(text string) (out string, stopped bool) {
	if s.stopped {
		return "", true
	}
	all := s.held + text
	at, end := -1, 0
	for _, stop := range s.stops {
		i := strings.Index(all, stop)
		if i < 0 {
			continue
		}
		if e := i + len(stop); at < 0 || e < end || e == end && i < at {
			at, end = i, e
		}
	}
	if at >= 0 {
		s.held, s.stopped, s.which = "", true, all[at:end]
		return all[:at], true
	}
	keep := 0
	for _, stop := range s.stops {
		for n := min(len(stop)-1, len(all)); n > keep; n-- {
			if strings.HasSuffix(all, stop[:n]) {
				keep = n
				break
			}
		}
	}
	s.held = all[len(all)-keep:]
	return all[:len(all)-keep], false
}

// Stopped returns the stop string that was completed, "" if none was.
func (s *Stops) Stopped() string { return s.which }

// Flush returns the text that is still held back, at the end of the stream.
func (s *Stops) Flush() string {
	out := s.held
	s.held = ""
	return out
}
