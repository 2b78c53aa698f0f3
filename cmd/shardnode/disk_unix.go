//go:build unix

package main

import "golang.org/x/sys/unix"

// freeDisk returns the bytes that can be written to the disk of a folder.
func freeDisk(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil //nolint:gosec,unconvert // the widths differ between systems
}
