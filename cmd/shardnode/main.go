// Command shardnode runs a language model on the machines people have: alone,
// on members started for one command, or in a swarm. `shardnode --help` lists
// what it does; the promises of its flags, JSON and exit codes are kept in
// CLI.md's sense: standard output carries the answer, standard error everything
// for people.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/shardnode/shardnode/shard/member"
)

// The exit codes of every verb.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// spareProcs is how many goroutines may run beside those that compute. A worker
// that sleeps between two steps keeps its place among the running goroutines
// for a while, and streams must not wait for it (tensorio/par/DESIGN.md).
const spareProcs = 2

func main() {
	runtime.GOMAXPROCS(member.Processors() + spareProcs)
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the program: args in, exit code out.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	ctx, stop := a.interrupts.watch(ctx)
	defer stop()
	root := a.rootCommand()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	a.report(withHint(err, cmd))
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	return exitFailed
}

// A usageError is a command used wrongly: exit code 2.
type usageError struct{ err error }

// Error says what is wrong.
func (e *usageError) Error() string { return e.err.Error() }

// Unwrap returns the reason.
func (e *usageError) Unwrap() error { return e.err }

// usage returns the error of a command used wrongly.
func usage(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// A hintError is an error with something to do about it.
type hintError struct {
	err  error
	hint string
}

// Error says what went wrong.
func (e *hintError) Error() string { return e.err.Error() }

// Unwrap returns the reason.
func (e *hintError) Unwrap() error { return e.err }

// hint adds to err what to do about it; nil stays nil.
func hint(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return &hintError{err: err, hint: fmt.Sprintf(format, args...)}
}

// report prints err as every verb does. Of errors joined each has its line.
func (a *app) report(err error) {
	said := map[string]bool{}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line != "" && !said[line] {
			said[line] = true
			fmt.Fprintf(a.stderr, "shardnode: %s\n", line)
		}
	}
	if h, ok := errors.AsType[*hintError](err); ok {
		fmt.Fprintf(a.stderr, "shardnode: hint: %s\n", h.hint)
	}
}
