package reply

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/shardnode/shardnode/shard"
	"github.com/shardnode/shardnode/shard/grammar"
)

var seed = flag.Uint64("seed", 1, "seed of the random tests")

// An answer is all parts of an answer put together.
type answer struct {
	Reasoning, Content string
	Calls              []call
}

type call struct{ Name, Args string }

func (a *answer) add(t testing.TB, parts []Part) {
	t.Helper()
	for _, p := range parts {
		switch p.Kind {
		case Reasoning:
			a.Reasoning += p.Text
		case Content:
			a.Content += p.Text
		case Call:
			if p.Name != "" {
				a.Calls = append(a.Calls, call{Name: p.Name})
			}
			if p.Index != len(a.Calls)-1 {
				t.Fatalf("part of call %d, with %d begun", p.Index, len(a.Calls))
			}
			a.Calls[p.Index].Args += p.Text
		}
	}
}

// parse feeds text in pieces of random length.
func parse(t testing.TB, f Format, prompt, text string, r *rand.Rand) answer {
	t.Helper()
	p := f.Parser(prompt, weatherTools)
	var a answer
	for len(text) > 0 {
		n := len(text)
		if r != nil {
			n = min(n, 1+r.IntN(1+r.IntN(40)))
		}
		a.add(t, p.Text(text[:n]))
		text = text[n:]
	}
	a.add(t, p.End())
	return a
}

var weatherTools = []Tool{
	{"get_weather", []byte(`{"type":"object","properties":{"location":{"type":"string"},"unit":{"type":"string","enum":["celsius","fahrenheit"]},"days":{"type":"integer"}},"required":["location"]}`)},
	{"now", []byte(`{"type":"object","properties":{}}`)},
}

const zurich = `{"location": "Zürich", "unit": "celsius"}`

func one(content, args string) answer {
	return answer{Content: content, Calls: []call{{"get_weather", args}}}
}

var answers = []struct {
	family, prompt, text string
	want                 answer
}{
	{"hermes", "", "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": " + zurich + "}\n</tool_call>", one("", zurich)},
	{"hermes", "", "Let me see.\n<tool_call>\n{\"arguments\": {\"a\": \"}\\\"\"}, \"name\": \"get_weather\"}\n</tool_call>\n<tool_call>{\"name\":\"now\",\"arguments\":{}}</tool_call>", answer{
		Content: "Let me see.", Calls: []call{{"get_weather", `{"a": "}\""}`}, {"now", "{}"}},
	}},
	{"hermes", "", "<think>\nHm, <tool?\n</think>\n\nYes < no <tool", answer{Reasoning: "Hm, <tool?", Content: "Yes < no <tool"}},
	{"hermes", "<|im_start|>assistant\n<think>\n", "So.\n</think>\n\nHi!\n", answer{Reasoning: "So.", Content: "Hi!\n"}},
	{"hermes", "<think>\n\n</think>\n\n", "Hi!", answer{Content: "Hi!"}},
	{"hermes", "", "<tool_call>\nno JSON\n</tool_call> so", answer{Content: "<tool_call>\nno JSON\n</tool_call> so"}},
	{"hermes", "", "<tool_call>\n{\"name\": \"now\"}\n</tool_call>", answer{Calls: []call{{"now", "{}"}}}},
	{"hermes", "", "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"location\": \"Z", one("", `{"location": "Z`)},
	{"hermes", "", "<tool_call>\n{\"na", answer{Content: "<tool_call>\n{\"na"}},
	{"qwen-coder", "", "I look.\n<tool_call>\n<function=get_weather>\n<parameter=location>\nZürich\n</parameter>\n<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>", one("I look.", `{"location":"Zürich","days":3}`)},
	{"qwen-coder", "", "<tool_call>\n<function=now>\n</function>\n</tool_call>", answer{Calls: []call{{"now", "{}"}}}},
	{"glm", "", "<think>a</think>\n<tool_call>get_weather\n<arg_key>location</arg_key>\n<arg_value>12</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>", answer{
		Reasoning: "a", Calls: []call{{"get_weather", `{"location":"12","days":2}`}},
	}},
	{"glm", "<think>", "</think><tool_call>get_weather<arg_key>location</arg_key><arg_value>Bern</arg_value></tool_call><tool_call>now</tool_call>", answer{
		Calls: []call{{"get_weather", `{"location":"Bern"}`}, {"now", "{}"}},
	}},
	{"mistral", "", `[TOOL_CALLS][{"name": "get_weather", "arguments": ` + zurich + `, "id": "call00001"}, {"name": "now", "arguments": {}}]`, answer{
		Calls: []call{{"get_weather", zurich}, {"now", "{}"}},
	}},
	{"mistral-3.2", "", `Well. [TOOL_CALLS]get_weather[ARGS]` + zurich + `[TOOL_CALLS]now[ARGS]{}`, answer{
		Content: "Well.", Calls: []call{{"get_weather", zurich}, {"now", "{}"}},
	}},
	{"llama-3", "", `{"name": "get_weather", "parameters": ` + zurich + `}`, one("", zurich)},
	{"llama-3", "", `<|python_tag|>{"type": "function", "name": "get_weather", "parameters": ` + zurich + `}; {"name": "now", "parameters": {}}`, answer{
		Calls: []call{{"get_weather", zurich}, {"now", "{}"}},
	}},
	{"llama-3", "", `{"name": "Peter", "age": 3} is JSON.`, answer{Content: `{"name": "Peter", "age": 3} is JSON.`}},
	{"llama-3", "", `A {"name": "now"}`, answer{Content: `A {"name": "now"}`}},
	{"deepseek-3", "", "Hm.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n" + zurich + "\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", answer{
		Content: "Hm.", Calls: []call{{"get_weather", zurich}, {"now", "{}"}},
	}},
	{"deepseek-3.1", "</think>", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>" + zurich + "<｜tool▁call▁end｜><｜tool▁calls▁end｜>", one("", zurich)},
	{"kimi", "", "Ok <|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>" + zurich + "<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>", answer{
		Content: "Ok", Calls: []call{{"get_weather", zurich}, {"now", "{}"}},
	}},
	{"functionary", "", "<function=get_weather>" + zurich + "</function>", one("", zurich)},
	{"minimax", "<think>\n", "x\n</think>\n\n<minimax:tool_call>\n<invoke name=\"get_weather\">\n<parameter name=\"location\">Bern</parameter>\n</invoke>\n</minimax:tool_call>", answer{
		Reasoning: "x", Calls: []call{{"get_weather", `{"location":"Bern"}`}},
	}},
	{"granite", "", `<|tool_call|>[{"name": "get_weather", "arguments": ` + zurich + `}]`, one("", zurich)},
	{"gpt-oss", "<|start|>assistant", "<|channel|>analysis<|message|>Think.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>" + zurich + "<|call|>", answer{
		Reasoning: "Think.", Calls: []call{{"get_weather", zurich}},
	}},
	{"gpt-oss", "<|start|>assistant", "<|channel|>analysis<|message|>T<|end|><|start|>assistant<|channel|>final<|message|>Hi there.<|return|>", answer{Reasoning: "T", Content: "Hi there."}},
	{"gpt-oss", "<|start|>assistant", " to=functions.get_weather<|channel|>commentary json<|message|>" + zurich, one("", zurich)},
}

// familySource is a template's text by which each family is known.
var familySource = map[string]string{
	"hermes": "<think></think><tool_call>", "qwen-coder": "<tool_call><function=", "glm": "<think></think><tool_call><arg_key>", "mistral": "[TOOL_CALLS]",
	"mistral-3.2": "[TOOL_CALLS][ARGS]", "llama-3": `"parameters"<|start_header_id|>`, "deepseek-3": "<｜tool▁calls▁begin｜>```json", "deepseek-3.1": "<think></think><｜tool▁calls▁begin｜>",
	"kimi": "<|tool_calls_section_begin|>", "functionary": "<function=", "minimax": "<think></think><minimax:tool_call>", "granite": "<|tool_call|>", "gpt-oss": "<|channel|><|message|>",
}

func TestAnswersAreReadHoweverTheyAreCut(t *testing.T) {
	for i, c := range answers {
		f := Detect(familySource[c.family])
		if f.Name() != c.family {
			t.Errorf("%s is taken for %s", c.family, f.Name())
			continue
		}
		if got := parse(t, f, c.prompt, c.text, nil); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %q:\n%+v, want\n%+v", c.family, c.text, got, c.want)
			continue
		}
		r := rand.New(rand.NewPCG(*seed, uint64(i)))
		for range 200 {
			if got := parse(t, f, c.prompt, c.text, r); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s %q, cut at random (seed %d):\n%+v, want\n%+v", c.family, c.text, *seed, got, c.want)
				break
			}
		}
	}
}

func TestTheFamiliesOfRealTemplatesAreKnown(t *testing.T) {
	dir := "../../../shared/data/templates"
	want := map[string]string{
		"GLM-4.6": "glm", "GLM-4.7-Flash": "glm", "Kimi-K2-Instruct": "kimi", "MiniMax-M2": "minimax",
		"NVIDIA-Nemotron-3-Nano-30B-A3B-BF16": "qwen-coder", "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "hermes", "Qwen-Qwen2.5-7B-Instruct": "hermes",
		"Qwen-Qwen3-0.6B": "hermes", "Qwen3-Coder": "qwen-coder", "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": "deepseek-3", "deepseek-ai-DeepSeek-V3.1": "deepseek-3.1",
		"meetkai-functionary-medium-v3.1": "functionary", "meta-llama-Llama-3.1-8B-Instruct": "llama-3", "meta-llama-Llama-3.2-3B-Instruct": "llama-3",
		"mistralai-Mistral-Nemo-Instruct-2407": "mistral", "moonshotai-Kimi-K2": "kimi", "openai-gpt-oss-120b": "gpt-oss", "stepfun-ai-Step-3.5-Flash": "qwen-coder",
		"google-gemma-2-2b-it": "plain", "microsoft-Phi-3.5-mini-instruct": "plain",
	}
	for name, family := range want {
		b, err := os.ReadFile(filepath.Join(dir, name+".jinja"))
		if errors.Is(err, fs.ErrNotExist) {
			t.Skip("no shared/data/templates beside the repository")
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := Detect(string(b)).Name(); got != family {
			t.Errorf("%s: %s, want %s", name, got, family)
		}
	}
}

// TestForcedCallsAreRead draws answers from the grammar of each family and reads
// them back.
func TestForcedCallsAreRead(t *testing.T) {
	controls := []string{"<end>", "[TOOL_CALLS]", "<|call|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>", "<|start|>", "<｜tool▁calls▁begin｜>", "<｜tool▁call▁end｜>", "<|tool_call_begin|>"}
	n := len(controls)
	v := grammar.NewVocabulary(grammar.Tokens{
		Len: n + 256, Ends: []shard.Token{0, 2},
		Piece: func(id shard.Token) string {
			if int(id) < n {
				return controls[id]
			}
			return string([]byte{byte(int(id) - n)})
		},
		Control: func(id shard.Token) bool { return int(id) < n },
	})
	for name, source := range familySource {
		f := Detect(source)
		for _, prompt := range []string{"", "<think>\n"} {
			e, err := f.Expr(prompt, weatherTools, SomeCalls)
			if err != nil {
				t.Fatal(err)
			}
			form, err := v.Compile(e)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			r := rand.New(rand.NewPCG(*seed, 7))
			for range 10 {
				text, parts := draw(t, form, f.Parser(prompt, weatherTools), controls, r)
				var a answer
				a.add(t, parts)
				if len(a.Calls) == 0 || a.Content != "" {
					t.Fatalf("%s: %.300q is read as %.300v (seed %d)", name, text, a, *seed)
				}
				for _, c := range a.Calls {
					var args map[string]any
					if err := json.Unmarshal([]byte(c.Args), &args); err != nil || c.Name != "now" && args["location"] == nil {
						t.Fatalf("%s: %.300q gave a call with %.300q: %v (seed %d)", name, text, c.Args, err, *seed)
					}
				}
			}
		}
	}
}

// draw makes an answer of the form, a byte or a control token at a time.
func draw(t testing.TB, form *grammar.Form, p *Parser, controls []string, r *rand.Rand) (string, []Part) {
	t.Helper()
	m := form.Start()
	var text strings.Builder
	var parts []Part
	for range 20_000 {
		if m.Complete() {
			return text.String(), append(parts, p.End()...)
		}
		mask, err := m.Mask()
		if err != nil {
			t.Fatal(err)
		}
		var ids []shard.Token
		for i := range len(controls) + 256 {
			if mask[i/64]>>(i%64)&1 != 0 {
				ids = append(ids, shard.Token(i))
			}
		}
		id := ids[r.IntN(len(ids))]
		for _, c := range ids { // what ends things is preferred
			if r.IntN(3) == 0 && (int(c) < len(controls) || strings.ContainsRune("\"}]<\n", rune(int(c)-len(controls)))) {
				id = c
			}
			if int(c) >= len(controls) && r.IntN(20) > 0 && p.follows(text.String(), byte(int(c)-len(controls))) {
				id = c
				break
			}
		}
		if err := m.Accept(id); err != nil {
			t.Fatal(err)
		}
		switch {
		case id == 0 || id == 2:
			return text.String(), append(parts, p.End()...)
		case int(id) < len(controls):
			text.WriteString(controls[id])
			parts = append(parts, p.Control(controls[id])...)
		default:
			text.WriteByte(byte(int(id) - len(controls)))
			parts = append(parts, p.Text(string([]byte{byte(int(id) - len(controls))}))...)
		}
	}
	t.Fatalf("no end in sight: %.300q", text.String())
	return "", nil
}

// follows reports whether c goes on with a mark that text ends with a part of.
func (p *Parser) follows(text string, c byte) bool {
	for _, m := range p.marks {
		if m != p.f.thinkClose && m != p.f.call.valueEnd {
			continue
		}
		for k := len(m) - 1; k > 0; k-- {
			if m[k] == c && strings.HasSuffix(text, m[:k]) {
				return true
			}
		}
	}
	return false
}

func FuzzParser(f *testing.F) {
	for _, a := range answers {
		f.Add(a.family, a.text, uint64(1))
	}
	f.Fuzz(func(t *testing.T, family, text string, seed uint64) {
		source, ok := familySource[family]
		if !ok {
			return
		}
		form := Detect(source)
		parse(t, form, "", text, nil)
		parse(t, form, "<think>", text, rand.New(rand.NewPCG(seed, 0)))
	})
}
