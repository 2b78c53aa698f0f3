package main

import "github.com/spf13/cobra"

// verbs returns every verb, each built in its own file.
func (a *app) verbs() []*cobra.Command {
	return []*cobra.Command{
		a.demoCommand(),
		a.inspectCommand(),
		a.memberCommand(),
		a.runCommand(),
		a.scoreCommand(),
		a.templateCommand(),
		a.tokenizeCommand(),
	}
}
