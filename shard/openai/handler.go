package openai

import (
	"net/http"
	"strings"
	"time"
)

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The deadline of an earlier request on this connection ends here.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if err := h.serve(w, r); err != nil {
		writeError(w, err, dialectOf(r.URL.Path))
	}
}

// serve answers r, or returns what is wrong with it.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) *apiError {
	if err := h.mayEnter(w, r); err != nil {
		return err
	}
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		preflight(w, r)
		return nil
	}
	if r.URL.Path == "/health" {
		return get(w, r, h.serveHealth)
	}
	key, err := h.checkKey(r)
	if err != nil {
		return err
	}
	if serve := h.getRoute(r.URL.Path); serve != nil {
		return get(w, r, serve)
	}
	if read := h.postRoute(r.URL.Path); read != nil {
		return h.post(w, r, key, read)
	}
	if answer := h.askRoute(r.URL.Path); answer != nil {
		return h.ask(w, r, answer)
	}
	e := invalid("", "unknown_url", "there is nothing at %s %s", r.Method, short([]byte(r.URL.Path)))
	e.status = http.StatusNotFound
	return e
}

// getRoute returns what answers GET at path, nil for nothing.
func (h *Handler) getRoute(path string) func(http.ResponseWriter, *http.Request) *apiError {
	switch {
	case path == "/v1/models":
		return h.serveModels
	case strings.HasPrefix(path, "/v1/models/"):
		return h.serveModel
	case path == "/api/tags", path == "/api/ps":
		return h.serveTags
	case path == "/api/version":
		return h.serveVersion
	}
	return nil
}

// postRoute returns what makes the job of a request at path, nil for nothing.
func (h *Handler) postRoute(path string) func([]byte) (*job, *apiError) {
	switch path {
	case "/v1/chat/completions":
		return h.readChat
	case "/v1/completions":
		return h.readCompletion
	case "/v1/responses":
		return h.readResponse
	case "/v1/messages":
		return h.readMessagesJob
	case "/api/chat":
		return h.readOllamaChat
	case "/api/generate":
		return h.readOllamaGenerate
	}
	return nil
}

// askRoute returns what answers a request at path without generating.
func (h *Handler) askRoute(path string) func([]byte) (any, *apiError) {
	switch path {
	case "/tokenize", "/v1/tokenize":
		return h.serveTokenize
	case "/detokenize", "/v1/detokenize":
		return h.serveDetokenize
	case "/v1/messages/count_tokens":
		return h.serveCountTokens
	case "/api/show":
		return h.serveShow
	case "/v1/embeddings", "/api/embed", "/api/embeddings":
		return h.refuseEmbeddings
	}
	return nil
}

// refuseEmbeddings says that there are none yet.
func (h *Handler) refuseEmbeddings([]byte) (any, *apiError) {
	e := invalid("", "unsupported_endpoint", "embeddings are not supported yet: the stages of a route do not give their hidden states away")
	e.status = http.StatusNotImplemented
	return nil, e
}

// ask answers a request that takes no session.
func (h *Handler) ask(w http.ResponseWriter, r *http.Request, answer func([]byte) (any, *apiError)) *apiError {
	if r.Method != http.MethodPost {
		return wrongMethod(w, r, http.MethodPost)
	}
	body, done, err := h.readBody(w, r)
	if err != nil {
		return err
	}
	defer done()
	v, err := answer(body)
	if err == nil {
		writeJSON(w, http.StatusOK, v)
	}
	return err
}

// A dialect is how a family of clients reads errors.
type dialect func(*apiError) any

// dialectOf returns the dialect of the clients that use path.
func dialectOf(path string) dialect {
	switch {
	case strings.HasPrefix(path, "/v1/messages"):
		return anthropicError
	case strings.HasPrefix(path, "/api/"):
		return ollamaError
	}
	return func(e *apiError) any { return e.body() }
}

func get(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter, *http.Request) *apiError) *apiError {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return wrongMethod(w, r, "GET, HEAD")
	}
	return serve(w, r)
}

func wrongMethod(w http.ResponseWriter, r *http.Request, allow string) *apiError {
	w.Header().Set("Allow", allow)
	e := invalid("", "method_not_allowed", "%s is not for %s, want %s", r.URL.Path, short([]byte(r.Method)), allow)
	e.status = http.StatusMethodNotAllowed
	return e
}

// post answers a request that generates; read makes the job of its body.
func (h *Handler) post(w http.ResponseWriter, r *http.Request, key int, read func([]byte) (*job, *apiError)) *apiError {
	if r.Method != http.MethodPost {
		return wrongMethod(w, r, http.MethodPost)
	}
	body, done, err := h.readBody(w, r)
	if err != nil {
		return err
	}
	defer done()
	// Only now: a client that sends slowly takes no place.
	leave, err := h.admit(key)
	if err != nil {
		return err
	}
	defer leave()
	j, err := read(body)
	if err != nil {
		return err
	}
	j.key, j.asked = key, r.Header.Get("X-Shardnode") != ""
	if f, ok := j.format.(*ollamaFormat); ok && j.empty {
		writeJSON(w, http.StatusOK, f.loaded())
		return nil
	}
	if j.stream {
		return h.stream(w, r, j)
	}
	return h.whole(w, r, j)
}

// readChat makes the job of a chat request.
func (h *Handler) readChat(body []byte) (*job, *apiError) {
	req, err := parseChat(body)
	if err != nil {
		return nil, err
	}
	return h.chatJob(&req, func(m Model) format {
		return chatFormat{answer: newAnswer("chatcmpl-", m.ID), withUsage: req.usage}
	})
}

// chatJob makes the job of a chat, in whatever words it was asked for.
func (h *Handler) chatJob(req *chatRequest, f func(Model) format) (*job, *apiError) {
	j, err := h.newJob(req.settings)
	if err != nil {
		return nil, err
	}
	j.format = f(j.target)
	j.prepare = func() ([]prompt, error) {
		p, err := chatPrompt(req, j.target.Text, time.Now())
		if err == nil {
			err = req.understand(j, p.ids)
		}
		return []prompt{p}, err
	}
	return j, nil
}

// readCompletion makes the job of a completion request.
func (h *Handler) readCompletion(body []byte) (*job, *apiError) {
	req, err := parseCompletion(body)
	if err != nil {
		return nil, err
	}
	j, err := h.newJob(req.settings)
	if err != nil {
		return nil, err
	}
	j.format = completionFormat{answer: newAnswer("cmpl-", j.target.ID), withUsage: req.usage}
	j.prepare = func() ([]prompt, error) {
		if req.want.some() {
			form, err := j.target.Text.Form(req.want.Constraint)
			if err != nil {
				return nil, invalid("grammar", "invalid_grammar", "%v", err)
			}
			j.form = form
		}
		return completionPrompts(req, j.target.Text)
	}
	return j, nil
}

// newJob finds the model that s asks for.
func (h *Handler) newJob(s settings) (*job, *apiError) {
	m, err := h.readable(s.model)
	if err != nil {
		return nil, err
	}
	if err := checkBias(s.sampling, m.Text.Tokenizer.Len()); err != nil {
		return nil, err
	}
	return &job{settings: s, target: m}, nil
}
