package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// settingJSON is one setting of `config --json`.
type settingJSON struct {
	Key   string   `json:"key"`
	Value string   `json:"value"`
	From  origin   `json:"from"`
	Flag  string   `json:"flag"`
	Env   string   `json:"env"`
	Verbs []string `json:"verbs"` // that have it; none: all of them
}

// configJSON is the answer of `config --json`.
type configJSON struct {
	Home     string        `json:"home"`
	File     string        `json:"file"`
	Settings []settingJSON `json:"settings"`
	// Unknown are keys of the file that no verb knows.
	Unknown []string `json:"unknown"`
}

func (a *app) configCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "config",
		Short: "every setting, its value, and where it came from",
		Long: `config prints every setting, its value, and where the value came from. A setting
has one name everywhere: flag --max-tokens, environment SHARDNODE_MAX_TOKENS,
key max_tokens in config.toml of the home. The first that is given wins, in
this order.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := a.settings(cmd)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(out)
			}
			return a.printSettings(out)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// settings returns every setting of every verb.
func (a *app) settings(cmd *cobra.Command) (configJSON, error) {
	out := configJSON{Home: a.home, File: a.configPath(), Settings: []settingJSON{a.homeSetting(cmd)}, Unknown: []string{}}
	config, err := a.readConfig()
	if err != nil {
		return out, err
	}
	known := map[string]bool{}
	var failed error
	for _, verb := range cmd.Root().Commands() {
		if verb.Hidden {
			continue
		}
		verb.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || slices.Contains(notSettings, f.Name) || failed != nil {
				return
			}
			known[configKey(f.Name)] = true
			s := settingJSON{Key: configKey(f.Name), From: fromDefault, Flag: "--" + f.Name, Env: envName(f.Name), Verbs: []string{verb.Name()}}
			if failed = a.fill(f, config, &s); failed == nil {
				out.add(s)
			}
		})
	}
	for key := range config {
		if !known[key] {
			out.Unknown = append(out.Unknown, key)
		}
	}
	slices.Sort(out.Unknown)
	slices.SortStableFunc(out.Settings[1:], func(x, y settingJSON) int { return cmp.Compare(x.Key, y.Key) })
	return out, failed
}

// fill gives f its value as a run of its verb would, and s what it is.
func (a *app) fill(f *pflag.Flag, config map[string]any, s *settingJSON) error {
	given, ok := lookUp(f.Name, config)
	if ok {
		s.From = given.from
		if err := given.set(a, f); err != nil {
			return err
		}
	}
	s.Value = f.Value.String()
	return nil
}

// add adds s, to the verbs of a setting that is the same.
func (c *configJSON) add(s settingJSON) {
	for i := range c.Settings {
		if have := &c.Settings[i]; have.Key == s.Key && have.Value == s.Value {
			have.Verbs = append(have.Verbs, s.Verbs...)
			return
		}
	}
	c.Settings = append(c.Settings, s)
}

// homeSetting returns the setting that says where the others are.
func (a *app) homeSetting(cmd *cobra.Command) settingJSON {
	s := settingJSON{Key: "home", Value: a.home, From: fromDefault, Flag: "--home", Env: envName("home"), Verbs: []string{}}
	switch {
	case cmd.Flags().Changed("home"):
		s.From = fromFlag
	case os.Getenv(s.Env) != "":
		s.From = fromEnv
	}
	return s
}

// printSettings prints the settings for people.
func (a *app) printSettings(c configJSON) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "SETTING\tVALUE\tFROM\tVERBS\n")
	for _, s := range c.Settings {
		value := s.Value
		if value == "" {
			value = "-"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.Key, value, s.From, cmp.Or(strings.Join(s.Verbs, " "), "all"))
	}
	for _, key := range c.Unknown {
		a.notify("%s: %q is no setting", c.File, key)
	}
	return w.Flush()
}
