//go:build unix

package weights

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapMemory maps the first size bytes of file read-only. The mapping outlives
// the descriptor.
func mapMemory(file *os.File, size int64) (data []byte, free func() error, err error) {
	if int64(int(size)) != size {
		return nil, nil, fmt.Errorf("file is too large for the address space of this machine: use a 64-bit system")
	}
	b, err := unix.Mmap(int(file.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return b, func() error { return unix.Munmap(b) }, nil
}

// leaveMemory takes mapped pages that begin and end in b out of the process. What
// the system has cached of the file stays cached.
func leaveMemory(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }

// soonMemory tells the system that b, which is mapped, will be read soon.
func soonMemory(b []byte) { _ = unix.Madvise(b, unix.MADV_WILLNEED) }
