package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "a script that completes verbs and flags in your shell",
		Long: `completion prints a script for your shell. To load it now:

  bash         source <(shardnode completion bash)
  zsh          source <(shardnode completion zsh)
  fish         shardnode completion fish | source
  powershell   shardnode completion powershell | Out-String | Invoke-Expression

Put the same line into the file that your shell reads at its start to have it always.`,
		ValidArgs:             []string{"bash", "zsh", "fish", "powershell"},
		Args:                  cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		DisableFlagsInUseLine: true,
		RunE:                  func(cmd *cobra.Command, args []string) error { return a.completion(cmd.Root(), args[0]) },
	}
}

// completion prints the script for a shell.
func (a *app) completion(root *cobra.Command, shell string) error {
	var err error
	switch shell {
	case "bash":
		err = root.GenBashCompletionV2(a.stdout, true)
	case "zsh":
		err = root.GenZshCompletion(a.stdout)
	case "fish":
		err = root.GenFishCompletion(a.stdout, true)
	case "powershell":
		err = root.GenPowerShellCompletionWithDesc(a.stdout)
	default:
		return usage("no completion for the shell %q", shell)
	}
	if err != nil {
		return fmt.Errorf("print the script: %w", err)
	}
	return nil
}
