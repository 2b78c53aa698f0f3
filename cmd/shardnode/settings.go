package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/shardnode/shardnode/tensorio/vec"
)

// configFile is the settings file in the home.
const configFile = "config.toml"

// An origin says where a setting's value came from.
type origin string

// The origins of a setting, the first wins.
const (
	fromFlag    origin = "flag"
	fromEnv     origin = "environment"
	fromConfig  origin = "config.toml"
	fromDefault origin = "default"
)

// envName returns the environment variable of a flag: --max-tokens is
// SHARDNODE_MAX_TOKENS.
func envName(flag string) string {
	return "SHARDNODE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// configKey returns the key in config.toml of a flag: --max-tokens is max_tokens.
func configKey(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// notSettings are flags that belong to one command line alone.
var notSettings = []string{
	"help", "json", "home", "ids", "kill", "decode", "save", "list", "undo", "revoke",
	"text", "file", "lines", "messages", "tools", "vars", "now", "logits", "metadata", "cluster", "add", "explain", "chrome", "once", "wait", "token",
}

// applySettings fills flags that were not given from the environment, then
// from config.toml in the home.
func (a *app) applySettings(cmd *cobra.Command) error {
	if _, err := vec.Form(); err != nil {
		return &usageError{err} // SHARDNODE_SIMD names what is not there
	}
	if cmd.Name() == memberVerb {
		return nil // a member started for one command gets its settings from there
	}
	a.home = cmp.Or(a.home, os.Getenv("SHARDNODE_HOME"), defaultHome())
	config, err := a.readConfig()
	if err != nil {
		return err
	}
	var failed error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if failed != nil || f.Changed || slices.Contains(notSettings, f.Name) {
			return
		}
		if v, ok := lookUp(f.Name, config); ok {
			failed = v.set(a, f)
		}
	})
	return failed
}

// A given is a setting's value that is not on the command line.
type given struct {
	values []string
	from   origin
	name   string // of the variable or key
}

// lookUp returns the value of a flag in the environment, else in config.
func lookUp(flag string, config map[string]any) (given, bool) {
	if value := os.Getenv(envName(flag)); value != "" {
		return given{[]string{value}, fromEnv, envName(flag)}, true
	}
	v, ok := config[configKey(flag)]
	if !ok {
		return given{}, false
	}
	g := given{nil, fromConfig, configKey(flag)}
	if list, ok := v.([]any); ok {
		for _, x := range list {
			g.values = append(g.values, fmt.Sprint(x))
		}
		return g, true
	}
	g.values = []string{fmt.Sprint(v)}
	return g, true
}

// set gives f the value.
func (g given) set(a *app, f *pflag.Flag) error {
	for _, value := range g.values {
		if err := f.Value.Set(value); err != nil {
			where := g.name
			if g.from == fromConfig {
				where = a.configPath() + ": " + g.name
			}
			return usage("%s: %w", where, valueError(f, value, err))
		}
	}
	return nil
}

// configPath returns where the settings file is.
func (a *app) configPath() string { return filepath.Join(a.home, configFile) }

// readConfig returns the settings file's keys; none if there is no file.
func (a *app) readConfig() (map[string]any, error) {
	b, err := os.ReadFile(a.configPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("settings: %w", err)
	}
	var config map[string]any
	if err := toml.Unmarshal(b, &config); err != nil {
		return nil, hint(usage("settings %s: %v", a.configPath(), err), "mend the file, or move it away")
	}
	return config, nil
}

// defaultHome returns the home when none is given: a folder "shardnode" in the
// user's configuration folder.
func defaultHome() string {
	if dir, err := os.UserConfigDir(); err == nil {
		return filepath.Join(dir, "shardnode")
	}
	return ".shardnode"
}
