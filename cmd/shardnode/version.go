package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/tensorio/quant"
	"github.com/shardnode/shardnode/tensorio/vec"
)

// versionJSON is the answer of `version --json`.
type versionJSON struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`
	Modified bool   `json:"modified"` // built from a checkout with changes
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	// Kernels is the form of the arithmetic that this machine runs, for
	// quantised weights; Vectors for all else. All forms give the same bits.
	Kernels string `json:"kernels"`
	Vectors string `json:"vectors"`
}

func (a *app) versionCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "version",
		Short: "what this program is, and the kernels it runs here",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := version()
			if asJSON {
				return a.printJSON(v)
			}
			changed := ""
			if v.Modified {
				changed = ", with changes"
			}
			_, err := fmt.Fprintf(a.stdout, "shardnode %s (commit %s%s)\n%s, %s/%s\nkernels %s, vectors %s\n",
				v.Version, v.Commit, changed, v.Go, v.OS, v.Arch, v.Kernels, v.Vectors)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// version returns what the program was built from, and where it runs.
func version() versionJSON {
	v := versionJSON{
		Version: "unknown", Commit: "unknown", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		Kernels: quant.Form(),
	}
	var err error
	if v.Vectors, err = vec.Form(); err != nil {
		v.Vectors += " (" + err.Error() + ")"
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
