package transport

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// maxHomeFileBytes bounds what is read from any of our own small files.
const maxHomeFileBytes = 1 << 20

// writeSecret writes a file that only its owner reads, all of it or nothing:
// it fills a temporary file beside it, syncs, and renames.
func writeSecret(path string, b []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return homeError(dir, err)
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return homeError(dir, err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error is the one to tell
		return homeError(dir, err)
	}
	return nil
}

// readSecret reads a file written by writeSecret. It refuses one that others
// may read.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if mode := info.Mode(); runtime.GOOS != "windows" && mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o): run chmod 600 %s", path, mode.Perm(), path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxHomeFileBytes+1))
	if err == nil && len(b) > maxHomeFileBytes {
		err = fmt.Errorf("%s has more than %d bytes, it is not ours", path, maxHomeFileBytes)
	}
	return b, err
}

// homeError says what to do about a home that cannot be written.
func homeError(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("home %s is not writable, choose another with --home or SHARDNODE_HOME: %w", dir, err)
	}
	return fmt.Errorf("write to home %s: %w", dir, err)
}
