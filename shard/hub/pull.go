package hub

import (
	"context"
	"crypto/sha1" //nolint:gosec // git's blob ids, which the hub uses
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
)

// A State says what a pull is doing.
type State int

// The states of a pull, in their order.
const (
	Waiting  State = iota // for another process that fetches the same file
	Fetching              // bytes come
	Checking              // the hash is worked out
)

// Progress says how far a pull is.
type Progress struct {
	File                  string
	State                 State
	DoneBytes, TotalBytes int64
}

// String returns org/repo:file.
func (f *File) String() string { return f.Repo.String() + ":" + f.Name }

// Pull brings a file of a listing into the cache, unless it is there, and
// returns its path. What an earlier call left is used. An error leaves a
// partial file for the next call. report may be nil; it is not called
// concurrently.
func (c *Client) Pull(ctx context.Context, l *Listing, name string, report func(Progress)) (string, error) {
	at := Repo{ID: l.Repo.ID, Revision: l.Commit}
	if path, ok := c.Cached(at, name); ok {
		_ = c.setRef(l.Repo, l.Commit) // the cache may be read-only
		return path, nil
	}
	if c.cfg.Offline {
		return "", fmt.Errorf("%s:%s: %w", l.Repo, name, ErrOffline)
	}
	f, err := c.Stat(ctx, l, name)
	if err != nil {
		return "", err
	}
	if err := errors.Join(c.prepare(l.Repo.ID), c.setRef(l.Repo, l.Commit)); err != nil {
		return "", err
	}
	unlock, err := c.lock(ctx, l.Repo.ID, f.etag, func() {
		if report != nil {
			report(Progress{File: name, State: Waiting, TotalBytes: f.SizeBytes})
		}
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	blob := c.blobPath(l.Repo.ID, f.etag)
	isNew := false
	if info, err := os.Stat(blob); err != nil || info.Size() != f.SizeBytes {
		isNew = true
		if err := c.fetchBlob(ctx, f, blob, report); err != nil {
			return "", err
		}
	}
	return c.point(l.Repo.ID, f.Commit, name, f.etag, isNew)
}

// fetchBlob fetches f to the path blob. The lock is held.
func (c *Client) fetchBlob(ctx context.Context, f *File, blob string, report func(Progress)) error {
	p, err := openPartial(blob+partialSuffix, blob+journalSuffix, f.etag, f.SizeBytes)
	if err != nil {
		return err
	}
	adopt(blob+".incomplete", p, f.SizeBytes)
	whole := []Part{{End: f.SizeBytes}}
	for {
		had := p.doneBytes()
		err := c.fetchParts(ctx, f, p, whole, f.SizeBytes, report)
		if err == nil {
			err = check(ctx, f, p, report)
		}
		if err == nil {
			return p.finish(blob)
		}
		_, wrong := errors.AsType[*LieError](err)
		if !wrong || had == 0 || p.doneBytes() > 0 {
			return errors.Join(err, p.close())
		}
		// What an earlier call left may be what is wrong: once more from the start.
	}
}

// fetchParts brings parts of f into p, which is to get total bytes in all.
func (c *Client) fetchParts(ctx context.Context, f *File, p *partial, parts []Part, total int64, report func(Progress)) error {
	if err := c.room(filepath.Dir(p.path), total-p.doneBytes()); err != nil {
		return err
	}
	t := &transfer{c: c, f: f, out: p, parts: parts, total: total, report: report}
	return t.run(ctx)
}

// room returns an error if the disk of dir has not so many bytes.
func (c *Client) room(dir string, bytes int64) error {
	if c.cfg.FreeBytes == nil {
		return nil
	}
	free, err := c.cfg.FreeBytes(dir)
	if err == nil && free < bytes {
		return &SpaceError{Dir: dir, NeedBytes: bytes, FreeBytes: free}
	}
	return nil // a disk that does not say will say so when it is full
}

// check compares the file's bytes with the hash that the hub named. Bytes that
// are wrong are thrown away: nobody knows which of them are.
func check(ctx context.Context, f *File, p *partial, report func(Progress)) error {
	var h hash.Hash
	switch f.hash {
	case noHash:
		return nil
	case sha256s:
		h = sha256.New()
	case gitSHA1:
		h = sha1.New() //nolint:gosec // git's
		fmt.Fprintf(h, "blob %d\x00", f.SizeBytes)
	}
	buf := make([]byte, 1<<20)
	for at := int64(0); at < f.SizeBytes; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := p.file.ReadAt(buf[:min(int64(len(buf)), f.SizeBytes-at)], at)
		if n == 0 && err != nil {
			return &diskError{fmt.Errorf("read what was fetched: %w", err)}
		}
		_, _ = h.Write(buf[:n]) // a hash never fails
		at += int64(n)
		if report != nil && at%(64<<20) < int64(n) {
			report(Progress{File: f.Name, State: Checking, DoneBytes: at, TotalBytes: f.SizeBytes})
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != f.etag {
		return errors.Join(lie("%s: the bytes that came have the hash %s, where the hub says %s", f, got, f.etag), p.empty())
	}
	return nil
}
