package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// isTerminal reports whether v is a file that a person sits at.
func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// A sizeFlag is a number of bytes: 1073741824, 512MiB, 4GiB, 2GB.
type sizeFlag int64

// String returns the number of bytes.
func (s *sizeFlag) String() string {
	if *s == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Type names the flag's kind in help.
func (s *sizeFlag) Type() string { return "bytes" }

// Set reads a size.
func (s *sizeFlag) Set(text string) error {
	units := []struct {
		suffix string
		bytes  float64
	}{
		{"kib", 1 << 10},
		{"mib", 1 << 20},
		{"gib", 1 << 30},
		{"tib", 1 << 40},
		{"kb", 1e3},
		{"mb", 1e6},
		{"gb", 1e9},
		{"tb", 1e12},
		{"k", 1 << 10},
		{"m", 1 << 20},
		{"g", 1 << 30},
		{"t", 1 << 40},
		{"b", 1},
		{"", 1},
	}
	lower := strings.ToLower(strings.TrimSpace(text))
	for _, u := range units {
		number, ok := strings.CutSuffix(lower, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n*u.bytes >= 1 && n*u.bytes < 1<<62) {
			break
		}
		*s = sizeFlag(n * u.bytes)
		return nil
	}
	return fmt.Errorf("%q is no size: want more than 0, for example 1073741824, 512MiB or 4GiB", text)
}
