package chat

import (
	"strings"
	"sync"
	"testing"
)

func TestChatMLRendersTurns(t *testing.T) {
	tmpl, err := Parse(ChatML)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tmpl.Render(Vars{
		Messages:            FromMessages([]Message{{"system", "s"}, {"user", "u"}}),
		AddGenerationPrompt: true,
	})
	want := "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n<|im_start|>assistant\n"
	if err != nil || got != want {
		t.Errorf("ChatML renders %q, %v, want %q", got, err, want)
	}
	if !tmpl.SupportsSystem() || tmpl.SupportsTools() {
		t.Error("ChatML: want support of system messages and none of tools")
	}
}

func TestGemmaPutsTheSystemMessageIntoTheFirstTurn(t *testing.T) {
	got, err := render1(Gemma, Vars{
		BOS:                 "<bos>",
		Messages:            FromMessages([]Message{{"system", "s"}, {"user", " u "}, {"assistant", "a"}, {"user", "v"}}),
		AddGenerationPrompt: true,
	})
	want := "<bos><start_of_turn>user\ns\n\nu<end_of_turn>\n<start_of_turn>model\na<end_of_turn>\n" +
		"<start_of_turn>user\nv<end_of_turn>\n<start_of_turn>model\n"
	if err != nil || got != want {
		t.Errorf("Gemma renders %q, %v, want %q", got, err, want)
	}
}

func TestExtraVariablesWin(t *testing.T) {
	extra, err := DictFromJSON([]byte(`{"bos_token": "B", "enable_thinking": false, "add_generation_prompt": true}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := render1("{{ bos_token }}{{ eos_token }}{{ enable_thinking }}{{ add_generation_prompt }}{{ tools is defined }}",
		Vars{BOS: "b", EOS: "e", Extra: extra})
	if want := "BeFalseTrueFalse"; err != nil || got != want {
		t.Errorf("Render = %q, %v, want %q", got, err, want)
	}
}

func TestWithoutAClockThereIsNoDate(t *testing.T) {
	got, err := render1("{{ strftime_now is defined }}", Vars{})
	if err != nil || got != "False" {
		t.Errorf("strftime_now is defined: %q, %v, want False", got, err)
	}
}

func TestFromJSONKeepsTheOrderOfKeys(t *testing.T) {
	d, err := DictFromJSON([]byte(`{"z": 1, "a": {"y": 1.50, "b": [null, true]}, "z": 2}`))
	if err != nil {
		t.Fatal(err)
	}
	x := &Dict{}
	x.Set("d", d)
	got, err := render1("{{ d|tojson }}", Vars{Extra: x})
	if want := `{"z": 2, "a": {"y": 1.5, "b": [null, true]}}`; err != nil || got != want {
		t.Errorf("tojson = %s, %v, want %s", got, err, want)
	}
}

func TestBadJSONIsAnError(t *testing.T) {
	for _, src := range []string{
		"", "[", `{"a"`, `{"a":}`, "[1,]", "nul", "1 2", `{"a":1]`, "1e999", strings.Repeat("[", 100000),
	} {
		if v, err := FromJSON([]byte(src)); err == nil {
			t.Errorf("FromJSON(%.20q) = %v, want an error", src, v)
		}
	}
	if _, err := ListFromJSON([]byte(`{}`)); err == nil || !strings.Contains(err.Error(), "want an array") {
		t.Errorf("ListFromJSON({}) = %v, want an error that asks for an array", err)
	}
	if _, err := DictFromJSON([]byte(`[]`)); err == nil || !strings.Contains(err.Error(), "want an object") {
		t.Errorf("DictFromJSON([]) = %v, want an error that asks for an object", err)
	}
}

func TestRendersDoNotShareState(t *testing.T) {
	tmpl, err := Parse(`{% set ns = namespace(a=[]) %}{% for m in messages %}{% set ns.a = ns.a + [m.role|upper] %}{% endfor %}{{ ns.a|join }}`)
	if err != nil {
		t.Fatal(err)
	}
	messages := FromMessages([]Message{{"a", ""}, {"b", ""}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if got, err := tmpl.Render(Vars{Messages: messages}); err != nil || got != "AB" {
					t.Errorf("Render = %q, %v, want AB", got, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestBrokenTextIsReplacedNotRefused(t *testing.T) {
	got, err := render1("a\xff{{ 'b\xfe' }}", Vars{})
	if err != nil || got != "a\ufffdb\ufffd" {
		t.Errorf("Render = %q, %v, want replacement characters", got, err)
	}
}
