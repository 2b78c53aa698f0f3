package openai

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// admit counts a request of a key in, or refuses it: at most MaxRunning +
// MaxQueued are inside, and where there are several keys, one key has at most
// half of them.
func (h *Handler) admit(key int) (leave func(), err *apiError) {
	most := int64(h.cfg.MaxRunning + h.cfg.MaxQueued)
	leave = func() {
		h.admitted.Add(-1)
		h.ofKey[key].Add(-1)
	}
	all, own := h.admitted.Add(1), h.ofKey[key].Add(1)
	if share := max(1, most/2); len(h.ofKey) > 1 && own > share {
		leave()
		return nil, tooMany("%d requests of this key run or wait already: try again later", share)
	}
	if all > most {
		leave()
		return nil, tooMany("%d requests run or wait already: try again later", most)
	}
	return leave, nil
}

func tooMany(format string, n int64) *apiError {
	e := invalid("", "rate_limit_exceeded", format, n)
	e.status, e.kind, e.retryAfter = http.StatusTooManyRequests, kindRate, 5*time.Second
	return e
}

// readBody reads the JSON body of r. done gives its memory back to the bound
// of all bodies.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request) (body []byte, done func(), _ *apiError) {
	// Ollama's own examples say nothing of the type, and curl then says a wrong one.
	if t := r.Header.Get("Content-Type"); t != "" && !strings.HasPrefix(r.URL.Path, "/api/") {
		if media, _, err := mime.ParseMediaType(t); err != nil || media != "application/json" {
			e := invalid("", "unsupported_media_type", "Content-Type is %q, want application/json: with curl add -H 'Content-Type: application/json'", short([]byte(t)))
			e.status = http.StatusUnsupportedMediaType
			return nil, nil, e
		}
	}
	most := h.cfg.MaxBodyBytes
	if r.ContentLength > most {
		return nil, nil, h.tooLarge()
	}
	counted := &countedBody{from: http.MaxBytesReader(w, r.Body, most), all: &h.bodies, most: bodyShare * most}
	done = func() { h.bodies.Add(-counted.n) }
	// Not every writer knows deadlines; those of net/http do.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(counted)
	if err != nil {
		done()
		return nil, nil, h.bodyError(err)
	}
	// The connection is read on for its end, which may be far.
	_ = rc.SetReadDeadline(time.Time{})
	return body, done, nil
}

// A countedBody counts the bytes of a body as they come: a client that only says
// that it will send much takes nothing from others.
type countedBody struct {
	from io.Reader
	n    int64
	all  *atomic.Int64
	most int64 // of all bodies
}

var errBodies = errors.New("too many bytes of requests are being read")

// Read reads on.
func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	if c.all.Add(int64(n)) > c.most {
		return n, errBodies
	}
	return n, err
}

func (h *Handler) tooLarge() *apiError {
	e := invalid("", "request_too_large", "the body is larger than %d bytes", h.cfg.MaxBodyBytes)
	e.status = http.StatusRequestEntityTooLarge
	return e
}

func (h *Handler) bodyError(err error) *apiError {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return h.tooLarge()
	}
	if errors.Is(err, errBodies) {
		return tooMany("%d bytes of requests are being read already: try again later", bodyShare*h.cfg.MaxBodyBytes)
	}
	e := invalid("", "incomplete_body", "read the body: %v", err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		e.status, e.message = http.StatusRequestTimeout, "the body did not come within "+bodyTimeout.String()
	}
	return e
}
