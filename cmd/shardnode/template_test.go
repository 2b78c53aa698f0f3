package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// writeFiles writes files into a new folder and returns it.
func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const hiMessages = `[{"role":"user","content":"Hi"}]`

func TestTemplatePrintsThePromptExactly(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"m.json":  hiMessages,
		"t.json":  `[{"type":"function"}]`,
		"c.jinja": "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}{{ eos_token }}{{ tools|length if tools else '-' }}{{ add_generation_prompt }}{{ x }}",
		"d.jinja": "{{ strftime_now('%Y-%m-%d %H') }}",
	})
	file := func(name string) string { return filepath.Join(dir, name) }
	for want, args := range map[string][]string{
		"<s>Hi</s>-True":  {file("c.jinja"), "--messages", file("m.json")},
		"<s>Hi</s>1True":  {file("c.jinja"), "--messages", file("m.json"), "--tools", file("t.json")},
		"<s>Hi</s>-False": {file("c.jinja"), "--messages", file("m.json"), "--no-generation-prompt"},
		"BHi</s>-Truex":   {file("c.jinja"), "--messages", file("m.json"), "--vars", `{"bos_token":"B","x":"x"}`},
		"2026-03-05 07":   {file("d.jinja"), "--messages", file("m.json"), "--now", "2026-03-05T07:08:09"},
	} {
		if got := mustCommand(t, append([]string{"template"}, args...)...); got != want {
			t.Errorf("template %s prints %q, want %q", strings.Join(args, " "), got, want)
		}
	}
	stdout, stderr, code := command(t, `{"messages":`+hiMessages+`}`, "template", "story", "--messages", "-")
	if code != exitDone || !strings.Contains(stdout, "Hi") || strings.HasSuffix(stdout, "Hi") {
		t.Errorf("story: exit status %d, %q, %s", code, stdout, stderr)
	}
}

func TestTemplateOfAFolder(t *testing.T) {
	messages := writeFiles(t, map[string]string{"m.json": hiMessages, "t.json": `[{"type":"function"}]`})
	args := []string{"--messages", filepath.Join(messages, "m.json")}
	tools := append([]string{"--tools", filepath.Join(messages, "t.json")}, args...)
	for name, c := range map[string]struct {
		files       map[string]string
		plain, tool string
	}{
		"file": {map[string]string{
			"chat_template.jinja":   "F{{ bos_token }}{{ eos_token }}",
			"tokenizer_config.json": `{"bos_token":"B","eos_token":{"content":"E"},"chat_template":"C"}`,
		}, "FBE", "FBE"},
		"config": {map[string]string{"tokenizer_config.json": `{"chat_template":"C{{ bos_token }}","bos_token":null}`}, "C", "C"},
		"named": {map[string]string{
			"tokenizer_config.json": `{"chat_template":[{"name":"tool_use","template":"T"},{"name":"default","template":"D"}]}`,
		}, "D", "T"},
	} {
		dir := writeFiles(t, c.files)
		if got := mustCommand(t, append([]string{"template", dir}, args...)...); got != c.plain {
			t.Errorf("%s: %q, want %q", name, got, c.plain)
		}
		if got := mustCommand(t, append([]string{"template", dir}, tools...)...); got != c.tool {
			t.Errorf("%s with tools: %q, want %q", name, got, c.tool)
		}
	}
	wantFailure(t, exitFailed, append([]string{"template", t.TempDir()}, args...), "chat_template.jinja")
}

func TestTemplateThatRaisesFailsWithItsMessage(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"m.json": hiMessages, "bad.json": "{", "r.jinja": "partial{{ raise_exception('Roles must alternate!') }}", "b.jinja": "{% if %}",
	})
	m := filepath.Join(dir, "m.json")
	wantFailure(t, exitFailed, []string{"template", filepath.Join(dir, "r.jinja"), "--messages", m}, "Roles must alternate!")
	wantFailure(t, exitFailed, []string{"template", filepath.Join(dir, "b.jinja"), "--messages", m}, "line 1")
	wantFailure(t, exitFailed, []string{"template", "story", "--messages", filepath.Join(dir, "bad.json")}, "bad.json")
	wantFailure(t, exitUsage, []string{"template", "story"}, "--messages")
	wantFailure(t, exitUsage, []string{"template", "story", "--messages", m, "--vars", "["}, "--vars")
	wantFailure(t, exitUsage, []string{"template", "story", "--messages", m, "--now", "yesterday"}, "--now")
}

func TestTemplateReproducesEveryReference(t *testing.T) {
	read := func(name string, into any) {
		b, err := os.ReadFile(sharedFile(t, "data/templates/"+name))
		if err == nil {
			err = json.Unmarshal(b, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var scenarios map[string]map[string]json.RawMessage
	var refs map[string]map[string]struct {
		Out *string `json:"out"`
	}
	read("scenarios.json", &scenarios)
	read("reference.json", &refs)
	for name, byScenario := range refs {
		for scenario, want := range byScenario {
			vars, files := map[string]json.RawMessage{}, map[string]string{}
			args := []string{"template", sharedFile(t, "data/templates/"+name), "--now", "2026-03-05"}
			for key, v := range scenarios[scenario] {
				switch key {
				case "messages", "tools":
					files[key] = string(v)
				case "bos_token", "eos_token": // the defaults are these
				default:
					vars[key] = v
				}
			}
			dir := writeFiles(t, files)
			for key := range files {
				args = append(args, "--"+key, filepath.Join(dir, key))
			}
			b, err := json.Marshal(vars)
			if err != nil {
				t.Fatal(err)
			}
			stdout, stderr, code := command(t, "", append(args, "--vars", string(b))...)
			switch {
			case want.Out == nil && code != exitFailed:
				t.Errorf("%s, %s: exit status %d, want %d", name, scenario, code, exitFailed)
			case want.Out != nil && (code != exitDone || stdout != *want.Out):
				t.Errorf("%s, %s: exit status %d, %q\n%s", name, scenario, code, stdout, stderr)
			}
		}
	}
}
