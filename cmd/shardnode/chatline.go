package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// A lineReader reads what a person types.
type lineReader interface {
	// line returns the next line. It returns [io.EOF] after Ctrl-D or Ctrl-C
	// on an empty line, and the cause of ctx when that ends.
	line(ctx context.Context, prompt string) (string, error)
}

// terminalLines reads lines from a terminal, with editing and a history. The
// terminal is raw only while a line is read, so that Ctrl-C is a signal while
// a model answers.
type terminalLines struct {
	in, out *os.File
	keys    *keyReader
	term    *term.Terminal
}

func newTerminalLines(in, out *os.File) *terminalLines {
	t := &terminalLines{in: in, out: out, keys: &keyReader{r: in}}
	t.term = t.terminal()
	return t
}

func (t *terminalLines) terminal() *term.Terminal {
	return term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{t.keys, t.out}, "")
}

// line reads a line. A paste of several lines is one line with line ends in
// it, which Enter sends.
func (t *terminalLines) line(ctx context.Context, prompt string) (string, error) {
	before, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return "", err
	}
	defer term.Restore(int(t.in.Fd()), before) //nolint:errcheck // nothing is left to try
	if width, height, err := term.GetSize(int(t.out.Fd())); err == nil && width > 0 {
		_ = t.term.SetSize(width, height) // it only fails to write
	}
	t.term.SetPrompt(prompt)
	t.term.SetBracketedPasteMode(true)
	defer t.term.SetBracketedPasteMode(false)
	type read struct {
		text string
		err  error
	}
	// A read of a terminal can't be called off. When ctx ends first the
	// goroutine waits for a key that nobody needs; the process ends soon.
	done := make(chan read, 1)
	go func() {
		text, err := t.readPasted()
		done <- read{text, err}
	}()
	select {
	case r := <-done:
		if errors.Is(r.err, io.EOF) {
			// The terminal would see the same key again.
			history := t.term.History
			t.term = t.terminal()
			t.term.History = history
			_, _ = io.WriteString(t.out, "\r\n")
		}
		return r.text, r.err
	case <-ctx.Done():
		_, _ = io.WriteString(t.out, "\r\n")
		return "", context.Cause(ctx)
	}
}

// readPasted reads a line, and with it the pasted lines before it.
func (t *terminalLines) readPasted() (string, error) {
	var pasted []string
	for {
		text, err := t.term.ReadLine()
		if errors.Is(err, term.ErrPasteIndicator) {
			pasted = append(pasted, text)
			continue
		}
		if err != nil || len(pasted) == 0 {
			return text, err
		}
		return strings.TrimRight(strings.Join(append(pasted, text), "\n"), "\n"), nil
	}
}

// What the keys of a terminal send.
const (
	ctrlC    = 0x03
	ctrlD    = 0x04
	lineEnd  = 0x05 // Ctrl-E
	lineKill = 0x15 // Ctrl-U
)

// keyReader gives Ctrl-C the meaning it has at a shell's prompt: it empties
// the line. On an empty line it ends the input, as Ctrl-D does.
type keyReader struct {
	r       io.Reader
	pending []byte
}

// Read reads keys.
func (k *keyReader) Read(p []byte) (int, error) {
	if len(k.pending) == 0 {
		n, err := k.r.Read(p)
		if err != nil {
			return n, err
		}
		for _, c := range p[:n] {
			if c == ctrlC {
				// At the end of a line Ctrl-D does nothing, unless it is empty.
				k.pending = append(k.pending, lineEnd, ctrlD, lineKill)
				continue
			}
			k.pending = append(k.pending, c)
		}
	}
	n := copy(p, k.pending)
	k.pending = k.pending[n:]
	return n, nil
}
