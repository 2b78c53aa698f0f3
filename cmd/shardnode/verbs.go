package main

import "github.com/spf13/cobra"

// verbs returns every verb, each built in its own file.
func (a *app) verbs() []*cobra.Command {
	return []*cobra.Command{
		a.runCommand(),
		a.demoCommand(),
		a.memberCommand(),
		a.scoreCommand(),
	}
}
