package hub

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// A Part is the bytes [Start, End) of a file, which come to At in another.
type Part struct {
	Start, End int64
	At         int64
}

func (p Part) bytes() int64 { return p.End - p.Start }

// Parts are parts of one file.
type Parts struct {
	File  *File
	Parts []Part
}

// PullParts makes the file dst of head and of parts of files. An error leaves a
// partial file beside dst, which the next call for the same goes on with. The
// bytes have no hash to be checked with, since the hub names those of whole
// files; their places and lengths are checked.
func (c *Client) PullParts(ctx context.Context, dst string, head []byte, from []Parts, report func(Progress)) error {
	if err := os.MkdirAll(filepath.Dir(dst), 0o777); err != nil { //nolint:gosec // as the umask says
		return err
	}
	unlock, err := c.lock(ctx, from[0].File.Repo.ID, from[0].File.etag, nil)
	if err != nil {
		return err
	}
	defer unlock()
	size, total := int64(len(head)), int64(0)
	sum := sha256.New()
	_, _ = sum.Write(head) // a hash never fails
	for i := range from {
		from[i].Parts = joined(from[i].Parts)
		fmt.Fprintf(sum, "%s %v", from[i].File.etag, from[i].Parts)
		for _, p := range from[i].Parts {
			size, total = max(size, p.At+p.bytes()), total+p.bytes()
		}
	}
	p, err := openPartial(dst+partialSuffix, dst+journalSuffix, hex.EncodeToString(sum.Sum(nil)), size)
	if err != nil {
		return err
	}
	fail := func(err error) error { return errors.Join(err, p.close()) }
	if _, err := p.file.WriteAt(head, 0); err != nil {
		return fail(&diskError{err})
	}
	for _, x := range from {
		if err := c.fetchParts(ctx, x.File, p, x.Parts, total, report); err != nil {
			return fail(err)
		}
	}
	if err := p.file.Truncate(size); err != nil {
		return fail(&diskError{err})
	}
	return p.finish(dst)
}

// joined returns parts in order, those that touch as one.
func joined(parts []Part) []Part {
	parts = slices.Clone(parts)
	slices.SortFunc(parts, func(a, b Part) int { return cmp.Compare(a.Start, b.Start) })
	out := parts[:0]
	for _, p := range parts {
		if n := len(out); n > 0 && out[n-1].End == p.Start && out[n-1].At+out[n-1].bytes() == p.At {
			out[n-1].End = p.End
			continue
		}
		out = append(out, p)
	}
	return out
}
