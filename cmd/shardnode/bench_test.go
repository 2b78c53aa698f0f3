package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// benchLines runs `bench story --json` and returns its lines.
func benchLines(t *testing.T, args ...string) []benchJSON {
	t.Helper()
	out := mustCommand(t, append([]string{"bench", "story", "--json"}, args...)...)
	var lines []benchJSON
	for line := range strings.Lines(out) {
		var b benchJSON
		if err := json.Unmarshal([]byte(line), &b); err != nil {
			t.Fatalf("bench printed %q: %v", line, err)
		}
		lines = append(lines, b)
	}
	return lines
}

func TestBenchPrintsALineForEveryTest(t *testing.T) {
	lines := benchLines(t, "-p", "40", "-n", "5", "-r", "3", "--threads", "1", "--sessions", "1,3", "--peers", "1,2")
	type key struct {
		test            string
		peers, sessions int
	}
	var got []key
	for _, l := range lines {
		got = append(got, key{l.Test, l.Peers, l.Sessions})
		if l.Model != "story" || l.Threads != 1 {
			t.Errorf("bench says %+v, want the model story and one thread", l)
		}
		if r := l.TokS; !(0 < r.Min && r.Min <= r.Median && r.Median <= r.Max) || !(0 < l.P50ms && l.P50ms <= l.P99ms) {
			t.Errorf("bench says %+v, want rates and times that are ordered", l)
		}
		if runtime.GOOS == "linux" && l.RSSBytes < 1<<20 {
			t.Errorf("bench says %d bytes of memory", l.RSSBytes)
		}
	}
	want := []key{{"pp40", 1, 1}, {"tg5", 1, 1}, {"tg5", 1, 3}, {"pp40", 2, 1}, {"tg5", 2, 1}, {"tg5", 2, 3}}
	if !slices.Equal(got, want) {
		t.Errorf("bench ran %v, want %v", got, want)
	}
}

func TestBenchAtADepth(t *testing.T) {
	lines := benchLines(t, "-p", "8", "-n", "3", "-r", "1", "-d", "100")
	if len(lines) != 2 || lines[0].Test != "pp8@100" || lines[1].Test != "tg3@100" {
		t.Errorf("bench says %+v, want pp8@100 and tg3@100", lines)
	}
}

func TestBenchPrintsATableForPeople(t *testing.T) {
	got := mustCommand(t, "bench", "story", "-p", "0", "-n", "3", "-r", "1", "--sessions", "1,2")
	lines := strings.Split(strings.TrimSpace(got), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "test ") || !strings.HasPrefix(lines[1], "tg3 ") || !strings.HasPrefix(lines[2], "tg3 ") {
		t.Errorf("bench prints\n%s\nwant a head and two lines", got)
	}
}

func TestBenchSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		args []string
		text string
	}{
		{[]string{"-p", "0", "-n", "0"}, "nothing to measure"},
		{[]string{"-p", "-1"}, "-p is -1"},
		{[]string{"-r", "0"}, "-r is 0"},
		{[]string{"--threads", "1,x"}, `"x"`},
		{[]string{"--sessions", "0"}, "--sessions"},
		{[]string{"--peers", "7"}, "6 layers"},
		{[]string{"-p", "2000"}, "context is 1024"},
		{[]string{"-p", "24", "-n", "0", "-d", "1001"}, "needs 1025 positions"},
		{[]string{"-d", "-1"}, "--depth is -1"},
		{[]string{"--link", "latency=fast"}, "fast"},
	} {
		wantFailure(t, exitUsage, append([]string{"bench", "story"}, c.args...), c.text)
	}
	wantFailure(t, exitFailed, []string{"bench", "story", "--memory", "1MiB"}, "hint: ")
}

func TestMedianAndQuantile(t *testing.T) {
	if got := median([]float64{1, 2, 9}); got != 2 {
		t.Errorf("median of 1 2 9 = %g, want 2", got)
	}
	if got := median([]float64{1, 2, 4, 9}); got != 3 {
		t.Errorf("median of 1 2 4 9 = %g, want 3", got)
	}
	waits := make([]time.Duration, 200)
	for i := range waits {
		waits[i] = time.Duration(i)
	}
	if got := quantile(waits, 0.99); got != 198 {
		t.Errorf("99 of 100 of 0 to 199 are below %d, want 198", got)
	}
	if got := quantile(waits[:1], 0.5); got != 0 {
		t.Errorf("quantile of one value = %d, want 0", got)
	}
}

func TestProcKiBReadsOneLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status")
	text := "Name:\tx\nVmHWMx:\t9 kB\nVmHWM:\t  1234 kB\nVmRSS:\tmany kB\nBare:\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{"VmHWM": 1234 << 10, "VmRSS": 0, "Bare": 0, "None": 0} {
		if got := procKiB(path, name); got != want {
			t.Errorf("%s = %d, want %d", name, got, want)
		}
	}
	if got := procKiB(path+"x", "VmHWM"); got != 0 {
		t.Errorf("a file that is not there says %d, want 0", got)
	}
}
