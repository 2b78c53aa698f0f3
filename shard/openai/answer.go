package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// whole answers j with one JSON value.
func (h *Handler) whole(w http.ResponseWriter, r *http.Request, j *job) *apiError {
	var choices []grown
	out, err := h.run(r.Context(), j, func(p piece) error {
		if p.choice == len(choices) {
			choices = append(choices, grown{})
		}
		c := &choices[p.choice]
		c.text.WriteString(p.text)
		c.tokens = append(c.tokens, p.tokens...)
		c.finish = p.finish
		return nil
	})
	h.logEnd(j, out, err)
	if err != nil {
		return apiErrorOf(err)
	}
	writeJSON(w, http.StatusOK, j.format.whole(choices, out.usage(), j.extra(out)))
	return nil
}

// pieceBuffer is how many pieces may wait for a slow client; then generating
// waits too.
const pieceBuffer = 64

// stream answers j with server-sent events. An error before the first is
// returned; a later one is an event, and [DONE] does not come.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, j *job) *apiError {
	ctx, cancel := context.WithCancel(r.Context())
	pieces := make(chan piece, pieceBuffer)
	var out outcome
	var failed error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(pieces)
		out, failed = h.run(ctx, j, func(p piece) error {
			select {
			case pieces <- p:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
	})
	// A panic of a writer must not leave the goroutine behind either.
	defer wg.Wait()
	defer cancel()
	s := newEvents(w)
	if !h.pump(s, pieces, j) {
		return nil // nobody reads any more
	}
	wg.Wait()
	h.logEnd(j, out, failed)
	switch {
	case failed != nil && r.Context().Err() != nil:
	case failed != nil && !s.begun:
		return apiErrorOf(failed)
	case failed != nil:
		s.add(apiErrorOf(failed).body())
		_ = s.flush() // the last words, to whoever still reads
	default:
		if j.usage || j.asked {
			s.add(j.format.usage(out.usage(), j.extra(out)))
		}
		s.buf.WriteString("data: [DONE]\n\n")
		_ = s.flush()
	}
	return nil
}

// pump writes pieces until there are no more, and comments when none comes for
// a while. It returns false when the client takes no more.
func (h *Handler) pump(s *events, pieces <-chan piece, j *job) bool {
	timer := time.NewTimer(h.cfg.KeepAlive)
	defer timer.Stop()
	at := -1 // the choice that was opened last
	for {
		select {
		case p, more := <-pieces:
			for more {
				if p.choice != at {
					at = p.choice
					if v := j.format.open(at); v != nil {
						s.add(v)
					}
				}
				s.add(j.format.chunk(p))
				if len(pieces) == 0 {
					break
				}
				p, more = <-pieces
			}
			if s.flush() != nil {
				return false
			}
			if !more {
				return true
			}
			j.waiting.set("the next token")
		case <-timer.C:
			s.comment("waiting for " + j.waiting.String())
			if s.flush() != nil {
				return false
			}
		}
		timer.Reset(h.cfg.KeepAlive)
	}
}

// events writes server-sent events (WHATWG HTML, section 9.2).
type events struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
	buf   bytes.Buffer
	enc   *json.Encoder
}

func newEvents(w http.ResponseWriter) *events {
	s := &events{w: w, rc: http.NewResponseController(w)}
	s.enc = json.NewEncoder(&s.buf)
	s.enc.SetEscapeHTML(false)
	return s
}

// add puts one event into the buffer. v can always be encoded.
func (s *events) add(v any) {
	s.buf.WriteString("data: ")
	if err := s.enc.Encode(v); err != nil {
		panic("openai: encode an event: " + err.Error())
	}
	s.buf.WriteByte('\n') // Encode wrote the other
}

// comment puts a line into the buffer that clients pass over.
func (s *events) comment(text string) {
	s.buf.WriteString(": " + strings.NewReplacer("\n", " ", "\r", " ").Replace(text) + "\n\n")
}

// flush sends the buffer. The status line goes with the first.
func (s *events) flush() error {
	if s.buf.Len() == 0 {
		return nil
	}
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		s.w.Header().Set("X-Accel-Buffering", "no") // nginx would hold it back
		s.w.WriteHeader(http.StatusOK)
	}
	// Not every writer knows deadlines; those of net/http do.
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := s.w.Write(s.buf.Bytes())
	s.buf.Reset()
	if err != nil {
		return err
	}
	return s.rc.Flush()
}

// logEnd logs what became of a request.
func (h *Handler) logEnd(j *job, out outcome, err error) {
	e := h.cfg.Logger.Debug()
	if err != nil {
		e = h.cfg.Logger.Info().Err(err)
	}
	e.Str("model", j.target.ID).Int("tokens", out.answerTokens).Dur("took", out.times.TTFT+out.times.Decode).Msg("request ended")
}
