package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// mayEnter reports whether the host that a browser names is an address, which
// no page of somebody else can point its own name at (DNS rebinding), or a name
// that is ours, and whether it is not a page of another origin that asks.
func (h *Handler) mayEnter(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" &&
		!strings.EqualFold(origin, "http://"+r.Host) && !strings.EqualFold(origin, "https://"+r.Host) {
		return false
	}
	name := r.Host
	if n, _, err := net.SplitHostPort(name); err == nil {
		name = n
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	return slices.ContainsFunc(h.cfg.AllowHosts, func(o string) bool { return strings.EqualFold(o, name) })
}

// hasKey compares the key of r with ours, in a time that says nothing of them.
func (h *Handler) hasKey(r *http.Request) bool {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(strings.TrimSpace(key)))
	found := 0
	for _, k := range h.keys {
		found |= subtle.ConstantTimeCompare(sum[:], k[:])
	}
	return strings.EqualFold(scheme, "Bearer") && found == 1
}

// maxAskBytes bounds what a page asks.
const maxAskBytes = 64 << 10

// ask reads a question, puts it, and answers.
func ask[Q, A any](w http.ResponseWriter, r *http.Request, put func(context.Context, Q) (A, error)) {
	var q Q
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxAskBytes))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		refuse(w, http.StatusBadRequest, "the question can't be read: "+err.Error())
		return
	}
	a, err := put(r.Context(), q)
	answer(w, a, err)
}

// answer answers with v, or says why not.
func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		refuse(w, http.StatusConflict, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the browser may be gone
}

// refuse answers with a reason.
func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // the browser may be gone
		Error string `json:"error"`
	}{why})
}
