package hub

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A CachedRepo is a repository that the cache holds something of.
type CachedRepo struct {
	ID           string
	Files        []CachedFile // of all snapshots, and those made of parts
	PartialBytes int64        // of files that are not here as a whole
}

// A CachedFile is a file of a snapshot.
type CachedFile struct {
	Name      string
	Commit    string
	Refs      []string // branches and tags that are this commit
	Path      string
	SizeBytes int64
	Parts     bool // it was made of parts of the hub's files
}

// Scan lists the models in the cache. A cache that is not there is empty.
func (c *Client) Scan() ([]CachedRepo, error) {
	entries, err := os.ReadDir(c.cfg.CacheDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var repos []CachedRepo
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), "models--")
		if !ok || !e.IsDir() {
			continue
		}
		r := Repo{ID: strings.ReplaceAll(name, "--", "/")}
		if r.check() == nil {
			repos = append(repos, c.scanRepo(r.ID))
		}
	}
	return repos, nil
}

func (c *Client) scanRepo(id string) CachedRepo {
	r := CachedRepo{ID: id}
	dir := c.repoDir(id)
	refs := map[string][]string{}
	for _, name := range filesBelow(filepath.Join(dir, "refs")) {
		if commit, ok := c.CachedCommit(Repo{ID: id, Revision: name}); ok {
			refs[commit] = append(refs[commit], name)
		}
	}
	for _, folder := range []string{"snapshots", partsFolder} {
		commits, _ := os.ReadDir(filepath.Join(dir, folder)) // what can't be read is not there
		for _, e := range commits {
			if !commitHash.MatchString(e.Name()) {
				continue
			}
			base := filepath.Join(dir, folder, e.Name())
			for _, name := range filesBelow(base) {
				path := filepath.Join(base, filepath.FromSlash(name))
				info, err := os.Stat(path)
				if err != nil || strings.Contains(name, partialSuffix) {
					continue
				}
				r.Files = append(r.Files, CachedFile{
					Name: name, Commit: e.Name(), Refs: refs[e.Name()], Path: path, SizeBytes: info.Size(), Parts: folder == partsFolder,
				})
			}
		}
	}
	for _, folder := range []string{"blobs", partsFolder} {
		_ = filepath.WalkDir(filepath.Join(dir, folder), func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".incomplete") {
				if info, err := d.Info(); err == nil {
					r.PartialBytes += info.Size()
				}
			}
			return nil
		})
	}
	return r
}

// Remove removes files of a repository from the cache, in all its snapshots, with
// the blobs that no other file of the repository has, and what was fetched of
// them in part. Without names everything of the repository goes. It returns
// the bytes that became free.
func (c *Client) Remove(id string, names ...string) (int64, error) {
	if err := (Repo{ID: id}).check(); err != nil {
		return 0, err
	}
	dir := c.repoDir(id)
	before := diskBytes(dir)
	if before == 0 {
		return 0, nil
	}
	var err error
	if len(names) == 0 {
		err = errors.Join(os.RemoveAll(dir), os.RemoveAll(filepath.Join(c.cfg.CacheDir, ".locks", repoFolder(id))))
	} else {
		err = c.removeFiles(id, names)
	}
	return before - diskBytes(dir), err
}

func (c *Client) removeFiles(id string, names []string) error {
	var failed error
	kept, gone := map[string]bool{}, map[string]bool{}
	for _, f := range c.scanRepo(id).Files {
		etag := ""
		if target, err := os.Readlink(f.Path); err == nil {
			etag = filepath.Base(target)
		}
		if !slices.Contains(names, f.Name) {
			kept[etag] = true
			continue
		}
		gone[etag] = true
		failed = errors.Join(failed, os.Remove(f.Path))
	}
	if len(kept) == 0 && failed == nil {
		_, err := c.Remove(id)
		return err
	}
	for etag := range gone {
		if kept[etag] || etag == "" {
			continue
		}
		for _, suffix := range []string{"", partialSuffix, journalSuffix} {
			if err := os.Remove(c.blobPath(id, etag+suffix)); !errors.Is(err, fs.ErrNotExist) {
				failed = errors.Join(failed, err)
			}
		}
	}
	return failed
}

// diskBytes returns the bytes of the files below dir.
func diskBytes(dir string) int64 {
	total := int64(0)
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				total += info.Size()
			}
		}
		return nil
	})
	return total
}
