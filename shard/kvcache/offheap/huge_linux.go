package offheap

import "golang.org/x/sys/unix"

// adviseHuge asks for huge pages. A system without them goes on with small ones.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
