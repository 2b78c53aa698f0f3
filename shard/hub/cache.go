package hub

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// The layout of the cache (huggingface_hub's file_download.py):
//
//	models--org--name/refs/<revision>            a commit, 40 bytes, no line end
//	models--org--name/blobs/<etag>               the bytes
//	models--org--name/snapshots/<commit>/<file>  a link to ../../blobs/<etag>
//	models--org--name/.no_exist/<commit>/<file>  empty: the commit has no such file
//	.locks/models--org--name/<etag>.lock
//	CACHEDIR.TAG
//
// Ours beside them: blobs/<etag>.shardnode.incomplete, a file that is being
// fetched, and models--org--name/shardnode/<commit>, files made of parts.
const (
	partialSuffix = ".shardnode.incomplete"
	journalSuffix = partialSuffix + ".json"
	partsFolder   = "shardnode"

	cacheTagFile = "CACHEDIR.TAG"
	// cacheTag is what Python writes (https://bford.info/cachedir/).
	cacheTag = "Signature: 8a477f597d28d172789f06886806bc55\n" +
		"# This file is a cache directory tag created by huggingface_hub.\n" +
		"# For information about cache directory tags, see:\n" +
		"#\thttps://bford.info/cachedir/\n"
)

// repoFolder returns the folder of a repository in the cache.
func repoFolder(id string) string { return "models--" + strings.ReplaceAll(id, "/", "--") }

func (c *Client) repoDir(id string) string { return filepath.Join(c.cfg.CacheDir, repoFolder(id)) }

func (c *Client) blobPath(id, etag string) string {
	return filepath.Join(c.repoDir(id), "blobs", etag)
}

// pointerPath returns where a snapshot has a file. name was checked.
func (c *Client) pointerPath(id, commit, name string) string {
	return filepath.Join(c.repoDir(id), "snapshots", commit, filepath.FromSlash(name))
}

// CacheDir returns the folder of the cache.
func (c *Client) CacheDir() string { return c.cfg.CacheDir }

// PartsDir returns the folder for files that were made of parts of a commit's
// files. Python's huggingface_hub looks past it.
func (c *Client) PartsDir(id, commit string) string {
	return filepath.Join(c.repoDir(id), partsFolder, commit)
}

// CachedCommit returns the commit that the cache has for a revision.
func (c *Client) CachedCommit(r Repo) (string, bool) {
	if r.check() != nil {
		return "", false
	}
	if commitHash.MatchString(r.revision()) {
		return r.Revision, true
	}
	b, err := os.ReadFile(filepath.Join(c.repoDir(r.ID), "refs", filepath.FromSlash(r.revision())))
	commit := strings.TrimSpace(string(b))
	return commit, err == nil && commitHash.MatchString(commit)
}

// Cached returns the path of a file that is in the cache as a whole.
func (c *Client) Cached(r Repo, name string) (string, bool) {
	commit, ok := c.CachedCommit(r)
	if !ok || checkFile(name, false) != nil {
		return "", false
	}
	path := c.pointerPath(r.ID, commit, name)
	info, err := os.Stat(path)
	return path, err == nil && info.Mode().IsRegular()
}

// CachedFiles returns the names of the files that a revision has in the cache.
func (c *Client) CachedFiles(r Repo) []string {
	commit, ok := c.CachedCommit(r)
	if !ok {
		return nil
	}
	return filesBelow(filepath.Join(c.repoDir(r.ID), "snapshots", commit))
}

// filesBelow returns the files below dir that can be read, with slashes.
func filesBelow(dir string) []string {
	var names []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what can't be read is not there
		}
		rel, err := filepath.Rel(dir, path)
		if info, statErr := os.Stat(path); err == nil && statErr == nil && info.Mode().IsRegular() {
			names = append(names, filepath.ToSlash(rel))
		}
		return nil
	})
	return names
}

// prepare makes the folders of a repository, and the tag that keeps backups off.
func (c *Client) prepare(id string) error {
	if err := os.MkdirAll(filepath.Join(c.repoDir(id), "blobs"), 0o777); err != nil { //nolint:gosec // as the umask says
		return err
	}
	tag := filepath.Join(c.cfg.CacheDir, cacheTagFile)
	if _, err := os.Lstat(tag); errors.Is(err, fs.ErrNotExist) {
		_ = os.WriteFile(tag, []byte(cacheTag), 0o666) //nolint:gosec // of use to backups only, as the umask says
	}
	return nil
}

// setRef notes which commit a revision is.
func (c *Client) setRef(r Repo, commit string) error {
	if r.revision() == commit {
		return nil
	}
	path := filepath.Join(c.repoDir(r.ID), "refs", filepath.FromSlash(r.revision()))
	if b, err := os.ReadFile(path); err == nil && string(b) == commit {
		return nil
	}
	return writeWhole(path, []byte(commit))
}

// writeWhole writes a small file so that nobody sees half of it.
func writeWhole(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil { //nolint:gosec // as the umask says
		return err
	}
	return writeFrom(path, bytes.NewReader(b))
}

// writeFrom writes a file beside path, and then gives it its name.
func writeFrom(path string, r io.Reader) error {
	tmp := fmt.Sprintf("%s.%08x.tmp", path, rand.Uint32())               //nolint:gosec // a name, not a secret
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666) //nolint:gosec // as the umask says
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp) // the first error counts
	}
	return err
}

// point makes the snapshot's link to a blob. Where links are not allowed, a
// new blob is moved there and another is copied, as Python does.
func (c *Client) point(id, commit, name, etag string, isNew bool) (string, error) {
	path := c.pointerPath(id, commit, name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil { //nolint:gosec // as the umask says
		return "", err
	}
	blob := c.blobPath(id, etag)
	target, err := filepath.Rel(filepath.Dir(path), blob)
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(path); err == nil { // a link to a blob that is gone
		if err := os.Remove(path); err != nil {
			return "", err
		}
	}
	err = os.Symlink(target, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return path, nil
	}
	if isNew {
		return path, os.Rename(blob, path)
	}
	return path, copyFile(blob, path)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return writeFrom(to, in)
}

// noteMissing notes that a commit has no such file, as Python does.
func (c *Client) noteMissing(id, commit, name string) {
	if !commitHash.MatchString(commit) {
		return
	}
	path := filepath.Join(c.repoDir(id), ".no_exist", commit, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil { //nolint:gosec // as the umask says
		return
	}
	if f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666); err == nil { //nolint:gosec // the same
		_ = f.Close() // it is empty
	}
}
