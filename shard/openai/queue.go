package openai

import (
	"context"
	"slices"
	"sync"
)

// A queue lets a bounded number of requests run. Those that wait are served key
// by key: each key's oldest in turn, so that one client's hundred requests do
// not keep another's first one waiting.
type queue struct {
	most int // that run at once

	mu      sync.Mutex // guards what follows
	running int
	lines   []*line // of the keys that wait, in the order of their turns
}

// A line is the requests of one key that wait, oldest first.
type line struct {
	key  int
	wait []chan struct{} // closed when the request may run
}

// enter waits for a turn of key. release ends it.
func (q *queue) enter(ctx context.Context, key int) (release func(), err error) {
	q.mu.Lock()
	if q.running < q.most {
		q.running++
		q.mu.Unlock()
		return q.leave, nil
	}
	turn := make(chan struct{})
	l := q.line(key)
	l.wait = append(l.wait, turn)
	q.mu.Unlock()
	select {
	case <-turn:
		return q.leave, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	at := slices.Index(l.wait, turn)
	if at >= 0 {
		l.wait = slices.Delete(l.wait, at, at+1)
		q.drop(l)
	}
	q.mu.Unlock()
	if at < 0 { // the turn came at the same time
		q.leave()
	}
	return nil, context.Cause(ctx)
}

// line returns the line of key, a new one at the end if it has none. q is locked.
func (q *queue) line(key int) *line {
	for _, l := range q.lines {
		if l.key == key {
			return l
		}
	}
	l := &line{key: key}
	q.lines = append(q.lines, l)
	return l
}

// drop forgets l if nobody waits in it. q is locked.
func (q *queue) drop(l *line) {
	if i := slices.Index(q.lines, l); i >= 0 && len(l.wait) == 0 {
		q.lines = slices.Delete(q.lines, i, i+1)
	}
}

// leave gives the turn to the next.
func (q *queue) leave() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.lines) == 0 {
		q.running--
		return
	}
	l := q.lines[0]
	close(l.wait[0])
	l.wait = l.wait[1:]
	q.lines = q.lines[1:]
	if len(l.wait) > 0 {
		q.lines = append(q.lines, l)
	}
}

// idle reports whether nothing runs.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running == 0
}
