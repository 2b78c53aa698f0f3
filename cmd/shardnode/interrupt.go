package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// errInterrupted is why work ends after Ctrl-C.
var errInterrupted = errors.New("interrupted")

// interrupts decides what Ctrl-C does: it ends the command, unless a part of
// the command takes it for a while.
type interrupts struct {
	mu   sync.Mutex
	take func() // what Ctrl-C does instead of ending the command; nil: nothing
}

// watch returns a context that ends at the first Ctrl-C or SIGTERM. A second
// ends the process at once.
func (in *interrupts) watch(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				switch {
				case s == os.Interrupt && ctx.Err() == nil && in.taken():
				case ctx.Err() == nil:
					cancel(errInterrupted)
				default:
					os.Exit(exitFailed)
				}
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// taken calls what has taken Ctrl-C and reports whether there is any.
func (in *interrupts) taken() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.take == nil {
		return false
	}
	in.take()
	return true
}

// divert lets Ctrl-C call f, which must not block, until the function that
// divert returns is called.
func (in *interrupts) divert(f func()) (restore func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	before := in.take
	in.take = f
	return func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.take = before
	}
}
