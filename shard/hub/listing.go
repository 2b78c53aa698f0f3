package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/shardnode/shardnode/shard/nearest"
)

const (
	maxListingBytes = 32 << 20
	maxFiles        = 1 << 17
)

// A Listing is what a repository holds at one commit.
type Listing struct {
	Repo    Repo
	Commit  string
	License string // of the model's card; "" when it names none
	Files   []Entry
}

// An Entry is a file of a listing.
type Entry struct {
	Name      string
	SizeBytes int64 // -1: not said
	blobID    string
}

// Names returns the names of all files.
func (l *Listing) Names() []string {
	names := make([]string, len(l.Files))
	for i, f := range l.Files {
		names[i] = f.Name
	}
	return names
}

// Entry returns what the listing says of a file, or an error that names the
// nearest.
func (l *Listing) Entry(name string) (Entry, error) {
	i := slices.IndexFunc(l.Files, func(e Entry) bool { return e.Name == name })
	if i >= 0 {
		return l.Files[i], nil
	}
	if len(l.Files) == 0 {
		return Entry{}, fmt.Errorf("%s has no files", l.Repo)
	}
	return Entry{}, fmt.Errorf("%s has no file %q; the nearest is %q", l.Repo, name, nearest.Of(name, l.Names()))
}

// modelInfo is the part that we read of /api/models/ID/revision/REVISION.
type modelInfo struct {
	Sha      string   `json:"sha"`
	Tags     []string `json:"tags"`
	Siblings []struct {
		Name   string `json:"rfilename"`
		Size   *int64 `json:"size"`
		BlobID string `json:"blobId"`
		LFS    *struct {
			Size   *int64 `json:"size"`
			SHA256 string `json:"sha256"`
		} `json:"lfs"`
	} `json:"siblings"`
}

// List asks the hub what a repository holds, or the cache when the client may
// make no requests.
func (c *Client) List(ctx context.Context, r Repo) (*Listing, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if c.cfg.Offline {
		return c.cachedListing(r)
	}
	segments := append([]string{"api", "models"}, strings.Split(r.ID, "/")...)
	u := c.address(append(segments, "revision", r.revision())...)
	u.RawQuery = url.Values{"blobs": {"true"}}.Encode()
	var body []byte
	err := c.again(ctx, func() bool { return false }, func() error {
		var err error
		body, err = c.getSmall(ctx, u, r.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	return parseListing(r, body)
}

func parseListing(r Repo, body []byte) (*Listing, error) {
	var info modelInfo
	if err := json.Unmarshal(body, &info); err != nil {
		return nil, fmt.Errorf("%s: the hub's list of files can't be read: %w", r, err)
	}
	if !commitHash.MatchString(info.Sha) {
		return nil, lie("%s: the hub names no commit: is HF_ENDPOINT a hub?", r)
	}
	if len(info.Siblings) > maxFiles {
		return nil, lie("%s: the hub lists %d files, at most %d are read", r, len(info.Siblings), maxFiles)
	}
	l := &Listing{Repo: r, Commit: info.Sha}
	for _, tag := range info.Tags {
		if name, ok := strings.CutPrefix(tag, "license:"); ok && l.License == "" {
			l.License = printable(name)
		}
	}
	for _, s := range info.Siblings {
		if checkFile(s.Name, false) != nil {
			continue // such a file has no place in the cache
		}
		e := Entry{Name: s.Name, SizeBytes: -1, blobID: s.BlobID}
		switch {
		case s.LFS != nil && s.LFS.Size != nil:
			e.SizeBytes, e.blobID = *s.LFS.Size, s.LFS.SHA256
		case s.Size != nil:
			e.SizeBytes = *s.Size
		}
		l.Files = append(l.Files, e)
	}
	return l, nil
}

// cachedListing is List from the cache.
func (c *Client) cachedListing(r Repo) (*Listing, error) {
	commit, ok := c.CachedCommit(r)
	if !ok {
		return nil, fmt.Errorf("%s: %w", r, ErrOffline)
	}
	l := &Listing{Repo: r, Commit: commit}
	for _, name := range c.CachedFiles(r) {
		l.Files = append(l.Files, Entry{Name: name, SizeBytes: -1})
	}
	return l, nil
}

// getSmall reads an answer of the hub's programming interface.
func (c *Client) getSmall(ctx context.Context, u *url.URL, what string) ([]byte, error) {
	for range maxRedirects {
		resp, err := c.request(ctx, http.MethodGet, u, nil)
		if err != nil {
			return nil, err
		}
		if isRedirect(resp.StatusCode) {
			_ = resp.Body.Close() // it says nothing
			if u, err = follow(u, resp); err != nil {
				return nil, err
			}
			continue
		}
		if resp.StatusCode != http.StatusOK {
			return nil, c.statusError(resp, what)
		}
		b, err := io.ReadAll(io.LimitReader(resp.Body, maxListingBytes+1))
		_ = resp.Body.Close() // it was only read
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", u.Host, err)
		case len(b) > maxListingBytes:
			return nil, lie("%s: the hub's list of files has more than %d bytes", what, maxListingBytes)
		}
		return b, nil
	}
	return nil, lie("%s: the hub sends us on and on", what)
}
