package main

import "github.com/spf13/cobra"

// verbs returns every verb, each built in its own file.
func (a *app) verbs() []*cobra.Command {
	return []*cobra.Command{
		a.benchCommand(),
		a.completionCommand(),
		a.configCommand(),
		a.convertCommand(),
		a.demoCommand(),
		a.doctorCommand(),
		a.drainCommand(),
		a.inspectCommand(),
		a.inviteCommand(),
		a.joinCommand(),
		a.manCommand(),
		a.memberCommand(),
		a.modelsCommand(),
		a.planCommand(),
		a.psCommand(),
		a.removeCommand(),
		a.pullCommand(),
		a.rmCommand(),
		a.runCommand(),
		a.scoreCommand(),
		a.serveCommand(),
		a.templateCommand(),
		a.tokenizeCommand(),
		a.topCommand(),
		a.traceCommand(),
		a.versionCommand(),
	}
}
