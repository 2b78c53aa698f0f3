//go:build !linux

package par

import "runtime"

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
func (b *berth) rouse(*harbour, bool) bool { return b.sleeper.rouse() }

// Nobody knows, or chooses, the processor of a goroutine.

func (b *berth) avoid(*harbour, int) {}

func (b *berth) note() {}

func (b *berth) where() int { return -1 }

func here() int { return -1 }
