package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// withHint returns the error that cmd ended with, with what a person can do if
// nobody has said so.
func withHint(err error, cmd *cobra.Command) error {
	if _, ok := errors.AsType[*hintError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return hint(err, "see `%s --help`", cmd.CommandPath())
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return hint(err, "make room on that disk, or give a folder on another with --home")
	case errors.Is(err, fs.ErrPermission):
		return hint(err, "this user must be allowed to read and write there; --home gives another folder for settings, identity and layers")
	}
	return err
}

// flagError is the error for what the parser of flags refuses.
func flagError(err error) error {
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return usage("--%s: %w", bad.GetFlag().Name, valueError(bad.GetFlag(), bad.GetValue(), bad.Unwrap()))
	}
	return &usageError{err}
}

// valueError says why f can't have the value that err refuses.
func valueError(f *pflag.Flag, value string, err error) error {
	number, isNumber := errors.AsType[*strconv.NumError](err)
	switch kind := f.Value.Type(); {
	case kind == "duration":
		return fmt.Errorf("%q is no time: want for example 30s or 5m", value)
	case !isNumber:
		return err
	case errors.Is(number, strconv.ErrRange):
		return fmt.Errorf("%q is too large", value)
	case kind == "bool":
		return fmt.Errorf("%q: want true or false", value)
	case kind == "float64":
		return fmt.Errorf("%q is no number", value)
	}
	return fmt.Errorf("%q is no whole number", value)
}
