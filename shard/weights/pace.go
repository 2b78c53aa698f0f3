package weights

import (
	"context"
	"io"
	"sync"
	"time"
)

// A pace bounds the bytes that all streams of a server send a second.
type pace struct {
	mu          sync.Mutex // guards what follows
	bytesPerSec float64    // 0: no bound
	free        time.Time  // when what was let through before has had its time
}

// How a bound is kept: what is sent at a time takes paceTime, but at least
// paceChunk is, so that a client whose piece comes slowly sees it coming; and who
// was woken late may catch up on as much as paceLate.
const (
	paceTime  = 20 * time.Millisecond
	paceChunk = 16 << 10
	paceLate  = 50 * time.Millisecond
)

// set changes the bound.
func (p *pace) set(bytesPerSec float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bytesPerSec, p.free = bytesPerSec, time.Time{}
}

// take returns how many of want bytes may be sent together, and when.
func (p *pace) take(now time.Time, want int) (n int, wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bytesPerSec <= 0 {
		return want, 0
	}
	if first := now.Add(-paceLate); p.free.Before(first) {
		p.free = first
	}
	wait = max(0, p.free.Sub(now))
	n = min(want, max(paceChunk, int(min(p.bytesPerSec, 1<<30)*paceTime.Seconds())))
	p.free = p.free.Add(time.Duration(float64(n) / p.bytesPerSec * float64(time.Second)))
	return n, wait
}

// A pacedWriter writes at a server's pace until done is closed.
type pacedWriter struct {
	done <-chan struct{}
	w    io.Writer
	p    *pace
}

// Write writes b, in parts if there is a bound.
func (w *pacedWriter) Write(b []byte) (int, error) {
	sent := 0
	for sent < len(b) {
		n, wait := w.p.take(time.Now(), len(b)-sent)
		if wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-w.done:
				timer.Stop()
				return sent, context.Canceled
			case <-timer.C:
			}
		}
		k, err := w.w.Write(b[sent : sent+n])
		sent += k
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}
