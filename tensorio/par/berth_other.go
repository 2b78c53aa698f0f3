//go:build !linux

package par

import (
	"runtime"
	"sync/atomic"
)

// A berth is where a worker sleeps.
type berth struct{ sleeper }

// harbour is what the berths of a pool have in common: nothing here.
type harbour struct{}

func newHarbour(int) harbour { return harbour{} }

// settle makes the calling goroutine the owner of b.
func (b *berth) settle() { b.wake = make(chan struct{}, 1) }

// yield lets other goroutines run.
func (b *berth) yield() { runtime.Gosched() }

// offer lets another goroutine have the processor, if one wants it.
func (b *berth) offer() { runtime.Gosched() }

// rouse ends the sleep of b and reports whether it slept.
func (b *berth) rouse(*harbour) bool { return b.sleeper.rouse() }

// A sleeper is a place to sleep for one goroutine.
type sleeper struct {
	asleep atomic.Bool
	wake   chan struct{} // capacity 1; one value for each time another clears asleep
}

// sleep blocks until somebody rouses s, unless ready says true. It may return
// early.
func (s *sleeper) sleep(ready func() bool) {
	s.asleep.Store(true)
	// Whoever makes ready true does so before it looks at asleep.
	if ready() && s.asleep.CompareAndSwap(true, false) {
		return
	}
	<-s.wake
}

// rouse ends the sleep of s and reports whether it slept.
func (s *sleeper) rouse() bool {
	if !s.asleep.Load() || !s.asleep.CompareAndSwap(true, false) {
		return false
	}
	s.wake <- struct{}{} // never blocks: each sleep takes one value
	return true
}
