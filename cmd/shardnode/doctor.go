package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// How bad a finding is.
const (
	findingOK      = "ok"
	findingNote    = "note"    // worth knowing
	findingWarning = "warning" // works, but not as well as it could
	findingBroken  = "broken"  // does not work: exit code 1
)

// A finding is what doctor says about one thing.
type finding struct {
	Check string `json:"check"`
	State string `json:"state"`
	What  string `json:"what"`
	Why   string `json:"why,omitempty"` // it matters
	Do    string `json:"do,omitempty"`
}

// A checkup collects findings.
type checkup struct {
	app  *app
	list []finding
}

func (c *checkup) ok(check, format string, args ...any) {
	c.list = append(c.list, finding{Check: check, State: findingOK, What: fmt.Sprintf(format, args...)})
}

func (c *checkup) add(f finding) { c.list = append(c.list, f) }

func (a *app) doctorCommand() *cobra.Command {
	var asJSON, token bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "kernels, memory, disk, network, clock and peers: what is wrong and what to do",
		Long: `doctor looks at this machine and this home, measures for less than a second, and
says of each thing that is not as it should be what it is, why it matters and
what to do. It changes nothing. The exit code is 1 if something is broken. With
--token it only sends one token through the swarm, as a probe of a service does.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.doctor(cmd.Context(), token, asJSON) },
	}
	cmd.Flags().BoolVar(&token, "token", false, "only see whether a token goes through every layer")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func (a *app) doctor(ctx context.Context, token, asJSON bool) error {
	c := &checkup{app: a}
	if token {
		c.token(ctx)
	} else {
		c.kernels()
		c.memory()
		c.home()
		c.key()
		c.files()
		c.network()
		c.clock()
		c.peers(ctx)
	}
	broken := 0
	for _, f := range c.list {
		if f.State == findingBroken {
			broken++
		}
	}
	if asJSON {
		if err := a.printJSON(struct {
			Findings []finding `json:"findings"`
			Broken   int       `json:"broken"`
		}{c.list, broken}); err != nil {
			return err
		}
	} else if err := c.print(); err != nil {
		return err
	}
	if broken > 0 {
		return fmt.Errorf("%s broken", count(broken, "thing"))
	}
	return nil
}

func (c *checkup) print() error {
	var b []byte
	for _, f := range c.list {
		b = fmt.Appendf(b, "%-8s %-9s %s\n", f.State, f.Check, f.What)
		for _, more := range []struct{ label, text string }{{"why", f.Why}, {"do", f.Do}} {
			if more.text != "" {
				b = fmt.Appendf(b, "%s%-4s %s\n", strings.Repeat(" ", 18), more.label, more.text)
			}
		}
	}
	return write(c.app.stdout, b)
}
