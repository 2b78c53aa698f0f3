package offheap

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"
)

// collapse is Collapse by MADV_COLLAPSE, of Linux 6.1 and later.
func collapse(b []byte) bool {
	err := unix.Madvise(b, unix.MADV_COLLAPSE)
	if errors.Is(err, unix.EINVAL) && len(b) < 4<<20 {
		return true // too short for one
	}
	// No huge page is free, or none fits into b: the next part may have luck.
	return err == nil || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EBUSY)
}

// A system that refuses these goes on with what it has.

func huge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }

func populate(b []byte) { _ = unix.Madvise(b, unix.MADV_POPULATE_WRITE) }

func release(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }

// yield gives the goroutine a thread of the lowest priority, which ends with it.
func yield() {
	runtime.LockOSThread()                                     // for good
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), 19) // else it only takes more of others' time
}
