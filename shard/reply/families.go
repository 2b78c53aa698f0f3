package reply

import "strings"

// A Format is how a family of models writes reasoning and calls. The zero Format
// has text alone.
type Format struct {
	name string
	// thinkOpen and thinkClose stand around reasoning; "" if there is none.
	thinkOpen, thinkClose string
	// channels says that the answer is made of messages on channels, as GPT-OSS
	// writes them.
	channels bool
	call     *callForm
}

// A callForm is how calls are written. All texts may hold control tokens.
type callForm struct {
	kind callKind
	// section and sectionEnd stand around all calls, "" if nothing does.
	section, sectionEnd string
	// open comes before a call, close after it.
	open, close string
	// nameEnd comes after the name of the kinds named and tagged. The first
	// is what a grammar writes.
	nameEnd []string
	// prefix comes before the name and is no part of it; suffix after it.
	prefix string
	suffix string
	// args comes between nameEnd and the arguments, argsEnd after them.
	args, argsEnd string
	// argsKey is the field of the arguments, of kind object.
	argsKey string
	// list says that the objects stand in an array.
	list bool
	// key, keyEnd, value and valueEnd stand around the parts of one parameter, of
	// kind tagged. lines says that a value stands on lines of its own.
	key, keyEnd, value, valueEnd string
	lines                        bool
}

type callKind uint8

const (
	// callObject is {"name": NAME, "arguments": {...}}.
	callObject callKind = iota
	// callNamed is NAME and the arguments as a JSON object.
	callNamed
	// callTagged is NAME and each parameter between tags of its own.
	callTagged
)

var (
	hermes = callForm{kind: callObject, open: "<tool_call>", close: "</tool_call>", argsKey: "arguments"}
	llama  = callForm{kind: callObject, argsKey: "parameters"}
	// mistral is up to Nemo and Small 3; mistralNew since Small 3.2.
	mistral    = callForm{kind: callObject, section: "[TOOL_CALLS]", list: true, argsKey: "arguments"}
	mistralNew = callForm{kind: callNamed, open: "[TOOL_CALLS]", nameEnd: []string{"[ARGS]"}}
	// deepseekOld is V3 and R1, deepseek V3.1.
	deepseekOld = callForm{
		kind: callNamed, section: "<｜tool▁calls▁begin｜>", sectionEnd: "<｜tool▁calls▁end｜>",
		open: "<｜tool▁call▁begin｜>", prefix: "function<｜tool▁sep｜>", nameEnd: []string{"\n```json\n"}, argsEnd: "\n```", close: "<｜tool▁call▁end｜>",
	}
	deepseek = callForm{
		kind: callNamed, section: "<｜tool▁calls▁begin｜>", sectionEnd: "<｜tool▁calls▁end｜>",
		open: "<｜tool▁call▁begin｜>", nameEnd: []string{"<｜tool▁sep｜>"}, close: "<｜tool▁call▁end｜>",
	}
	kimi = callForm{
		kind: callNamed, section: "<|tool_calls_section_begin|>", sectionEnd: "<|tool_calls_section_end|>",
		open: "<|tool_call_begin|>", prefix: "functions.", suffix: ":0", nameEnd: []string{"<|tool_call_argument_begin|>"}, close: "<|tool_call_end|>",
	}
	functionary = callForm{kind: callNamed, open: "<function=", nameEnd: []string{">"}, close: "</function>"}
	qwenCoder   = callForm{
		kind: callTagged, section: "<tool_call>", sectionEnd: "</tool_call>",
		open: "<function=", nameEnd: []string{">"}, key: "<parameter=", keyEnd: ">", valueEnd: "</parameter>", close: "</function>", lines: true,
	}
	glm = callForm{
		kind: callTagged, open: "<tool_call>", nameEnd: []string{"\n", "<arg_key>", "</tool_call>"},
		key: "<arg_key>", keyEnd: "</arg_key>", value: "<arg_value>", valueEnd: "</arg_value>", close: "</tool_call>",
	}
	miniMax = callForm{
		kind: callTagged, section: "<minimax:tool_call>", sectionEnd: "</minimax:tool_call>",
		open: `<invoke name="`, nameEnd: []string{`">`}, key: `<parameter name="`, keyEnd: `">`, valueEnd: "</parameter>", close: "</invoke>",
	}
	granite = callForm{kind: callObject, section: "<|tool_call|>", list: true, argsKey: "arguments"}
	gptOSS  = callForm{
		kind: callNamed, open: "<|channel|>commentary to=functions.", nameEnd: []string{" <|constrain|>json<|message|>"}, close: "<|call|>",
	}
)

// Detect returns the format of a model by the source of its chat template; with
// none that is known, the zero Format with the reasoning that the source names.
func Detect(source string) Format {
	has := func(s string) bool { return strings.Contains(source, s) }
	f := Format{name: "plain"}
	if has("</think>") || has("<think>") {
		f.thinkOpen, f.thinkClose = "<think>", "</think>"
	}
	for _, c := range []struct {
		name string
		is   bool
		form *callForm
	}{
		{"gpt-oss", has("<|channel|>") && has("<|message|>"), &gptOSS},
		{"kimi", has("<|tool_calls_section_begin|>"), &kimi},
		{"deepseek-3", has("<｜tool▁calls▁begin｜>") && has("```json"), &deepseekOld},
		{"deepseek-3.1", has("<｜tool▁calls▁begin｜>"), &deepseek},
		{"mistral-3.2", has("[TOOL_CALLS]") && has("[ARGS]"), &mistralNew},
		{"mistral", has("[TOOL_CALLS]"), &mistral},
		{"minimax", has("<minimax:tool_call>"), &miniMax},
		{"glm", has("<arg_key>"), &glm},
		{"qwen-coder", has("<tool_call>") && has("<function="), &qwenCoder},
		{"functionary", has("<function="), &functionary},
		{"hermes", has("<tool_call>"), &hermes},
		{"granite", has("<|tool_call|>"), &granite},
		{"llama-3", has(`"parameters"`) && has("<|start_header_id|>"), &llama},
	} {
		if c.is {
			f.name, f.call = c.name, c.form
			break
		}
	}
	if f.channels = f.call == &gptOSS; f.channels {
		f.thinkOpen, f.thinkClose = "", ""
	}
	return f
}

// Name returns the family's name, for people.
func (f Format) Name() string { return f.name }

// Calls reports whether the family's way to call tools is known.
func (f Format) Calls() bool { return f.call != nil }

// Reasons reports whether answers of the family may have reasoning.
func (f Format) Reasons() bool { return f.thinkClose != "" || f.channels }

// texts returns all the texts between which an answer's parts stand.
func (f Format) texts() []string {
	out := []string{f.thinkOpen, f.thinkClose}
	if c := f.call; c != nil {
		out = append(out, c.section, c.sectionEnd, c.open, c.close, c.prefix, c.args, c.argsEnd, c.key, c.keyEnd, c.value, c.valueEnd)
		out = append(out, c.nameEnd...)
	}
	if f.call == &llama {
		out = append(out, pythonTag)
	}
	return out
}

// pythonTag may come before a call of Llama 3.
const pythonTag = "<|python_tag|>"
