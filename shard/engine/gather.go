package engine

import "time"

// gatherPart is the part of a batch's time that the loop waits for sessions that
// should be back within it: eight sessions decode several times as fast in one
// batch as one after another, so that losing an eighth is worth the chance.
const gatherPart = 8

// decodingTime is how long after its last token a session counts as one that
// decodes: prompts of others are cut into short batches meanwhile.
const decodingTime = time.Second

// A rhythm is what the engine knows of when a session that decodes comes back
// with its next token.
type rhythm struct {
	answered time.Time     // when it was given its last token; zero if it has a step in the queue
	away     time.Duration // what it took to come back lately; 0 if it never has
}

// answer notes that the session was given a token.
func (r *rhythm) answer(now time.Time) { r.answered = now }

// arrive notes that the session has come with a step.
func (r *rhythm) arrive(now time.Time) {
	if r.answered.IsZero() {
		return
	}
	// A person who reads an answer says nothing of what is to come.
	if away := now.Sub(r.answered); away < decodingTime {
		r.away += (away - r.away) / 4
	}
	r.answered = time.Time{}
}

// due reports whether the session should come within a window around now. So
// one that is late is waited for a while, and one that is gone is not.
func (r *rhythm) due(now time.Time, window time.Duration) bool {
	if r.answered.IsZero() {
		return false
	}
	left := r.answered.Add(r.away).Sub(now)
	return -window < left && left < window
}

// decodes reports whether the session is about to decode its next token.
func (r *rhythm) decodes(now time.Time) bool {
	return !r.answered.IsZero() && now.Sub(r.answered) < decodingTime
}

// gather waits a moment before a batch is chosen, while sessions are due that
// could run in it. Without it, sessions that answer at once fall into groups
// that take turns, each batch reading all weights for its part of them.
func (e *Engine) gather() {
	b := &e.batch
	window := b.took / gatherPart
	began := time.Now()
	for {
		if !e.worthWaiting(time.Now(), window) {
			return
		}
		left := window - time.Since(began)
		if left <= 0 {
			return
		}
		b.timer.Reset(left)
		select {
		case <-e.wake:
			b.timer.Stop()
		case <-b.timer.C:
			return
		}
	}
}

// worthWaiting reports whether a session is due, and there is another to run
// it with.
func (e *Engine) worthWaiting(now time.Time, window time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	due := 0
	for _, s := range e.sessions {
		if s.rhythm.due(now, window) {
			due++
		}
	}
	return due > 1 || due == 1 && len(e.queue) > 0
}

// decoding reports whether a session that has no step in the queue decodes all
// the same. e.mu is held.
func (e *Engine) decoding(now time.Time) bool {
	for _, s := range e.sessions {
		if s.rhythm.decodes(now) {
			return true
		}
	}
	return false
}
