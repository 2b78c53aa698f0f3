package openai

import (
	"net/http"
	"strings"
)

// modelJSON is OpenAI's Model.
type modelJSON struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	OwnedBy string `json:"owned_by"`
}

func describe(m Model) modelJSON {
	return modelJSON{ID: m.ID, Object: "model", Created: max(0, m.Created.Unix()), OwnedBy: "shardnode"}
}

// model finds a model by its name.
func (h *Handler) model(id string) (Model, *apiError) {
	there := "none yet"
	for i, m := range h.cfg.Backend.Models() {
		switch {
		case m.ID == id || m.ID == strings.TrimSuffix(id, ":latest"):
			return m, nil
		case i == 0:
			there = m.ID
		case i < maxNamed:
			there += ", " + m.ID
		case i == maxNamed:
			there += " and more"
		}
	}
	e := invalid("model", "model_not_found", "the model %q does not exist here; there is %s (GET /v1/models)", short([]byte(id)), there)
	e.status = http.StatusNotFound
	return Model{}, e
}

// maxNamed bounds how many models an error names.
const maxNamed = 20

// readable is model for one whose text is needed.
func (h *Handler) readable(id string) (Model, *apiError) {
	m, err := h.model(id)
	if err != nil || m.Text != nil {
		return m, err
	}
	if m.Learn == nil {
		return m, unavailable("model_loading", "the model "+m.ID+" is not ready yet", 0)
	}
	text, tokens, bad := m.Learn()
	if bad != nil {
		return m, unavailable("model_loading", "the model "+m.ID+" is not ready yet: "+bad.Error(), 0)
	}
	m.Text, m.ContextTokens = text, tokens
	return m, nil
}

func (h *Handler) serveModels(w http.ResponseWriter, _ *http.Request) *apiError {
	list := struct {
		Object string      `json:"object"`
		Data   []modelJSON `json:"data"`
	}{"list", []modelJSON{}}
	for _, m := range h.cfg.Backend.Models() {
		list.Data = append(list.Data, describe(m))
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (h *Handler) serveModel(w http.ResponseWriter, r *http.Request) *apiError {
	m, err := h.model(strings.TrimPrefix(r.URL.Path, "/v1/models/"))
	if err == nil {
		writeJSON(w, http.StatusOK, describe(m))
	}
	return err
}

// serveHealth says that the API is up, and no more: it asks for no key.
func (h *Handler) serveHealth(w http.ResponseWriter, _ *http.Request) *apiError {
	writeJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
	return nil
}
