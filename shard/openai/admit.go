package openai

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// admit counts a request in, or refuses it: at most MaxRunning + MaxQueued are
// inside.
func (h *Handler) admit() (leave func(), err *apiError) {
	most := int64(h.cfg.MaxRunning + h.cfg.MaxQueued)
	if h.admitted.Add(1) > most {
		h.admitted.Add(-1)
		return nil, tooMany("%d requests run or wait already: try again later", most)
	}
	return func() { h.admitted.Add(-1) }, nil
}

func tooMany(format string, n int64) *apiError {
	e := invalid("", "rate_limit_exceeded", format, n)
	e.status, e.kind, e.retryAfter = http.StatusTooManyRequests, kindRate, 5*time.Second
	return e
}

// turn waits until fewer than MaxRunning requests generate. Requests come in
// the order in which they asked.
func (h *Handler) turn(ctx context.Context) (release func(), err error) {
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// readBody reads the JSON body of r. done gives its memory back to the bound
// of all bodies.
func (h *Handler) readBody(w http.ResponseWriter, r *http.Request) (body []byte, done func(), _ *apiError) {
	if t := r.Header.Get("Content-Type"); t != "" {
		if media, _, err := mime.ParseMediaType(t); err != nil || media != "application/json" {
			e := invalid("", "unsupported_media_type", "Content-Type is %q, want application/json: with curl add -H 'Content-Type: application/json'", short([]byte(t)))
			e.status = http.StatusUnsupportedMediaType
			return nil, nil, e
		}
	}
	most := h.cfg.MaxBodyBytes
	size := r.ContentLength
	if size > most {
		return nil, nil, h.tooLarge()
	}
	if size < 0 {
		size = most
	}
	if h.bodies.Add(size) > bodyShare*most {
		h.bodies.Add(-size)
		return nil, nil, tooMany("%d bytes of requests are being read already: try again later", bodyShare*most)
	}
	done = func() { h.bodies.Add(-size) }
	// Not every writer knows deadlines; those of net/http do.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	if err != nil {
		done()
		return nil, nil, h.bodyError(err)
	}
	// The connection is read on for its end, which may be far.
	_ = rc.SetReadDeadline(time.Time{})
	return body, done, nil
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
	e := invalid("", "incomplete_body", "read the body: %v", err)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		e.status, e.message = http.StatusRequestTimeout, "the body did not come within "+bodyTimeout.String()
	}
	return e
}
