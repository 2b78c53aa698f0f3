package openai

import (
	"context"
	"net/http"
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
		choices[p.choice].add(p)
		return nil
	})
	h.logEnd(j, out, err)
	if err != nil {
		return apiErrorOf(err)
	}
	w.Header().Set("Server-Timing", out.serverTiming())
	writeJSON(w, http.StatusOK, j.format.whole(choices, out, j.extra(out)))
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
	s := newEvents(w, j.format.mediaType())
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
		j.format.fail(s, apiErrorOf(failed))
		_ = s.flush() // the last words, to whoever still reads
	default:
		j.format.end(s, out, j.extra(out))
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
					j.format.open(s, p)
				}
				j.format.add(s, p)
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

// logEnd logs what became of a request.
func (h *Handler) logEnd(j *job, out outcome, err error) {
	e := h.cfg.Logger.Debug()
	if err != nil {
		e = h.cfg.Logger.Info().Err(err)
	}
	e.Str("model", j.target.ID).Int("tokens", out.answerTokens).Dur("took", out.times.TTFT+out.times.Decode).Msg("request ended")
}
