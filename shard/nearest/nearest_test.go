package nearest

import (
	"strings"
	"testing"
)

func TestOfNamesTheMostAlike(t *testing.T) {
	known := []string{"qwen2", "llama", "gemma3", "gemma2"}
	for name, want := range map[string]string{"lama": "llama", "qwen3": "qwen2", "gemma": "gemma2", "": "llama"} {
		if got := Of(name, known); got != want {
			t.Errorf("Of(%q) = %q, want %q", name, got, want)
		}
	}
	if got := Of("x", nil); got != "" {
		t.Errorf("Of with no names = %q, want none", got)
	}
}

func TestDistanceCountsEdits(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"flaw", "lawn", 2}, {strings.Repeat("a", 1<<20), "a", maxLetters - 1}} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%.10q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
