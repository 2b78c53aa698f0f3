package web

import (
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// A Source is what the pages show. Its methods are called from many goroutines
// at once.
type Source interface {
	// Swarm returns the swarm now. It must not block.
	Swarm() Swarm
	// Changed returns a channel that is closed when Swarm has changed.
	Changed() <-chan struct{}
	// Plan asks the planner; an error is for people.
	Plan(ctx context.Context, w WhatIf) (Plan, error)
	// Invite makes an invitation; an error is for people.
	Invite(ctx context.Context, i Invite) (Invited, error)
}

// Config holds the settings of a [Handler]. Source, API and Key must be set.
type Config struct {
	Source Source
	// API answers everything that is not a page.
	API http.Handler
	// Metrics answers /metrics, to those with the key. Default: API does.
	Metrics http.Handler
	// Key is what the feed wants as "Authorization: Bearer KEY". Several lines
	// are several keys.
	Key string
	// AllowHosts are names by which browsers reach this member, besides
	// localhost and IP addresses.
	AllowHosts []string
	// Every is how often the feed tells of what is counted all the time, such as
	// tokens. Default: 1 s.
	Every time.Duration
	// Logger hears what goes wrong.
	Logger zerolog.Logger
}

// A Handler serves the pages.
type Handler struct {
	cfg    Config
	keys   [][sha256.Size]byte // their hashes
	assets map[string]asset
	feed   *feed
}

var _ http.Handler = (*Handler)(nil)

//go:embed pages
var pages embed.FS

// An asset is a file of the pages.
type asset struct {
	body        []byte
	contentType string
	tag         string // for If-None-Match
}

// New returns the handler that c describes.
func New(c Config) (*Handler, error) {
	switch {
	case c.Source == nil || c.API == nil:
		return nil, errors.New("web: Source and API must be set")
	case strings.TrimSpace(c.Key) == "":
		return nil, errors.New("web: Key is empty")
	case c.Every < 0:
		return nil, fmt.Errorf("web: Every is %v, want 0 or more", c.Every)
	}
	c.Every = cmp.Or(c.Every, time.Second)
	h := &Handler{cfg: c, feed: newFeed()}
	for key := range strings.Lines(c.Key) {
		if key = strings.TrimSpace(key); key != "" {
			h.keys = append(h.keys, sha256.Sum256([]byte(key)))
		}
	}
	var err error
	h.assets, err = readAssets()
	return h, err
}

// readAssets returns the pages by the path that they are served at.
func readAssets() (map[string]asset, error) {
	out := map[string]asset{}
	err := fs.WalkDir(pages, "pages", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := pages.ReadFile(p)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		a := asset{body: body, contentType: contentType(p), tag: `"` + hex.EncodeToString(sum[:8]) + `"`}
		switch name := path.Base(p); name {
		case "chat.html":
			out["/"] = a
		case "swarm.html":
			out["/swarm"] = a
		default:
			out["/ui/"+name] = a
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("web: read the pages: %w", err)
	}
	return out, nil
}

// contentType does not ask the system, whose tables are not always right.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return mime.TypeByExtension(path.Ext(name))
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, page := h.assets[r.URL.Path]
	ours := page || strings.HasPrefix(r.URL.Path, "/ui/") || r.URL.Path == "/metrics" && h.cfg.Metrics != nil
	if !ours {
		h.cfg.API.ServeHTTP(w, r)
		return
	}
	secure(w.Header())
	if !h.mayEnter(r) {
		refuse(w, http.StatusForbidden, "this name or page may not come here: open it by localhost or the IP address")
		return
	}
	if page {
		serveAsset(w, r, a)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	if !h.hasKey(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "the API key is missing or wrong")
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /ui/events":
		h.serveEvents(w, r)
	case "GET /ui/swarm":
		answer(w, Picture{Swarm: h.cfg.Source.Swarm(), Log: h.feed.since(0)}, nil)
	case "POST /ui/plan":
		ask(w, r, h.cfg.Source.Plan)
	case "POST /ui/invite":
		ask(w, r, h.cfg.Source.Invite)
	case "GET /metrics":
		h.cfg.Metrics.ServeHTTP(w, r)
	default:
		refuse(w, http.StatusNotFound, "there is nothing here")
	}
}

// serveAsset answers with a page or a part of one.
func serveAsset(w http.ResponseWriter, r *http.Request, a asset) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "pages are read with GET")
		return
	}
	w.Header().Set("Cache-Control", "no-cache") // ask again, it may be a newer program
	w.Header().Set("ETag", a.tag)
	if r.Header.Get("If-None-Match") == a.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", a.contentType)
	_, _ = w.Write(a.body) // the browser may be gone
}

// secure sets what a browser must keep to on these pages: scripts and styles
// of this address alone, no frames, no HTML made of strings.
func secure(header http.Header) {
	header.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "+
		"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("X-Frame-Options", "DENY")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Cross-Origin-Resource-Policy", "same-origin")
}
