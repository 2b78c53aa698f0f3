package chat

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestCasesRenderAsJinja2DoesIt compares with testdata/cases.json, which
// testdata/render.py made with jinja2.
func TestCasesRenderAsJinja2DoesIt(t *testing.T) {
	b, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Src string
		Out *string
		Err string
	}
	if err := json.Unmarshal(b, &cases); err != nil {
		t.Fatal(err)
	}
	v := Vars{Now: time.Date(2026, 3, 5, 7, 8, 9, 120_000, time.UTC), Extra: caseVars(t)}
	for _, c := range cases {
		got, err := render1(c.Src, v)
		switch {
		case c.Out == nil && err == nil:
			t.Errorf("%s\n got %q\nwant %s", c.Src, got, c.Err)
		case c.Out != nil && err != nil:
			t.Errorf("%s\n got %v\nwant %q", c.Src, err, *c.Out)
		case c.Out != nil && got != *c.Out:
			t.Errorf("%s\n got %q\nwant %q", c.Src, got, *c.Out)
		case c.Out == nil && strings.HasPrefix(c.Err, "UndefinedError"):
			if e, ok := errors.AsType[*Error](err); !ok || "UndefinedError: "+e.Msg != c.Err {
				t.Errorf("%s\n got %v\nwant %s", c.Src, err, c.Err)
			}
		}
	}
}

// caseSources returns the templates of testdata/cases.txt.
func caseSources(t testing.TB) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/cases.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "##") {
			out = append(out, strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "⏎", "\n"))
		}
	}
	return out
}

func caseVars(t testing.TB) *Dict {
	t.Helper()
	b, err := os.ReadFile("testdata/vars.json")
	if err != nil {
		t.Fatal(err)
	}
	d, err := DictFromJSON(b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func render1(src string, v Vars) (string, error) {
	tmpl, err := Parse(src)
	if err != nil {
		return "", err
	}
	return tmpl.render(v, testSteps)
}
