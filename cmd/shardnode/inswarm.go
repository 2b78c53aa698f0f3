package main

import "context"

// runInSwarm answers with the member of this home, if one runs. It reports
// false when none does.
func (a *app) runInSwarm(ctx context.Context, f *runFlags, ref, prompt string) (bool, error) {
	return false, nil
}
