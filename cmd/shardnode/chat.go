package main

import "context"

// chat keeps a conversation on the terminal.
func (a *app) chat(ctx context.Context, f *runFlags, ref string, c placeConfig) error {
	return usage("there is no prompt")
}
