package hub

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// lockPoll is how often a lock that another process holds is tried.
const lockPoll = 200 * time.Millisecond

// lock waits until this process alone writes the blob of etag, and returns
// what gives it free again. The file stays, as Python leaves it.
func (c *Client) lock(ctx context.Context, id, etag string, waiting func()) (unlock func(), err error) {
	dir := filepath.Join(c.cfg.CacheDir, ".locks", repoFolder(id))
	if err := os.MkdirAll(dir, 0o777); err != nil { //nolint:gosec // the cache is shared as the umask says
		return nil, err
	}
	path := filepath.Join(dir, etag+".lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666) //nolint:gosec // the same
	if err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		ok, err := tryLock(f)
		if err != nil {
			_ = f.Close() // it holds nothing
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if ok {
			return func() { _ = f.Close() }, nil // which gives it free
		}
		if first && waiting != nil {
			waiting()
		}
		if err := sleep(ctx, lockPoll); err != nil {
			_ = f.Close() // it holds nothing
			return nil, err
		}
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
