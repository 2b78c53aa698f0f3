package main

import (
	"regexp"
	"strings"
	"testing"
)

// TestHintsOnMemoryAreTrue follows what the hints say to do.
func TestHintsOnMemoryAreTrue(t *testing.T) {
	run := []string{"run", "story", "Once", "--raw", "--max-tokens", "2", "--threads", "1"}
	number := regexp.MustCompile(`raise --memory to ([0-9.]+) MiB|--peers ([0-9]+) does`)
	for _, c := range [][]string{
		{"--memory", "1MiB"},
		{"--memory", "4MiB"},
		{"--memory", "3MiB", "--peers", "2"},
		{"--memory", "3MiB", "--split", "3,3"},
	} {
		_, stderr, code := command(t, "", append(run, c...)...)
		if code != exitFailed || !strings.Contains(stderr, "shardnode: hint: ") {
			t.Fatalf("%v: exit status %d, %q, want a failure with a hint", c, code, stderr)
		}
		for _, m := range number.FindAllStringSubmatch(stderr, -1) {
			again := append([]string{}, c...)
			if m[1] != "" {
				again[1] = m[1] + "MiB"
			} else {
				again = []string{"--memory", c[1], "--peers", m[2]}
			}
			mustCommand(t, append(run, again...)...)
		}
	}
	wantFailure(t, exitFailed, append(run, "--memory", "1MiB"), "no number of members with 1.0 MiB each does", "alone takes")
	wantFailure(t, exitUsage, append(run, "--memory", "0"), "want more than 0")
}
