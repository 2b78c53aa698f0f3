package pipeline

import (
	"context"
	"sync"
	"time"

	"github.com/shardnode/shardnode/shard"
)

// hearsayTime is how long the driver waits for a peer's own word after another
// has blamed it. When a peer dies, its neighbours give up one after the other,
// each because of the one beside it; their words reach the driver over
// different connections and so in any order.
const hearsayTime = 250 * time.Millisecond

// A blame finds out which stage of a route is at fault when it breaks.
type blame struct {
	end context.CancelCauseFunc // of the session

	mu       sync.Mutex // guards what follows
	repaired bool       // a route that breaks is not the session's end
	ended    bool       // the session has
	legs     []*leg     // the route
	first    *leg       // the stage that spoke first, nil if none has
	words    map[*leg]word
	timer    *time.Timer
	broken   chan struct{}     // closed when it is known who is at fault, if that can be repaired
	fault    *shard.StageError // of whom; nil until then
	culprit  *leg
}

// A word is what a stage says, or what its broken stream does.
type word struct {
	blames *leg // perhaps itself
	err    *shard.StageError
}

func (b *blame) init(end context.CancelCauseFunc, repaired bool) {
	b.end, b.repaired = end, repaired
}

// begin forgets what was said of the route before. A stage of the new one that
// has gone already breaks it at once.
func (b *blame) begin(legs []*leg) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopTimer()
	b.legs, b.first, b.words = legs, nil, map[*leg]word{}
	b.fault, b.culprit, b.broken = nil, nil, make(chan struct{})
	for _, l := range legs {
		if l.fault != nil {
			b.settleLocked(l, l.fault)
		}
	}
}

// repair says whether a route that breaks can be repaired from now on.
func (b *blame) repair(can bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.repaired = can
	if !can && b.fault != nil {
		b.endLocked(b.fault)
	}
}

// add takes the word of stage l that stage about is at fault. It settles at
// once if a stage blames itself, and else a moment later.
func (b *blame) add(l, about *leg, err *shard.StageError) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l == about && l.fault == nil {
		l.fault = err
	}
	if b.ended || b.fault != nil || b.words[l].err != nil || !b.has(l) {
		return
	}
	b.words[l] = word{blames: about, err: err}
	switch {
	case l == about:
		b.settleLocked(l, err)
	case b.first == nil:
		b.first = l
		broken := b.broken
		b.timer = time.AfterFunc(hearsayTime, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.broken == broken { // the route is the same
				b.settleLocked(b.root())
			}
		})
	}
}

func (b *blame) has(l *leg) bool {
	for _, other := range b.legs {
		if l == other {
			return true
		}
	}
	return false
}

// root follows the words from the first one to whom nobody else is behind.
// b.mu is held.
func (b *blame) root() (*leg, *shard.StageError) {
	at := b.first
	for range b.words {
		next := b.words[at].blames
		if b.words[next].err == nil {
			break
		}
		at = next
	}
	return b.words[at].blames, b.words[at].err
}

// settle ends the session because of err, unless it has ended.
func (b *blame) settle(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endLocked(err)
}

func (b *blame) endLocked(err error) {
	b.stopTimer()
	if !b.ended {
		b.ended = true
		b.end(err)
	}
}

func (b *blame) stopTimer() {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
}

// settleLocked says that l is at fault. b.mu is held.
func (b *blame) settleLocked(l *leg, err *shard.StageError) {
	if b.ended || b.fault != nil {
		return
	}
	b.stopTimer()
	b.fault, b.culprit = err, l
	if !b.repaired {
		b.endLocked(err)
		return
	}
	close(b.broken)
}

// silent notes that nobody listens to l any more.
func (b *blame) silent(l *leg) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.over = true
}

// state returns what is closed when the route breaks.
func (b *blame) state() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.broken
}

// lost returns the stages of the route that are not there any more, each with
// its fault, and the fault that became known first.
func (b *blame) lost() (map[*leg]*shard.StageError, *shard.StageError) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[*leg]*shard.StageError{}
	for _, l := range b.legs {
		switch {
		case l.fault != nil:
			out[l] = l.fault
		case l == b.culprit:
			out[l] = b.fault
		}
	}
	return out, b.fault
}

// stays reports whether l can go on in another route.
func (b *blame) stays(l *leg) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !l.over && l.fault == nil && l != b.culprit && l.conn != nil
}
