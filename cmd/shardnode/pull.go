package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/shardnode/shardnode/shard/hub"
)

type pullFlags struct {
	json   bool
	layers string
}

func (a *app) pullCommand() *cobra.Command {
	f := &pullFlags{}
	cmd := &cobra.Command{
		Use:   "pull MODEL",
		Short: "fetch a model, or some of its layers, from Hugging Face",
		Long: `pull fetches MODEL, a name of ` + "`shardnode models`" + ` or hf:org/repo[@revision][:file],
into the cache that it shares with Python's huggingface_hub, and prints where it
is. FILE may be a quantisation, such as Q8_0. What breaks off is gone on with by
the next pull. HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT and HF_HUB_OFFLINE
mean what they mean in Python.

With --layers a:b only the bytes of these layers are fetched, and made a file of
their own: with 0 the embedding comes along, with the last layer the head.`,
		Example: `  shardnode pull llama3.2:3b
  shardnode pull qwen2.5:7b-q8_0
  shardnode pull hf:bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M
  shardnode pull llama3.1:70b --layers 0:20`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.pull(cmd.Context(), f, args[0]) },
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object")
	cmd.Flags().StringVar(&f.layers, "layers", "", "fetch these layers only: `a:b`")
	return cmd
}

// pullJSON is the answer of `pull --json`.
type pullJSON struct {
	Model    string     `json:"model"`
	Repo     string     `json:"repo"`
	Revision string     `json:"revision"`
	Commit   string     `json:"commit"`
	License  string     `json:"license,omitempty"`
	Path     string     `json:"path"`
	Layers   *[2]int    `json:"layers,omitempty"`
	Bytes    int64      `json:"bytes"`         // of the files below
	Fetched  int64      `json:"fetched_bytes"` // of them now
	TookMS   float64    `json:"took_ms"`
	Files    []pullFile `json:"files"`
}

type pullFile struct {
	Name  string `json:"name"`
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

func (a *app) pull(ctx context.Context, f *pullFlags, ref string) error {
	var out pullJSON
	var err error
	m := &meter{notify: a.notify}
	if isTerminal(a.stderr) {
		m.line = a.stderr
	}
	if f.layers != "" {
		out, err = pullLayers(ctx, ref, f.layers, a.notify, m)
	} else {
		out, err = pullModel(ctx, ref, a.notify, m)
	}
	m.end()
	if err != nil {
		return err
	}
	if f.json {
		return a.printJSON(out)
	}
	if out.Fetched > 0 {
		a.notify("%s in %s", mib(out.Fetched), time.Duration(out.TookMS*1e6).Round(100*time.Millisecond))
	}
	return write(a.stdout, []byte(out.Path+"\n"))
}

// hubRef returns what is to be fetched for ref.
func hubRef(ref string) (hub.Ref, error) {
	if hub.IsRef(ref) {
		r, err := hub.ParseRef(ref)
		if err != nil {
			return r, hint(&usageError{err}, "write hf:org/repo, hf:org/repo:FILE or hf:org/repo@REVISION:FILE")
		}
		return r, nil
	}
	if r, ok := lookUpName(ref); ok {
		return r, nil
	}
	if _, err := locateModel(ref); err == nil {
		return hub.Ref{}, hint(fmt.Errorf("model %s is on this machine", ref), "there is nothing to pull")
	}
	if strings.Count(ref, "/") == 1 && !strings.HasSuffix(ref, ".gguf") && !strings.HasPrefix(ref, ".") && !strings.HasPrefix(ref, "/") {
		return hub.Ref{}, hint(fmt.Errorf("no model is called %q", ref), "for a repository on Hugging Face write hf:%s", ref)
	}
	return hub.Ref{}, unknownModel(ref)
}

// A remote is a model on the hub, chosen.
type remote struct {
	client  *hub.Client
	listing *hub.Listing
	choice  choice
	ref     string
}

// findRemote asks the hub for what ref names.
func findRemote(ctx context.Context, ref string, notify func(string, ...any)) (*remote, error) {
	r, err := hubRef(ref)
	if err != nil {
		return nil, err
	}
	c, err := hubClient()
	if err != nil {
		return nil, err
	}
	l, err := c.List(ctx, r.Repo)
	if err != nil {
		return nil, explainHub(err, r.Repo)
	}
	chosen, err := chooseFiles(l.Names(), r.File)
	if err == nil && !chosen.complete() {
		err = fmt.Errorf("%d of its parts are there", len(chosen.files))
	}
	if err != nil {
		return nil, hint(fmt.Errorf("%s: %w", r.Repo, err), "`https://huggingface.co/%s/tree/main` lists what it has", r.ID)
	}
	if r.File == "" && len(chosen.others) > 0 {
		notify("%s: taking %s; it also has %s (hf:%s:QUANT)", r.Repo, cmp.Or(quantOf(chosen.files[0]), chosen.files[0]), strings.Join(chosen.others, ", "), r.Repo)
	}
	return &remote{client: c, listing: l, choice: chosen, ref: ref}, nil
}

// pullModel fetches what ref names into the cache, unless it is there.
func pullModel(ctx context.Context, ref string, notify func(string, ...any), m *meter) (pullJSON, error) {
	began := time.Now()
	if m == nil {
		m = &meter{notify: notify}
		defer m.end()
	}
	r, err := findRemote(ctx, ref, notify)
	if err != nil {
		return pullJSON{}, err
	}
	l := r.listing
	out := pullJSON{Model: ref, Repo: l.Repo.ID, Revision: cmp.Or(l.Repo.Revision, "main"), Commit: l.Commit, License: l.License}
	at := hub.Repo{ID: l.Repo.ID, Revision: l.Commit}
	for _, name := range r.choice.files {
		_, had := r.client.Cached(at, name)
		path, err := r.client.Pull(ctx, l, name, m.report)
		m.end()
		if err != nil {
			return out, explainHub(err, l.Repo)
		}
		size := fileSize(path)
		out.Files = append(out.Files, pullFile{Name: name, Path: path, Bytes: size})
		out.Bytes += size
		if !had {
			out.Fetched += size
		}
	}
	out.Path = out.Files[0].Path
	if r.choice.folder {
		out.Path = filepath.Dir(out.Path)
	}
	out.TookMS = millis(time.Since(began))
	return out, nil
}

// explainHub adds to an error of the hub what a person can do.
func explainHub(err error, r hub.Repo) error {
	status, isStatus := errors.AsType[*hub.StatusError](err)
	_, isLie := errors.AsType[*hub.LieError](err)
	space, isSpace := errors.AsType[*hub.SpaceError](err)
	switch {
	case isStatus && status.NeedsToken() && status.Token:
		return hint(err, "see https://huggingface.co/%s: accept its terms with the account of your HF_TOKEN, if it exists", r.ID)
	case isStatus && status.NeedsToken():
		return hint(err, "check the name; if it is private or wants its terms accepted, do so at https://huggingface.co/%s and set HF_TOKEN", r.ID)
	case isStatus && status.Missing():
		return hint(err, "did you mean %s? `shardnode models` lists names", nearestNames(r.ID, repoNames()))
	case isSpace:
		return hint(err, "make room for %s there, or let HF_HOME name a folder on another disk", mib(space.NeedBytes))
	case errors.Is(err, hub.ErrOffline):
		return hint(err, "unset HF_HUB_OFFLINE, or pull it on a machine with a network and copy the cache")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return hint(err, "make room on the disk of the cache and pull it again: it goes on where it stopped; HF_HOME names a folder on another disk")
	case errors.Is(err, fs.ErrPermission):
		return hint(err, "this user must be allowed to write to the cache; HF_HOME names another folder")
	case errors.Is(err, context.Canceled), errors.Is(err, errInterrupted):
		return hint(err, "pull it again to go on where it stopped")
	case isLie:
		return hint(err, "pull it again; if that fails as well the server is at fault (HF_ENDPOINT names another)")
	case isStatus:
		return hint(err, "pull it again later; what has come is kept")
	}
	return hint(err, "pull it again to go on where it stopped; is the network up?")
}

// repoNames returns the repositories of the catalogue, as MODEL names them.
func repoNames() []string {
	var names []string
	for _, c := range catalogue() {
		names = append(names, c.repo)
	}
	return names
}
