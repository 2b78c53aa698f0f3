package hub

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// A File is one file of a repository as the hub describes it.
type File struct {
	Repo      Repo
	Name      string
	Commit    string
	SizeBytes int64

	etag string // also the blob's name
	hash hashKind
}

// A hashKind says what an etag is the hash of.
type hashKind uint8

const (
	noHash  hashKind = iota
	sha256s          // of the bytes: files in large file storage
	gitSHA1          // of git's blob: "blob LENGTH\0" and the bytes
)

// Checked reports whether the hub names a hash that the file's bytes are
// checked against.
func (f *File) Checked() bool { return f.hash != noHash }

var (
	// etagName is what may be the name of a blob.
	etagName   = regexp.MustCompile(`^[\w.-]{1,200}$`)
	sha256Name = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Stat asks the hub about one file of a listing.
func (c *Client) Stat(ctx context.Context, l *Listing, name string) (*File, error) {
	e, err := l.Entry(name)
	if err != nil {
		return nil, err
	}
	return c.stat(ctx, Repo{ID: l.Repo.ID, Revision: l.Commit}, l.Repo, e)
}

// stat asks about a file at the revision of at, which is shown as r.
func (c *Client) stat(ctx context.Context, at, r Repo, e Entry) (*File, error) {
	var f *File
	what := r.String() + ":" + e.Name
	err := c.again(ctx, func() bool { return false }, func() error {
		h, err := c.head(ctx, at, e.Name, what)
		if err != nil {
			return err
		}
		if f, err = describe(h, r, e); err == nil && f.Commit != at.Revision {
			err = lie("%s: the hub offers it as of commit %s, and was asked for %s", what, f.Commit, at.Revision)
		}
		return err
	})
	if err != nil {
		if s, ok := err.(*StatusError); ok && s.Code == "EntryNotFound" { //nolint:errorlint // as again returns it
			c.noteMissing(r.ID, at.Revision, e.Name)
		}
		return nil, err
	}
	return f, nil
}

// head asks for the headers of a file. Of a file in large file storage they are
// those of the answer that leads there; a renamed repository, and a mirror
// that only leads to the hub, are followed.
func (c *Client) head(ctx context.Context, at Repo, name, what string) (http.Header, error) {
	u := c.resolveURL(at.ID, at.revision(), name)
	for range maxRedirects {
		resp, err := c.request(ctx, http.MethodHead, u, nil)
		if err != nil {
			return nil, err
		}
		_ = resp.Body.Close() // of HEAD it is empty
		switch {
		case isRedirect(resp.StatusCode) && resp.Header.Get("X-Linked-Etag") == "":
			if u, err = follow(u, resp); err != nil {
				return nil, err
			}
		case isRedirect(resp.StatusCode):
			resp.Header.Del("Content-Length") // of this answer, not of the file
			return resp.Header, nil
		case resp.StatusCode == http.StatusOK:
			return resp.Header, nil
		default:
			return nil, c.statusError(resp, what)
		}
	}
	return nil, lie("%s: the hub sends us on and on", what)
}

// describe reads the headers of a file.
func describe(h http.Header, r Repo, e Entry) (*File, error) {
	f := &File{Repo: r, Name: e.Name, Commit: h.Get("X-Repo-Commit"), etag: plainETag(cmp.Or(h.Get("X-Linked-Etag"), h.Get("ETag")))}
	what := r.String() + ":" + e.Name
	f.SizeBytes = e.SizeBytes
	if n, err := strconv.ParseInt(cmp.Or(h.Get("X-Linked-Size"), h.Get("Content-Length")), 10, 63); err == nil && n >= 0 {
		f.SizeBytes = n
	}
	switch {
	case !commitHash.MatchString(f.Commit):
		return nil, lie("%s: the answer names no commit: is HF_ENDPOINT a hub?", what)
	case !etagName.MatchString(f.etag) || strings.Trim(f.etag, ".") == "":
		return nil, lie("%s: the answer has no usable ETag", what)
	case f.SizeBytes < 0:
		return nil, lie("%s: the hub doesn't say how long the file is", what)
	case e.SizeBytes >= 0 && e.SizeBytes != f.SizeBytes:
		return nil, lie("%s: the hub lists the file with %d bytes, and offers %d", what, e.SizeBytes, f.SizeBytes)
	}
	switch {
	case sha256Name.MatchString(f.etag):
		f.hash = sha256s
	case commitHash.MatchString(f.etag) && f.etag == e.blobID:
		f.hash = gitSHA1
	}
	return f, nil
}

// plainETag returns an ETag without quotes and without the mark of a weak one.
func plainETag(s string) string { return strings.Trim(strings.TrimPrefix(s, "W/"), `"`) }

// sameFile returns an error if the hub's answer on the way to f's bytes says
// that they are another file's by now.
func (f *File) sameFile(u *url.URL, resp *http.Response, ours bool) error {
	if !ours {
		return nil
	}
	etag := plainETag(resp.Header.Get("X-Linked-Etag"))
	if etag == "" && !isRedirect(resp.StatusCode) {
		etag = plainETag(resp.Header.Get("ETag"))
	}
	if etag != "" && etag != f.etag {
		return lie("%s:%s: the file changed on %s while it was fetched: its ETag was %s and is %s", f.Repo, f.Name, u.Host, f.etag, printable(etag))
	}
	return nil
}
