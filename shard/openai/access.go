package openai

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// mayEnter checks what a browser says of where a request comes from. A web
// page that points its own name at this address (DNS rebinding) is known by
// the Host header, one of another origin by the Origin header. Neither has the
// key; this keeps them from guessing and from seeing /health.
func (h *Handler) mayEnter(w http.ResponseWriter, r *http.Request) *apiError {
	if !h.hostAllowed(r.Host) {
		e := invalid("", "host_not_allowed", "host %q is not allowed: use localhost or the IP address, or allow the name", short([]byte(r.Host)))
		e.status = http.StatusForbidden
		return e
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	w.Header().Add("Vary", "Origin")
	same := strings.EqualFold(origin, "http://"+r.Host) || strings.EqualFold(origin, "https://"+r.Host)
	if !same && !slices.Contains(h.cfg.AllowOrigins, "*") && !slices.ContainsFunc(h.cfg.AllowOrigins, func(o string) bool {
		return strings.EqualFold(o, origin)
	}) {
		e := invalid("", "origin_not_allowed", "pages of %q may not use this API: allow the origin first", short([]byte(origin)))
		e.status = http.StatusForbidden
		return e
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Access-Control-Expose-Headers", "Retry-After, Server-Timing")
	return nil
}

// hostAllowed reports whether host is an address, which no name can be
// rebound to, or a name that is ours.
func (h *Handler) hostAllowed(host string) bool {
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	// A client of HTTP/1.0 may send no host; no browser does that.
	if name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	return slices.ContainsFunc(h.cfg.AllowHosts, func(o string) bool { return strings.EqualFold(o, name) })
}

// preflight answers a browser that asks what it may send (CORS).
func preflight(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Access-Control-Allow-Methods", "GET, POST")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		header.Set("Access-Control-Allow-Headers", asked)
	}
	header.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

// checkKey compares the key of r with ours, in a time that says nothing of
// either, and returns which it is.
func (h *Handler) checkKey(r *http.Request) (int, *apiError) {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if own := r.Header.Get("X-Api-Key"); own != "" && key == "" { // Anthropic's clients
		scheme, key = "Bearer", own
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(key)))
	which := -1
	for i := range h.keySums {
		if subtle.ConstantTimeCompare(sum[:], h.keySums[i][:]) == 1 {
			which = i
		}
	}
	if strings.EqualFold(scheme, "Bearer") && which >= 0 {
		return which, nil
	}
	e := invalid("", "invalid_api_key", "the API key is missing or wrong: send Authorization: Bearer KEY")
	e.status = http.StatusUnauthorized
	return 0, e
}
