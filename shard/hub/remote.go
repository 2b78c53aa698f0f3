package hub

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// A RemoteFile reads a file on the hub without fetching it, for headers. It
// keeps what it read, at most maxRemoteBytes. It is for one goroutine.
type RemoteFile struct {
	ctx  context.Context //nolint:containedctx // io.ReaderAt has no place for it
	t    *transfer
	data []byte // the first bytes of the file
}

const (
	firstRemoteBytes = 512 << 10
	maxRemoteBytes   = 256 << 20
)

// Open returns a reader of f's bytes for as long as ctx lasts.
func (c *Client) Open(ctx context.Context, f *File) *RemoteFile {
	return &RemoteFile{ctx: ctx, t: &transfer{c: c, f: f}}
}

// ReadAt reads as [io.ReaderAt] says. All bytes up to the end of b are read,
// twice as many with each request.
func (r *RemoteFile) ReadAt(b []byte, at int64) (int, error) {
	end := min(at+int64(len(b)), r.t.f.SizeBytes)
	switch {
	case at < 0 || at >= r.t.f.SizeBytes:
		return 0, io.EOF
	case end > maxRemoteBytes:
		return 0, fmt.Errorf("%s: its header is longer than %d MiB", r.t.f, maxRemoteBytes>>20)
	}
	for int64(len(r.data)) < end {
		have := int64(len(r.data))
		want := min(max(end, 2*have, firstRemoteBytes), r.t.f.SizeBytes, max(end, maxRemoteBytes))
		if err := r.extend(Part{Start: have, End: want}); err != nil {
			return 0, err
		}
	}
	n := copy(b, r.data[at:end])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// extend reads the bytes of p, which follow those that were read.
func (r *RemoteFile) extend(p Part) error {
	buf := make([]byte, p.bytes())
	err := r.t.c.again(r.ctx, func() bool { return false }, func() error {
		resp, err := r.t.open(r.ctx, rangeOf(p))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusPartialContent {
			return errNoRanges
		}
		if err := r.t.checkRange(resp, p); err != nil {
			return err
		}
		if _, err := io.ReadFull(resp.Body, buf); err != nil {
			return fmt.Errorf("%s: %w", r.t.f, err)
		}
		return nil
	})
	if err == nil {
		r.data = append(r.data, buf...)
	}
	return err
}
