package openai

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/shardnode/shardnode/shard/chat"
)

// An ollamaRequest is the body of POST /api/chat or /api/generate (Ollama,
// docs/api.md), as a chat or as a text to go on with.
type ollamaRequest struct {
	chatRequest
	raw  bool // the prompt is not put into the chat template
	text string
	// empty asks for nothing but that the model be there.
	empty bool
}

// parseOllama reads what both have in common.
func parseOllama(o *object) *ollamaRequest {
	r := &ollamaRequest{}
	if _, set := o.fields["stream"]; !set { // it is the default here
		o.fields["stream"] = json.RawMessage("true")
	}
	r.readFormat(o)
	if opts, ok := o.object("options"); ok {
		// The options are what others have at the top.
		opts.fields["model"], opts.fields["stream"] = o.fields["model"], o.fields["stream"]
		delete(o.fields, "model")
		delete(o.fields, "stream")
		r.readOptions(opts)
		o.join(opts.done())
	} else {
		r.readOptions(o)
	}
	r.model = strings.TrimSuffix(r.model, ":latest")
	o.accept("keep_alive") // members keep their layers anyway
	if raw, ok := o.fields["think"]; ok {
		switch {
		case jsonKind(raw) == "a string":
			r.effort = readEffort(renamed(o, "think", "reasoning_effort"))
		case o.flag("think"):
			r.thinking = true
		case jsonKind(raw) == "a boolean":
			r.noThinking = true
		}
	}
	o.only("template", "is not supported: the model's own is used")
	o.only("suffix", "is not supported: the models do not fill in", `""`)
	o.only("context", "is not supported: use /api/chat", `[]`)
	o.only("images", "are not supported: the models read text only", `[]`)
	return r
}

// readOptions reads the settings of an answer.
func (r *ollamaRequest) readOptions(o *object) {
	most := o.integer("num_predict", -1, -2, 1<<31)
	if _, set := o.fields["temperature"]; !set {
		o.fields["temperature"] = json.RawMessage("0.8") // Ollama's default
	}
	if raw, ok := o.fields["seed"]; ok && string(raw) == "0" {
		delete(o.fields, "seed") // it means any
	}
	// What concerns the memory of a machine is the members' own affair.
	o.accept("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "use_mlock", "numa", "low_vram", "num_keep")
	o.only("typical_p", "is not supported", "1", "1.0")
	o.only("tfs_z", "is not supported", "1", "1.0")
	o.only("mirostat", "is not supported", "0")
	o.accept("mirostat_eta", "mirostat_tau")
	r.settings = readSettings(o)
	r.maxTokens = int(max(0, most))
}

// readFormat reads the form of the answer: "json" or a schema.
func (r *ollamaRequest) readFormat(o *object) {
	raw, ok := o.fields["format"]
	switch {
	case !ok || jsonKind(raw) == "null" || string(raw) == `""`:
		o.accept("format")
	case string(raw) == `"json"`:
		o.accept("format")
		r.want = wanted{object: true, field: "format"}
	default:
		r.want.Schema, r.want.field = string(o.schema("format")), "format"
		if o.err == nil {
			r.want.check(o)
		}
	}
}

// parseOllamaChat reads the body of POST /api/chat.
func parseOllamaChat(body []byte) (*ollamaRequest, *apiError) {
	o, err := readObject("", body)
	if err != nil {
		return nil, err
	}
	r := parseOllama(o)
	raws, _ := o.list("messages", maxMessages)
	r.empty = len(raws) == 0
	var items []any
	for i, raw := range raws {
		m, err := readObject(fmt.Sprintf("messages[%d].", i), raw)
		if err == nil {
			items = append(items, readOllamaMessage(m, i))
			err = m.done()
		}
		o.join(err)
	}
	r.messages = chat.NewList(items...)
	r.use = readToolUse(o)
	return r, o.done()
}

// readOllamaMessage reads one message.
func readOllamaMessage(o *object, at int) *chat.Dict {
	role, _ := o.text("role")
	switch role {
	case "system", "user", "assistant", "tool":
	default:
		o.fail("role", "invalid_value", "%srole is %q, want system, user, assistant or tool", o.path, short([]byte(role)))
	}
	text, _ := o.text("content")
	d := turn(role, text)
	if s, ok := o.text("thinking"); ok && s != "" {
		d.Set("reasoning_content", s)
	}
	o.only("images", "are not supported: the models read text only", `[]`)
	for _, field := range []string{"tool_name", "name"} {
		if s, ok := o.text(field); ok {
			d.Set("name", s)
		}
	}
	if s, ok := o.text("tool_call_id"); ok {
		d.Set("tool_call_id", s)
	}
	raws, _ := o.list("tool_calls", maxToolCalls)
	var calls []any
	for i, raw := range raws {
		c, err := readObject(fmt.Sprintf("%stool_calls[%d].", o.path, i), raw)
		if err == nil {
			calls = append(calls, readOllamaCall(c, fmt.Sprintf("call_%d_%d", at, i)))
			err = c.done()
		}
		o.join(err)
	}
	if len(calls) > 0 {
		d.Set("tool_calls", chat.NewList(calls...))
	}
	return d
}

// readOllamaCall reads one call, whose arguments are an object here.
func readOllamaCall(c *object, id string) *chat.Dict {
	if s, ok := c.text("id"); ok {
		id = s
	}
	c.accept("type")
	f, ok := c.object("function")
	if !ok {
		c.fail("function", "missing_required_parameter", "%sfunction is missing", c.path)
		return nil
	}
	name, _ := f.text("name")
	args, ok := f.take("arguments")
	if !ok {
		args = json.RawMessage("{}")
	}
	f.accept("index")
	c.join(f.done())
	return callDict(id, name, string(args))
}

// parseOllamaGenerate reads the body of POST /api/generate.
func parseOllamaGenerate(body []byte) (*ollamaRequest, *apiError) {
	o, err := readObject("", body)
	if err != nil {
		return nil, err
	}
	r := parseOllama(o)
	r.raw = o.flag("raw")
	r.text, _ = o.text("prompt")
	r.empty = r.text == ""
	var items []any
	if s, ok := o.text("system"); ok && s != "" {
		if r.raw {
			o.fail("system", "invalid_value", "system needs the chat template, and raw leaves it out")
		}
		items = append(items, turn("system", s))
	}
	r.messages = chat.NewList(append(items, turn("user", r.text))...)
	r.use.mode = toolsNone
	return r, o.done()
}

// readOllamaChat makes the job of a chat.
func (h *Handler) readOllamaChat(body []byte) (*job, *apiError) {
	r, err := parseOllamaChat(body)
	if err != nil {
		return nil, err
	}
	return h.ollamaJob(r, ollamaChat)
}

// readOllamaGenerate makes the job of a text.
func (h *Handler) readOllamaGenerate(body []byte) (*job, *apiError) {
	r, err := parseOllamaGenerate(body)
	if err != nil {
		return nil, err
	}
	return h.ollamaJob(r, ollamaGenerate)
}

func (h *Handler) ollamaJob(r *ollamaRequest, kind ollamaKind) (*job, *apiError) {
	f := &ollamaFormat{kind: kind, began: time.Now()}
	j, err := h.chatJob(&r.chatRequest, func(m Model) format {
		f.model = m.ID
		return f
	})
	if err != nil {
		return nil, err
	}
	j.empty = r.empty
	if r.raw {
		j.prepare = func() ([]prompt, error) {
			ids := j.target.Text.RawPrompt(r.text)
			if len(ids) == 0 {
				return nil, invalid("prompt", "invalid_value", "prompt is empty")
			}
			return []prompt{{ids: ids}}, r.plain(j)
		}
	}
	return j, nil
}

// plain sets the form of an answer to a prompt without a template.
func (r *ollamaRequest) plain(j *job) error {
	if !r.want.some() {
		return nil
	}
	form, err := j.target.Text.FormOf(fmt.Sprint("raw", r.want.object, r.want.Schema), r.want.expr)
	j.form = form
	return err
}
