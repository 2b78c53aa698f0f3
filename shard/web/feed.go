package web

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A Picture is the swarm and what happened there.
type Picture struct {
	Swarm Swarm   `json:"swarm"`
	Log   []Event `json:"log"`
}

// An Event is something that happened, or was decided.
type Event struct {
	Seq  uint64 `json:"seq"`
	At   int64  `json:"at_unix_ms"`
	Kind string `json:"kind"`
	Text string `json:"text"`
}

// The kinds of an [Event].
const (
	KindPeer   = "peer"   // a member came, went, or changed
	KindPlan   = "plan"   // who holds what was decided
	KindLoad   = "load"   // layers arrive
	KindHeal   = "heal"   // sessions went on elsewhere
	KindNotice = "notice" // all else
)

// maxEvents is how many events are kept; older ones go.
const maxEvents = 500

// A feed is what readers of the live page get: the last picture, encoded once
// for all of them, and the log.
type feed struct {
	mu      sync.Mutex // guards what follows
	swarm   []byte     // JSON; nil before the first look
	log     []Event
	seq     uint64
	readers int
	changed chan struct{} // closed and made anew at every change
	ended   chan struct{} // closed when no more is told
	end     sync.Once
}

func newFeed() *feed { return &feed{changed: make(chan struct{}), ended: make(chan struct{})} }

// Close ends the feeds of pages that are open, so that a server which shuts
// down does not wait for them. It may be called twice.
func (h *Handler) Close() { h.feed.end.Do(func() { close(h.feed.ended) }) }

// Note writes down that something happened. Two notes about the same loading
// in a row become one.
func (h *Handler) Note(kind, text string) { h.feed.note(kind, text, time.Now()) }

// Log returns the events after seq, oldest first.
func (h *Handler) Log(seq uint64) []Event { return h.feed.since(seq) }

func (f *feed) note(kind, text string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	e := Event{Seq: f.seq, At: now.UnixMilli(), Kind: kind, Text: text}
	if n := len(f.log); kind == KindLoad && n > 0 && f.log[n-1].Kind == KindLoad {
		f.log = f.log[:n-1] // it says how far the loading is: the last word counts
	}
	if len(f.log) >= maxEvents {
		f.log = slices.Delete(f.log, 0, len(f.log)-maxEvents+1)
	}
	f.log = append(f.log, e)
	f.wake()
}

// wake tells readers of a change. The caller holds the lock.
func (f *feed) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *feed) since(seq uint64) []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []Event{}
	for _, e := range f.log {
		if e.Seq > seq {
			out = append(out, e)
		}
	}
	return out
}

// show sets the picture.
func (f *feed) show(swarm []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.swarm = swarm
	f.wake()
}

// look returns the picture and what tells of the next one.
func (f *feed) look() ([]byte, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.swarm, f.changed
}

// leastPause is the least time between two pictures: a screen shows no more,
// and a storm of gossip must cost little.
const leastPause = 100 * time.Millisecond

// Watch looks at the swarm at every change, and once in Config.Every, until ctx
// ends.
func (h *Handler) Watch(ctx context.Context) {
	var was *Swarm
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pace.C:
		}
		changed := h.cfg.Source.Changed()
		now := h.cfg.Source.Swarm()
		for _, e := range differences(was, &now) {
			h.feed.note(e.Kind, e.Text, time.UnixMilli(now.At))
		}
		was = &now
		b, err := json.Marshal(now)
		if err != nil {
			h.cfg.Logger.Error().Err(err).Msg("swarm can't be encoded")
			return
		}
		h.feed.show(b)
		pace.Reset(h.cfg.Every)
		select {
		case <-ctx.Done():
			return
		case <-changed:
			pace.Reset(leastPause)
		case <-pace.C:
			pace.Reset(0)
		}
	}
}

const (
	// maxReaders bounds the pages that are open at once.
	maxReaders = 64
	// writeTimeout bounds one write to a page that does not read.
	writeTimeout = 20 * time.Second
)

// serveEvents sends pictures and events as server-sent events until the page
// closes (WHATWG HTML, section 9.2).
func (h *Handler) serveEvents(w http.ResponseWriter, r *http.Request) {
	f := h.feed
	if !f.enter() {
		w.Header().Set("Retry-After", "10")
		refuse(w, http.StatusServiceUnavailable, "too many pages are open: close some")
		return
	}
	defer f.leave()
	seen, _ := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64) // none: all of it
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold it back
	rc := http.NewResponseController(w)
	var shown []byte
	var out bytes.Buffer
	for {
		swarm, changed := f.look()
		for _, e := range f.since(seen) {
			seen = e.Seq
			event(&out, "log", seen, e)
		}
		if swarm != nil && !bytes.Equal(swarm, shown) {
			shown = swarm
			event(&out, "swarm", seen, json.RawMessage(swarm))
		}
		if out.Len() > 0 {
			_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every writer has one
			_, err := w.Write(out.Bytes())
			out.Reset()
			if err != nil || rc.Flush() != nil {
				return
			}
		}
		select {
		case <-r.Context().Done():
			return
		case <-f.ended:
			return
		case <-changed:
		}
	}
}

// event appends one event.
func event(out *bytes.Buffer, name string, seq uint64, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("web: encode an event: " + err.Error())
	}
	out.WriteString("id: " + strconv.FormatUint(seq, 10) + "\nevent: " + name + "\ndata: ")
	out.Write(b)
	out.WriteString("\n\n")
}

func (f *feed) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.readers >= maxReaders {
		return false
	}
	f.readers++
	return true
}

func (f *feed) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers--
}
