package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnswersAreOfTheFormOfTheCommandLine(t *testing.T) {
	const schema = `{"type":"object","properties":{"mood":{"enum":["happy","sad"]},"age":{"type":"integer","minimum":1,"maximum":9}},"required":["mood","age"]}`
	file := filepath.Join(t.TempDir(), "pet.json")
	if err := os.WriteFile(file, []byte(schema), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := []string{"run", "story", "Tell me about a fox.", "--seed", "3", "--threads", "1"}
	var texts []string
	for _, form := range [][]string{{"--json-schema", schema}, {"--json-schema", "@" + file}, {"--json-schema", schema, "--peers", "2"}} {
		text := mustCommand(t, append(ask[:len(ask):len(ask)], form...)...)
		var pet struct {
			Mood string
			Age  int
		}
		if err := json.Unmarshal([]byte(text), &pet); err != nil || pet.Mood == "" || pet.Age < 1 {
			t.Errorf("%v: %v in %q", form, err, text)
		}
		texts = append(texts, text)
	}
	if texts[0] != texts[1] || texts[0] != texts[2] {
		t.Errorf("texts %q, want three equal ones", texts)
	}
	if text := mustCommand(t, append(ask, "--grammar", `root ::= "yes" | "no"`)...); text != "yes\n" && text != "no\n" {
		t.Errorf("a grammar gave %q", text)
	}
	for want, form := range map[string][]string{
		"not is not supported": {"--json-schema", `{"not":{}}`},
		"no rule root":         {"--grammar", `x ::= "a"`},
		"exclude each other":   {"--grammar", `root ::= "a"`, "--json-schema", "{}"},
		"no such file":         {"--grammar", "@/does/not/exist"},
	} {
		if _, stderr, code := command(t, "", append(ask[:len(ask):len(ask)], form...)...); code == exitDone || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit status %d, %s, want %q", form, code, stderr, want)
		}
	}
}
