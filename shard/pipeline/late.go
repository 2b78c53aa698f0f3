package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/shardnode/shardnode/shard"
)

// A pace is how long a token takes, to know when a route is late.
type pace struct {
	began    time.Time     // when the oldest frame without a result was sent, or the last result came
	perToken time.Duration // 0 while it is not known
	alarms   int           // since the last result
}

// add notes that a frame of so many tokens was answered.
func (p *pace) add(tokens int, now time.Time) {
	took := now.Sub(p.began) / time.Duration(tokens)
	if took > p.perToken {
		p.perToken = took
	} else {
		p.perToken -= (p.perToken - took) / 8
	}
	p.began, p.alarms = now, 0
}

// last returns when the session last gave a sign of life, at the latest now.
func (p *pace) last(now time.Time) time.Time {
	if p.began.IsZero() {
		return now
	}
	return p.began
}

// Times of a route that is late.
const (
	leastPatience = 5 * time.Second // without any result
	lateTime      = 3 * time.Second // to say how far a stage is, when it is asked
	lateFactor    = 20              // times what it took before
)

// patience returns how long to wait for a result.
func (s *Session) patience() time.Duration {
	if s.cfg.Repair == nil || s.pace.perToken == 0 {
		return s.cfg.StepTimeout
	}
	tokens := 0
	for _, f := range s.sent {
		tokens += max(1, len(f.tokens))
	}
	d := max(leastPatience, lateFactor*time.Duration(tokens)*s.pace.perToken)
	return min(d<<min(s.pace.alarms, 8), s.cfg.StepTimeout)
}

// late does what is to do when no result has come for too long though every
// peer is connected: the stages are asked how far they are, and those that say
// nothing are lost.
func (s *Session) late(ctx context.Context) error {
	if s.cfg.Repair == nil {
		legs := s.legsNow()
		last := legs[len(legs)-1]
		return s.broke(last, &shard.StageError{
			Peer: last.Peer, Code: shard.TimedOut,
			Text: fmt.Sprintf("no result within %v, though every peer of the route is connected", s.cfg.StepTimeout),
		})
	}
	s.pace.alarms++
	return s.heal(ctx)
}
