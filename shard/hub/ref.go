package hub

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// defaultRevision is the branch that is meant when none is named.
const defaultRevision = "main"

// A Repo is a model repository at a revision: a branch, a tag, or a commit.
type Repo struct {
	ID       string // "org/name"; some old ones are "name" alone
	Revision string // "" is "main"
}

// String returns org/name, with @revision unless that is main.
func (r Repo) String() string {
	if r.revision() == defaultRevision {
		return r.ID
	}
	return r.ID + "@" + r.Revision
}

func (r Repo) revision() string {
	if r.Revision == "" {
		return defaultRevision
	}
	return r.Revision
}

// A Ref is what "hf:org/repo@revision:file" names.
type Ref struct {
	Repo
	// File is a file of the repository, or what tells one of its files from
	// the others, such as "Q4_K_M"; "" when none was named.
	File string
}

// RefPrefix begins a reference to the hub on the command line.
const RefPrefix = "hf:"

// urlPrefixes begin addresses of the hub that people copy from their browsers.
var urlPrefixes = []string{"https://huggingface.co/", "https://hf.co/", "huggingface.co/", "hf.co/"}

// IsRef reports whether s names something on the hub: hf:org/repo, or a page of
// the hub.
func IsRef(s string) bool {
	return strings.HasPrefix(s, RefPrefix) ||
		slices.ContainsFunc(urlPrefixes, func(prefix string) bool { return strings.HasPrefix(s, prefix) })
}

// fromURL returns hf:org/repo@revision:file for the address of a repository or
// of one of its files, and s itself for all else.
func fromURL(s string) string {
	for _, prefix := range urlPrefixes {
		path, ok := strings.CutPrefix(s, prefix)
		if !ok {
			continue
		}
		path, _, _ = strings.Cut(strings.TrimSuffix(path, "/"), "?")
		parts := strings.SplitN(path, "/", 5) // org, repo, blob, revision, file
		switch {
		case len(parts) == 5 && (parts[2] == "blob" || parts[2] == "resolve"):
			return RefPrefix + parts[0] + "/" + parts[1] + "@" + parts[3] + ":" + parts[4]
		case len(parts) == 4 && parts[2] == "tree":
			return RefPrefix + parts[0] + "/" + parts[1] + "@" + parts[3]
		}
		return RefPrefix + path
	}
	return s
}

var (
	// repoID is what huggingface_hub allows (validate_repo_id).
	repoID     = regexp.MustCompile(`^[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?$`)
	commitHash = regexp.MustCompile(`^[0-9a-f]{40}$`)
	revisions  = regexp.MustCompile(`^[\w.+-]+(/[\w.+-]+)*$`)
)

const (
	maxRepoID   = 96
	maxRevision = 255
	maxFileName = 1024
)

// ParseRef reads "hf:org/repo[@revision][:file]", or the address of a repository
// or of one of its files.
func ParseRef(s string) (Ref, error) {
	rest, ok := strings.CutPrefix(fromURL(s), RefPrefix)
	if !ok {
		return Ref{}, fmt.Errorf("%q does not begin with %s", s, RefPrefix)
	}
	rest = strings.TrimPrefix(rest, "//")
	var r Ref
	rest, r.File, ok = strings.Cut(rest, ":")
	if ok && r.File == "" {
		return r, fmt.Errorf("%q names no file behind its last colon", s)
	}
	r.ID, r.Revision, ok = strings.Cut(rest, "@")
	if ok && r.Revision == "" {
		return r, fmt.Errorf("%q names no revision behind its @", s)
	}
	if err := r.Repo.check(); err != nil {
		return r, err
	}
	return r, checkFile(r.File, true)
}

func (r Repo) check() error {
	switch {
	case len(r.ID) > maxRepoID, !repoID.MatchString(r.ID), strings.Contains(r.ID, "--"), strings.Contains(r.ID, ".."),
		strings.HasSuffix(r.ID, ".git"), strings.HasSuffix(r.ID, "."), strings.HasSuffix(r.ID, "-"):
		return fmt.Errorf("%q is no name of a repository: want org/name", r.ID)
	case len(r.Revision) > maxRevision, r.Revision != "" && !revisions.MatchString(r.Revision), hasDots(r.Revision):
		return fmt.Errorf("%q is no revision: want a branch, a tag or a commit", r.Revision)
	}
	return nil
}

// checkFile returns an error unless name is a path inside a folder, as the hub
// writes it: with slashes, and no way out.
func checkFile(name string, emptyToo bool) error {
	switch {
	case name == "" && emptyToo:
		return nil
	case name == "", len(name) > maxFileName, strings.ContainsAny(name, "\\:\x00"), strings.HasPrefix(name, "/"), hasDots(name):
		return fmt.Errorf("%q is no name of a file in a repository", name)
	}
	return nil
}

// hasDots reports whether a part of a path is empty, "." or "..".
func hasDots(path string) bool {
	if path == "" {
		return false
	}
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return true
		}
	}
	return false
}
