package main

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/shard/hub"
)

func (a *app) rmCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "rm MODEL",
		Short: "remove a model that pull fetched",
		Long: `rm removes MODEL from the cache that is shared with Python's huggingface_hub: of a
name or hf:org/repo:FILE that file, of hf:org/repo all that is there of the
repository, with what was fetched in part. Files elsewhere are not touched.`,
		Example: "  shardnode rm llama3.2:3b\n  shardnode rm hf:bartowski/Llama-3.2-3B-Instruct-GGUF",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.rm(args[0], asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// rmJSON is the answer of `rm --json`.
type rmJSON struct {
	Model string   `json:"model"`
	Repo  string   `json:"repo"`
	Files []string `json:"files"` // none: all of the repository
	Freed int64    `json:"freed_bytes"`
}

func (a *app) rm(ref string, asJSON bool) error {
	r, err := hubRef(ref)
	if err != nil {
		if at, e := locateModel(ref); e == nil && at.path != "" {
			return hint(fmt.Errorf("model %s was not pulled", ref), "rm touches nothing outside the cache: remove the file yourself")
		}
		return err
	}
	c, err := hubClient()
	if err != nil {
		return err
	}
	out := rmJSON{Model: ref, Repo: r.ID, Files: []string{}}
	if r.File != "" {
		if out.Files, err = filesToRemove(c, r); err != nil {
			return hint(fmt.Errorf("model %s: %w", ref, err), "`shardnode models --local` lists what is here")
		}
	}
	if out.Freed, err = c.Remove(r.ID, out.Files...); err != nil {
		return err
	}
	if out.Freed == 0 && len(out.Files) == 0 {
		return hint(&notHereError{ref, r}, "`shardnode models --local` lists what is here")
	}
	if asJSON {
		return a.printJSON(out)
	}
	a.notify("removed %s from the cache: %s are free", ref, mib(out.Freed))
	return nil
}

// filesToRemove returns the files of the cache that r names, and those that
// were made of its layers.
func filesToRemove(c *hub.Client, r hub.Ref) ([]string, error) {
	repos, err := c.Scan()
	if err != nil {
		return nil, err
	}
	for _, repo := range repos {
		if repo.ID != r.ID {
			continue
		}
		var whole, parts []string
		for _, f := range repo.Files {
			if f.Parts {
				parts = append(parts, f.Name)
			} else {
				whole = append(whole, f.Name)
			}
		}
		stem := strings.TrimSuffix(path.Base(r.File), ".gguf")
		var out []string
		if chosen, err := chooseFiles(whole, r.File); err == nil {
			out = chosen.files
		}
		for _, name := range parts {
			if strings.HasPrefix(name, stem+"-layers-") || name == r.File {
				out = append(out, name)
			}
		}
		if len(out) > 0 {
			return out, nil
		}
		if len(whole)+len(parts) == 0 && repo.PartialBytes > 0 {
			return nil, nil // only what broke off: all of it goes
		}
	}
	return nil, errors.New("it is not on this machine")
}
