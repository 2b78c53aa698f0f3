package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man [DIR]",
		Short: "manual pages, of what --help says",
		Long: `man writes the manual pages of shardnode and of every verb into a folder, or
prints that of shardnode itself.`,
		Example: "  shardnode man | man -l -\n  shardnode man /usr/local/share/man/man1",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			if len(args) == 0 {
				return write(a.stdout, manPage(root))
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("manual pages: %w", err)
			}
			for _, c := range append([]*cobra.Command{root}, root.Commands()...) {
				if c.Hidden {
					continue
				}
				name := strings.ReplaceAll(c.CommandPath(), " ", "-")
				if err := writeWhole(filepath.Join(args[0], name+".1"), manPage(c), 0o644); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// manPage returns the manual page of a command (groff_man(7)).
func manPage(c *cobra.Command) []byte {
	name := strings.ReplaceAll(c.CommandPath(), " ", "-")
	b := fmt.Appendf(nil, ".TH %q 1 \"\" \"shardnode\" \"shardnode\"\n.SH NAME\n%s \\- %s\n", strings.ToUpper(name), roff(name), roff(c.Short))
	use := c.CommandPath()
	if i := strings.IndexByte(c.Use, ' '); i > 0 {
		use += c.Use[i:]
	}
	if c.HasAvailableFlags() && !c.DisableFlagsInUseLine {
		use += " [flags]"
	}
	if c.HasAvailableSubCommands() {
		use = c.CommandPath() + " VERB [flags]"
	}
	b = fmt.Appendf(b, ".SH SYNOPSIS\n.B %s\n", roff(use))
	if c.Long != "" {
		b = append(b, ".SH DESCRIPTION\n"...)
		for paragraph := range strings.SplitSeq(c.Long, "\n\n") {
			if strings.HasPrefix(paragraph, "  ") { // laid out by hand
				b = fmt.Appendf(b, ".PP\n.nf\n%s\n.fi\n", roff(paragraph))
				continue
			}
			b = fmt.Appendf(b, ".PP\n%s\n", roff(paragraph))
		}
	}
	if c.HasAvailableSubCommands() {
		b = append(b, ".SH VERBS\n"...)
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				b = fmt.Appendf(b, ".TP\n.B %s\n%s; see\n.BR %s (1)\n", roff(sub.Name()), roff(sub.Short), roff(name+"-"+sub.Name()))
			}
		}
	}
	b = manFlags(b, c)
	if c.Example != "" {
		b = fmt.Appendf(b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(c.Example))
	}
	return fmt.Appendf(b, ".SH EXIT STATUS\n0 done, 1 failed, 2 used wrongly.\n.SH SEE ALSO\n.BR shardnode (1)\n")
}

// manFlags appends the flags of c.
func manFlags(b []byte, c *cobra.Command) []byte {
	first := true
	add := func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if first {
			b = append(b, ".SH FLAGS\nEach is also an environment variable (\\fB\\-\\-max\\-tokens\\fR: \\fBSHARDNODE_MAX_TOKENS\\fR) and a key in config.toml (\\fBmax_tokens\\fR).\n"...)
			first = false
		}
		kind, usage := pflag.UnquoteUsage(f)
		b = append(b, ".TP\n.B "...)
		if f.Shorthand != "" {
			b = fmt.Appendf(b, "\\-%s, ", f.Shorthand)
		}
		b = fmt.Appendf(b, "%s\n%s", roff(strings.TrimSpace("--"+f.Name+" "+kind)), roff(usage))
		switch f.DefValue {
		case "", "0", "false", "[]", "0s":
		default:
			b = fmt.Appendf(b, " (default: %s)", roff(f.DefValue))
		}
		b = append(b, '\n')
	}
	c.LocalFlags().VisitAll(add)
	c.InheritedFlags().VisitAll(add)
	return b
}

// roff escapes text for groff: backslashes, dashes, and dots and quotes at the
// beginning of a line.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
