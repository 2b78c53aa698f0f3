package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/shardnode/shardnode/shard/web"
)

func (a *app) topCommand() *cobra.Command {
	var once, asJSON bool
	every := time.Second
	cmd := &cobra.Command{
		Use:   "top",
		Short: "who holds what, links, sessions and events, live",
		Long: `top draws the swarm of this home as its member sees it, and again every second:
who holds which layers, how far those are that load, links, sessions, and what
happened and why. It needs 80 columns.

Keys: q ends, d drains this member (asks first), f shows only members and events
with a text, p stops and goes on, j and k move through the events, ? helps.`,
		Example: "  shardnode top\n  shardnode top --once",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 100*time.Millisecond {
				return usage("--every is %v, want 100ms or more", every)
			}
			return a.top(cmd.Context(), once, asJSON, every)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "draw once and end, as it does when the output is no terminal")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what is drawn as one JSON object, once")
	cmd.Flags().DurationVar(&every, "every", every, "how often it draws")
	return cmd
}

func (a *app) top(ctx context.Context, once, asJSON bool, every time.Duration) error {
	c, err := a.dialControl()
	if err != nil {
		return err
	}
	var p web.Picture
	if err := c.call(ctx, "GET", "/swarm", nil, &p); err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(p)
	}
	v := topView{width: defaultColumns, height: 0, colour: isTerminal(a.stdout) && os.Getenv("NO_COLOR") == ""}
	if !once && isTerminal(a.stdout) && isTerminal(a.stdin) {
		return a.topLive(ctx, c, p, v, every)
	}
	if f, ok := a.stdout.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			v.width = w
		}
	}
	return write(a.stdout, []byte(strings.Join(v.frame(&p), "\n")+"\n"))
}

// Escape sequences of terminals (ECMA-48, and xterm's alternate screen).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	homeCursor  = "\x1b[H"
	clearLine   = "\x1b[K"
	clearRest   = "\x1b[J"
)

// topLive draws until q is pressed or ctx ends.
func (a *app) topLive(ctx context.Context, c *controlClient, p web.Picture, v topView, every time.Duration) error {
	in, out := a.stdin.(*os.File), a.stdout.(*os.File) //nolint:forcetypeassert // terminals are files
	was, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	defer term.Restore(int(in.Fd()), was) //nolint:errcheck // there is nothing left to do
	fmt.Fprint(out, enterScreen)
	defer fmt.Fprint(out, leaveScreen)
	keys := make(chan rune)
	go readKeys(ctx, in, keys)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if w, h, err := term.GetSize(int(out.Fd())); err == nil {
			v.width, v.height = w, h
		}
		fmt.Fprint(out, homeCursor+strings.Join(v.frame(&p), clearLine+"\r\n")+clearLine+clearRest)
		select {
		case <-ctx.Done():
			return nil
		case key, ok := <-keys:
			if !ok || v.press(key) {
				return nil
			}
			if v.drain {
				v.drain = false
				if err := c.call(ctx, "POST", "/drain", nil, &struct{}{}); err != nil {
					v.note = err.Error()
				}
			}
		case <-tick.C:
			if v.paused {
				continue
			}
			var next web.Picture
			if err := c.call(ctx, "GET", "/swarm", nil, &next); err != nil {
				if errors.Is(err, context.Canceled) {
					return nil
				}
				v.note = "the member does not answer: " + err.Error()
				continue
			}
			p = next
		}
	}
}

// readKeys sends what is typed. It ends with the process: a read of a terminal
// can't be called back.
func readKeys(ctx context.Context, in *os.File, keys chan<- rune) {
	defer close(keys)
	r := bufio.NewReader(in)
	for {
		key, _, err := r.ReadRune()
		if err != nil {
			return
		}
		select {
		case keys <- key:
		case <-ctx.Done():
			return
		}
	}
}

// press does what a key asks for. It reports true for the end.
func (v *topView) press(key rune) bool {
	v.note = ""
	switch {
	case key == 3: // Ctrl-C, which a raw terminal hands on
		return true
	case v.typing:
		v.write(key)
		return false
	case v.asking:
		v.asking, v.drain = false, key == 'y'
		return false
	}
	switch key {
	case 'q':
		return true
	case 'd':
		v.asking = true
	case 'f', '/':
		v.typing = true
	case 'p', ' ':
		v.paused = !v.paused
	case 'j':
		v.scroll++
	case 'k':
		v.scroll = max(0, v.scroll-1)
	case '?', 'h':
		v.help = !v.help
	}
	return false
}

// write takes a key for the filter.
func (v *topView) write(key rune) {
	switch {
	case key == '\r' || key == '\n':
		v.typing = false
	case key == 27: // Escape
		v.typing, v.filter = false, ""
	case key == 127 || key == 8: // Backspace
		if r := []rune(v.filter); len(r) > 0 {
			v.filter = string(r[:len(r)-1])
		}
	case key >= ' ':
		v.filter += string(key)
	}
}
