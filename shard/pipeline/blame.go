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

// A blame finds out which peer is at fault for the end of a session.
type blame struct {
	end context.CancelCauseFunc // of the session

	mu      sync.Mutex // guards what follows
	first   int        // the stage that spoke first, -1 if none
	words   []word     // by stage
	timer   *time.Timer
	settled bool
}

// A word is what a stage says, or what its broken stream does.
type word struct {
	blames int // a stage, perhaps itself
	err    *shard.StageError
}

func (b *blame) init(end context.CancelCauseFunc, stages int) {
	b.end, b.first, b.words = end, -1, make([]word, stages)
}

// add takes the word of stage i that stage j is at fault. The session ends at
// once if a stage blames itself, and else a moment later.
func (b *blame) add(i, j int, err *shard.StageError) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.settled || b.words[i].err != nil {
		return
	}
	b.words[i] = word{blames: j, err: err}
	switch {
	case i == j:
		b.settleLocked(err)
	case b.first < 0:
		b.first = i
		b.timer = time.AfterFunc(hearsayTime, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.settleLocked(b.root())
		})
	}
}

// root follows the words from the first one to whom nobody else is behind.
// b.mu is held.
func (b *blame) root() error {
	at := b.first
	for range b.words {
		next := b.words[at].blames
		if b.words[next].err == nil {
			break
		}
		at = next
	}
	return b.words[at].err
}

// settle ends the session because of err, unless it has ended.
func (b *blame) settle(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settleLocked(err)
}

func (b *blame) settleLocked(err error) {
	if b.settled {
		return
	}
	b.settled = true
	if b.timer != nil {
		b.timer.Stop()
	}
	b.end(err)
}
