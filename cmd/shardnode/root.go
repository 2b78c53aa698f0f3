package main

import (
	"io"

	"github.com/spf13/cobra"
)

// An app is one run of the program.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	home string // --home

	interrupts interrupts
}

// rootCommand returns the command with all verbs.
func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "shardnode",
		Short: "run a language model on the machines you have",
		Long: `shardnode runs a language model that is too big or too slow for one machine on
the machines people have. Members hold spans of its layers; hidden states
stream between them.`,
		Example: `  shardnode demo                          three members on this machine tell a story
  shardnode run model.gguf "Why is the sky blue?"
  shardnode serve model.gguf              be a member; prints an invitation`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return a.overview(cmd.Context()) },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return flagError(err) })
	root.CompletionOptions.HiddenDefaultCmd = false
	root.PersistentFlags().StringVar(&a.home, "home", "", "`folder` of identity, swarms and logs (default: see shardnode config)")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return a.applySettings(cmd) }
	root.AddCommand(a.verbs()...)
	for _, c := range root.Commands() {
		c.Args = usageArgs(c.Args)
	}
	root.Args = usageArgs(root.Args)
	return root
}

// usageArgs makes the errors of a check of arguments usage errors.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(cmd, args); err != nil {
			return hint(&usageError{err}, "see `%s --help`", cmd.CommandPath())
		}
		return nil
	}
}
