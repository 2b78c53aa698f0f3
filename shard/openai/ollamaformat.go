package openai

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/shardnode/shardnode/shard/reply"
)

type ollamaKind uint8

const (
	ollamaChat ollamaKind = iota
	ollamaGenerate
)

type (
	ollamaAnswer struct {
		Model    string         `json:"model"`
		Created  string         `json:"created_at"`
		Message  *ollamaMessage `json:"message,omitempty"`
		Response *string        `json:"response,omitempty"`
		Thinking string         `json:"thinking,omitempty"`
		Done     bool           `json:"done"`
		Reason   string         `json:"done_reason,omitempty"`
		// Durations are nanoseconds.
		Total       int64      `json:"total_duration,omitempty"`
		Load        int64      `json:"load_duration,omitempty"`
		PromptCount int        `json:"prompt_eval_count,omitempty"`
		PromptTime  int64      `json:"prompt_eval_duration,omitempty"`
		Count       int        `json:"eval_count,omitempty"`
		Time        int64      `json:"eval_duration,omitempty"`
		Extra       *extraJSON `json:"shardnode,omitempty"`
	}
	ollamaMessage struct {
		Role     string       `json:"role"`
		Content  string       `json:"content"`
		Thinking string       `json:"thinking,omitempty"`
		Calls    []ollamaCall `json:"tool_calls,omitempty"`
	}
	ollamaCall struct {
		ID       string     `json:"id,omitempty"`
		Function ollamaFunc `json:"function"`
	}
	ollamaFunc struct {
		Index     int             `json:"index"`
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	}
)

// ollamaFormat makes answers of Ollama's API: lines of JSON.
type ollamaFormat struct {
	kind   ollamaKind
	model  string
	began  time.Time
	finish string
	// calls are those of a stream; a call is sent when it is complete.
	calls []grownCall
	sent  int
}

func (f *ollamaFormat) promptField() string {
	if f.kind == ollamaChat {
		return "messages"
	}
	return "prompt"
}

func (f *ollamaFormat) mediaType() string { return jsonLines }

func (f *ollamaFormat) answer(text, thinking string, calls []ollamaCall) ollamaAnswer {
	a := ollamaAnswer{Model: f.model, Created: time.Now().UTC().Format(time.RFC3339Nano)}
	if f.kind == ollamaChat {
		a.Message = &ollamaMessage{Role: "assistant", Content: text, Thinking: thinking, Calls: calls}
	} else {
		a.Response, a.Thinking = &text, thinking
	}
	return a
}

func (f *ollamaFormat) open(*events, piece) {}

func (f *ollamaFormat) add(s *events, p piece) {
	if c := p.call; c != nil {
		if c.id != "" {
			f.complete(s)
			f.calls = append(f.calls, grownCall{id: c.id, name: c.name})
		}
		f.calls[len(f.calls)-1].args.WriteString(c.args)
		return
	}
	if p.finish != "" {
		f.complete(s)
		f.finish = p.finish
	}
	if p.text != "" || p.reasoning != "" {
		s.line(f.answer(p.text, p.reasoning, nil))
	}
}

// complete sends the calls that are complete.
func (f *ollamaFormat) complete(s *events) {
	for ; f.sent < len(f.calls); f.sent++ {
		s.line(f.answer("", "", []ollamaCall{ollamaCallOf(f.sent, &f.calls[f.sent])}))
	}
}

func ollamaCallOf(i int, c *grownCall) ollamaCall {
	args := json.RawMessage(c.args.String())
	if !json.Valid(args) {
		args, _ = json.Marshal(c.args.String()) // a string can be encoded
	}
	return ollamaCall{ID: c.id, Function: ollamaFunc{Index: i, Name: c.name, Arguments: args}}
}

// last adds to a what stands at the end of an answer.
func (f *ollamaFormat) last(a *ollamaAnswer, out outcome, extra *extraJSON) {
	a.Done, a.Reason, a.Extra = true, "stop", extra
	if f.finish == finishLength {
		a.Reason = "length"
	}
	a.Total, a.Load = int64(time.Since(f.began)), int64(out.queued)
	a.PromptCount, a.PromptTime = out.promptTokens, int64(out.times.Prompt)
	a.Count, a.Time = out.answerTokens, int64(out.times.Decode)
}

func (f *ollamaFormat) end(s *events, out outcome, extra *extraJSON) {
	a := f.answer("", "", nil)
	f.last(&a, out, extra)
	s.line(a)
}

func (f *ollamaFormat) fail(s *events, e *apiError) { s.line(ollamaError(e)) }

func (f *ollamaFormat) whole(choices []grown, out outcome, extra *extraJSON) any {
	c := &choices[0]
	var calls []ollamaCall
	for i := range c.calls {
		calls = append(calls, ollamaCallOf(i, &c.calls[i]))
	}
	a := f.answer(c.text.String(), c.reasoning.String(), calls)
	f.finish = c.finish
	f.last(&a, out, extra)
	return a
}

// loaded answers a request that only wants the model to be there.
func (f *ollamaFormat) loaded() ollamaAnswer {
	a := f.answer("", "", nil)
	a.Done, a.Reason = true, "load"
	return a
}

// ollamaError is e as Ollama's clients read it.
func ollamaError(e *apiError) any {
	return struct {
		Error string `json:"error"`
	}{e.message}
}

type (
	ollamaModel struct {
		Name     string        `json:"name"`
		Model    string        `json:"model"`
		Modified string        `json:"modified_at"`
		Size     int64         `json:"size"`
		Digest   string        `json:"digest"`
		Details  ollamaDetails `json:"details"`
	}
	ollamaDetails struct {
		Parent       string   `json:"parent_model"`
		Format       string   `json:"format"`
		Family       string   `json:"family"`
		Families     []string `json:"families"`
		Parameters   string   `json:"parameter_size"`
		Quantization string   `json:"quantization_level"`
	}
)

func ollamaModelOf(m Model) ollamaModel {
	digest := sha256.Sum256([]byte(m.ID))
	return ollamaModel{
		Name: m.ID, Model: m.ID, Modified: m.Created.UTC().Format(time.RFC3339Nano), Digest: hex.EncodeToString(digest[:]),
		Details: ollamaDetails{Format: "gguf", Families: []string{}},
	}
}

// serveTags lists the models; also those that run, which are all.
func (h *Handler) serveTags(w http.ResponseWriter, _ *http.Request) *apiError {
	list := struct {
		Models []ollamaModel `json:"models"`
	}{[]ollamaModel{}}
	for _, m := range h.cfg.Backend.Models() {
		list.Models = append(list.Models, ollamaModelOf(m))
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

// serveVersion says which version of Ollama's API this is like.
func (h *Handler) serveVersion(w http.ResponseWriter, _ *http.Request) *apiError {
	writeJSON(w, http.StatusOK, struct {
		Version string `json:"version"`
	}{"0.12.0"})
	return nil
}

// serveShow describes a model.
func (h *Handler) serveShow(body []byte) (any, *apiError) {
	o, err := readObject("", body)
	if err != nil {
		return nil, err
	}
	id, ok := o.text("model")
	if !ok {
		id, _ = o.text("name")
	}
	o.accept("verbose", "name")
	if err := o.done(); err != nil {
		return nil, err
	}
	m, err := h.model(id)
	if err == nil && m.Learn != nil {
		m, err = h.readable(id)
	}
	if err != nil {
		return nil, err
	}
	show := struct {
		Template     string         `json:"template"`
		Parameters   string         `json:"parameters"`
		Modified     string         `json:"modified_at"`
		Details      ollamaDetails  `json:"details"`
		Info         map[string]any `json:"model_info"`
		Capabilities []string       `json:"capabilities"`
	}{
		Modified: ollamaModelOf(m).Modified, Details: ollamaModelOf(m).Details,
		Info: map[string]any{"general.architecture": "shardnode", "shardnode.context_length": m.ContextTokens}, Capabilities: []string{"completion"},
	}
	if m.Text != nil {
		show.Template = m.Text.Source()
		f := reply.Detect(show.Template)
		if f.Calls() {
			show.Capabilities = append(show.Capabilities, "tools")
		}
		if f.Reasons() {
			show.Capabilities = append(show.Capabilities, "thinking")
		}
	}
	return show, nil
}
