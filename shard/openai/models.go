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
	for _, m := range h.cfg.Backend.Models() {
		if m.ID == id || m.ID == strings.TrimSuffix(id, ":latest") {
			return m, nil
		}
	}
	e := invalid("model", "model_not_found", "the model %q does not exist here: GET /v1/models lists those that do", short([]byte(id)))
	e.status = http.StatusNotFound
	return Model{}, e
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
