package chat

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sharedTemplates is the folder of real templates with their renders by
// python-jinja2.
const sharedTemplates = "../../../shared/data/templates"

// reference is one render: its text, or the error of jinja2.
type reference struct {
	Out *string `json:"out"`
	Err string  `json:"err"`
}

func loadReference(t testing.TB) (refs map[string]map[string]reference, scenarios map[string]json.RawMessage) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(sharedTemplates, "reference.json"))
	if err != nil {
		t.Skipf("the templates of shared are not here: %v", err)
	}
	if err := json.Unmarshal(b, &refs); err != nil {
		t.Fatal(err)
	}
	b, err = os.ReadFile(filepath.Join(sharedTemplates, "scenarios.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &scenarios); err != nil {
		t.Fatal(err)
	}
	return refs, scenarios
}

// scenarioVars reads a scenario as the command template would: messages and
// tools by themselves, the rest as extra variables.
func scenarioVars(t testing.TB, raw []byte) Vars {
	t.Helper()
	d, err := DictFromJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	v := Vars{Now: referenceNow, Extra: &Dict{}}
	for i, k := range d.Keys() {
		x := d.values[i]
		switch k {
		case "messages":
			v.Messages = x.(*List)
		case "tools":
			v.Tools = x.(*List)
		case "bos_token":
			v.BOS = x.(string)
		case "eos_token":
			v.EOS = x.(string)
		case "add_generation_prompt":
			v.AddGenerationPrompt = x.(bool)
		default:
			v.Extra.Set(k, x)
		}
	}
	return v
}

var referenceNow = time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC)

func TestRealTemplatesRenderAsJinja2DoesIt(t *testing.T) {
	refs, scenarios := loadReference(t)
	for name, byScenario := range refs {
		t.Run(name, func(t *testing.T) {
			src, err := os.ReadFile(filepath.Join(sharedTemplates, name))
			if err != nil {
				t.Fatal(err)
			}
			tmpl, err := Parse(string(src))
			if err != nil {
				t.Fatalf("Parse(%s) = %v", name, err)
			}
			for scenario, want := range byScenario {
				got, err := tmpl.Render(scenarioVars(t, scenarios[scenario]))
				switch {
				case want.Out == nil && err == nil:
					t.Errorf("%s: no error, want %s", scenario, want.Err)
				case want.Out == nil:
					checkMessage(t, scenario, err, want.Err)
				case err != nil:
					t.Errorf("%s: %v, want a text", scenario, err)
				case got != *want.Out:
					t.Errorf("%s: %s", scenario, firstDifference(got, *want.Out))
				}
			}
		})
	}
}

// checkMessage wants the error to say what jinja2 said.
func checkMessage(t *testing.T, scenario string, err error, want string) {
	t.Helper()
	class, msg, _ := strings.Cut(want, ": ")
	if raise, ok := errors.AsType[*RaiseError](err); ok {
		if class != "TemplateError" || raise.Message != msg {
			t.Errorf("%s: raises %q, want %s", scenario, raise.Message, want)
		}
		return
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Line < 1 || !strings.HasPrefix(e.Msg, strings.TrimSuffix(msg, " found.")) {
		t.Errorf("%s: %v, want %s", scenario, err, want)
	}
}

func firstDifference(got, want string) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	cut := func(s string) string { return s[max(0, i-40):min(len(s), i+60)] }
	return "got …" + quote(cut(got)) + ", want …" + quote(cut(want))
}

func TestSupportOfRealTemplatesIsDetected(t *testing.T) {
	loadReference(t)
	for _, c := range []struct {
		file          string
		system, tools bool
	}{
		{"google-gemma-2-2b-it.jinja", false, false},
		{"Qwen-Qwen3-0.6B.jinja", true, true},
		{"meta-llama-Llama-3.1-8B-Instruct.jinja", true, true},
		{"microsoft-Phi-3.5-mini-instruct.jinja", true, false},
		{"mistralai-Mistral-Nemo-Instruct-2407.jinja", true, true},
	} {
		src, err := os.ReadFile(filepath.Join(sharedTemplates, c.file))
		if err != nil {
			t.Fatal(err)
		}
		tmpl, err := Parse(string(src))
		if err != nil {
			t.Fatal(err)
		}
		if got := tmpl.SupportsSystem(); got != c.system {
			t.Errorf("%s: SupportsSystem() = %v, want %v", c.file, got, c.system)
		}
		if got := tmpl.SupportsTools(); got != c.tools {
			t.Errorf("%s: SupportsTools() = %v, want %v", c.file, got, c.tools)
		}
	}
}

// sources returns the real templates, for fuzzing and measuring.
func sources(t testing.TB) []string {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join(sharedTemplates, "*.jinja"))
	slices.Sort(files)
	var out []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}
