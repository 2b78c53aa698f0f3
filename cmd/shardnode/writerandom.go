package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard/weights/dice"
)

// writeRandom writes a model file of random weights.
func (a *app) writeRandom(f *inspectFlags, ref string) error {
	plan, err := randomPlan(ref, f.types)
	if err != nil {
		return &usageError{err}
	}
	if _, err := os.Stat(f.writeRandom); err == nil {
		return hint(fmt.Errorf("%s is there already", f.writeRandom), "remove it, or name another file")
	}
	a.notify("writing %s of random weights to %s", mib(plan.Bytes()), f.writeRandom)
	// Under another name until it is whole: half a model looks like one.
	tmp, err := os.CreateTemp(filepath.Dir(f.writeRandom), ".random-*.gguf")
	if err != nil {
		return err
	}
	err = errors.Join(plan.Write(tmp), tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), f.writeRandom)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("write %s: %w", f.writeRandom, err)
	}
	return nil
}

// randomPlan returns the plan of a file like the model or shape called ref.
func randomPlan(ref, types string) (*dice.Plan, error) {
	if slices.Contains(dice.Names(), ref) {
		return dice.Named(ref, types)
	}
	file, err := openModel(ref)
	if err != nil {
		return nil, hint(err, "name a .gguf file, or one of the shapes %s", strings.Join(dice.Names(), ", "))
	}
	defer file.Close() //nolint:errcheck // it was only read
	return dice.Like(file.Meta(), file.Tensors(), types)
}
